"""MDM: documents with and without content, changed, added to, replaced and cancelled."""

from __future__ import annotations

from typing import Any

import pytest
from feeds import PID, obr, obx, segment

from mappings.record import Attachment, Entry

LINE = obx("FT", "FINDINGS: a~IMPRESSION: b", "", f3="18748-4^CT^LN")
PDF = obx("ED", "^application^pdf^Base64^JVBERi0xLjQK", "", f3="PDF^x^L")
EVN = "EVN||{}+0800"


def txa(**fields: str) -> str:
    """A TXA of a legally authenticated report."""
    given = {
        "f1": "1",
        "f2": "DI^Diagnostic Imaging",
        "f4": "20261120100000+0800",
        "f12": "DOC1",
        "f17": "LA",
        "f19": "AV",
        **fields,
    }
    return segment("TXA", **given)


def later(**fields: str) -> str:
    """The same TXA as it is sent with what becomes of the document."""
    return txa(**{"f8": "20261121090000+0800", **fields})


def report(found: Any) -> Entry:
    """The one report with a text."""
    (entry,) = (e for e in found.entries if e.kind == "report" and e.value is not None)
    return entry


def test_a_document_with_text_is_a_report(read: Any) -> None:
    """Keyed by its filler order where it has one, so that ORU and MDM are one report."""
    found = report(read("MDM^T02", PID, txa(f15="R1^LAB"), LINE))
    assert "report/https://hospital.example/ns/lab|R1" == found.key
    assert {"findings": "a", "impression": "b"} == found.details["sections"]


def test_a_document_number_may_stand_where_its_authority_should(read: Any) -> None:
    """TXA-12.3 alone, as Epic sends it; an authority without a number is none."""
    numbers = {}
    for sent in ("^^4711", "^LAB^4711", "^^2.16.840.1.113883"):
        found = read("MDM^T02", PID, segment("TXA", f2="CN", f12=sent, f17="AU"), obx("TX", "a"))
        (report,) = (e for e in found.entries if e.kind == "report")
        numbers[sent] = report.details.get("document", "")
    assert {"^^4711": "4711", "^LAB^4711": "", "^^2.16.840.1.113883": ""} == numbers


def test_a_document_with_files_is_one_document(read: Any) -> None:
    """TXA and all its files; their bytes stay in the raw message, found by path."""
    found = read("MDM^T02", PID, txa(), PDF, obx("RP", "http://pacs/1^^IM^PNG", "", f3="IMG^x^L"))
    (entry,) = found.entries
    assert isinstance(entry.value, Attachment)
    assert ("document", "document/DOC1") == (entry.kind, entry.key)
    assert ["OBX[1]-5", "OBX[2]-5"] == [a["path"] for a in entry.details["attachments"]]


@pytest.mark.parametrize(
    ("event", "completion", "availability", "status"),
    [
        ("T02", "LA", "AV", "final"),
        ("T02", "AU", "", "final"),
        ("T02", "DI", "", "preliminary"),
        ("T04", "LA", "", "final"),
        ("T06", "LA", "", "appended"),
        ("T08", "LA", "", "amended"),
        ("T10", "LA", "", "corrected"),
        ("T02", "LA", "CA", "deleted"),
    ],
)
def test_the_status_of_a_document(
    read: Any, event: str, completion: str, availability: str, status: str
) -> None:
    """TXA-17 and TXA-19, changed by the event."""
    found = read(f"MDM^{event}", PID, txa(f17=completion, f19=availability), LINE)
    assert status == report(found).status


@pytest.mark.parametrize("event", ["T01", "T03", "T05", "T07", "T09"])
def test_a_notification_brings_a_status_and_no_content(read: Any, event: str) -> None:
    """The document is known; what it says comes, or came, with another message."""
    found = read(f"MDM^{event}", PID, txa(f17="DI"))
    (entry, *_) = (e for e in found.entries if e.kind == "document")
    assert ("document/DOC1", "preliminary", None) == (entry.key, entry.status, entry.value)


@pytest.mark.parametrize("filler", ["", "R1^LAB"])
def test_a_report_that_is_signed_keeps_its_text(read: Any, folded: Any, filler: str) -> None:
    """T03 changes the status: preliminary becomes final, sections and code stay."""
    first = read("MDM^T02", PID, txa(f15=filler, f17="DI"), LINE)
    signed = read("MDM^T03", PID, later(f15=filler))
    for messages in ((first, signed), (signed, first)):
        (found,) = folded(*messages).of_kind("report")
        assert ("final", "18748-4", {"findings": "a", "impression": "b"}) == (
            found.status,
            found.code.code,
            found.details["sections"],
        )


