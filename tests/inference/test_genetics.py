"""Variants from real ORU bytes and from FHIR: grouped, classed, counted, and never guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inference import features
from inference.genetics import Named, burden, named, variants
from inference.genetics.calls import CODES
from inference.protocol import Input
from mappings import fhir, hl7v2
from mappings.record import Entry, Identifier, PatientRecord, Source
from mappings.site import Site

MRN, LAB = "https://hospital.example/ns/mrn", "https://hospital.example/ns/lab"
SITE = Site(
    name="h", default_authority=MRN, authorities={"HOSP": MRN, "LAB": LAB, LAB: LAB},
    timezone="Asia/Shanghai",
)  # fmt: skip
NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)
WHO = Identifier("SYN-1", MRN)
GOLDEN = Path(__file__).parents[1] / "mappings" / "hl7v2" / "files" / "oru_r01_genomics.hl7"

HEAD = "MSH|^~\\&|NGS|HOSP|ONCORD|HOSP|{sent}+0800||ORU^R01^ORU_R01|G{number}|P|2.5.1||||||UNICODE UTF-8"
OBR = (
    "OBR|1|G1^HIS|{filler}^LAB|51969-4^Genetic analysis report^LN|||20261120093000+0800"
    "|||||||||||||||{sent}+0800||GE|F"
)
# 69548-6 assessment, 48018-6 gene, 48004-6 coding change, 48002-0 source, 53037-8 significance.
PRESENT, ABSENT = "LA9633-4^Present^LN", "LA9634-2^Absent^LN"
TP53 = {
    "69548-6": PRESENT,
    "48018-6": "HGNC:11998^TP53^HGNC",
    "48004-6": "NM_000546.6:c.747G>T^NM_000546.6:c.747G>T^HGVS",
    "48005-3": "p.Arg249Ser^p.Arg249Ser^HGVS",
    "48002-0": "LA6684-0^体细胞^LN",
    "53037-8": "LA6668-3^致病^LN",
}
BRCA1 = {
    "69548-6": "^检出",
    "48018-6": "^BRCA1基因",
    "48004-6": "^NM_007294.4:c.68_69del（杂合）",
    "48002-0": "^胚系",
    "53037-8": "^可能致病性变异",
}
VUS = {
    "69548-6": PRESENT,
    "48018-6": "HGNC:6407^KRAS^HGNC",
    "48004-6": "NM_004985.5:c.35G>A",
    "53037-8": "^临床意义未明",
}
BENIGN = {**VUS, "48018-6": "^APC", "48004-6": "c.1458T>C", "53037-8": "LA6675-8^Benign^LN"}
NONE_FOUND = {"69548-6": ABSENT, "48018-6": "HGNC:2514^CTNNB1^HGNC", "48002-0": "LA6684-0^^LN"}


def oru(
    groups: Sequence[tuple[str, dict[str, str]]],
    *,
    number: int = 1,
    filler: str = "NGS88",
    status: str = "F",
    minutes: int = 0,
) -> bytes:
    """A genomics report: one OBX per row, its group in OBX-4."""
    sent = f"{datetime(2026, 12, 1, 14, 30) + timedelta(minutes=minutes):%Y%m%d%H%M%S}"
    lines = [
        HEAD.format(sent=sent, number=number),
        "PID|1||SYN-1^^^HOSP^MR",
        OBR.format(sent=sent, filler=filler),
    ]
    rows = [(group, code, value) for group, told in groups for code, value in told.items()]
    for place, (group, code, value) in enumerate(rows, 1):
        own, told = value if isinstance(value, tuple) else (status, value)
        lines.append(f"OBX|{place}|CWE|{code}^{code}^LN|{group}|{told}||||||{own}")
    return "\r".join(lines).encode() + b"\r"


def by_hl7(raw: bytes, message: int = 1) -> list[Entry]:
    """A message as our reader takes it."""
    source = Source("lab", message, NOW + timedelta(minutes=message))
    return list(hl7v2.entries(raw, site=SITE, source=source).entries)


LOINC = "http://loinc.org"


def concept(value: str) -> dict[str, Any]:
    """`code^words^system` as a CodeableConcept."""
    code, words, name = (*value.split("^"), "", "")[:3]
    systems = {
        "LN": LOINC,
        "HGNC": "http://www.genenames.org/geneId",
        "HGVS": "http://varnomen.hgvs.org",
    }
    made: dict[str, Any] = {"text": words or code}
    if code:
        made["coding"] = [{"system": systems.get(name, "urn:x"), "code": code, "display": words}]
    return made


def observation(
    whole: str, value: str, parts: Sequence[tuple[str, str]], **more: Any
) -> dict[str, Any]:
    """One Observation of the Genomics Reporting IG."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": concept(f"{whole}^^LN"),
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2026-11-20T09:30:00+08:00",
        "issued": "2026-12-01T14:30:00+08:00",
        **({"valueCodeableConcept": concept(value)} if value else {}),
        "component": [
            {"code": concept(f"{code}^^LN"), "valueCodeableConcept": concept(told)}
            for code, told in parts
        ],
        **more,
    }


