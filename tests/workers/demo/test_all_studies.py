"""`oncord demo --study`: a patient of every study through real doors, up to what is expected."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from inference import protocol_reading
from workers.cli import app
from workers.demo.acts import Course, Expected, Message, Transaction
from workers.demo.hospital import Chart
from workers.demo.play import PATIENTS, UnknownStudy, cast, perform, protocols
from workers.demo.stage import EhrServer, Stage
from workers.demo.timeline import Timeline
from workers.parts import utc_now

# Not the demo's own seed: another patient of each cohort gets there too.
_SEED = 11
_NOW = datetime(2026, 3, 20, 4, 0, tzinfo=UTC)
_STATES = {
    "liver_dx": "ready",
    "liver_px": "ready",
    "hcc_ar_pre": "not_eligible",
    "hcc_ar_post": "ready",
    "crlm_2y": "ready",
    "breast_dm": "ready",
    "pan_cancer_now": "ready",
    "pan_cancer_1y": "ready",
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run left: its status, its report, and what it printed."""

    status: int
    report: dict[str, Any]
    printed: str

    def steps(self, study: str) -> list[str]:
        """Station and text of each step of a study."""
        [found] = [s for s in self.report["studies"] if s["study"] == study]
        return [f"{step['station']}: {step['text']}" for step in found["steps"]]

    def verdicts(self, name: str) -> dict[str, str]:
        """Verdict of each rule of a protocol that gates a prediction, when it was told last."""
        told = [a for s in self.report["studies"] for a in s["readiness"] if a["protocol"] == name][
            -1
        ]
        return {r["rule"]: r["verdict"] for r in told["rules"] if r["scope"] != "analyse"}


@dataclass(frozen=True, kw_only=True)
class House:
    """A demo hospital that is up."""

    home: Path
    ehr: EhrServer
    timeline: Timeline

    def play(self, patients: dict[str, Chart | Course]) -> Run:
        """Play patients as the command does."""
        report = self.home / "report.json"
        status = perform(self.timeline, patients, self.ehr, once=True, report=report)
        written = json.loads(report.read_text("utf-8"))
        printed = self.timeline.console.export_text()
        return Run(status=status, report=written, printed=printed)


@pytest.fixture(scope="module")
def everybody() -> dict[str, Chart | Course]:
    """A patient of each study."""
    return cast("all", _SEED, utc_now())


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, everybody: dict[str, Chart | Course]
) -> Iterator[House]:
    """Service, workers and sandbox EHR as processes, with every protocol."""
    home, ehr = tmp_path_factory.mktemp("demo"), EhrServer()
    ehr.start()
    try:
        with Stage(home, ehr.base_url, protocols=protocols(everybody)) as stage:
            console = Console(record=True, width=240, file=io.StringIO())
            yield House(home=home, ehr=ehr, timeline=Timeline(console, stage))
    finally:
        ehr.stop()


@pytest.fixture(scope="module")
def run(house: House, everybody: dict[str, Chart | Course]) -> Run:
    """`oncord demo --study all --once --report FILE`, in this process."""
    return house.play(everybody)


@pytest.mark.slow
def test_every_patient_reaches_what_is_expected(run: Run):
    """Status 0; ready by every protocol, but for PRE once surgery has begun."""
    assert (0, True, "") == (run.status, run.report["verified"], run.report["failure"])
    told = [(a["protocol"], a["state"]) for s in run.report["studies"] for a in s["readiness"]]
    assert _STATES == dict(told)
    assert ("hcc_ar_pre", "ready") in told
    assert {"liver_dx", *protocol_reading.shipped()} == {name for name, _ in told}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, state in _STATES.items() if state == "ready"])
def test_every_gating_rule_is_met_and_told(run: Run, name: str):
    """The report has a verdict for each rule that gates a prediction, and so has the timeline."""
    verdicts = run.verdicts(name)
    assert {"met"} == set(verdicts.values())
    if name in protocol_reading.shipped():
        ruled = {r.id for r in protocol_reading.shipped()[name].rules if r.scope != "analyse"}
        assert ruled <= set(verdicts)
        assert all(re.search(rf" met +{rule}: ", run.printed) for rule in verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(protocol_reading.shipped()))
def test_a_model_would_find_what_it_requires(run: Run, name: str):
    """Every required input was read when the patient was ready, and of genomics what was sent."""
    answers = [a for s in run.report["studies"] for a in s["readiness"]]
    told = [a for a in answers if (a["protocol"], a["state"]) == (name, "ready")][-1]["inputs"]
    present = {one["input"]: one["present"] for one in told}
    assert all(present[one["input"]] for one in told if one["required"])
    # Seven genes came as FHIR Observations, some with a variant, some said to be unchanged.
    assert present.get("germline", True)


