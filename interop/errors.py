"""Errors of the edges, one tree.

InteropError
├── Transient                 try again later; the job keeps its place
│   ├── LedgerUnavailable     journal or database cannot take it now
│   │   ├── RowRefused        this one message cannot be written as it is
│   │   └── JournalHeld       another process has the journal open
│   ├── PeerUnavailable       an EHR or PACS did not answer, or asked for patience
│   └── OutcomeUnknown        a write was sent and no answer came: look before sending again
└── Permanent                 park the job and show it
    ├── LostLease             the fence moved on: somebody else has the job
    ├── LedgerRefuses         a value no database column or index of ours can hold
    ├── Refused               the peer will never take this (400, 403, 422)
    ├── PatientNotConfirmed   the EHR's patient is not, or not surely, the one meant
    ├── ChangedByOthers       a person or system edited what we are about to overwrite
    │   └── ReadBackDiffers   what was just written reads otherwise: the EHR dropped or changed it
    ├── NotMultipart          a body that is not the multipart/related it says it is
    └── TooLarge              more bytes or parts than this door takes
"""

from __future__ import annotations

from collections.abc import Mapping


class InteropError(Exception):
    """Anything that goes wrong at an edge."""


class Transient(InteropError):
    """Worth another try; `retry_after_s` when the peer said how long to wait."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry_after_s = reason, retry_after_s


class LedgerUnavailable(Transient):
    """Journal or database cannot take it now; nothing was acknowledged."""


class RowRefused(LedgerUnavailable):
    """One message of a group cannot be written; its neighbours are."""


class JournalHeld(LedgerUnavailable):
    """Another process has the journal open: one service, one folder."""


class PeerUnavailable(Transient):
    """A peer did not answer, or answered 429 or 5xx."""


class OutcomeUnknown(Transient):
    """A write was sent and its answer never came."""


class Permanent(InteropError):
    """Will fail again the same way: park and show."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LostLease(Permanent):
    """The job's fence moved on while it was worked: its result must not count."""


class LedgerRefuses(Permanent):
    """The database will never take this value: park the job and show it."""


class Refused(Permanent):
    """The peer refuses this for good; `status` is its HTTP status."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class PatientNotConfirmed(Permanent):
    """No patient, several, or one with another birth date (site rule 8)."""


class ChangedByOthers(Permanent):
    """The resource in the EHR is no longer what we wrote."""


class ReadBackDiffers(ChangedByOthers):
    """What was written reads otherwise; `written` is where it stands all the same."""

    def __init__(self, reason: str, written: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(reason)
        self.written = dict(written)


class NotMultipart(Permanent):
    """A body that is not the multipart/related it says it is (PS3.18 8.6.1)."""


class TooLarge(Permanent):
    """More bytes or parts than the door takes."""
