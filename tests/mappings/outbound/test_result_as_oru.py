"""A result as ORU^R01: the same figures, words and document as by FHIR, readable by anybody."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime

import pytest
from assessed import result
from hl7apy.parser import parse_message

from mappings.hl7v2 import er7
from mappings.outbound.er7 import NoPid, pid_of
from mappings.outbound.observation import observations
from mappings.outbound.oru_r01 import control_id, oru_r01
from mappings.outbound.parts import statements
from mappings.outbound.pdf import pdf
from mappings.outbound.receiver import Receiver
from mappings.outbound.result import SYNTHETIC_WORDS, Correction

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
PID = "PID|1||7^^^DEMOHOSP^MR||合成^患者||19701228|F"
EHR = Receiver(application="HIS", facility="HOSP")


def message(receiver: Receiver = EHR, **changes: object) -> er7.Message:
    """The message, read by our own reader."""
    return er7.parse(oru_r01(result(**changes), receiver, PID, now=NOW))


def observed(read: er7.Message) -> dict[str, list[str]]:
    """OBX-3.1 to [OBX-2, OBX-5, OBX-6.1, OBX-11]."""
    return {
        s.field(3).split("^")[0]: [s.field(2), s.field(5), s.field(6).split("^")[0], s.field(11)]
        for s in read.all("OBX")
    }


def test_the_figures_are_those_of_fhir():
    """Same numbers, same unit (writeback.md bar 6)."""
    told = observed(message())
    for local, made in observations(result(), "Patient/1", "Device/1").items():
        quantity = made["valueQuantity"]
        assert ["NM", str(quantity["value"]), quantity["unit"], "P"] == told[local]
    assert ["SN", "^24.11^-^38.99", "%", "P"] == told["malignant.interval"]
    assert ["ST", "high", "", "P"] == told["malignant.tier"]


def test_every_statement_stands_in_it():
    """The words of models.md 4.4 among them."""
    read = message()
    notes = [read.unescape(s.field(3)) for s in read.all("NTE")]
    assert statements(result()) == notes
    assert SYNTHETIC_WORDS in notes
    assert SYNTHETIC_WORDS in read.unescape(observed(read)["conclusion"][1])


@pytest.mark.parametrize(
    ("status", "obx", "obr"),
    [("preliminary", "P", "P"), ("final", "F", "F"), ("corrected", "C", "C"),
     ("amended", "C", "C"), ("entered-in-error", "W", "X")],
)  # fmt: skip
def test_the_status_is_that_of_tables_0085_and_0123(status: str, obx: str, obr: str):
    """writeback.md 1.4."""
    correction = Correction(reason="AFP was corrected", was="31.4 %")
    read = message(status=status, correction=correction)
    [order] = read.all("OBR")
    assert ({obx}, obr) == ({s.field(11) for s in read.all("OBX")}, order.field(25))


def test_a_version_has_one_control_id_and_a_lineage_one_filler():
    """A receiver tells duplicates by MSH-10, and corrections by OBR-3."""
    corrected = {"revision": 2, "status": "corrected", "instance_key": "bb" * 32}
    assert control_id(result()) == control_id(result())
    assert control_id(result()) != control_id(result(**corrected))
    fillers = {s.field(3) for changes in ({}, corrected) for s in message(**changes).all("OBR")}
    assert {"AI1F^ONCORD"} == fillers
    assert 20 == len(control_id(result()))


def test_the_document_is_a_pdf_in_the_receivers_layout():
    """OBX-5.1 to 5.4 differ between receivers; the bytes do not."""
    told = observed(message(Receiver(application="A", facility="F", layout="MTL^PDF^PDF^Base64")))
    kind, value, _, _ = told["report"]
    head, _, content = value.rpartition("^")
    assert ("ED", "MTL^PDF^PDF^Base64", pdf(result())) == (kind, head, base64.b64decode(content))
    assert pdf(result()).startswith(b"%PDF-")


@pytest.mark.parametrize(("document", "start"), [("html", b"<!doctype html>"), ("none", None)])
def test_other_documents(document: str, start: bytes | None):
    """A page, or nothing but the figures."""
    told = observed(message(Receiver(application="A", facility="F", document=document)))  # type: ignore[arg-type]
    if start is None:
        assert "report" not in told
    else:
        assert base64.b64decode(told["report"][1].rpartition("^")[2]).startswith(start)


def test_the_pid_comes_back_as_it_was_sent():
    """Other delimiters and charset of the sender become ours; nothing is added."""
    raw = (
        "MSH#*%!@#HIS#H###2026##ADT*A04#1#P#2.5######GB 18030\rPID#1##7***DEMOHOSP*MR##合成*患|者\r"
    )
    assert "PID|1||7^^^DEMOHOSP^MR||合成^患\\F\\者" == pid_of(raw.encode("gb18030"))
    with pytest.raises(NoPid):
        pid_of(b"MSH|^~\\&|A|B|||2026||ORU^R01|1|P|2.5\r")


def test_marks_in_our_text_are_escaped():
    """A tier named with our delimiters stays one field."""
    read = message(title="A|B^C&D~E\\F")
    [order] = read.all("OBR")
    assert "AI: A|B^C&D~E\\F" == read.unescape(order.field(4).split("^")[1])


@pytest.mark.parametrize("version", ["2.3", "2.4", "2.5.1"])
def test_hl7apy_reads_it(version: str):
    """Somebody else's reader finds the same structure."""
    raw = oru_r01(result(), Receiver(application="A", facility="F", version=version), PID, now=NOW)
    parsed = parse_message(raw.decode(), find_groups=False)
    assert (version, "ORU") == (parsed.msh.msh_12.value, parsed.msh.msh_9.value[:3])
    assert len(re.findall(rb"\rOBX", raw)) == len(parsed.obx)