def test_a_status_alone_is_no_report(read: Any, folded: Any) -> None:
    """T03 of a document nobody has sent: there is nothing to read yet."""
    record = folded(read("MDM^T03", PID, later()))
    assert () == record.of_kind("report")
    assert 1 == len(record.of_kind("document"))


@pytest.mark.parametrize(
    ("filler", "body"),
    [("", LINE), ("R1^LAB", LINE), ("", PDF), ("", f"{obr(f3='R7^LAB')}\r{LINE}")],
)
def test_a_cancelled_document_is_gone(read: Any, folded: Any, filler: str, body: str) -> None:
    """T11 retracts text and files, also where the filler number stood only in the body."""
    first = read("MDM^T02", PID, txa(f15=filler), *body.split("\r"))
    gone = read("MDM^T11", PID, later(f15=filler))
    for messages in ((first, gone), (gone, first)):
        record = folded(*messages)
        assert () == (*record.of_kind("report"), *record.of_kind("document"))


def test_a_cancellation_counts_from_its_event_and_not_from_the_document_s_times(
    read: Any, folded: Any
) -> None:
    """T11 repeats TXA as it was, signed before the T02 was even sent."""
    first = read("MDM^T02", PID, txa(), LINE)
    signed = txa(f22="A^^^^^^^^^^^^^^20261120090000+0800")
    gone = read("MDM^T11", EVN.format("20261121090000"), PID, signed)
    assert () == folded(first, gone).of_kind("report")


def test_a_cancellation_without_any_number_is_reported(read: Any) -> None:
    """It takes nothing away: nobody can tell what."""
    found = read("MDM^T11", PID, txa(f12=""))
    assert ["document"] == [e.kind for e in found.entries]
    assert ["error"] == [f.severity for f in found.findings if "which document" in f.reason]


def test_an_addendum_stands_beside_what_it_adds_to(read: Any, folded: Any) -> None:
    """T06 has a text of its own; under one filler order it must not take the report's place."""
    first = read("MDM^T02", PID, txa(f15="R1^LAB"), LINE)
    more = obx("FT", "Addendum: MVI M1", "", f3="18748-4^CT^LN")
    added = read("MDM^T06", PID, later(f12="DOC2", f13="DOC1", f15="R1^LAB"), more)
    found = folded(first, added).of_kind("report")
    assert {"report/https://hospital.example/ns/lab|R1", "report/DOC2"} == {e.key for e in found}
    assert "DOC1" == report(added).details["appends"]


@pytest.mark.parametrize("body", [LINE, PDF])
def test_a_replacement_takes_its_parent_away(read: Any, folded: Any, body: str) -> None:
    """T10: the parent of TXA-13 is gone, the new one stands."""
    first = read("MDM^T02", PID, txa(), body)
    second = read("MDM^T10", PID, later(f12="DOC2", f13="DOC1"), body)
    record = folded(first, second)
    found = (*record.of_kind("report"), *record.of_kind("document"))
    assert ["DOC2"] == [e.details["document"] for e in found]


def test_a_replacement_under_one_filler_order_goes_on(read: Any, folded: Any) -> None:
    """The same report, corrected."""
    new = obx("FT", "IMPRESSION: c", "", f3="18748-4^CT^LN")
    first = read("MDM^T02", PID, txa(f15="R1^LAB"), LINE)
    second = read("MDM^T10", PID, later(f12="DOC2", f13="DOC1", f15="R1^LAB"), new)
    (found,) = folded(first, second).of_kind("report")
    assert ("corrected", {"impression": "c"}) == (found.status, found.details["sections"])


def test_an_edit_replaces_the_text_of_the_same_document(read: Any, folded: Any) -> None:
    """T08."""
    new = obx("FT", "IMPRESSION: c", "", f3="18748-4^CT^LN")
    found = folded(read("MDM^T02", PID, txa(), LINE), read("MDM^T08", PID, later(), new))
    assert ["c"] == [e.details["sections"]["impression"] for e in found.of_kind("report")]


def test_comments_of_a_document_are_kept(read: Any) -> None:
    """On a line, on a file, on the order."""
    found = read(
        "MDM^T02", PID, obr(), "NTE|1||order", txa(), LINE, "NTE|1||line", PDF, "NTE|1||file"
    )
    assert ["line"] == report(found).details["notes"]
    (document,) = (e for e in found.entries if e.kind == "document")
    assert (["file"], ["order"]) == (
        document.details["notes"],
        document.details["order_notes"],
    )


def test_a_document_message_without_txa_is_read_as_results(read: Any) -> None:
    """And reported: nothing says which document it is."""
    found = read("MDM^T02", PID, obr(), obx())
    assert ["observation"] == [e.kind for e in found.entries]
    assert "TXA" in {f.path for f in found.findings}
