"""`oncord cohort`: the synthetic cohorts, checked clause by clause, and their patients as HL7.

The cohorts themselves are `inference.training.cohorts`; checking them needs the extra `train`.
Source: HL7 v2.5.1 chapters 3 and 7 (ADT^A04, ORU^R01); models.md 4.4.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from mappings.codes import ICD10, LOINC, system_name
from mappings.outbound.er7 import escape
from mappings.record import Code, Coded, Quantity, Text
from workers import cohort_fhir
from workers.ending import stop

if TYPE_CHECKING:
    from inference.training.cohorts.patients import Fact, Patient
    from inference.training.contract import Clause

app = typer.Typer(no_args_is_help=True, help="Synthetic cohorts with a known optimum.")
_SEED = 20261121
_DAY = datetime(2026, 3, 2, 9, 30)  # noqa: DTZ001  typer parses naive dates; it is read as UTC
_TABLES = {LOINC: "LN", ICD10: "I10"}


@app.command()
def check(
    study: Annotated[str, typer.Argument(help="liver, crlm, hcc, breast, pan or pan_1y")],
    patients: Annotated[int, typer.Option(help="Patients of each set")] = 20_000,
    rendered: Annotated[int, typer.Option(help="At most so many get images")] = 3_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cohort")] = _SEED,
) -> None:
    """Measure each clause of a study's difficulty contract; status 1 when one does not hold."""
    console = Console()
    try:
        from inference.training.cohorts import check as checking  # noqa: PLC0415  the extra `train`
        from inference.training.cohorts.errors import CohortError  # noqa: PLC0415
    except ImportError as error:
        stop(f"cohorts need the extra `train` ({error.name} is missing)", 2)
    try:
        clauses = checking.check(study, patients, seed, rendered=rendered)
    except CohortError as error:
        stop(str(error), 2)
    with console.status(f"{study}: rendering and measuring"):
        found = list(clauses)
    console.print(table(study, found))
    raise typer.Exit(0 if all(c.holds for c in found) else 1)


def table(study: str, clauses: Iterable[Clause]) -> Table:
    """Clauses as a table, each with its figure and what was asked."""
    made = Table("clause", "figure", "asked", "", title=f"difficulty contract of {study}")
    for one in clauses:
        mark = "[green]holds[/]" if one.holds else "[red]FAILS[/]"
        made.add_row(one.clause, one.figure, one.asked, mark)
    return made


@app.command()
def messages(
    study: Annotated[str, typer.Argument(help="liver, crlm, hcc, breast, pan or pan_1y")],
    patient: Annotated[int, typer.Argument(min=0, help="Number of the patient in the cohort")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cohort")] = _SEED,
    day: Annotated[datetime, typer.Option(help="The index date, UTC")] = _DAY,
    as_fhir: Annotated[bool, typer.Option("--fhir", help="One FHIR transaction instead")] = False,
) -> None:
    """Write what a hospital would send of one patient, as HL7 v2 messages, to standard output."""
    from inference.training.cohorts import studies  # noqa: PLC0415  start-up time
    from inference.training.cohorts.errors import UnknownStudy  # noqa: PLC0415
    from inference.training.cohorts.patients import patient as made  # noqa: PLC0415

    try:
        one = made(studies.study(study), seed, patient)
    except UnknownStudy as error:
        stop(str(error), 2)
    index_at = day.replace(tzinfo=UTC)
    if as_fhir:
        sent = cohort_fhir.bundle(one, index_at=index_at)
        sys.stdout.write(json.dumps(sent, ensure_ascii=False, indent=1) + "\n")
        return
    for raw in hl7(one, index_at=index_at):
        sys.stdout.buffer.write(raw)


def hl7(one: Patient, *, index_at: datetime) -> Iterator[bytes]:
    """A registration with the diagnoses, and one ORU^R01 for each order of the patient's facts.

    Args:
        one: A patient of a declared study.
        index_at: Aware moment of day 0.

    Yields:
        Messages in UTF-8, segments ended by carriage returns, in the order of their issue.
    """
    from inference.training.cohorts import patients  # noqa: PLC0415  numpy, at start-up

    facts = patients.facts(one)
    diagnoses = [f for f in facts if f.kind == "condition"]
    born = patients.birth_date(one, index_at).strftime("%Y%m%d")
    visit = f"PV1|1|O{'|' * 17}{one.number[4:]}^^^DEMOHOSP^VN"
    history = [visit, *_dg1(diagnoses, index_at)]
    yield _message(one, "ADT^A04^ADT_A01", "A", index_at, history, born=born)
    orders = sorted((f for f in facts if f.kind != "condition"), key=_of_order)
    for (issued, order, _days), group in groupby(orders, key=_of_order):
        sent = index_at + timedelta(days=issued)
        control = f"{order}-{issued}"
        results = [*_results(list(group), index_at)]
        yield _message(one, "ORU^R01^ORU_R01", control, sent, results, born=born)


def _of_order(fact: Fact) -> tuple[int, str, int]:
    return fact.issued_days, fact.order, fact.days


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S%z")


def _message(
    one: Patient, kind: str, control: str, sent: datetime, body: list[str], *, born: str
) -> bytes:
    who = f"{one.number}^^^DEMOHOSP^MR"
    head = f"MSH|^~\\&|COHORT|DEMOHOSP|ONCORD|DEMOHOSP|{_stamp(sent)}||{kind}"
    segments = [
        f"{head}|{one.number}-{control}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||{who}||SYNTHETIC^PATIENT||{born}|{one.sex[0].upper()}",
        *body,
    ]
    if kind.startswith("ADT"):
        segments.insert(1, f"EVN|A04|{_stamp(sent)}")
    return ("\r".join(segments) + "\r").encode()


def _dg1(facts: Iterable[Fact], index_at: datetime) -> Iterator[str]:
    for number, fact in enumerate(facts, 1):
        when = _stamp(index_at + timedelta(days=fact.days))
        yield f"DG1|{number}||{_cwe(fact.code)}||{when}|F"


def _results(facts: list[Fact], index_at: datetime) -> Iterator[str]:
    first = facts[0]
    done = _stamp(index_at + timedelta(days=first.days))
    issued = _stamp(index_at + timedelta(days=first.issued_days))
    yield f"OBR|1||{first.order}|{_cwe(first.code)}|||{done}{'|' * 15}{issued}|||F"
    lines = ((fact, line) for fact in facts for line in _values(fact))
    for number, (fact, (kind, value, unit)) in enumerate(lines, 1):
        asked = f"{_cwe(fact.code)}|{fact.sub_id}"
        yield f"OBX|{number}|{kind}|{asked}|{value}|{escape(unit)}|||||F"


def _values(fact: Fact) -> Iterator[tuple[str, str, str]]:
    """OBX-2, OBX-5 and OBX-6; a report is a line each."""
    match fact.value:
        case Quantity() as number:
            yield "NM", number.text, number.raw_unit
        case Coded(codes=codes, text=text):
            yield "CWE", _cwe(codes[0]) if codes else f"^{escape(text)}", ""
        case Text(text=text) if fact.kind == "report":
            for line in text.split("\n"):
                yield "TX", escape(line), ""
        case Text(text=text):
            yield "ST", escape(text), ""


def _cwe(code: Code) -> str:
    system = _TABLES.get(code.system, system_name(code.system))
    return f"{escape(code.code)}^{escape(code.display)}^{escape(system)}"