def by_fhir(*resources: dict[str, Any], message: int = 2) -> list[Entry]:
    """Resources as our reader takes them."""
    source = Source("ehr", message, NOW + timedelta(minutes=message))
    return [
        e for r in resources for e in fhir.entries(r, site=SITE, source=source, patient=WHO).entries
    ]


def called(call: dict[str, str], **more: Any) -> dict[str, Any]:
    """A variant Observation of a call."""
    told = dict(call)
    return observation("69548-6", told.pop("69548-6"), list(told.items()), **more)


def record(*entries: Entry) -> PatientRecord:
    """All of it folded."""
    numbered = [replace(e, seq=n) for n, e in enumerate(entries, 1)]
    return PatientRecord.of(numbered, as_of=datetime(2027, 1, 1, tzinfo=UTC))


CALLS = [("2a", TP53), ("2b", BRCA1), ("2c", VUS), ("2d", BENIGN), ("2e", NONE_FOUND)]
DOORS: dict[str, Callable[[], list[Entry]]] = {
    "hl7": lambda: by_hl7(oru(CALLS)),
    "fhir": lambda: by_fhir(*(called(c) for _, c in CALLS)),
    "fhir with ids": lambda: by_fhir(*(called(c, id=g) for g, c in CALLS)),
    "both": lambda: [*by_hl7(oru(CALLS)), *by_fhir(*(called(c) for _, c in CALLS))],
}
GENES = ("TP53", "BRCA1", "KRAS", "APC", "CTNNB1", "EGFR")


@pytest.mark.parametrize("door", ["hl7", "fhir", "fhir with ids"])
def test_both_doors_tell_the_same_variants(door: str) -> None:
    """Gene, change, significance, origin and time of each group; Chinese words like codes."""
    found = variants(record(*DOORS[door]()))
    assert {
        ("TP53", "c.747G>T", "p.Arg249Ser", "pathogenic", "somatic", "present"),
        ("BRCA1", "c.68_69del", "", "likely pathogenic", "germline", "present"),
        ("KRAS", "c.35G>A", "", "uncertain significance", None, "present"),
        ("APC", "c.1458T>C", "", "benign", None, "present"),
        ("CTNNB1", "", "", None, "somatic", "absent"),
    } == {(v.gene, v.change, v.protein, v.significance, v.origin, v.state) for v in found}
    assert 5 == len(found)
    assert {("final", "2026-11-20T09:30:00+08:00")} == {
        (v.status, v.effective.isoformat() if v.effective else "") for v in found
    }
    tp53 = next(v for v in found if v.of("HGNC:11998"))
    assert (6, "NM_000546.6:c.747G>T") == (len(tp53.keys), tp53.hgvs)


