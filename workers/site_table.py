"""A TOML table of the site file: read key by key, by kind, with the place in every refusal."""

from __future__ import annotations

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
        return [Table(item, f"{self._where}: {key}[{n}]") for n, item in enumerate(found)]

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
