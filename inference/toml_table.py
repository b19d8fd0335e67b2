"""TOML that is read key by key: what is missing, unknown or of another kind is refused by its line.

What the keys mean is in `protocol` and `manifest`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, get_args

from inference.errors import ManifestRefused

Lines = Mapping[str, int]
# What `oncord pack init` leaves for people to write; never a value.
OPEN = "TODO"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Table:
    """A TOML table that is read key by key and refuses what nobody asked for."""

    def __init__(self, data: Any, file: str, at: str, lines: Lines) -> None:
        if not isinstance(data, dict):
            raise ManifestRefused(file, at or "document", "a table", lines.get(at, 0))
        self._left, self._file, self._at, self._lines = dict(data), file, at, lines

    def _key(self, key: str) -> str:
        return f"{self._at}.{key}" if self._at else key

    def _line(self, key: str) -> int:
        """The line of a key, or of the nearest table or inline table that should have it."""
        at = self._key(key)
        while at:
            if line := self._lines.get(at) or self._lines.get(f"{at}[0]"):
                return line
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        return 0

    def refuse(self, key: str, expected: str) -> ManifestRefused:
        """The error for one key of this table."""
        return ManifestRefused(self._file, self._key(key), expected, self._line(key))

    def has(self, key: str) -> bool:
        """Whether the key is there and not read yet."""
        return key in self._left

    def raw(self, key: str, expected: str) -> Any:
        """Any value that must be there."""
        if key not in self._left:
            raise self.refuse(key, expected)
        return self._left.pop(key)

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.raw(key, "a text")
        if not isinstance(value, str) or not value.strip():
            raise self.refuse(key, "a text that is not empty")
        if value.startswith(OPEN):
            raise self.refuse(key, f"your own words instead of {OPEN}")
        return value

    def name(self, key: str) -> str:
        """A name of lower-case letters, digits and underscores."""
        value = self.text(key)
        if not _NAME.fullmatch(value):
            raise self.refuse(key, "a name of lower-case letters, digits and underscores")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.raw(key, "a number")
        if not _is_finite(value):
            raise self.refuse(key, "a finite number")
        return float(value)

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self.raw(key, "a whole number")
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refuse(key, "a whole number")
        return value

    def truth(self, key: str) -> bool:
        """A truth value."""
        value = self.raw(key, "true or false")
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def one_of(self, key: str, allowed: Any) -> Any:
        """One of the words of a Literal."""
        words = get_args(allowed)
        value = self.raw(key, f"one of {', '.join(words)}")
        if value not in words:
            raise self.refuse(key, f"one of {', '.join(words)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.raw(key, "a list of texts")
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise self.refuse(key, "a list of texts")
        if any(v.startswith(OPEN) for v in value):
            raise self.refuse(key, f"your own words instead of {OPEN}")
        return tuple(value)

    def numbers(self, key: str, count: int | None = None) -> tuple[float, ...]:
        """A list of finite numbers."""
        what = f"a list of {'' if count is None else f'{count} '}finite numbers"
        value = self.raw(key, what)
        good = isinstance(value, list) and all(_is_finite(v) for v in value)
        if not good or (count is not None and len(value) != count):
            raise self.refuse(key, what)
        return tuple(float(v) for v in value)

    def one_or_more_numbers(self, key: str) -> tuple[float, ...]:
        """A number, or a list of them that is not empty."""
        if isinstance(self._left.get(key), list):
            found = self.numbers(key)
            if not found:
                raise self.refuse(key, "a number, or a list of numbers that is not empty")
            return found
        return (self.number(key),)

    def one_or_more_texts(self, key: str) -> tuple[str, ...]:
        """A text, or a list of them that is not empty."""
        if isinstance(self._left.get(key), list):
            found = self.texts(key)
            if not found:
                raise self.refuse(key, "a text, or a list of texts that is not empty")
            return found
        return (self.text(key),)

    def days(self, key: str) -> tuple[int, ...]:
        """Whole days after the index, each later than the one before."""
        what = "whole days above 0, each later than the one before"
        value = self.raw(key, what)
        whole = isinstance(value, list) and all(
            isinstance(v, int) and not isinstance(v, bool) for v in value
        )
        if not whole or not value or any(b <= a for a, b in pairwise([0, *value])):
            raise self.refuse(key, what)
        return tuple(value)

    def span(self, key: str) -> tuple[float, float]:
        """Two numbers, the lower first."""
        low, high = self.numbers(key, 2)
        if low > high:
            raise self.refuse(key, "two numbers, the lower first")
        return low, high

    def table(self, key: str) -> Table:
        """A sub-table."""
        return Table(self.raw(key, "a table"), self._file, self._key(key), self._lines)

    def tables(self, key: str) -> list[Table]:
        """A list of tables, at least one."""
        value = self.raw(key, "at least one table")
        if not isinstance(value, list) or not value:
            raise self.refuse(key, "at least one table")
        return [
            Table(v, self._file, f"{self._key(key)}[{i}]", self._lines) for i, v in enumerate(value)
        ]

    def rest(self) -> list[str]:
        """Keys not read yet."""
        return list(self._left)

    def end(self) -> None:
        """Refuse what is left."""
        for key in self._left:
            raise self.refuse(key, "no such key")


def document(raw: bytes, file: str) -> Table:
    """A whole TOML file.

    Raises:
        ManifestRefused: It is no TOML in UTF-8.
    """
    try:
        text = raw.decode("utf-8")
        return Table(tomllib.loads(text), file, "", lines_of(text))
    except tomllib.TOMLDecodeError as error:
        told = _TOLD_LINE.search(str(error))
        line = int(told[1]) if told else 0
        raise ManifestRefused(file, "document", "TOML in UTF-8", line) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ManifestRefused(file, "document", "TOML in UTF-8") from error


def _is_finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max


# tomllib tells the place of a mistake in its words only, before Python 3.14.
_TOLD_LINE = re.compile(r"at line (\d+)")

_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")


def lines_of(text: str) -> Lines:
    """Where each table and key of a TOML text stands: `rules[2].low` to its line, from 1.

    `tomllib` tells no places; this reads headers and the starts of keys, as people write them.
    """
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    here = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            here = _place(header[2], counts, listed=header[1] == "[[")
            found.setdefault(here, number)
        elif key := _KEY.match(line):
            found.setdefault(f"{here}.{key[1]}" if here else key[1], number)
    return found


def _place(name: str, counts: dict[str, int], *, listed: bool) -> str:
    """A header's path with the numbers of the lists it is in."""
    parts, path = name.split("."), ""
    for depth, part in enumerate(parts):
        path = f"{path}.{part}" if path else part
        if listed and depth == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path