@pytest.mark.parametrize("door", sorted(DOORS))
def test_burden_counts_harmful_variants_of_tested_genes(door: str) -> None:
    """Unknown significance and benign are no burden; who was not tested is None; both doors once."""
    found = burden(record(*DOORS[door]()), GENES)
    assert {"TP53": 1, "BRCA1": 1, "KRAS": 0, "APC": 0, "CTNNB1": 0, "EGFR": None} == found.by_gene
    assert (2, ("EGFR",), ()) == (found.count, found.unknown, found.unclassified)
    assert found.keys


def test_burden_by_origin_takes_only_what_is_told_to_be_of_it() -> None:
    """A tumour's finding is no inherited one; a gene read in the tumour is not read in blood."""
    whole = record(*DOORS["hl7"]())
    assert {"TP53": None, "BRCA1": 1, "CTNNB1": None} == burden(
        whole, ("TP53", "BRCA1", "CTNNB1"), "germline"
    ).by_gene
    assert {"TP53": 1, "BRCA1": None, "CTNNB1": 0} == burden(
        whole, ("TP53", "BRCA1", "CTNNB1"), "somatic"
    ).by_gene


@pytest.mark.parametrize(
    ("gene", "change", "state"),
    [
        ("TP53", "c.747G>T", "present"),
        ("TP53", "p.R249S", "present"),
        ("HGNC:11998", "p.Arg249Ser", "present"),
        ("TP53", "c.743G>A", "absent"),
        ("CTNNB1", "c.134C>T", "absent"),
        ("BRCA1", "c.68_69del", "present"),
        ("EGFR", "p.L858R", None),
    ],
)
@pytest.mark.parametrize("door", sorted(DOORS))
def test_a_named_variant_is_present_absent_or_not_known(
    door: str, gene: str, change: str, state: str | None
) -> None:
    """One-letter and three-letter changes are one; an untested gene is no negative."""
    found = named(record(*DOORS[door]()), gene, change)
    assert state == found.state
    assert bool(found.keys) == (state is not None)


def test_the_golden_report_has_two_variants_that_nobody_classed() -> None:
    """Real bytes: OBX-4 `1.a` and `1.b`, no assessment, no significance: found, not counted."""
    whole = record(*by_hl7(GOLDEN.read_bytes()))
    found = variants(whole)
    assert [("TP53", "c.747G>T"), ("TERT", "c.-124C>T")] == [(v.gene, v.change) for v in found]
    told = burden(whole, ("TP53", "TERT", "KRAS"))
    assert (None, ("TP53", "TERT", "KRAS")) == (told.count, told.unknown)
    assert ["TP53", "TERT"] == [v.gene for v in told.unclassified]
    assert "present" == named(whole, "TERT", "c.-124C>T").state


def test_a_lone_variant_without_sub_ids_is_a_group() -> None:
    """Small laboratories leave OBX-4 empty."""
    (found,) = variants(record(*by_hl7(oru([("", TP53)]))))
    assert ("TP53", "pathogenic") == (found.gene, found.significance)


@pytest.mark.parametrize("door", ["hl7", "fhir"])
def test_a_corrected_significance_is_the_one_that_counts(door: str) -> None:
    """Reclassified from pathogenic to benign: the burden falls to 0, and the call says corrected."""
    benign = {**TP53, "53037-8": "LA6675-8^良性^LN"}
    if door == "hl7":
        first = by_hl7(oru([("2a", TP53)]))
        second = by_hl7(oru([("2a", benign)], number=2, status="C", minutes=60), 2)
    else:
        first = by_fhir(called(TP53, id="1"))
        later = {"status": "corrected", "issued": "2026-12-01T15:30:00+08:00"}
        second = by_fhir(called(benign, id="1", **later), message=3)
    assert {"TP53": 1} == burden(record(*first), ("TP53",)).by_gene
    whole = record(*first, *second)
    assert {"TP53": 0} == burden(whole, ("TP53",)).by_gene
    assert ["corrected"] == [v.status for v in variants(whole)]


