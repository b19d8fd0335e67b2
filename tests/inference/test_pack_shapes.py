"""Packs of other shapes than the shipped one: what an investigator brings (model-rules 26)."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_packs import AUTHOR, PLATT, T0, case, lab, logistic, made, onnx_graph, outputs
from onnx import helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from inference import eligibility, fitting, packs, recalibration
from inference.assess import Case, assess
from inference.errors import ManifestRefused, NoKernel, PackRefused, SessionRefused
from inference.heads import cumulative_incidence, words
from inference.packs import Pack
from mappings.record import PatientRecord

LOGIT = 'kind = "logit"\noutput = "logit"'
PROBABILITIES = 'kind = "probabilities"\noutput = "probabilities"'
PATIENT = (lab("CEA", "12.5"), lab("ALB", "4.1"))


def table(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """CEA and albumin of 400 people, and a label that knows both."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.lognormal(1.5, 1, 400), rng.normal(4, 0.5, 400)]).astype(np.float32)
    y = (np.log(x[:, 0]) - 2 * (x[:, 1] - 4) + rng.logistic(size=400) > 1.5).astype(int)
    return x, y


def exported(model: object, x: np.ndarray) -> bytes:
    """As an author would export a classifier."""
    onx = to_onnx(model, x[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    return bytes(onx.SerializeToString())


@pytest.mark.parametrize(
    "model", [LogisticRegression(), GradientBoostingClassifier(), RandomForestClassifier(20)]
)
def test_a_classifier_of_scikit_learn_runs_as_it_does_at_home(tmp_path: Path, model: object):
    """Trees of `ai.onnx.ml`, and a regression; the author calibrated."""
    x, y = table()
    model.fit(x, y)
    pack = packs.load(
        made(tmp_path / "p", exported(model, x), head=PROBABILITIES, calibration=AUTHOR,
             feeds='X = "labs.values"')
    )  # fmt: skip
    said = assess(pack, [case(*PATIENT)])[0]
    home = model.predict_proba(np.array([[12.5, 4.1]], np.float32))[0, 1]
    yes, no = said.outcomes
    assert ("yes", "no") == (yes.code, no.code)
    assert pytest.approx(home, abs=1e-5) == yes.probability
    assert pytest.approx(1) == yes.probability + no.probability
    assert (None, None, None) == (yes.low, said.interval, said.baseline_logit)
    assert {} == said.contributions_logit
    assert "unlike patient cannot be recognised" in said.ood_reasons[0]
    assert not said.synthetic


def test_platt_moves_a_probability_on_the_logit(tmp_path: Path):
    """Slope 0.5 and intercept 1 on what the graph says."""
    x, y = table()
    model = LogisticRegression().fit(x, y)
    platt = PLATT.replace("slope = 1.0", "slope = 0.5").replace("t = 0.0", "t = 1.0")
    pack = packs.load(
        made(tmp_path / "p", exported(model, x), head=PROBABILITIES, calibration=platt,
             feeds='X = "labs.values"')
    )  # fmt: skip
    home = model.predict_proba(np.array([[12.5, 4.1]]))[0, 1]
    wanted = 0.5 * math.log(home / (1 - home)) + 1
    assert pytest.approx(wanted, abs=1e-4) == assess(pack, [case(*PATIENT)])[0].logit


def test_columns_of_a_table_can_be_fed_one_by_one(tmp_path: Path):
    """An input for each column, as of a data frame, in any order of their own."""
    graph = onnx_graph(
        [helper.make_node("Sub", ["b", "a"], ["logit"])],
        {"a": ["n", 1], "b": ["n", 1]},
        {"logit": ["n", 1]},
    )
    feeds = 'a = "inputs.ALB"\nb = "inputs.CEA"'
    pack = packs.load(made(tmp_path / "p", graph, head=LOGIT, feeds=feeds))
    assert pytest.approx(12.5 - 4.1) == assess(pack, [case(*PATIENT)])[0].logit


def test_sources_in_a_list_stand_side_by_side(tmp_path: Path):
    """Values, masks and presence in one table."""
    feeds = 'x = ["labs.values", "labs.mask", "labs.present"]'
    graph = logistic([1, 10, 100, 1000, 10000])
    pack = packs.load(made(tmp_path / "p", graph, head=LOGIT, feeds=feeds))
    assert pytest.approx(12.5 + 41 + 100 + 1000 + 10000) == assess(pack, [case(*PATIENT)])[0].logit


def test_a_double_graph_is_fed_doubles(tmp_path: Path):
    """Some exporters keep float64."""
    graph = onnx_graph(
        [helper.make_node("ReduceSum", ["x"], ["logit"], keepdims=1)],
        {"x": ["n", 2]}, {"logit": ["n", 1]}, kind=onnx.TensorProto.DOUBLE,
    )  # fmt: skip
    pack = packs.load(made(tmp_path / "p", graph, head=LOGIT))
    assert pytest.approx(16.6, abs=1e-5) == assess(pack, [case(*PATIENT)])[0].logit + 0


def test_a_gap_is_nan_or_what_the_pack_says_and_the_result_tells(tmp_path: Path):
    """`fill` is the author's; without it a graph that gives NaN is refused, never rounded off."""
    filled = made(tmp_path / "a", logistic([1, 1]), head=LOGIT, more={"ALB": "fill = 4.0"})
    said = assess(packs.load(filled), [case(lab("CEA", "2"))])[0]
    assert pytest.approx(6) == said.logit
    assert ["the model was given 4 g/dL in its place"] == [
        m.handling for m in said.missing if m.input == "ALB"
    ]
    bare = packs.load(made(tmp_path / "b", logistic([1, 1]), head=LOGIT))
    with pytest.raises(SessionRefused, match="not finite"):
        assess(bare, [case(lab("CEA", "2"))])


def test_classes_beyond_two_keep_their_columns(tmp_path: Path):
    """The positive class comes first, whichever column it has."""
    graph = onnx_graph(
        [helper.make_node("MatMul", ["x", "w"], ["l"]),
         helper.make_node("Softmax", ["l"], ["probabilities"], axis=1)],
        {"x": ["n", 2]}, {"probabilities": ["n", 3]}, {"w": [[0, 0.1, 0.2], [0, 0, 0]]},
    )  # fmt: skip
    classes = outputs(("benign", "HCC", "ICC"), "ICC")
    pack = packs.load(
        made(tmp_path / "p", graph, head=PROBABILITIES, classes=classes, calibration=AUTHOR)
    )
    said = assess(pack, [case(*PATIENT)])[0].outcomes
    assert ["ICC", "benign", "HCC"] == [o.code for o in said]
    weights = np.exp([1.25 * 2, 0, 1.25])
    assert pytest.approx(list(weights / weights.sum()), abs=1e-5) == [o.probability for o in said]


HAZARDS = """kind = "hazards"
output = "hazards"
interval_ends_days = [182, 365, 730]
horizons_days = [365, 730]"""
TIERS = '\n[tiers]\nthreshold = 0.2\nhorizon_days = 730\nbelow = "lower"\nabove = "higher"\nlocked = "test"\n'
CAUSES = outputs(("recurrence", "death", "event-free"), "recurrence")
TABLE = [[0.1, 0.05, 0.85], [0.1, 0.05, 0.85], [0.2, 0.1, 0.7]]


def test_hazards_become_cumulative_incidence_at_the_horizons(tmp_path: Path):
    """Competing causes; with those still free they sum to 1 (model-rules 11)."""
    raw = _hazard_graph(np.asarray(TABLE))
    pack = packs.load(
        made(tmp_path / "p", raw, head=HAZARDS, classes=CAUSES, calibration=AUTHOR, tiers=TIERS)
    )
    said = assess(pack, [case(*PATIENT)])[0]
    first = said.outcomes[0]
    assert ("recurrence", 730) == (first.code, first.horizon_days)
    assert "higher" == said.tier
    by = {(o.code, o.horizon_days): o.probability for o in said.outcomes}
    assert pytest.approx(0.1 + 0.085) == by["recurrence", 365]
    assert pytest.approx(0.185 + 0.85**2 * 0.2) == by["recurrence", 730]
    for day in (365, 730):
        assert pytest.approx(1) == sum(p for (_, d), p in by.items() if d == day)
    # Those that exclude each other stand together, and nobody is free "within" a time.
    assert [
        "recurrence within 2 years", "death within 2 years", "event-free at 2 years",
        "recurrence within 1 year", "death within 1 year", "event-free at 1 year",
    ] == [words(pack.manifest, o) for o in said.outcomes]  # fmt: skip


def _hazard_graph(rows: np.ndarray) -> bytes:
    return onnx_graph(
        [
            helper.make_node("ReduceSum", ["x"], ["s"], keepdims=1),
            helper.make_node("Mul", ["s", "zero"], ["z"]),
            helper.make_node("Unsqueeze", ["z", "axes"], ["u"]),
            helper.make_node("Add", ["u", "table"], ["hazards"]),
        ],
        {"x": ["n", 2]},
        {"hazards": ["n", *rows.shape]},
        {"zero": 0.0, "table": rows[None], "axes": np.arange(2, rows.ndim + 1)},
    )


def test_platt_of_a_horizon_moves_the_positive_cause_and_keeps_the_sum(tmp_path: Path):
    """One pair for each horizon; the others share what is left as they did."""
    platt = '[calibration]\nmethod = "platt"\nslope = [1.0, 1.0]\nintercept = [0.0, 1.0]\n'
    raw = _hazard_graph(np.asarray(TABLE))
    pack = packs.load(
        made(tmp_path / "p", raw, head=HAZARDS, classes=CAUSES, calibration=platt, tiers=TIERS)
    )
    by = {
        (o.code, o.horizon_days): o.probability for o in assess(pack, [case(*PATIENT)])[0].outcomes
    }
    assert pytest.approx(0.185, abs=1e-6) == by["recurrence", 365]
    before = 0.185 + 0.85**2 * 0.2
    moved = 1 / (1 + math.exp(-(math.log(before / (1 - before)) + 1)))
    assert pytest.approx(moved, abs=1e-6) == by["recurrence", 730]
    assert pytest.approx(1) == sum(p for (_, d), p in by.items() if d == 730)


def test_a_recalibration_that_changes_nothing_changes_nothing(tmp_path: Path):
    """Members' incidences average; the site's own logit is that of the risk that was told."""
    members = np.array([TABLE, [[0.3, 0.05, 0.65]] * 3])
    author = f"{AUTHOR}members = 2\ninterval = 0.9\nt_quantile = 6.31\n"
    pack = packs.load(
        made(tmp_path / "p", _hazard_graph(members), head=HAZARDS, classes=CAUSES,
             calibration=author, tiers=TIERS)
    )  # fmt: skip
    same = (f'format = 1\npack_digest = "{pack.digest}"\nversion = "1"\nslope = 1.0\n'
            'intercept = 0.0\nthreshold = 0.2\nlocked = "test"\nwords = "test"\n')  # fmt: skip
    own = recalibration.applied(pack, recalibration.parse(same.encode(), "own.toml"))
    before, after = (assess(one, [case(*PATIENT)])[0].outcomes for one in (pack, own))
    assert pytest.approx([o.probability for o in before]) == [o.probability for o in after]
    assert before[0].low < before[0].probability < before[0].high
    alone = cumulative_incidence(members)[:, 2, 0]
    assert pytest.approx(alone.mean()) == before[0].probability


def test_a_later_horizon_never_tells_less_than_an_earlier_one(tmp_path: Path):
    """Pairs that were fitted apart may cross for a patient; nobody's risk goes back."""
    platt = '[calibration]\nmethod = "platt"\nslope = [1.0, 1.0]\nintercept = [2.0, -2.0]\n'
    raw = _hazard_graph(np.asarray(TABLE))
    pack = packs.load(
        made(tmp_path / "p", raw, head=HAZARDS, classes=CAUSES, calibration=platt, tiers=TIERS)
    )
    by = {
        (o.code, o.horizon_days): o.probability for o in assess(pack, [case(*PATIENT)])[0].outcomes
    }
    assert by["recurrence", 365] == by["recurrence", 730]
    for day in (365, 730):
        assert pytest.approx(1) == sum(p for (_, d), p in by.items() if d == day)


def test_incidence_and_survival_sum_to_one_for_any_hazards():
    """Random softmaxes, members and causes; never below 0, never falling."""
    rng = np.random.default_rng(5)
    hazards = rng.dirichlet(np.ones(4), size=(6, 5, 12))
    made_ = cumulative_incidence(hazards)
    assert pytest.approx(1) == made_.sum(-1)
    assert (np.diff(made_[..., :-1], axis=-2) >= 0).all()
    assert (made_ >= 0).all()


def test_members_of_a_logit_give_an_interval(tmp_path: Path):
    """Mean and spread of the columns."""
    graph = onnx_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logit"])],
        {"x": ["n", 2]}, {"logit": ["n", 3]}, {"w": [[0.1, 0.2, 0.3], [0, 0, 0]]},
    )  # fmt: skip
    more = "members = 3\ninterval = 0.9\nt_quantile = 2.92\n"
    pack = packs.load(made(tmp_path / "p", graph, head=LOGIT, calibration=PLATT + more))
    said = assess(pack, [case(*PATIENT)])[0]
    assert pytest.approx(2.5, abs=1e-5) == said.logit
    half = 2.92 * np.std([1.25, 2.5, 3.75], ddof=1)
    assert pytest.approx(1 / (1 + math.exp(-(2.5 - half))), abs=1e-5) == said.outcomes[0].low
    assert 0.9 == said.interval


def _external(folder: Path, weights: np.ndarray) -> Path:
    """A graph whose weights lie in a file of their own."""
    tensor = numpy_helper.from_array(weights.astype(np.float32), "w")
    outside = onnx.TensorProto(name="w", data_type=1, dims=tensor.dims, data_location=1)
    outside.external_data.add(key="location", value="weights.bin")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logit"])],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 2])],
        [helper.make_tensor_value_info("logit", 1, ["n", 1])],
        [outside],
    )
    sets = [helper.make_opsetid("", 17)]
    raw = helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()
    return made(
        folder, raw, head=LOGIT, graphs='external = ["weights.bin"]',
        files={"weights.bin": tensor.raw_data},
    )  # fmt: skip


