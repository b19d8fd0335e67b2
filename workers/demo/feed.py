"""A hospital's feed for tests, soaks and benchmarks: oncology patients over days, as HL7 v2 bytes.

Admissions, orders, results with corrections, reports, problems, vaccinations, charges, merges and
moves of several senders in their dialects, with what networks do to them: late, out of order,
resent, control ids used twice.
Seeded: the same arguments give the same bytes. What a message looks like stands in
`feed_messages`. Source: docs/conformance/hl7v2.md; no patient is real.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal

from workers.demo import feed_messages as write
from workers.demo.feed_messages import ANALYTES, INTERFACES, SENDERS, Patient

__all__ = ["INTERFACES", "Sent", "feed"]

Fate = Literal["applied", "ignored", "duplicate"]
_MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message on its way.

    Attributes:
        interface: MLLP interface it is sent to, one of `INTERFACES`.
        at: When it is sent, aware UTC; MSH-7 and its events may be earlier.
        message: Its bytes, without a frame.
        kind: MSH-9.1 and MSH-9.2.
        fate: What should become of it; `duplicate` is answered again and stored no second time.
    """

    interface: str
    at: datetime
    message: bytes
    kind: str
    fate: Fate = "applied"


def feed(seed: int, days: int, patients: int) -> Iterator[Sent]:
    """Every message of some patients over some days, in the order of sending.

    Args:
        seed: Of all that is drawn.
        days: From 2026-03-01, UTC.
        patients: How many begin their pathway in these days.
    """
    made: list[Sent] = []
    for number in range(patients):
        random = Random(f"{seed}/{number}")  # noqa: S311  a feed, no secret
        made += _Pathway(random, f"F{seed}{number:04}", days).played()
    # Sorting is stable: two messages of one moment stay in the order of their making.
    yield from sorted(made, key=lambda sent: sent.at)