@pytest.mark.parametrize("door", ["hl7", "fhir"])
def test_a_retracted_variant_leaves_its_gene_untested(door: str) -> None:
    """Sent in error: neither there nor looked for."""
    if door == "hl7":
        first = by_hl7(oru([("2a", TP53)]))
        gone = by_hl7(oru([("2a", TP53)], number=2, status="W", minutes=60), 2)
    else:
        first = by_fhir(called(TP53, id="1"))
        later = {"status": "entered-in-error", "issued": "2026-12-01T15:30:00+08:00"}
        gone = by_fhir(called(TP53, id="1", **later), message=3)
    whole = record(*first, *gone)
    assert () == variants(whole)
    assert {"TP53": None} == burden(whole, ("TP53",)).by_gene
    assert None is named(whole, "TP53", "c.747G>T").state


def test_a_retracted_row_is_not_a_negative_result() -> None:
    """The gene's row alone remains of the group: nothing says that it was found unchanged."""
    rows: dict[str, Any] = {code: ("W", told) for code, told in TP53.items() if code != "48018-6"}
    first = by_hl7(oru([("2a", TP53)]))
    gone = by_hl7(oru([("2a", rows)], number=2, minutes=60), 2)
    assert {"TP53": None} == burden(record(*first, *gone), ("TP53",)).by_gene


def test_what_a_newer_version_leaves_out_is_not_read() -> None:
    """A variant whose significance was withdrawn is without one."""
    first = by_fhir(called(TP53, id="1"))
    rest = {code: told for code, told in TP53.items() if code != "53037-8"}
    second = by_fhir(called(rest, id="1", issued="2026-12-02T09:00:00+08:00"), message=3)
    (found,) = variants(record(*first, *second))
    assert None is found.significance


def test_a_preliminary_call_is_told_and_not_counted() -> None:
    """Its final version will be."""
    whole = record(*by_hl7(oru([("2a", TP53), ("2b", NONE_FOUND)], status="P")))
    assert [False, False] == [v.settled for v in variants(whole)]
    assert {"TP53": None, "CTNNB1": None} == burden(whole, ("TP53", "CTNNB1")).by_gene
    assert None is named(whole, "TP53", "c.747G>T").state


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(by_hl7(oru([("", {"36908-2": "^TP53、KRAS，EGFR 基因"})])), id="list in words"),
        pytest.param(
            by_hl7(oru([("", {"36908-2": "HGNC:11998^TP53^HGNC~HGNC:6407^KRAS^HGNC~^EGFR"})])),
            id="list that repeats",
        ),
        pytest.param(
            by_hl7(
                oru([("", {"51968-6": "LA6577-6^阴性^LN"}), ("1", {"48018-6": "^TP53"}),
                     ("2", {"48018-6": "^KRAS"}), ("3", {"48018-6": "^EGFR"})])
            ),
            id="negative report",
        ),
        pytest.param(
            by_fhir(
                observation("53041-0", "", [("48018-6", f"^{g}") for g in ("TP53", "KRAS", "EGFR")])
            ),
            id="region studied",
        ),
    ],
)  # fmt: skip
def test_a_list_of_genes_says_what_was_tested(entries: list[Entry]) -> None:
    """Tested without a finding is 0; what is not on the list is None."""
    whole = record(*entries)
    assert {"TP53": 0, "KRAS": 0, "EGFR": 0, "BRAF": None} == burden(
        whole, ("TP53", "KRAS", "EGFR", "BRAF")
    ).by_gene
    assert ("absent", None) == (
        named(whole, "EGFR", "p.L858R").state,
        named(whole, "BRAF", "p.V600E").state,
    )


def test_a_positive_report_does_not_make_its_bare_genes_negative() -> None:
    """A gene row alone says nothing where the report is not negative."""
    told = oru([("", {"51968-6": "LA6576-8^阳性^LN"}), ("1", {"48018-6": "^TP53"}), ("2", VUS)])
    assert {"TP53": None, "KRAS": 0} == burden(record(*by_hl7(told)), ("TP53", "KRAS")).by_gene