def test_weights_may_lie_in_listed_files_of_their_own(tmp_path: Path):
    """As models of gigabytes do; they are verified again when the session is made."""
    folder = _external(tmp_path / "p", np.array([[2.0], [1.0]]))
    pack = packs.load(folder)
    assert "weights.bin" not in pack.contents
    assert pytest.approx(2 * 12.5 + 4.1, abs=1e-4) == assess(pack, [case(*PATIENT)])[0].logit


def test_changed_weights_are_refused_at_load_and_at_the_session(tmp_path: Path):
    """Changed before: the folder. Changed after it was loaded: the session."""
    folder = _external(tmp_path / "p", np.array([[3.0], [1.0]]))
    pack = packs.load(folder)
    raw = bytearray((folder / "weights.bin").read_bytes())
    raw[0] ^= 1
    (folder / "weights.bin").write_bytes(raw)
    with pytest.raises(PackRefused, match=r"weights.bin does not have the listed SHA-256"):
        assess(pack, [case(*PATIENT)])
    with pytest.raises(PackRefused, match=r"weights.bin does not have the listed SHA-256"):
        packs.load(folder)


def _halved(weights: list[list[float]], to: int = onnx.TensorProto.FLOAT16) -> bytes:
    """The logistic graph computed in 16 bits, float at its doors."""
    return onnx_graph(
        [
            helper.make_node("Cast", ["x"], ["h"], to=to),
            helper.make_node("Cast", ["w"], ["wh"], to=to),
            helper.make_node("MatMul", ["h", "wh"], ["lh"]),
            helper.make_node("Cast", ["lh"], ["logit"], to=onnx.TensorProto.FLOAT),
        ],
        {"x": ["batch", 2]},
        {"logit": ["batch", 1]},
        {"w": weights},
    )


