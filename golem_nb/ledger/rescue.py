"""What is open is written where it is looked for, when somebody has taken the file away meanwhile.

A file that is deleted, or replaced by another one, stays what it was for those who have it open, and is gone
when they close it. SQLite does not look.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

from golem_nb.ledger.locks import turn
from golem_nb.ledger.schema import BESIDE, prepare

__all__ = ["OpenFile", "rescue"]

#: These belong to nobody's session: what the new file has of them is as good.
_COMMON: Final = frozenset({"provider", "payment"})


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@attrs.frozen
class OpenFile:
    """Which file is open, with what SQLite keeps beside it; told apart from another one of the same name."""

    path: Path
    identity: tuple[int, int] | None
    beside: tuple[tuple[int, int] | None, ...]

    @classmethod
    def at(cls, path: Path) -> OpenFile:
        """Return what is there now.

        Parameters
        ----------
        path
            The ledger's file, just opened and read.
        """
        beside = (_identity(path.with_name(path.name + suffix)) for suffix in BESIDE)
        return cls(path, _identity(path), tuple(beside))

    def is_there(self) -> bool:
        """Whether it is still the file of that name."""
        return _identity(self.path) == self.identity

    def clear(self) -> None:
        """Take away what it has left beside it: SQLite would read it as a part of the file that is there."""
        for suffix, identity in zip(BESIDE, self.beside, strict=True):
            part = self.path.with_name(self.path.name + suffix)
            if identity is not None and _identity(part) == identity:
                part.unlink(missing_ok=True)


def rescue(connection: sqlite3.Connection, file: OpenFile, sessions: Iterable[str]) -> None:
    """Write all that is known into the file that is there now, or into a new one.

    Parameters
    ----------
    connection
        Has the file open that was taken away.
    file
        That file.
    sessions
        Those that write here: of them the new file knows nothing better. What it has of others is left as it
        is, since they may have written it there.

    Raises
    ------
    LedgerError, OSError, sqlite3.Error
        It cannot be written; it is tried again with the next commit.
    """
    with turn(file.path.with_name("lock")):
        if not file.is_there():
            file.clear()
    prepare(file.path)
    connection.execute("ATTACH ? AS fresh", (str(file.path),))
    try:
        connection.execute("PRAGMA fresh.synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            _copy(connection, list(sessions))
        except BaseException:
            connection.rollback()
            raise
        connection.execute("COMMIT")
    finally:
        connection.execute("DETACH fresh")


def _copy(connection: sqlite3.Connection, sessions: list[str]) -> None:
    tables = connection.execute(
        "SELECT name FROM fresh.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    places = ", ".join("?" * len(sessions))
    for (table,) in tables:
        names = [row[1] for row in connection.execute(f"PRAGMA fresh.table_info({table})")]
        columns = ", ".join(names)
        # the names are those of `golem_nb.ledger.schema`
        copy = f"INTO fresh.{table} ({columns}) SELECT {columns} FROM main.{table}"  # noqa: S608
        if table not in _COMMON:
            owner = "id" if table == "session" else "session"
            connection.execute(f"INSERT OR REPLACE {copy} WHERE {owner} IN ({places})", sessions)
        connection.execute(f"INSERT OR IGNORE {copy}")