def test_a_hotspot_test_examines_its_changes_and_not_the_gene() -> None:
    """36908-2 with HGVS inside a region: V600E was looked for, the rest of BRAF was not."""
    region = observation(
        "53041-0", "", [("48018-6", "^BRAF"), ("36908-2", "NM_004333.4:c.1799T>A^^HGVS")]
    )
    whole = record(*by_fhir(region))
    assert {"BRAF": None} == burden(whole, ("BRAF",)).by_gene
    assert "absent" == named(whole, "BRAF", "c.1799T>A").state
    assert None is named(whole, "BRAF", "c.1781A>G").state


def test_a_significance_told_apart_reaches_its_variant() -> None:
    """Genomics Reporting: an implication is derived from the variant it is about."""
    rest = {code: told for code, told in TP53.items() if code != "53037-8"}
    about = {"id": "i1", "derivedFrom": [{"reference": "Observation/v1"}]}
    implied = observation("diagnostic-implication", "", [("53037-8", TP53["53037-8"])], **about)
    alone = observation("53037-8", TP53["53037-8"], [], **about)
    for told in (implied, alone):
        whole = record(*by_fhir(called(rest, id="v1"), called(VUS, id="v2"), told))
        assert {"TP53": 1, "KRAS": 0} == burden(whole, ("TP53", "KRAS")).by_gene
        # A record of asked codes alone holds no implication, only the significance in it.
        asked = [e for e in whole.entries if e.code and e.code.code in CODES]
        assert {"TP53": 1, "KRAS": 0} == burden(record(*asked), ("TP53", "KRAS")).by_gene


@pytest.mark.parametrize(
    ("words", "significance"),
    [
        ("^Pathogenic", "pathogenic"),
        ("^致病性", "pathogenic"),
        ("^致病（5类）", "pathogenic"),
        ("^Likely_pathogenic", "likely pathogenic"),
        ("^Pathogenic/Likely pathogenic", "likely pathogenic"),
        ("^疑似致病突变", "likely pathogenic"),
        ("^VUS", "uncertain significance"),
        ("^意义不明变异", "uncertain significance"),
        ("^可能良性", "likely benign"),
        ("^Conflicting interpretations of pathogenicity", None),
        ("^非致病", None),
        ("^Not pathogenic", None),
        ("^I 类", None),
    ],
)
def test_words_of_significance(words: str, significance: str | None) -> None:
    """Whole answers only: a denial that contains the word is not the word."""
    (found,) = variants(record(*by_hl7(oru([("2a", {**TP53, "53037-8": words})]))))
    assert significance == found.significance


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"69548-6": "LA18198-4^No call^LN"}, None),
        ({"69548-6": "^未检出"}, 0),
        ({"48004-6": "NM_000546.6:c.747="}, 0),
        ({"48018-6": "^"}, None),
        ({"48018-6": "^未知"}, None),
        ({"53037-8": "^"}, None),
    ],
)
def test_a_call_that_says_too_little_is_not_known(change: dict[str, str], told: int | None) -> None:
    """No call, no gene or no class is None; reported absent is 0."""
    whole = record(*by_hl7(oru([("2a", {**TP53, **change}), ("2b", VUS)])))
    assert told == burden(whole, ("TP53",)).by_gene["TP53"]


def test_two_reports_of_one_change_count_once_as_told_last() -> None:
    """Another order number, another class: the later report's stands."""
    first = by_hl7(oru([("2a", TP53)], filler="N1"))
    later = {**TP53, "53037-8": "^VUS"}
    second = by_hl7(oru([("2a", later)], filler="N2", number=2, minutes=60), 2)
    for order in ([*first, *second], [*second, *first]):
        assert {"TP53": 0} == burden(record(*order), ("TP53",)).by_gene
    other = {**TP53, "48004-6": "c.743G>A", "48005-3": "p.Arg248Gln"}
    third = by_hl7(oru([("2a", other), ("2b", TP53)], filler="N3", number=3, minutes=90), 3)
    assert {"TP53": 2} == burden(record(*first, *third), ("TP53",)).by_gene


