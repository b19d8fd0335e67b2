"""Statements that run for every message: compiled once, and run on the driver's own cursor.

SQLAlchemy's own execution takes ten times as long as the database takes to answer an index, and its
executemany spends more time on each row's parameters than SQLite on the row. Columns keep their
types: what is bound and what is read goes through the same processors.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Dialect, Engine, Table, bindparam, insert
from sqlalchemy.engine.interfaces import DBAPICursor

from interop.ledger.engine import failure, insert_ignore

_Process = Callable[[Any], Any]


class Prepared:
    """One statement with named parameters, none of them a list (`among` makes one of fixed size).

    Args:
        statement: A SELECT, or an UPDATE with or without RETURNING.
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        columns = list(statement.exported_columns)
        self._types = [column.type for column in columns]
        names = [column.name for column in columns]
        named = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024  of any statement
        self._row: Callable[[Sequence[Any]], Any] = named._make
        self._made: dict[str, tuple[_Bound, list[tuple[int, _Process]]]] = {}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[Any]:
        """What the statement answers, each row by the names of its columns.

        Raises:
            LedgerRefuses: The database will never take a value of it.
            LedgerUnavailable: Any other error of the database.
        """
        bound, processors = self._for(connection.dialect)
        cursor = self._executed(connection, bound, values)
        found = cursor.fetchall()
        cursor.close()
        if not processors:
            return [self._row(row) for row in found]
        rows = []
        for row in found:
            read = list(row)
            for n, process in processors:
                read[n] = process(read[n])
            rows.append(self._row(read))
        return rows

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Any | None:
        """The first row, or None; raises as `rows` does."""
        found = self.rows(connection, values)
        return found[0] if found else None

    def changed(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """How many rows an UPDATE changed; raises as `rows` does."""
        bound, _ = self._for(connection.dialect)
        cursor = self._executed(connection, bound, values)
        count = cursor.rowcount
        cursor.close()
        return count

    def _executed(
        self, connection: Connection, bound: _Bound, values: Mapping[str, Any]
    ) -> DBAPICursor:
        asked = bound.values(values)
        heard: Any = connection.dispatch  # whoever listens to SQLAlchemy's statements hears these
        try:
            cursor = connection.connection.cursor()
            for tell in heard.before_cursor_execute:
                tell(connection, cursor, bound.text, asked, None, False)
            cursor.execute(bound.text, asked)
            for tell in heard.after_cursor_execute:
                tell(connection, cursor, bound.text, asked, None, False)
        except connection.dialect.loaded_dbapi.Error as error:
            raise failure(error, "while asking the ledger") from error
        return cursor

    def _for(self, dialect: Dialect) -> tuple[_Bound, list[tuple[int, _Process]]]:
        made = self._made.get(dialect.name)
        if made is None:
            found = [kind.dialect_impl(dialect) for kind in self._types]
            read = [kind.result_processor(dialect, None) for kind in found]
            processors = [(n, process) for n, process in enumerate(read) if process is not None]
            made = self._made[dialect.name] = _Bound(self._statement, dialect), processors
        return made


class _Bound:
    """A statement's text for one dialect, and how its parameters are given to the driver."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self._constants = compiled.params
        self._order = compiled.positiontup
        found = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for bind, name in compiled.bind_names.items()
        }
        self._processors = {name: process for name, process in found.items() if process}

    def values(self, given: Mapping[str, Any]) -> Any:
        """Parameters as the driver takes them."""
        named = {**self._constants, **given}
        for name, process in self._processors.items():
            named[name] = process(named[name])
        return named if self._order is None else tuple([named[name] for name in self._order])


def among(column: ColumnElement[Any], name: str, count: int) -> ColumnElement[bool]:
    """The condition that a column is one of so many values, given as by `spread`."""
    return column.in_([bindparam(f"{name}{n}") for n in range(count)])


def room(count: int) -> int:
    """How many places a list of values is given: few sizes, so that few statements are compiled."""
    return 1 << max(count - 1, 0).bit_length()


def spread(name: str, values: Collection[Any]) -> dict[str, Any]:
    """A list of values as parameters name0, name1 ..., to fill its room; NULL equals nothing."""
    listed = list(values) or [None]
    listed += [listed[-1]] * (room(len(listed)) - len(listed))
    return {f"{name}{n}": value for n, value in enumerate(listed)}


class BulkInsert:
    """One INSERT for rows that come by the thousand.

    Args:
        table: The table.
        columns: Columns of a row, in the order of its values.
        engine: For the dialect.
        ignore: Leave rows alone whose key is there already.
    """

    def __init__(
        self, table: Table, columns: Sequence[str], engine: Engine, *, ignore: bool = False
    ) -> None:
        dialect = engine.dialect
        statement = insert_ignore(table, dialect.name) if ignore else insert(table)
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self._text = str(compiled)
        self._columns = tuple(columns)
        self._positions = (
            [self._columns.index(name) for name in compiled.positiontup or ()]
            if compiled.positional
            else None
        )
        found = [
            (n, table.c[name].type.dialect_impl(dialect).bind_processor(dialect))
            for n, name in enumerate(columns)
        ]
        self._processors = [(n, process) for n, process in found if process is not None]

    def bound(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Rows as the driver takes them."""
        made = []
        moments: dict[datetime, Any] = {}  # rows of one message share theirs
        for row in rows:
            values = list(row)
            for n, process in self._processors:
                value = values[n]
                if not isinstance(value, datetime):
                    values[n] = process(value)
                elif (known := moments.get(value)) is not None:
                    values[n] = known
                else:
                    values[n] = moments[value] = process(value)
            made.append(values)
        if self._positions is not None:
            order = self._positions
            return [tuple([values[n] for n in order]) for values in made]
        names = self._columns
        return [dict(zip(names, values, strict=True)) for values in made]

    def run(self, cursor: DBAPICursor, bound: Sequence[Any]) -> None:
        """Insert bound rows with a cursor of the driver."""
        if bound:
            cursor.executemany(self._text, bound)

    def insert(self, cursor: DBAPICursor, rows: Sequence[Sequence[Any]]) -> None:
        """Bind rows and insert them."""
        self.run(cursor, self.bound(rows))