@pytest.mark.slow
def test_a_study_before_surgery_is_ready_then_locked_then_ready_after_it(run: Run):
    """PRE by MR, laboratory and BCLC stage; surgery shuts it, pathology and slide open POST."""
    told = [line for line in run.steps("hcc") if re.search(r"rules met$|with PR1", line)]
    surgery = next(line for line in told if "with PR1" in line)
    assert [
        "waiting for: hcc_ar_pre: 6 of 7 rules met",
        "ready: hcc_ar_pre: 7 of 7 rules met",
        surgery,
        "not eligible: hcc_ar_pre: 6 of 7 rules met",
        "waiting for: hcc_ar_post: 7 of 11 rules met",
        "ready: hcc_ar_post: 11 of 11 rules met",
    ] == told
    assert {"lock"} == {r for r, v in run.verdicts("hcc_ar_pre").items() if v != "met"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "sent"),
    [
        ("liver_dx", "STOW-RS: CT, 4 phases"),
        ("hcc", "STOW-RS: MR, 6 sequences, 120 instances"),
        ("hcc", "STOW-RS: slides, H&E, 6 instances"),
        ("crlm", "genomics, ORU^R01 with 3 OBX-4 groups"),
        ("breast", "STOW-RS: slides, H&E, Pan-CK, CD3, CD20, 24 instances"),
        ("breast", "pathology, ORU^R01: synoptic form and narrative"),
        ("pan", "genomics by FHIR: an Observation per variant, DiagnosticReport"),
        ("pan", "FHIR transaction of history"),
    ],
)
def test_each_modality_goes_by_its_own_wire(run: Run, study: str, sent: str):
    """And nothing of it is set aside: the ledger counted all of it as applied before each verdict."""
    assert any(sent in line for line in run.steps(study))


@pytest.mark.slow
def test_a_patient_who_does_not_get_there_ends_with_status_1(house: House, run: Run):
    """Without pathology a patient waits; the others are played on, and the report says which."""
    assert run.status == 0
    lacking, whole = (cast(name, _SEED + 1, utc_now())[name] for name in ("liver_px", "pan"))
    assert isinstance(lacking, Course)
    acts = tuple(a for a in lacking.acts if not getattr(a, "what", "").startswith("pathology"))
    assert len(acts) == len(lacking.acts) - 1
    patients = {"liver_px": replace(lacking, acts=acts), "pan": whole}
    house.timeline.patience_s = 6.0
    failed = house.play(patients)
    assert (1, False) == (failed.status, failed.report["verified"])
    assert "liver_px: liver_px is not ready after 6 s" == failed.report["failure"]
    assert {"radical", "lock"} == {
        rule for rule, verdict in failed.verdicts("liver_px").items() if verdict != "met"
    }
    assert [False, True] == [s["verified"] for s in failed.report["studies"]]
    assert {} == failed.report["resources"]


def test_everybody_has_a_chinese_name_and_is_nobody(everybody: dict[str, Chart | Course]):
    """Marked as synthetic in name and number, and no two of them share a number."""
    who = [p.subject if isinstance(p, Chart) else p.who for p in everybody.values()]
    assert all(re.fullmatch(r"SYN-\d{8}", one.number) for one in who)
    assert len(who) == len({one.number for one in who})
    assert {"合成患者", "样本病例"} >= {"".join(one.name[:2]) for one in who}


def test_the_same_seed_and_moment_send_the_same():
    """Messages, transactions and DICOM are those of the arguments; another seed sends others."""

    def sent(seed: int) -> list[bytes]:
        course = cast("pan", seed, _NOW)["pan"]
        assert isinstance(course, Course)
        made = []
        for act in course.acts:
            match act:
                case Message():
                    made.append(act.build("1", _NOW))
                case Transaction():
                    made.append(json.dumps(act.bundle).encode())
                case Expected():
                    pass
                case _:
                    made += [i.PixelData for i in act.instances()]
        return made

    assert sent(3) == sent(3)
    assert sent(3) != sent(4)


@pytest.mark.parametrize("name", sorted(protocol_reading.shipped()))
def test_a_protocol_names_the_patient_who_gets_there(
    everybody: dict[str, Chart | Course], name: str
):
    """`--study` takes the id of any protocol, and that protocol is what is verified."""
    [patient] = PATIENTS[name]
    assert name in protocols({patient: everybody[patient]})


def test_another_name_is_wrong_use():
    """Status 2, and the names that there are."""
    with pytest.raises(UnknownStudy, match="pan_cancer_now"):
        cast("lung", 7, _NOW)
    done = CliRunner().invoke(app, ["demo", "--study", "lung", "--once"])
    assert done.exit_code == 2
    assert {"all", "liver", "hcc", "crlm", "breast", "pan"} <= set(PATIENTS)
