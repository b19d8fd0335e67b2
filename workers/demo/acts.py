"""What is sent of a patient and what must come of it: a course of acts, and nothing of how.

Who does what is in `patients`; `course` plays it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from pydicom.dataset import Dataset

from inference.eligibility import State
from workers.demo.subject import Subject

Build: TypeAlias = Callable[[str, datetime], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An HL7 v2 message; `build` makes it of MSH-10 and MSH-7."""

    what: str
    build: Build


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A FHIR transaction."""

    what: str
    bundle: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A DICOM study, made when it is sent."""

    what: str
    instances: Callable[[], Iterator[Dataset]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What readiness says once all of that is mapped.

    Attributes:
        protocol: Whose.
        state: Of the patient.
        open_rules: Rules that gate a prediction and are not met.
    """

    protocol: str
    state: State
    open_rules: frozenset[str] = frozenset()


Act: TypeAlias = Message | Transaction | Images | Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A patient's way through the doors.

    Attributes:
        registry: The study's number.
        title: What it asks, in a line.
        who: The patient.
        acts: In order.
    """

    registry: str
    title: str
    who: Subject
    acts: tuple[Act, ...]

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocols that the course is about, in order of appearance."""
        told = (act.protocol for act in self.acts if isinstance(act, Expected))
        return tuple(dict.fromkeys(told))