def test_our_own_writing_and_side_information_are_no_evidence() -> None:
    """Site rule 1; what an order said of the patient before (OBX-29 SCI) is no result."""
    told = by_hl7(oru([("2a", TP53)]))
    own = [replace(e, source=replace(e.source, origin="own")) for e in told]
    aside = [replace(e, details={**e.details, "role": "supporting"}) for e in told]
    for entries in (own, aside):
        assert () == variants(record(*entries))
        assert None is burden(record(*entries), ("TP53",)).count


def test_a_record_without_genetics_knows_nothing() -> None:
    """Genetics is optional in every study."""
    found = burden(record(), GENES)
    assert (None, GENES, ()) == (found.count, found.unknown, found.keys)
    assert () == variants(record())
    assert Named(state=None, keys=()) == named(record(), "TP53", "c.1A>G")


@pytest.mark.parametrize(
    ("second", "significance", "count"),
    [
        ("LA26332-9^Likely pathogenic^LN", "likely pathogenic", 1),
        ("LA6675-8^Benign^LN", None, None),
    ],
)
def test_two_interpretations_of_one_variant(
    second: str, significance: str | None, count: int | None
) -> None:
    """Harmful either way is harmful; harmful and benign at once is not known."""
    implied = observation(
        "diagnostic-implication", "", [("53037-8", second)],
        id="i1", derivedFrom=[{"reference": "Observation/v1/_history/3"}],
    )  # fmt: skip
    whole = record(*by_fhir(called(TP53, id="v1"), implied))
    assert [significance] == [v.significance for v in variants(whole)]
    assert count == burden(whole, ("TP53",)).count


def test_the_origin_of_a_sample_is_that_of_its_variants() -> None:
    """Told once for the whole report; a group's own word comes first."""
    report = oru([("", {"48002-0": "LA6683-2^胚系^LN"}), ("2a", VUS), ("2b", TP53)])
    told = {v.gene: v.origin for v in variants(record(*by_hl7(report)))}
    assert {"KRAS": "germline", "TP53": "somatic"} == told


def test_genes_and_changes_that_nobody_pairs_are_not_paired() -> None:
    """Two genes and two changes in one Observation: which belongs to which is not told."""
    parts = [("48018-6", "^TP53"), ("48018-6", "^KRAS"),
             ("48004-6", "^c.747G>T"), ("48004-6", "^c.35G>A")]  # fmt: skip
    mixed = record(*by_fhir(observation("69548-6", PRESENT, parts)))
    assert () == variants(mixed)
    assert {"TP53": None, "KRAS": None} == burden(mixed, ("TP53", "KRAS")).by_gene
    fusion = record(*by_fhir(observation("69548-6", PRESENT, parts[:3])))
    assert ["TP53", "KRAS"] == [v.gene for v in variants(fusion)]


@pytest.mark.parametrize(("days", "expected"), [(20, None), (60, 1.0)])
def test_a_gene_told_inside_the_gap_is_not_read(days: int, expected: float | None) -> None:
    """The biopsy of three weeks before an assessment would tell its answer (models.md 1.1)."""
    wanted = Input(
        id="tp53", kind="gene_burden", modality="genetics", display="TP53", required=False,
        genes=("TP53",), window_days=(-36500, -30),
    )  # fmt: skip
    t0 = datetime(2026, 11, 20, 1, 30, tzinfo=UTC) + timedelta(days=days)
    made = features.find_all([wanted], record(*DOORS["hl7"]()), t0, t0)["tp53"]
    assert expected == made.value
    assert (expected is None) == ("TP53" in made.reason)
    anytime = replace(wanted, window_days=None)
    assert 1.0 == features.find_all([anytime], record(*DOORS["hl7"]()), t0, t0)["tp53"].value