def _with_variant(folder: Path, precision: str) -> Pack:
    """The pack with half.onnx as a variant of its graph."""
    text = (folder / "pack.toml").read_text()
    variant = f'role = "model"\nprecision = "{precision}"\nfile = "half.onnx"\ntolerance = 0.01\n'
    text = text.replace("\n[head]", f"\n[[variants]]\n{variant}\n[head]")
    (folder / "pack.toml").write_text(text)
    return packs.load(folder)


def test_a_variant_of_another_precision_is_run_where_it_is_asked_for(tmp_path: Path):
    """fp16 inside, its own tolerance declared; its ports are the original's."""
    folder = made(
        tmp_path / "p", logistic([0.1234567, 0.1]), head=LOGIT,
        files={"half.onnx": _halved([[0.1234567], [0.1]])},
    )  # fmt: skip
    pack = _with_variant(folder, "fp16")
    full, half = (assess(pack, [case(*PATIENT)], precision=p)[0].logit for p in (None, "fp16"))
    assert full != half
    assert pytest.approx(full, abs=5e-3) == half


def test_a_variant_that_only_a_gpu_computes_sinks_no_pack(tmp_path: Path):
    """ONNX Runtime has no bf16 MatMul on the CPU: there the pack runs as it is."""
    folder = made(
        tmp_path / "p", logistic([0.5, 0.1]), head=LOGIT,
        files={"half.onnx": _halved([[0.5], [0.1]], onnx.TensorProto.BFLOAT16)},
    )  # fmt: skip
    pack = _with_variant(folder, "bf16")
    assert 1 == len(assess(pack, [case(*PATIENT)]))
    told = [*fitting.check(pack.manifest, pack.lexicon, pack.graph)]
    assert "model loads and fits" == told[0]
    assert re.match(r"model in bf16 is not compared here: ONNX Runtime has no MatMul", told[1])
    with pytest.raises(NoKernel, match=r"model: .* no MatMul of its types on cpu"):
        assess(pack, [case(*PATIENT)], precision="bf16")


