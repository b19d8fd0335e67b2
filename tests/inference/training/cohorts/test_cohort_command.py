"""`oncord cohort`: a table of clauses, and a patient's messages."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from inference.training.cohorts import studies
from mappings.outbound.result import SYNTHETIC_WORDS
from workers.cohort import app

RUN = CliRunner()


def test_every_clause_is_printed_with_its_figure():
    """The status says whether all hold."""
    arguments = ["check", "breast", "--patients", "1000", "--rendered", "250"]
    found = RUN.invoke(app, arguments, env={"COLUMNS": "200"})
    assert found.exit_code == ("FAILS" in found.output)
    for words in ("difficulty contract of breast", "full Bayes C-index", "site alone", "pen on"):
        assert words in found.output


def test_an_unknown_study_is_named_with_those_there_are():
    """Status 2 and one line, from both commands."""
    for arguments in (["check", "lung"], ["messages", "lung", "1"]):
        found = RUN.invoke(app, arguments)
        assert 2 == found.exit_code
        assert "'lung' is not declared" in found.output


def test_too_few_patients_are_refused():
    """Figures of nothing are not printed."""
    found = RUN.invoke(app, ["check", "breast", "--patients", "999"])
    assert 2 == found.exit_code
    assert "999 patients measure nothing" in found.output


def test_messages_writes_hl7_of_one_patient():
    """A registration first, then results; marked as synthetic."""
    found = RUN.invoke(app, ["messages", "crlm", "5"])
    assert 0 == found.exit_code
    assert found.output.startswith("MSH|^~\\&|COHORT|")
    assert "ADT^A04" in found.output
    assert "2039-6^^LN" in found.output
    assert "SYN-" in found.output


def test_the_page_carries_the_words_and_every_study():
    """models.md 4.4: they stand wherever a figure stands."""
    page = (Path(__file__).parents[4] / "docs" / "reference" / "cohorts.md").read_text("utf-8")
    plain = " ".join(page.replace("*", "").replace("> ", "").split())
    assert SYNTHETIC_WORDS.replace("*", "") in plain
    assert all(f"`{name}`" in page for name in studies.declared())
    assert all(studies.study(n).registry in page for n in studies.declared())


def test_studies_are_found_by_listing():
    """The five of the plan, one with two questions; helpers beside them are no studies."""
    assert {"liver", "crlm", "hcc", "breast", "pan", "pan_1y"} == set(studies.declared())


def test_a_patient_of_no_number_is_refused() -> None:
    """As wrong use, in one sentence."""
    for words in (["--", "liver", "-5"], ["--seed", "-1", "liver", "5"]):
        found = RUN.invoke(app, ["messages", *words])
        assert 2 == found.exit_code
        assert "Invalid value" in found.output
