"""History by FHIR: what the EHR knows from before, as our door and the sandbox EHR take it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import wires
from whole_line import Line

from mappings.record import Coded, Quantity
from workers.demo import history
from workers.demo.ehr import sandbox
from workers.demo.history import Drug, History, Operation, Problem, Relative, Sample, Visit
from workers.demo.subject import CannotSend, subject

FULL = History(
    problems=(
        Problem(icd10="B18.1", text="慢性乙型病毒性肝炎", onset="2017"),
        Problem(
            icd10="K29.7", text="胃炎", onset="2024-05", recorded="2024-05-03", abated="2024-07-01"
        ),
    ),
    visits=(
        Visit(number="V1", kind="AMB", start="2025-03-01", end="2025-03-01"),
        Visit(number="V2", kind="IMP", start="2026-02-20", end="2026-03-08"),
    ),
    operations=(
        Operation(snomed="107963000", text="肝切除术", done="2026-03-02", site="10200004"),
    ),
    drugs=(Drug(atc="J05AF10", text="恩替卡韦", given="2025-03-02", dose_mg=1),),
    samples=(
        Sample(
            number="P1",
            snomed="430861001",
            text="切除标本",
            taken="2026-03-02T10:30:00+08:00",
            site="10200004",
        ),
    ),
    relatives=(Relative(relation="mother", icd10="C22.0", text="肝细胞癌", age_years=61),),
    smoking="former",
    bmi=23.4,
    ecog=0,
    observed="2026-02-21",
    consented="2026-02-20",
)


def test_what_our_door_maps_of_a_history():
    """Problems by ICD-10 with their times, visits by number, the operation, and three measures."""
    made, _ = wires.of_fhir(history.fhir_history(wires.somebody(), FULL))
    assert [] == [finding for conversion in made for finding in conversion.findings]
    record = wires.record(*made)
    problems = {e.code.code: (e.effective.isoformat(), e.details["clinical"])
                for e in record.of_kind("condition")}  # fmt: skip
    assert {"B18.1": ("2017", "active"), "K29.7": ("2024-05", "resolved")} == problems
    visits = {e.key: (e.details["class"], e.details["discharged"])
              for e in record.of_kind("encounter")}  # fmt: skip
    assert {
        f"encounter/{history.VISIT_SYSTEM}|V1": ("AMB", "2025-03-01"),
        f"encounter/{history.VISIT_SYSTEM}|V2": ("IMP", "2026-03-08"),
    } == visits
    [operation] = record.of_kind("procedure")
    assert ("107963000", ["10200004"]) == (operation.code.code, operation.details["body_site"])
    smoking, bmi, ecog = (record.latest(code).value for code in ("72166-2", "39156-5", "89247-1"))
    assert isinstance(smoking, Coded)
    assert "LA15920-4" == smoking.codes[0].code
    assert isinstance(bmi, Quantity)
    assert ("23.4", "kg/m2", "0") == (bmi.text, bmi.unit, ecog.text)


def test_every_resource_is_valid_and_read():
    """All of models.md 1.1: also drugs, the specimen, family and consent, each with its time."""
    made, unread = wires.of_fhir(history.fhir_history(wires.somebody(), FULL))
    assert (13, []) == (len(made), unread)
    record = wires.record(*made)
    told = {
        kind: [(e.code.code, e.effective.isoformat()) for e in record.of_kind(kind)]
        for kind in ("medication", "specimen", "consent")
    }
    assert {
        "medication": [("J05AF10", "2025-03-02")],
        "specimen": [("430861001", "2026-03-02T10:30:00+08:00")],
        "consent": [("59284-0", "2026-02-20")],
    } == told
    [specimen] = record.of_kind("specimen")
    assert [f"{history.SPECIMEN_SYSTEM}|P1"] == specimen.details["ids"]


def test_a_study_is_announced_by_its_series():
    """ImagingStudy and DICOM share the key of the study."""
    who = wires.somebody()
    announced = history.imaging_study(who, "2.25.7", "MR", "肝脏MRI", {"2.25.8": 24, "2.25.9": 24})
    made, _ = wires.of_fhir(history.fhir_history(who, History(), [announced]))
    [study] = wires.record(*made).of_kind("imaging_study")
    assert "imaging_study/2.25.7" == study.key
    counts = {s["uid"]: s["numberOfInstances"] for s in study.details["series"]}
    assert {"2.25.8": 24, "2.25.9": 24} == counts


def test_the_patient_is_the_one_of_the_other_wires():
    """One identifier by FHIR and by HL7, the same birth date and sex."""
    who = wires.somebody("en", "male")
    made, _ = wires.of_fhir(history.fhir_history(who, History()))
    assert f"https://hospital.example/mrn|{who.number}" == str(made[0].patient)
    record = wires.record(*made)
    born, sex = record.demographic("birth_date"), record.demographic("sex")
    assert born is not None
    assert sex is not None
    assert ("1970-12-28", "male") == (born.value.isoformat(), sex.value.text)


def test_the_sandbox_ehr_and_the_door_take_it(line: Line):
    """The EHR keeps every resource of the transaction; the door answers 200 and applies it."""
    bundle = history.fhir_history(wires.somebody(), FULL)
    ehr = sandbox(lambda: datetime(2026, 3, 20, tzinfo=UTC))
    ehr.store.transaction(bundle)
    kept = {kind: len(held) for kind, held in ehr.store.versions.items()}
    assert {"Patient": 1, "Encounter": 2, "Condition": 2, "Procedure": 1, "Observation": 3,
            "MedicationAdministration": 1, "Specimen": 1, "FamilyMemberHistory": 1, "Consent": 1} == kept  # fmt: skip
    assert 200 == line.fhir(bundle).status_code
    line.settle()
    assert ["applied"] == [m["state"] for m in line.inbound("applied")]


@pytest.mark.parametrize(
    ("t0", "born"),
    [("2026-03-02", "1970-12-28"), ("2026-12-27", "1970-12-28"), ("2026-12-28", "1971-12-28")],
)
def test_a_birth_date_gives_the_age_that_was_asked_for(t0: str, born: str):
    """Fifty-five on the index day, before and after the birthday of the year."""
    moment = datetime.fromisoformat(f"{t0}T12:00:00+08:00")
    made = subject("SYN-1", sex="male", age_years=55, language="en", t0=moment)
    assert born == made.birth_date
    day = moment.date()
    birth = date.fromisoformat(made.birth_date)
    assert 55 == day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


@pytest.mark.parametrize("number", ["12345678", "SYN-", "SYN-12a"])
def test_a_number_that_could_be_a_persons_is_refused(number: str):
    """Whoever reads it must see that nobody is meant."""
    with pytest.raises(CannotSend):
        subject(number, sex="male", age_years=55, language="en", t0=wires.T0)


def test_a_measure_without_its_day_is_refused():
    """When somebody was weighed is part of the fact."""
    with pytest.raises(CannotSend):
        History(bmi=22.0)
