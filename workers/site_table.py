"""A TOML table of the site file: read key by key, by kind, with the place in every refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from workers.settings import BadSettings


class Table:
    """A TOML table that is read key by key and refuses what nobody read.

    Attributes:
        left: Keys that were not read yet.
    """

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.left, self._where = dict(data), where

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        """One value of a kind."""
        if key not in self.left:
            if default is ...:
                raise BadSettings(f"{self._where}: {key} is missing")
            return default
        value = self.left.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BadSettings(f"{self._where}: {key} is of another kind than expected")
        return value

    def table(self, key: str) -> Table:
        """A sub-table, empty when it is not there."""
        return Table(self.take(key, dict, {}), f"{self._where}: {key}")

    def tables(self, key: str) -> list[Table]:
        """An array of tables."""
        found = self.take(key, list, [])
        if not all(isinstance(item, dict) for item in found):
            raise BadSettings(f"{self._where}: {key} are tables: [[{key}]]")
        return [Table(item, f"{self._where}: {key}[{n}]") for n, item in enumerate(found)]

    def texts(self, key: str, default: list[str] | None = None) -> list[str] | None:
        """An array of strings."""
        found: list[str] | None = self.take(key, list, default)
        if not all(isinstance(item, str) for item in found or ()):
            raise BadSettings(f"{self._where}: {key} are strings")
        return found

    def number(
        self, key: str, default: float, *, low: float = 0.0, high: float = math.inf
    ) -> float:
        """A finite number, not outside its bounds."""
        found = float(self.take(key, (int, float), default))
        if not math.isfinite(found) or not low <= found <= high:
            bound = f" to {high:g}" if math.isfinite(high) else " or more"
            raise BadSettings(f"{self._where}: {key} is {low:g}{bound}")
        return found

    def count(self, key: str, default: Any = ..., *, high: float = math.inf) -> int:
        """A whole number from 1 on."""
        found: int = self.take(key, int, default)
        if not 1 <= found <= high:
            bound = f" to {high:g}" if math.isfinite(high) else " or more"
            raise BadSettings(f"{self._where}: {key} is 1{bound}")
        return found

    def children(self) -> list[tuple[str, Table]]:
        """Every remaining key as a table of its own."""
        return [(name, self.table(name)) for name in list(self.left)]

    def strings(self) -> dict[str, str]:
        """Every remaining key as a string."""
        return {name: self.take(name, str) for name in list(self.left)}

    def __contains__(self, key: str) -> bool:
        """Whether a key is there and was not read yet."""
        return key in self.left

    def close(self) -> None:
        """Refuse unknown keys."""
        if self.left:
            raise BadSettings(f"{self._where}: unknown key {min(self.left)}")
