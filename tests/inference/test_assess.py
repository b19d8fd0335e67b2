"""assess: the shipped pack on synthetic patients, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from inference import conform, example_images
from inference.assess import Case, assess
from inference.chain import sessions
from inference.errors import NotAPrediction
from inference.packs import Pack
from inference.prediction import Prediction
from inference.training import examples, liver
from mappings.images import CtStudy, InstanceRef
from mappings.record import Entry, PatientRecord

SECRET = b"a secret of the site"


@pytest.fixture(scope="module")
def case(patient: liver.SyntheticPatient) -> Case:
    """The complete patient."""
    return examples.case(patient)


@pytest.fixture(scope="module")
def prediction(pack: Pack, case: Case) -> Prediction:
    """What the pack says of it."""
    return assess(pack, [case])[0]


def test_the_examples_give_what_the_pack_says_they_give(pack: Pack) -> None:
    """The pack's own test: three patients, two languages, one phase missing."""
    checks = conform.check(pack)
    assert ["en", "no-delayed-phase", "zh"] == [c.example for c in checks]
    assert all(c.passed for c in checks)


def test_contributions_add_up_to_the_logit(pack: Pack) -> None:
    """Within 1e-5, for many patients and every pattern of what is there."""
    cases = []
    for index in range(6):
        full = examples.case(liver.patient(8, index))
        bare = PatientRecord.of(
            [e for e in full.record.entries if e.kind != "report"], as_of=full.as_of
        )
        cases += [full, replace(full, ct=None), replace(full, record=bare)]
    for one in assess(pack, cases):
        total = one.baseline_logit + sum(one.contributions_logit.values())
        assert pytest.approx(one.logit, abs=1e-5) == total
        p = 1 / (1 + np.exp(-one.logit))
        assert pytest.approx(p, abs=1e-9) == one.outcomes[0].probability


def test_the_classes_exclude_each_other(prediction: Prediction) -> None:
    """Malignant and benign sum to 1, and so do their intervals crosswise."""
    malignant, benign = prediction.outcomes
    assert ("malignant", "benign") == (malignant.code, benign.code)
    assert pytest.approx(1) == malignant.probability + benign.probability
    assert pytest.approx(1) == malignant.low + benign.high
    assert malignant.low <= malignant.probability <= malignant.high


def test_a_batch_says_what_each_case_alone_says(pack: Pack) -> None:
    """Neighbours in a batch have no influence, in any order."""
    cases = [examples.case(liver.patient(8, i)) for i in range(4)]
    alone = [assess(pack, [c])[0].logit for c in cases]
    assert pytest.approx(alone, abs=1e-5) == [p.logit for p in assess(pack, cases)]
    assert [] == assess(pack, [])


def test_an_absent_modality_has_no_influence_at_all(pack: Pack) -> None:
    """NaN in place of what is absent gives the very same figures."""
    rng = np.random.default_rng(1)
    graph = sessions(pack)["fusion"]
    n, labs = 8, len(pack.manifest.of_kind("quantity"))
    presence = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(n)], np.float32)
    mask = (rng.random((n, labs)) < 0.7).astype(np.float32) * presence[:, 1:2]
    feeds = {
        "ct": rng.normal(size=(n, 3)),
        "labs": rng.normal(3, 1, (n, labs)),
        "labs_mask": mask,
        "demographics": np.tile([60.0, 1.0], (n, 1)),
        "demographics_mask": np.ones((n, 2)),
        "text": rng.normal(size=(n, 1)),
        "presence": presence,
    }
    blank = dict(feeds)
    blank["ct"] = np.where(presence[:, 0:1] > 0, feeds["ct"], np.nan)
    blank["labs"] = np.where(mask > 0, feeds["labs"], np.nan)
    blank["text"] = np.where(presence[:, 2:3] > 0, feeds["text"], np.nan)
    one = graph.run(**{k: v.astype(np.float32) for k, v in feeds.items()})
    two = graph.run(**{k: v.astype(np.float32) for k, v in blank.items()})
    for name in ("contributions", "bias"):
        assert np.array_equal(one[name], two[name])
        assert np.isfinite(one[name]).all()
    absent = one["contributions"][0]  # presence 0 0 0: only age and sex speak
    assert not absent[:, [0, 1, 3]].any()


def test_the_content_of_an_absent_phase_has_no_influence(pack: Pack) -> None:
    """A masked channel may hold NaN."""
    graph = sessions(pack)["volume_encoder"]
    volume = np.random.default_rng(2).normal(80, 20, (1, 4, 24, 48, 48)).astype(np.float32)
    phases = np.array([[0, 1, 1, 0]], np.float32)
    noisy = volume.copy()
    noisy[:, [0, 3]] = np.nan
    assert np.array_equal(
        graph.run(volume=volume, phases=phases)["embedding"],
        graph.run(volume=noisy, phases=phases)["embedding"],
    )


def test_erasing_the_lesion_moves_the_image_score(pack: Pack) -> None:
    """Same noise, same patient, no lesion: the image contribution is another."""
    moved = []
    for index in range(5):
        with_lesion = examples.case(liver.patient(9, index))
        without = examples.case(liver.patient(9, index, erased=True))
        one, two = assess(pack, [with_lesion, without])
        moved.append(abs(one.contributions_logit["ct"] - two.contributions_logit["ct"]))
        assert one.contributions_logit["labs"] == two.contributions_logit["labs"]
    assert np.mean(moved) > 0.3


