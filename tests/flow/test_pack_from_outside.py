"""A pack that somebody brought, without images: by HL7 in, by FHIR out, signed and recalibrated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from made_packs import TIERS, logistic, made
from whole_line import SITE, Line, opened

from inference import packs, signing
from interop.ledger import jobs
from workers.demo import laboratory
from workers.demo.hospital import Chart
from workers.doctor import examine

SITE_OUTSIDE = SITE.replace("[packs.liver_dx]", "[packs.outside]")
HEAD = 'kind = "logit"\noutput = "logit"'
KEY = Ed25519PrivateKey.generate()
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

Opening = Callable[..., AbstractContextManager[Line]]


@pytest.fixture
def opening(tmp_path: Path, sqlite_url: str) -> Opening:
    """A line with the pack, and what a test adds to its table in the site file."""
    folder = made(
        tmp_path / "packs" / "outside", logistic([0.1, -1], 3.0), head=HEAD,
        more={"ALB": "fill = 4.0"},
    )  # fmt: skip
    (folder / "pack.sig").write_bytes(signing.sign(packs.load(folder).raw, PRIVATE))
    (tmp_path / "maker.pem").write_bytes(PUBLIC)

    @contextmanager
    def open_(pack: str = "") -> Iterator[Line]:
        with opened(
            tmp_path, sqlite_url, packs=folder.parent, site=SITE_OUTSIDE, pack=pack
        ) as line:
            yield line

    return open_


def cea(line: Line, who: Chart, value: str, *, filler: str = "L9", status: str = "F") -> bytes:
    """One CEA of this morning."""
    answers = [laboratory.measured("2039-6", Decimal(value), "ng/mL")]
    return line.send(
        laboratory.oru_labs(
            who.subject, answers, line.control_id(), line.clock(), filler=filler,
            drawn=line.clock() - timedelta(hours=2), status=status,
        )
    )  # fmt: skip


def register(line: Line, who: Chart) -> None:
    """Known in the EHR and here."""
    line.register(who)
    line.settle()


def risk(logit: float) -> float:
    """Per cent, as it is written."""
    return round(100 / (1 + math.exp(-logit)), 2)


def written(line: Line) -> list[float]:
    """Probabilities of the positive class in the EHR."""
    found = line.in_ehr("RiskAssessment")
    return [float(one["prediction"][0]["probabilityDecimal"]) for one in found]


def test_a_laboratory_value_becomes_a_risk_in_the_chart(opening: Opening, who: Chart):
    """No study, no report: the trigger is the value itself, the index its assessment."""
    with opening() as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        assert [risk(0.1 * 12.5 - 4 + 3)] == written(line)
        (report,) = line.in_ehr("DiagnosticReport")
        assert "75492-9" in {c["code"] for c in report["code"]["coding"]}
        assert ("OTH", "preliminary") == (
            report["category"][0]["coding"][0]["code"], report["status"],
        )  # fmt: skip
        notes = " ".join(n["text"] for n in line.in_ehr("RiskAssessment")[0]["note"])
        assert "the model was given 4 g/dL in its place" in notes
        assert "synthetic" not in notes.casefold()


def test_a_corrected_value_amends_the_assessment_of_its_own_moment(opening: Opening, who: Chart):
    """The same result, its index time kept; the laboratory's word, not ours, changed."""
    with opening() as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        (before,) = line.current(who)
        line.clock.forward(days=2)
        cea_again(line, who, "25")
        line.settle()
        (after,) = line.current(who)
        assert (before.id, before.lineage) == (after.supersedes, after.lineage)
        assert before.body["prediction"]["t0"] == after.body["prediction"]["t0"]
        assert [risk(0.1 * 25 - 4 + 3)] == written(line)
        assert "corrected" == line.in_ehr("DiagnosticReport")[0]["status"]


def cea_again(line: Line, who: Chart, value: str) -> bytes:
    """The value of two days ago, corrected."""
    answers = [laboratory.measured("2039-6", Decimal(value), "ng/mL")]
    return line.send(
        laboratory.oru_labs(
            who.subject, answers, line.control_id(), line.clock(), filler="L9",
            drawn=line.clock() - timedelta(days=2, hours=2), status="C",
        )
    )  # fmt: skip


def test_another_value_later_is_another_assessment(opening: Opening, who: Chart):
    """Both stand, each of its own day."""
    with opening() as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        line.clock.forward(days=3)
        cea(line, who, "30", filler="L10")
        line.settle()
        assert {risk(0.1 * 12.5 - 1), risk(0.1 * 30 - 1)} == set(written(line))
        assert 2 == len({row.lineage for row in line.current(who)})


