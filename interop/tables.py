"""Every table of the ledger. Only `interop.ledger` reads or writes them.

Times are aware UTC. Ids of inbound rows and jobs are made by `ledger.sequence`: they grow with
the moment of receipt, so that they order work and need no round trip to the database.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, String, text
from sqlmodel import Field, SQLModel

# On SQLite only the very word INTEGER makes a primary key the rowid itself, without a second index.
_ID = BigInteger().with_variant(Integer, "sqlite")


# Ranges of digests are asked for by their bytes; a database's own collation may order otherwise.
_ASCII = String().with_variant(String(collation="C"), "postgresql")


def _id() -> Any:
    return Field(sa_column=Column(_ID, primary_key=True, autoincrement=False))


def _json() -> Any:
    return Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))


class Inbound(SQLModel, table=True):
    """One message, bundle, resource or study as a door received it; never changed but in state."""

    # Only what was set aside is ever looked up by state: messages that flow touch one index less.
    __table_args__ = (
        Index(
            "inbound_set_aside",
            "state",
            "id",
            postgresql_where=text("state NOT IN ('received', 'applied')"),
            sqlite_where=text("state NOT IN ('received', 'applied')"),
        ),
    )

    id: int = _id()
    door: str
    interface: str
    origin: str = "live"
    received_at: datetime
    kind: str = ""
    dedup: str | None = Field(default=None, sa_column=Column(_ASCII, unique=True, nullable=True))
    digest: str
    size: int = Field(sa_type=BigInteger)
    lane: str
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    reply: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    code: str = ""
    state: str = "received"
    reason: str = ""
    report: Any = _json()
    resent: int = 0


class Job(SQLModel, table=True):
    """One piece of work; the row is also its own outbox: an unworked ready job is rung again."""

    __table_args__ = (
        Index(
            "job_open",
            "stage",
            "lane",
            "id",
            postgresql_where=text("state IN ('ready', 'leased')"),
            sqlite_where=text("state IN ('ready', 'leased')"),
        ),
        Index(
            "job_ready",
            "stage",
            "not_before",
            postgresql_where=text("state = 'ready'"),
            sqlite_where=text("state = 'ready'"),
        ),
        Index(
            "job_prior",
            "stage",
            "prior",
            "id",
            postgresql_where=text("prior IS NOT NULL AND state IN ('ready', 'leased')"),
            sqlite_where=text("prior IS NOT NULL AND state IN ('ready', 'leased')"),
        ),
    )

    id: int = _id()
    stage: str
    lane: str
    prior: str | None = None  # a merge's second lane, of the patient who was before
    key: str = Field(unique=True)
    state: str = "ready"
    attempts: int = 0
    fence: int = 0
    lease_until: datetime | None = None
    not_before: datetime
    created_at: datetime
    finished_at: datetime | None = None
    reason: str = ""
    refs: Any = _json()


class EntryRow(SQLModel, table=True):
    """One immutable entry of a patient record."""

    __tablename__ = "entry"
    __table_args__ = (
        Index("entry_of_patient", "authority", "patient", "code", "effective_ms"),
        Index("entry_of_key", "authority", "patient", "key", "moment_ms"),
        Index("entry_once", "message", "path", "key", "reading", unique=True),
        # What there is little of, found without reading all that is filed under an identifier.
        Index(
            "entry_of_kind",
            "authority",
            "patient",
            "kind",
            postgresql_where=text("kind NOT IN ('observation', 'patient')"),
            sqlite_where=text("kind NOT IN ('observation', 'patient')"),
        ),
    )

    id: int = _id()
    authority: str
    patient: str
    kind: str
    key: str
    twin: str | None = None
    system: str = ""
    code: str = ""
    status: str
    message: int = Field(sa_type=BigInteger)
    path: str
    reading: int = 0
    interface: str
    origin: str
    rank: int = 0
    received_at: datetime
    # Milliseconds since 1970: the first instant of the clinical time, and `Entry.precedence[0]`.
    effective_ms: int | None = Field(default=None, sa_type=BigInteger)
    moment_ms: int = Field(sa_type=BigInteger)
    body: bytes


class IdentityRow(SQLModel, table=True):
    """Which person an identifier names: a projection of the alias entries, rebuildable.

    `number` is what a person of this identifier alone is called; a person bears the oldest of
    their identifiers', so that whom a merge joined get their own numbers back when it is undone.
    `described` and `disputes` are what the next message is held against (site rule 8).
    """

    __tablename__ = "identity"

    authority: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    number: str
    person: str = Field(index=True)
    described: Any = _json()
    disputes: Any = _json()


class Person(SQLModel, table=True):
    """One person, by a number that means nothing outside this ledger."""

    id: str = Field(primary_key=True)
    epoch: int = 0


class InstanceRow(SQLModel, table=True):
    """One stored version of a SOP instance."""

    __tablename__ = "instance"
    __table_args__ = (Index("instance_of_study", "study_instance_uid"),)

    sop_instance_uid: str = Field(primary_key=True)
    sha256: str = Field(primary_key=True)
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    modality: str = ""
    transfer_syntax_uid: str = ""
    authority: str = ""
    patient: str = ""
    size: int = Field(sa_type=BigInteger)
    pixel_sha256: str = ""
    path_name: str = ""
    state: str = "current"
    origin: str = "live"
    received_at: datetime
    message: int = Field(sa_type=BigInteger)


class StudyRow(SQLModel, table=True):
    """What is known of a study's arrival."""

    __tablename__ = "study"

    study_instance_uid: str = Field(primary_key=True)
    person: str | None = Field(default=None, index=True)
    authority: str = ""
    patient: str = ""
    modality: str = ""
    state: str = "arriving"
    origin: str = "live"
    expected: Any = _json()
    evidence: str = ""
    last_instance_at: datetime
    completed_at: datetime | None = None
    revision: int = 0
    body: Any = _json()