def test_a_missing_input_is_named_with_what_was_done(pack: Pack, case: Case) -> None:
    """Neither a study nor a report: both are left out, and it says so."""
    bare = PatientRecord.of(
        [e for e in case.record.entries if e.kind != "report"], as_of=case.as_of
    )
    got = assess(pack, [Case(record=bare, ct=None, t0=case.t0, as_of=case.as_of)])[0]
    assert {"ct", "findings"} <= {m.input for m in got.missing}
    assert 0 == got.contributions_logit["ct"] == got.contributions_logit["text"]
    assert () == got.instances


def test_nothing_after_the_lock_is_read(
    pack: Pack, case: Case, prediction: Prediction, lab: Callable[..., Entry]
) -> None:
    """An AFP received later, though drawn earlier, leaves the prediction as it was."""
    late = lab("99999", days=0, received_days=9, key="observation/LATE/1834-1/")
    record = PatientRecord.of([*case.record.entries, late], as_of=case.as_of)
    assert prediction == assess(pack, [replace(case, record=record)])[0]
    future = lab("99999", days=5, key="observation/FUTURE/1834-1/")
    record = PatientRecord.of([*case.record.entries, future], as_of=case.as_of)
    assert prediction == assess(pack, [replace(case, record=record)])[0]


def test_an_unlike_case_is_flagged(pack: Pack, case: Case) -> None:
    """A study of water instead of liver, and only that, is called out."""
    assert case.ct is not None
    water = example_images.study(
        tuple(case.ct.phases), [v.voxels * 0 for v in case.ct.phases.values()], (4.0, 4.0, 4.0)
    )
    got = assess(pack, [case, replace(case, ct=water)])
    assert [False, True] == [p.out_of_distribution for p in got]


def test_everything_of_a_synthetic_model_says_so(prediction: Prediction) -> None:
    """The flag, the words, and that no rendering may be final."""
    assert (True, False) == (prediction.synthetic, prediction.may_be_final)
    assert "must not be used for care" in prediction.words


def test_a_prediction_survives_json(prediction: Prediction) -> None:
    """to_json and from_json are inverses; less than a whole is refused."""
    body = json.loads(json.dumps(prediction.to_json()))
    assert prediction == Prediction.from_json(body)
    for name in ("outcomes", "t0", "logit"):
        with pytest.raises(NotAPrediction):
            Prediction.from_json({k: v for k, v in body.items() if k != name})


def test_the_tier_follows_the_locked_threshold(prediction: Prediction) -> None:
    """At or above is higher."""
    higher = prediction.outcomes[0].probability >= prediction.threshold
    assert ("higher" if higher else "lower") == prediction.tier


def resent(case: Case) -> Case:
    """The same facts by other messages: sequence, path, door and moment of receipt differ."""
    entries = [
        replace(
            e,
            seq=e.seq + 500,
            path="Observation.value",
            source=replace(
                e.source,
                interface="fhir",
                message=99,
                received_at=e.source.received_at - timedelta(hours=1),
            ),
        )
        for e in case.record.entries
    ]
    return replace(case, record=PatientRecord.of(entries, as_of=case.as_of))


def test_the_instance_key_does_not_see_the_transport(
    pack: Pack, case: Case, prediction: Prediction
) -> None:
    """Same lab resent, same pixels under edited tags: same key (site rule 13)."""
    assert case.ct is not None
    tags = replace(
        case.ct,
        instances=tuple(
            replace(i, pixel_sha256=i.sha256, sha256="f" * 64) for i in case.ct.instances
        ),
    )
    again = assess(pack, [replace(resent(case), ct=tags)])[0]
    assert prediction.instance_key(SECRET, "p") == again.instance_key(SECRET, "p")
    assert prediction.used != again.used


def test_the_instance_key_sees_value_status_pixels_patient_and_secret(
    pack: Pack, case: Case, prediction: Prediction
) -> None:
    """Whatever the result rests on changes the key."""
    key = prediction.instance_key(SECRET, "p")
    corrected = [
        replace(e, status="corrected") if e.has_code("1834-1") else e for e in case.record.entries
    ]
    record = PatientRecord.of(corrected, as_of=case.as_of)
    pixels = _with_pixels(case.ct)
    others = assess(pack, [replace(case, record=record), replace(case, ct=pixels)])
    keys = {o.instance_key(SECRET, "p") for o in others}
    keys |= {prediction.instance_key(SECRET, "q"), prediction.instance_key(b"other", "p")}
    assert 4 == len(keys)
    assert key not in keys


def _with_pixels(study: CtStudy | None) -> CtStudy:
    assert study is not None
    first: InstanceRef = replace(study.instances[0], pixel_sha256="e" * 64)
    return replace(study, instances=(first, *study.instances[1:]))


def test_the_series_key_is_of_patient_question_and_episode(prediction: Prediction) -> None:
    """Amendments share it; another episode does not."""
    assert prediction.series_key(SECRET, "p", "1") == replace(prediction, logit=0.0).series_key(
        SECRET, "p", "1"
    )
    assert prediction.series_key(SECRET, "p", "1") != prediction.series_key(SECRET, "p", "2")