class _Pathway:
    """One patient from registration on.

    Args:
        random: Source of all that is drawn.
        number: Medical record number.
        days: How many days there are.
    """

    def __init__(self, random: Random, number: str, days: int) -> None:
        self._random, self._days = random, days
        self._who = write.patient(random, number)
        self._sent: list[Sent] = []
        self._controls = 0
        self._now = _MIDNIGHT + timedelta(minutes=random.randrange(days * 24 * 60 // 2))
        self._end = _MIDNIGHT + timedelta(days=days)

    def played(self) -> list[Sent]:
        """All messages of the patient."""
        self._stay()
        for step in (self._history, self._labs, self._images, self._tumour, self._identity):
            step()
        kept = [sent for sent in self._sent if sent.at < self._end]
        return kept + self._troubled(kept)

    def _send(
        self, interface: str, kind: str, segments: list[str], *, fate: Fate = "applied",
        late: bool = True, who: Patient | None = None,
    ) -> None:  # fmt: skip
        """Put a message on its way, mostly at once; one in eight waits in an outbound queue."""
        self._now += timedelta(minutes=self._random.randrange(5, 90))
        wait = timedelta(seconds=self._random.randrange(2, 30))
        if late and self._chance(0.125):
            wait = timedelta(minutes=self._random.randrange(10, 600))
        self._controls += 1
        sender = SENDERS[interface][(who or self._who).campus]
        control = f"{sender.application[:3]}{self._who.number}{self._controls:03}"
        raw = write.message(sender, kind, control, self._now, segments)
        self._sent.append(
            Sent(interface=interface, at=self._now + wait, message=raw, kind=kind, fate=fate)
        )

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _stay(self) -> None:
        """Registration, then often a stay with what is corrected about it."""
        who, visit = self._who, self._visit(1)
        self._send("his", "ADT^A04", write.adt("A04", who, visit, self._now))
        events = ["A01", "A02", "A08", "A03"] if self._chance(0.7) else ["A08"]
        if self._chance(0.2):
            events[1:1] = ["A02", "A12"]
        if self._chance(0.15):
            events += ["A11"] if "A03" not in events else ["A13", "A03"]
        for event in events:
            self._send("his", f"ADT^{event}", write.adt(event, who, visit, self._now))
        if self._chance(0.3):
            # A type that is not mapped, as some interface engines pass on.
            self._send("his", "ADT^A60", write.adt("A60", who, visit, self._now), fate="ignored")

    def _history(self) -> None:
        """What the hospital tells of earlier years, and its accounts tell of today."""
        who, number, visit = self._who, self._who.number[1:], self._visit(1)
        if self._chance(0.5):
            told = write.problem(who, f"B{number}", visit, self._now)
            self._send("his", "PPR^PC1", told)
        if self._chance(0.3):
            given = self._now - timedelta(days=self._random.randrange(1000, 9000))
            self._send("his", "VXU^V04", write.vaccination(who, f"I{number}", given))
        if self._chance(0.3):
            event = self._random.choice(("BAR^P01", "DFT^P03"))
            told = write.charge(event[-3:], who, visit, self._now)
            self._send("his", event, told, fate="ignored")

    def _visit(self, number: int) -> str:
        return f"V{self._who.number[1:]}{number}"

    def _labs(self) -> None:
        """Orders and results over the days, a few of them corrected or taken back."""
        random, who = self._random, self._who
        for number in range(random.randrange(2, 5)):
            event = random.choice(("ORM^O01", "OML^O21"))
            placer = f"P{who.number[1:]}{number}"
            ordered = write.order(event[-3:], who, placer, self._visit(1), self._now)
            self._send("his", event, ordered)
            self._result(f"L{who.number[1:]}{number}")

    def _result(self, filler: str) -> None:
        random, who = self._random, self._who
        chosen = random.sample(ANALYTES, random.randrange(3, len(ANALYTES)))
        drawn = self._now
        in_tubes = self._chance(0.25)
        for status in random.choice((("F",), ("F",), ("P", "F"), ("F", "C"))):
            segments = write.labs(
                random, who, filler, self._visit(1), drawn, self._now, status, chosen
            )
            if in_tubes:
                segments = write.by_specimen(segments, f"T{filler}", drawn)
            self._send("lis", "OUL^R22" if in_tubes else "ORU^R01", segments)
        if self._chance(0.1):
            taken_back = write.retracted(segments, self._now)
            self._send("lis", "OUL^R22" if in_tubes else "ORU^R01", taken_back)

    def _images(self) -> None:
        """A CT: ordered, booked, reported as text, and again as a document."""
        who, number = self._who, self._who.number[1:]
        ordered = write.imaging_order(who, f"P{number}CT", self._visit(1), self._now)
        self._send("his", "OMG^O19", ordered)
        start = self._now + timedelta(days=1)
        self._send("his", "SIU^S12", write.appointment(who, f"S{number}", start))
        report = write.radiology(who, f"R{number}", self._now, self._now)
        self._send("ris", "ORU^R01", report)
        if self._chance(0.5):
            size = self._random.randrange(100, 4000)
            self._send("ris", "MDM^T02", write.document("T02", who, f"D{number}", self._now, size))

    def _tumour(self) -> None:
        """Pathology, and sometimes what was sequenced."""
        who, number = self._who, self._who.number[1:]
        self._send("lis", "ORU^R01", write.pathology(who, f"H{number}", self._now))
        if self._chance(0.4):
            found = write.genomics(self._random, who, f"G{number}", self._now)
            self._send("lis", "ORU^R01", found)

    def _identity(self) -> None:
        """One in three was registered twice; most are merged, some of these parted again."""
        random, who = self._random, self._who
        if not self._chance(0.34):
            return
        twice = replace(who, number=f"X{who.number[1:]}")
        visit = self._visit(2)
        self._send("his", "ADT^A04", write.adt("A04", twice, visit, self._now), late=False)
        labs = write.labs(
            random, twice, f"X{who.number[1:]}", visit, self._now, self._now, "F", ANALYTES[:2]
        )
        self._send("lis", "ORU^R01", labs, late=False)
        event = random.choice(("A40", "A40", "A43", "A45"))
        said = [f"EVN|{event}|{write.stamp(self._now)}", write.pid(who), f"MRG|{twice.cx}"]
        if event == "A45":
            said[2:] = [f"MRG|{twice.cx}||||{visit}^^^DEMOHOSP^VN", write.pv1(visit)]
        elif event == "A43":
            said[1] = write.pid(who, twice.cx)
        self._send("his", f"ADT^{event}", said, late=False)
        if event == "A40" and self._chance(0.4):
            both = [write.pid(who), write.pid(twice, number=2)]
            undone = [f"EVN|A37|{write.stamp(self._now)}", *both]
            self._send("his", "ADT^A37", undone, late=False)

    def _troubled(self, kept: list[Sent]) -> list[Sent]:
        """What senders do after a time-out or a restart: resend, or count from 1 again."""
        made = []
        for sent in kept:
            at = sent.at + timedelta(minutes=self._random.randrange(1, 30))
            if self._chance(0.04):
                raw = _restamped(sent.message, at)
                made.append(replace(sent, at=at, message=raw, fate="duplicate"))
            elif sent.kind == "ORU^R01" and self._chance(0.02):
                # Other bytes under the same MSH-10: a comment more.
                end = sent.message[len(sent.message.rstrip()) :]
                raw = sent.message + b"NTE|9|L|sent again by hand" + end
                made.append(replace(sent, at=at, message=raw))
        return made


def _restamped(message: bytes, at: datetime) -> bytes:
    """The same message with another MSH-7, as engines resend."""
    fields = message.split(b"|", 7)
    fields[6] = write.stamp(at).encode("ascii")
    return b"|".join(fields)