class ReadinessRow(SQLModel, table=True):
    """The standing answer, per person and pack: can it run, what is missing, what starts it."""

    __tablename__ = "readiness"

    person: str = Field(primary_key=True)
    pack: str = Field(primary_key=True)
    state: str
    trigger: str | None = None
    triggered_at: datetime | None = None
    updated_at: datetime
    body: Any = _json()


class PredictionRow(SQLModel, table=True):
    """One locked prediction; append-only but for `state`."""

    __tablename__ = "prediction"

    id: int = _id()
    person: str = Field(index=True)
    pack: str
    pack_version: str
    pack_digest: str
    question: str
    instance_key: str = Field(unique=True)
    series_key: str = Field(index=True)
    lineage: str = Field(index=True)
    revision: int = 1
    supersedes: int | None = Field(default=None, sa_type=BigInteger)
    why: str
    as_of: datetime
    created_at: datetime
    state: str = "current"
    body: Any = _json()
    previous_hash: str = ""
    hash: str = ""


class UsedInput(SQLModel, table=True):
    """The reverse index: which predictions used a fact or an instance."""

    __tablename__ = "used_input"

    prediction: int = Field(primary_key=True, sa_type=BigInteger)
    key: str = Field(primary_key=True)
    person: str = Field(index=True)
    digest: str
    entry: int = Field(default=0, sa_type=BigInteger)


class DeliveryRow(SQLModel, table=True):
    """One result on its way to one carrier: PENDING, SENDING, UNKNOWN, CONFIRMED or PARKED."""

    __tablename__ = "delivery"
    __table_args__ = (Index("delivery_once", "instance_key", "carrier", unique=True),)

    id: int = _id()
    prediction: int = Field(sa_type=BigInteger, index=True)
    person: str = Field(index=True)
    instance_key: str
    lineage: str = Field(index=True)
    carrier: str
    status: str
    state: str = "PENDING"
    attempt: int = 0
    bundle_digest: str = ""
    resources: Any = _json()
    reason: str = ""
    created_at: datetime
    updated_at: datetime


class Sighting(SQLModel, table=True):
    """One of our own outputs coming back through a door (site rule 1): proof, never evidence."""

    id: int = _id()
    message: int = Field(sa_type=BigInteger)
    door: str
    reference: str
    seen_at: datetime
