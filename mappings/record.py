"""The patient record: immutable entries, and the fold that reads them.

A clinical fact is one `Entry`: (patient, time, code, value), with unit, status, source and field
path. Nothing is ever edited: corrections, retractions and snapshots are further entries, and
`PatientRecord.of` decides what was true as of a given moment.

Elsewhere: reading messages (`hl7v2`, `fhir`, `dicom`), storing entries (`interop.ledger`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from mappings import folding
from mappings.code_index import CodeIndex
from mappings.statuses import STATUS_RANK, Status

Precision = Literal["year", "month", "day", "minute", "second"]
Knowledge = Literal["received", "source"]
Origin = Literal["live", "history", "own"]
Kind = Literal[
    "patient",  # one demographic field: key "patient/<field>"
    "alias",  # two identifiers that name one person, or do so no longer
    "move",  # a visit or account whose entries belong to another patient, or have another number
    "encounter",
    "observation",
    "report",  # a narrative report (radiology, pathology), text kept by section
    "document",
    "condition",
    "procedure",
    "imaging_study",
    "order",
    "appointment",
    "immunization",
    "medication",  # given, taken or prescribed
    "consent",
    "specimen",
    "family_history",
]
_SPAN = {"minute": timedelta(minutes=1), "second": timedelta(seconds=1), "day": timedelta(days=1)}


@lru_cache(maxsize=1 << 16)
def _instant(wall: datetime, offset_minutes: int) -> datetime:
    """Wall time as UTC; asked of the same few thousand times at every fold."""
    return (wall - timedelta(minutes=offset_minutes)).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class When:
    """A clinical time as its sender gave it (site rule 11).

    Attributes:
        value: Local wall time, naive; parts beyond `precision` are at their least.
        precision: The finest part that was sent.
        offset_minutes: Offset from UTC, or None for dates and for unzoned senders.
        assumed_zone: The offset came from the site file, not from the message.
    """

    value: datetime
    precision: Precision = "second"
    offset_minutes: int | None = None
    assumed_zone: bool = False

    @property
    def earliest(self) -> datetime:
        """First instant this may mean, aware UTC; an unknown offset reads as UTC."""
        return _instant(self.value, self.offset_minutes or 0)

    @property
    def latest(self) -> datetime:
        """Last instant this may mean, aware UTC."""
        if self.precision == "year":
            end = self.value.replace(year=self.value.year + 1)
        elif self.precision == "month":
            end = (self.value.replace(day=1) + timedelta(days=32)).replace(day=1)
        else:
            end = self.value + _SPAN[self.precision]
        return replace(self, value=end).earliest - timedelta(microseconds=1)

    def isoformat(self) -> str:
        """FHIR's date or dateTime text: partial dates stay partial."""
        text = self.value.isoformat()
        length = {"year": 4, "month": 7, "day": 10}.get(self.precision)
        if length:
            return text[:length]
        if self.offset_minutes is None:
            return text
        zone = timezone(timedelta(minutes=self.offset_minutes))
        return self.value.replace(tzinfo=zone).isoformat()

    @classmethod
    def instant(cls, moment: datetime) -> When:
        """An aware moment as a clinical time with its own offset."""
        offset = moment.utcoffset()
        minutes = int(offset.total_seconds() // 60) if offset is not None else None
        return cls(moment.replace(tzinfo=None), "second", minutes)


@dataclass(frozen=True, slots=True)
class Identifier:
    """A value and the authority that gave it out; neither means anything alone.

    Attributes:
        value: CX.1, FHIR Identifier.value or DICOM (0010,0020).
        authority: The site's canonical name of CX.4, FHIR Identifier.system or DICOM (0010,0021).
        type: Table 0203 (MR, PI, NI, VN); not part of equality of persons.
    """

    value: str
    authority: str
    type: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.authority}|{self.value}"