@pytest.mark.parametrize(
    ("graph", "head", "named"),
    [
        (logistic([1, 1, 1]), LOGIT, r"input x has shape \(3,\), its feeds \(2,\)"),
        (logistic([1, 1]), LOGIT.replace('"logit"\n', '"logit"\n').replace('output = "logit"', 'output = "risk"'), "gives no tensor risk, but logit"),
        (logistic([1, 1]), PROBABILITIES.replace('probabilities"\noutput = "probabilities', 'probabilities"\noutput = "logit'), "which is not probabilities of this pack"),
    ],
)  # fmt: skip
def test_a_graph_that_does_not_fit_its_manifest_is_refused_at_load(
    tmp_path: Path, graph: bytes, head: str, named: str
):
    """Width, name and shape, before the first patient comes."""
    with pytest.raises(PackRefused, match=named):
        packs.load(made(tmp_path / "p", graph, head=head, calibration=AUTHOR))


def test_an_input_that_nobody_feeds_is_refused(tmp_path: Path):
    """Either way round."""
    two = onnx_graph(
        [helper.make_node("Sub", ["b", "a"], ["logit"])],
        {"a": ["n", 1], "b": ["n", 1]},
        {"logit": ["n", 1]},
    )
    with pytest.raises(PackRefused, match="input b is not fed"):
        packs.load(made(tmp_path / "a", two, head=LOGIT, feeds='a = "inputs.CEA"'))
    with pytest.raises(PackRefused, match="input y is fed, but the graph has none such"):
        packs.load(
            made(tmp_path / "b", logistic([1, 1]), head=LOGIT,
                 feeds='x = "labs.values"\ny = "labs.mask"')
        )  # fmt: skip


