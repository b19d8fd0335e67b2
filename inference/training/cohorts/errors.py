"""Errors of the cohorts, one tree.

CohortError
├── UnknownStudy     a study that no declaration has
├── TooFew           fewer patients than a contract can be measured on
├── BadDeclaration   a declaration that names what it does not have; says which study and where
├── NotRendered      something was asked of voxels or tiles that were not made
└── ForeignSplit     a folder that holds another cohort than the one asked for

Texts name studies, sets and parts of declarations only.
"""

from __future__ import annotations

from collections.abc import Iterable


class CohortError(Exception):
    """Anything the cohorts refuse."""


class UnknownStudy(CohortError):
    """A study that no declaration has."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"study {name!r} is not declared; there are {', '.join(known)}")
        self.name = name


class TooFew(CohortError):
    """Fewer patients than a contract can be measured on."""

    def __init__(self, asked: int, least: int) -> None:
        super().__init__(f"{asked} patients measure nothing; ask for {least} or more")
        self.asked, self.least = asked, least


class BadDeclaration(CohortError):
    """A declaration that names what it does not have."""

    def __init__(self, study: str, at: str, expected: str) -> None:
        super().__init__(f"study {study}: {at}: expected {expected}")
        self.study, self.at = study, at


class NotRendered(CohortError):
    """Something was asked of a picture that was not made."""

    def __init__(self, study: str, picture: str) -> None:
        super().__init__(f"study {study}: {picture} is not among this patient's pictures")
        self.study, self.picture = study, picture


class ForeignSplit(CohortError):
    """A folder that holds another cohort than the one asked for."""

    def __init__(self, folder: str, key: str) -> None:
        super().__init__(f"{folder} holds a split with another {key}; name an empty folder")
        self.folder, self.key = folder, key