@dataclass(frozen=True, slots=True)
class Code:
    """One coding; `system` is FHIR's URI."""

    system: str
    code: str
    display: str = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured number, its text kept as it was sent.

    Attributes:
        value: Exact decimal.
        unit: UCUM code, or None while the sent unit is blank or unknown (site rule 12): such a
            quantity is never converted and never a feature.
        text: The number as sent ("1.00" stays "1.00").
        raw_unit: The unit as sent.
        comparator: One of < <= >= > or None.
    """

    value: Decimal
    unit: str | None
    text: str
    raw_unit: str = ""
    comparator: str | None = None


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded answer with all its codings."""

    codes: tuple[Code, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """Free text."""

    text: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A range or period, either end open; texts as sent."""

    low: str | None
    high: str | None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two numbers that belong together ("1:128")."""

    numerator: Decimal
    denominator: Decimal
    text: str
    separator: str = ":"


@dataclass(frozen=True, slots=True)
class Series:
    """Sampled numbers (NA): rows of values as sent."""

    rows: tuple[tuple[str, ...], ...]
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document inside or behind a message; bytes stay in the raw message, found by `path`."""

    content_type: str
    size: int | None = None
    sha256: str | None = None
    url: str | None = None
    title: str = ""


Value: TypeAlias = (
    Quantity | Coded | Text | Interval | Ratio | Series | Attachment | When | Identifier
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where entries came from; one object shared by all entries of a message.

    Attributes:
        interface: Name of the door as the site file calls it.
        message: Ledger id of the raw message or instance set.
        received_at: Aware UTC.
        origin: `history` and `own` never trigger anything (site rules 1 and 3).
        rank: The site's trust in this source; the higher wins a tie.
        visit: Number of the visit that the entries belong to (PV1-19), with its authority if known.
        account: Number of the account (PID-18), likewise.
    """

    interface: str
    message: int
    received_at: datetime
    origin: Origin = "live"
    rank: int = 0
    visit: str = ""
    account: str = ""


_NO_DETAILS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Entry:
    """One immutable fact about one patient.

    Attributes:
        kind: What sort of fact.
        key: Business key within the patient; versions of one fact share it.
        patient: Identifier as received (site rule 6); aliases are folded when read.
        source: Message and door.
        path: Field path inside the message ("OBX[3]-5", "Observation.valueQuantity").
        status: Status of this version of the fact.
        code: What was measured, diagnosed, done; LOINC, SNOMED or ICD where the message has it.
        alternates: The other codings of the same concept.
        value: Its value, or None.
        effective: Clinical time.
        source_time: When the source made this version (OBR-22, issued, lastUpdated).
        twin: Second key under which the same fact is known to doors that lack the first (site
            rule 10): code and clinical time.
        details: Further facts, JSON values only.
        seq: Ledger sequence, 0 before it is stored.
        reading: Which reading of its message this is: 0 the first, more where a site's maps were
            mended and the message was replayed.
    """

    kind: Kind
    key: str
    patient: Identifier
    source: Source
    path: str
    status: Status = "final"
    code: Code | None = None
    alternates: tuple[Code, ...] = ()
    value: Value | None = None
    effective: When | None = None
    source_time: When | None = None
    twin: str | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: _NO_DETAILS)
    seq: int = 0
    reading: int = 0

    @property
    def precedence(self) -> tuple[datetime, int, int, int, int]:
        """Which version of a fact wins: the greatest (site rule 9).

        In doubt the later message, whenever it was read: one that is replayed overtakes none that
        came after it.
        """
        moment = self.source_time.earliest if self.source_time else self.source.received_at
        rank = self.source.rank
        return (moment, STATUS_RANK[self.status], rank, self.source.message, self.seq)

    @property
    def unsaid(self) -> bool:
        """Whether its message, read again, no longer says this."""
        return "unsaid" in self.details

    def has_code(self, code: str) -> bool:
        """Whether any coding of this entry is `code`, given as system|code or bare code."""
        wanted = code.rpartition("|")
        return any(
            c.code == wanted[2] and (not wanted[0] or c.system == wanted[0])
            for c in ((self.code, *self.alternates) if self.code else self.alternates)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRecord:
    """What was known of one person at one moment.

    Attributes:
        entries: The winning version of each fact, oldest clinical time first.
        as_of: The moment.
        elsewhere: Of a part of a record (`wanted`), codes of which there is something at a time
            that was not asked for.
    """

    entries: tuple[Entry, ...]
    as_of: datetime
    elsewhere: frozenset[str] = frozenset()
    _indexed: list[CodeIndex] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def index(self) -> CodeIndex:
        """The entries by their codes; made when it is first asked for."""
        if not self._indexed:
            self._indexed.append(CodeIndex(self.entries))
        return self._indexed[0]

    @classmethod
    def of(
        cls,
        entries: Iterable[Entry],
        *,
        as_of: datetime,
        knowledge: Knowledge = "received",
        elsewhere: frozenset[str] = frozenset(),
    ) -> PatientRecord:
        """Fold entries into the record as of a moment.

        Args:
            entries: All entries of the person (`identity.own`), any order.
            as_of: Aware UTC; nothing known later is read.
            knowledge: `received` (live, prediction locks) reads what had reached us; `source`
                (retrospective, backfill) what its source had issued.
            elsewhere: As in the record.
        """
        kept = folding.fold(e for e in entries if folding.known_at(e, knowledge) <= as_of)
        return cls(entries=tuple(kept), as_of=as_of, elsewhere=elsewhere)

    def of_kind(self, kind: Kind) -> tuple[Entry, ...]:
        """Winning entries of a kind, oldest first."""
        return tuple(e for e in self.entries if e.kind == kind)

    def coded(self, *codes: str) -> tuple[Entry, ...]:
        """Winning entries of any of these codes (bare or system|code), oldest first."""
        some = self.index.of({code.rpartition("|")[2] for code in codes})
        return tuple(e for e in some if any(e.has_code(c) for c in codes))

    def latest(
        self, code: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Entry | None:
        """Newest entry of a code by clinical time, within [since, until]."""
        for entry in reversed(self.entries):
            if entry.has_code(code) and _within(entry, since, until):
                return entry
        return None

    def demographic(self, name: str) -> Entry | None:
        """One demographic field: `birth_date`, `sex`, `name`, `deceased`."""
        return next((e for e in self.entries if e.key == f"patient/{name}"), None)


def _within(entry: Entry, since: datetime | None, until: datetime | None) -> bool:
    moment = folding.clinical(entry)
    return (since is None or moment >= since) and (until is None or moment <= until)