def test_a_zip_map_is_refused_with_the_way_out(tmp_path: Path):
    """What skl2onnx gives unless it is told otherwise."""
    x, y = table()
    model = LogisticRegression().fit(x, y)
    raw = to_onnx(model, x[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString()
    head = PROBABILITIES.replace('output = "probabilities"', 'output = "output_probability"')
    with pytest.raises(PackRefused, match="export no ZipMap"):
        packs.load(made(tmp_path / "p", raw, head=head, feeds='X = "labs.values"'))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("horizon_days = 730\n", "", "tiers.horizon_days"),
        ("horizon_days = 730\n", "horizon_days = 100\n", "tiers.horizon_days"),
        ("horizons_days = [365, 730]", "horizons_days = [365, 700]", "head.horizons_days"),
        ("[182, 365, 730]", "[182, 182, 730]", "head.interval_ends_days"),
        ('method = "author"\nwords = "isotonic on others"',
         'method = "platt"\nslope = 1.0\nintercept = 0.0', "calibration.slope"),
        ('method = "author"', 'method = "none"', "calibration.method"),
        ('system = "urn:test"\ndisplay = "death"\npositive = false',
         'system = "urn:test"\ndisplay = "death"\npositive = true', "outputs"),
        ('modalities = ["labs"]', 'modalities = ["labs", "ct"]', "pack.modalities"),
        ('kind = "clinical"', 'kind = "clinical"\ngenerator = "g"', "training_data.kind"),
    ],
)  # fmt: skip
def test_a_contradiction_of_horizons_and_thresholds_is_refused(
    tmp_path: Path, old: str, new: str, key: str
):
    """By file, line and key."""
    folder = made(
        tmp_path / "p", _hazard_graph(np.asarray(TABLE)), head=HAZARDS, classes=CAUSES,
        calibration=AUTHOR, tiers=TIERS,
    )  # fmt: skip
    text = (folder / "pack.toml").read_text()
    assert old in text
    (folder / "pack.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ManifestRefused) as caught:
        packs.load(folder)
    assert key == caught.value.key


def test_an_assessment_made_anew_is_of_its_own_moment(tmp_path: Path):
    """A later look at an earlier assessment: its index time stays, what came after is not read."""
    pack = packs.load(made(tmp_path / "p", logistic([1, 1]), head=LOGIT))
    later = T0 + timedelta(days=3)
    record = PatientRecord.of([*PATIENT, lab("CEA", "99", days=1)], as_of=later)
    first = eligibility.readiness(pack.manifest, record, [], later, T0)
    assert ("ready", T0) == (first.state, first.t0)
    said = assess(pack, [Case(record=record, ct=None, t0=T0, as_of=later)])[0]
    assert pytest.approx(12.5 + 4.1) == said.logit
    assert later == eligibility.readiness(pack.manifest, record, [], later).t0
