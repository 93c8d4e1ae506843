"""The one thread of a process that writes to the ledger."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import attrs

from golem_nb.ledger.errors import LedgerError, LedgerWriteError
from golem_nb.ledger.locks import SessionLock
from golem_nb.ledger.rescue import OpenFile, rescue
from golem_nb.ledger.schema import connect
from golem_nb.log import get_logger, pluralize

__all__ = ["Statement", "Writer"]

logger = get_logger(__name__)

#: A statement and its parameters.
Statement = tuple[str, Sequence[Any]]

#: Writes that are committed together at most.
_GROUP: Final = 500

#: Statements that are kept in memory while the disk is full.
_MOST_DEFERRED: Final = 100_000

#: What may be better the next time.
_PASSING: Final = (sqlite3.OperationalError, OSError, LedgerError)


@attrs.define(eq=False)
class _Write:
    statements: Sequence[Statement]
    done: Future[None] | None
    #: Whether the caller goes on when this cannot be written; it is tried again with the next one then.
    can_wait: bool


class Writer:
    """Commits what it is given in the order given, many writes at once when they come fast.

    Parameters
    ----------
    path
        The ledger's file, prepared.
    warn
        Called with what the user should know, in any thread.
    """

    def __init__(self, path: Path, warn: Callable[[str], None] = logger.warning) -> None:
        self._path = path
        self._warn = warn
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._deferred: list[Statement] = []
        self._closed = False
        #: Why the last write has failed; None while all is well.
        self.problem: str | None = None
        #: The sessions that are written here, by their ids.
        self.sessions: dict[str, SessionLock] = {}
        self._connection, self.file = _open(path)
        self._thread = threading.Thread(target=self._run, name="golem_nb ledger", daemon=True)
        self._thread.start()

    def write(self, statements: Sequence[Statement], *, can_wait: bool = False) -> Future[None]:
        """Write, all or nothing; the future is done when it is on disk.

        Parameters
        ----------
        statements
            What to execute, in one transaction.
        can_wait
            If the disk is full, keep it in memory and try again with the next write, instead of failing.

        Returns
        -------
        concurrent.futures.Future
            Raises `LedgerWriteError` if it could not be written; never if it `can_wait`.
        """
        if self._closed:
            raise LedgerError(f"The ledger {self._path} was closed: begin a new session")
        done: Future[None] = Future()
        self._queue.put(_Write(statements, done, can_wait))
        return done

    def post(self, statements: Sequence[Statement]) -> None:
        """Write soon, without waiting for it."""
        if not self._closed:
            self._queue.put(_Write(statements, None, can_wait=True))

    def close(self) -> None:
        """Write what is left, and end."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            group: list[_Write] = []
            write = self._queue.get()
            while write is not None:
                group.append(write)
                if len(group) >= _GROUP:
                    break
                try:
                    write = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                going_on = False
            self._commit(group)
        if self._deferred:
            missing = pluralize(len(self._deferred), "entry", "entries")
            self._warn(
                f"The ledger {self._path} was closed without its last {missing}, for which there was no room "
                f"until the end: {self.problem}"
            )
        self._connection.close()

    def _commit(self, group: Sequence[_Write]) -> None:
        error = self._try([*self._deferred, *(entry for write in group for entry in write.statements)])
        if error is None:
            self._deferred.clear()
            self.problem = None
            for write in group:
                _resolve(write, None)
            return
        if len(group) > 1:
            for write in group:  # one that cannot be written must not keep the others from it
                self._commit([write])
            return
        for write in group:
            failure = LedgerWriteError(self._path, error)
            failure.__cause__ = error
            if self.problem is None:
                self._warn(str(failure))
            self.problem = str(failure)
            if write.can_wait:
                # what a full disk cannot take is taken later; what is wrong in itself never would be
                if isinstance(error, _PASSING):
                    self._deferred.extend(write.statements)
                    del self._deferred[:-_MOST_DEFERRED]
                _resolve(write, None)
            else:
                _resolve(write, failure)

    def _try(self, statements: Sequence[Statement]) -> Exception | None:
        try:
            if not self.file.is_there():
                self._follow()
        except (LedgerError, OSError, sqlite3.Error) as error:
            # no fault of what was to be written
            return error if isinstance(error, _PASSING) else LedgerError(str(error))
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement, parameters in statements:
                connection.execute(statement, parameters)
            connection.execute("COMMIT")
        except Exception as error:
            if connection.in_transaction:
                connection.rollback()
            return error
        return None

    def _follow(self) -> None:
        """Write all that is known to where it is looked for, and go on there."""
        sessions = dict(self.sessions)
        for lock in sessions.values():
            lock.renew()  # before its row is there: a session without a lock is a dead one
        rescue(self._connection, self.file, sessions)
        gone = self._connection
        self._connection, self.file = _open(self._path)
        gone.close()
        self._warn(
            f"The ledger {self._path} was deleted or replaced while it was in use. All that was in it was "
            "written there again; stop sessions before you move or delete it."
        )


def _open(path: Path) -> tuple[sqlite3.Connection, OpenFile]:
    connection = connect(path)
    # what is beside the file is made when it is first read
    connection.execute("SELECT count(*) FROM session").fetchone()
    return connection, OpenFile.at(path)


def _resolve(write: _Write, failure: BaseException | None) -> None:
    # whoever waits may have been cancelled, and the write with it as far as the future is concerned
    if write.done is None or not write.done.set_running_or_notify_cancel():
        return
    if failure is None:
        write.done.set_result(None)
    else:
        write.done.set_exception(failure)
