"""Charsets from the wire to the record: what a sender declared, or what the site says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_line import SITE, Line, opened

from interop.ledger import entries as record_rows
from interop.ledger.engine import reading
from mappings.record import Identifier, Text
from workers.demo.hospital import MRN_SYSTEM

# Declared, Python's codec, and words that only this part of the standard can write.
DECLARED = [
    ("", "utf-8", "肝右叶占位"),
    ("ASCII", "ascii", "liver"),
    ("8859/1", "iso8859-1", "Müller"),
    ("8859/2", "iso8859-2", "Łukaszů"),
    ("8859/3", "iso8859-3", "Ħamrun"),
    ("8859/4", "iso8859-4", "Ķēniņš"),
    ("8859/5", "iso8859-5", "печень"),
    ("8859/6", "iso8859-6", "كبد"),
    ("8859/7", "iso8859-7", "ήπαρ"),
    ("8859/8", "iso8859-8", "כבד"),
    ("8859/9", "iso8859-9", "karaciğer"),
    ("8859/15", "iso8859-15", "fœtus 5 €"),
    ("UNICODE UTF-8", "utf-8", "肝癌 ἧπαρ"),
    ("GB 18030-2000", "gb18030", "肝右叶占位㐀"),
    ("~GB 18030-2000", "gb18030", "肝硬化"),
    ("ASCII~UNICODE UTF-8", "utf-8", "肝硬化"),
    ("~ISO IR87", "iso2022_jp", "肝細胞癌"),
    ("ASCII~ISO IR87", "iso2022_jp", "肝細胞癌"),
]


def sent(number: int, declared: str, codec: str, words: str) -> bytes:
    """A note on a patient of that number."""
    return (
        f"MSH|^~\\&|LIS|HOSP|ONCORD|HOSP|20260304||ORU^R01^ORU_R01|C{number}|P|2.5.1||||||{declared}\r"
        f"PID|1||N{number}^^^DEMOHOSP^MR\r"
        f"OBR|1||A{number}|NOTE^note^L|||20260301|||||||||||||||20260301|||F\r"
        f"OBX|1|ST|NOTE^note^L||{words}||||||F\r"
    ).encode(codec)


def read(line: Line, number: int) -> str:
    """What the record says of a patient."""
    with reading(line.parts.engine) as connection:
        person = record_rows.person_of(connection, [Identifier(f"N{number}", MRN_SYSTEM)])
        assert person is not None
        [value] = [e.value for e in record_rows.of_person(connection, person) if e.value]
    assert isinstance(value, Text)
    return value.text


@pytest.fixture
def overruled(tmp_path: Path, sqlite_url: str) -> Iterator[Line]:
    """A site that knows better than MSH-18 of one of its senders."""
    site = SITE.replace('name = "archive"\n', 'name = "archive"\ncharset = "gb18030"\n', 1)
    with opened(tmp_path, sqlite_url, site=site) as made:
        yield made


def test_what_was_declared_is_read(line: Line):
    """Each message by its own MSH-18, repetitions included, whoever came before it."""
    for number, case in enumerate(DECLARED):
        assert b"|AA|" in line.send(sent(number, *case))
    line.settle()
    told = [read(line, number) for number in range(len(DECLARED))]
    assert [words for _, _, words in DECLARED] == told


def test_a_site_overrules_what_one_sender_declares(overruled: Line):
    """An engine that writes UTF-8 in MSH-18 and GB 18030 in the rest; other senders are read on."""
    lies = sent(1, "UNICODE UTF-8", "gb18030", "肝右叶占位")
    assert b"|AA|" in overruled.send(lies, "archive")
    assert b"|AA|" in overruled.send(sent(2, "UNICODE UTF-8", "utf-8", "肝右叶占位"))
    overruled.settle()
    assert ["肝右叶占位"] * 2 == [read(overruled, 1), read(overruled, 2)]