def test_a_withdrawn_value_withdraws_its_assessment(opening: Opening, who: Chart):
    """Entered in error in the chart, too."""
    with opening() as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        line.clock.forward(hours=1)
        answers = [laboratory.measured("2039-6", Decimal("12.5"), "ng/mL")]
        line.send(
            laboratory.oru_labs(
                who.subject, answers, line.control_id(), line.clock(), filler="L9",
                drawn=line.clock() - timedelta(hours=3), status="W",
            )
        )  # fmt: skip
        line.settle()
        assert ["entered-in-error"] == [r["status"] for r in line.in_ehr("RiskAssessment")]


def recalibration(home: Path, digest: str, *, signed: bool = True, slope: float = 0.5) -> str:
    """A site's own file, and its table in the site file."""
    text = (
        f'format = 1\npack_digest = "{digest}"\nversion = "2026-11"\nslope = {slope}\n'
        'intercept = 0.25\nthreshold = 0.3\nlocked = "at this site"\nwords = "412 patients."\n'
    )
    (home / "own.toml").write_text(text)
    raw = text.encode() if signed else b"something else"
    (home / "own.toml.sig").write_bytes(signing.sign(raw, PRIVATE))
    return '[packs.outside.recalibration]\nfile = "own.toml"\nsigned_by = "maker.pem"\n'


def test_a_site_recalibrates_without_touching_the_pack(
    tmp_path: Path, opening: Opening, who: Chart
):
    """The new logit, the pack's digest, and words that nobody takes for the maker's."""
    digest = packs.load(tmp_path / "packs" / "outside").digest
    with opening(recalibration(tmp_path, digest)) as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        assert [risk(0.5 * (0.1 * 12.5 - 1) + 0.25)] == written(line)
        made_ = line.current(who)[0].body["prediction"]
        assert digest == made_["pack_digest"]
        assert made_["recalibration"].startswith("2026-11 ")
        assert 0.3 == made_["threshold"]
        notes = " ".join(n["text"] for n in line.in_ehr("RiskAssessment")[0]["note"])
        assert "recalibrated at this site: version 2026-11" in notes


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ('signed_by = "other.pem"', "the signature is not of this key and pack.toml"),
        ('precision = "fp16"', "it has no variant in fp16"),
        ("of another digest", "fitted for another digest"),
        ("unsigned", "the signature is not of this key and own.toml"),
    ],
)
def test_a_pack_that_is_not_as_the_site_asks_is_refused_and_nothing_else(
    tmp_path: Path, opening: Opening, who: Chart, pack: str, reason: str
):
    """Messages are taken; doctor says why there is no result."""
    other = Ed25519PrivateKey.generate().public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other.pem").write_bytes(pem)
    digest = packs.load(tmp_path / "packs" / "outside").digest
    if pack == "of another digest":
        pack = recalibration(tmp_path, "0" * 64)
    elif pack == "unsigned":
        pack = recalibration(tmp_path, digest, signed=False)
    with opening(pack) as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        assert [] == written(line)
        assert [] == line.inbound("received", "quarantined")
        told = [f.text for f in examine(line.parts.settings) if not f.ok]
        assert any(reason in text for text in told), told


def test_a_pack_signed_as_the_site_asks_runs(opening: Opening, who: Chart):
    """The maker's key."""
    with opening('signed_by = "maker.pem"') as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        assert 1 == len(written(line))


def test_a_graph_that_gives_no_figure_parks_its_own_job_and_says_why(
    tmp_path: Path, sqlite_url: str, who: Chart
):
    """Albumin is missing, and this graph cannot say what it makes of that."""
    folder = made(tmp_path / "packs" / "outside", logistic([0.1, -1]), head=HEAD)
    with opened(tmp_path, sqlite_url, packs=folder.parent, site=SITE_OUTSIDE) as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        assert [] == written(line)
        (parked,) = jobs.parked(line.parts.engine)
        assert "graph model: gave a figure that is not finite" == parked["reason"]
        cea(line, who, "13", filler="L10")
        assert [] == line.inbound("quarantined")


def test_an_expired_pack_gives_no_result_and_everybody_is_told(
    tmp_path: Path, sqlite_url: str, who: Chart
):
    """The last day of use is a day of use; the next is none."""
    folder = made(
        tmp_path / "packs" / "outside", logistic([0.1, -1], 3.0), head=HEAD,
        more={"ALB": "fill = 4.0"}, tiers=f"{TIERS}\n[release]\nexpires = 2026-03-04\n",
    )  # fmt: skip
    with opened(tmp_path, sqlite_url, packs=folder.parent, site=SITE_OUTSIDE) as line:
        register(line, who)
        cea(line, who, "12.5")
        line.settle()
        assert [] == line.parts.findings()
        line.clock.forward(days=1)
        cea(line, who, "13", filler="L10")
        line.settle()
        assert 1 == len(written(line))
        expired = "pack outside expired on 2026-03-04"
        assert [expired] == [job["reason"] for job in jobs.parked(line.parts.engine)]
        assert [expired] == line.parts.findings()
        assert 503 == httpx.get(f"{line.http}/readyz").status_code
