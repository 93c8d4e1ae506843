"""The ledger: opens the file, begins sessions in it, and finds what dead ones have left."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from golem_nb.ledger.book import Book
from golem_nb.ledger.folder import default_path
from golem_nb.ledger.leftovers import Leftover, left
from golem_nb.ledger.locks import Process, SessionLock
from golem_nb.ledger.records import FinishedItem, Place, ProviderRecord, moment, now
from golem_nb.ledger.reputation import ProviderRecords
from golem_nb.ledger.schema import connect, prepare
from golem_nb.ledger.writer import Writer
from golem_nb.log import get_logger

if TYPE_CHECKING:
    from golem_nb.config import ApiConfig
    from golem_nb.ledger.report import RecoveryReport
    from golem_nb.rest.ids import NodeId
    from golem_nb.services import ServiceSerialization

__all__ = ["Ledger"]

logger = get_logger(__name__)


class Ledger:
    """What all sessions of this user have reserved, bought and paid, on disk.

    Several processes use one ledger at the same time. All methods that are not coroutines may be called from
    any thread.

    Parameters
    ----------
    path
        The file; by default ``ledger/ledger.sqlite3`` below `GOLEM_NB_DATA_DIR` or in the user's data folder.
    warn
        Called, in any thread, when it cannot be written, or was deleted in use; by default that is logged.

    Raises
    ------
    LedgerVersionError
        A newer golem_nb has written it.
    LedgerLockedError
        Another program keeps it locked.
    LedgerError
        It cannot be opened.

    Examples
    --------
    ::

        with Ledger() as ledger:
            book = ledger.begin("default", node_id, "hoodi", Decimal(1), Place(api_url))
            golem.journal = book
            golem.add_event_consumer(book.take, book.EVENTS)
            async with golem:
                ...
            await book.close()
    """

    def __init__(self, path: Path | None = None, *, warn: Callable[[str], None] = logger.warning) -> None:
        self.path = path if path is not None else default_path()
        self._locks = self.path.with_name("sessions")
        prepare(self.path)
        self._writer = Writer(self.path, warn)
        self._reader, self._read = connect(self.path), self._writer.file
        self._reading = threading.Lock()
        self._closed = False
        self._records: ProviderRecords | None = None

    def __repr__(self) -> str:
        return f"<Ledger {str(self.path)!r}>"

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left, and let go of the file; idempotent. `select` goes on working."""
        self._writer.close()
        with self._reading:
            self._reader.close()
            self._closed = True

    # -- sessions --------------------------------------------------------------------------------------------

    def begin(self, name: str, node_id: NodeId | str, network: str, budget: Decimal, place: Place) -> Book:
        """Begin a session; it is on disk, and counts as alive, when this returns.

        Parameters
        ----------
        name
            Its name.
        node_id
            Identity of the daemon that it uses, by which what it leaves is found again.
        network
            Payment network, or ``local``.
        budget
            The most that it may spend, GLM.
        place
            Where the daemon is.

        Raises
        ------
        LedgerWriteError
            It cannot be written.
        """
        session_id = uuid.uuid4().hex
        # before the row: a session without a lock is a dead one
        lock = SessionLock(self._lock_of(session_id))
        row = (
            session_id,
            name,
            node_id,
            network,
            str(budget),
            place.to_json(),
            Process.current().to_json(),
            now(),
        )
        insert = (
            "INSERT INTO session (id, name, node_id, network, budget, place, process, started) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        self._writer.sessions[session_id] = lock
        try:
            self._writer.write([(insert, row)]).result()
        except BaseException:
            del self._writer.sessions[session_id]
            lock.release(remove=True)
            raise
        return Book(self._writer, session_id, name, lock, self.providers())

    def left(self, node_id: NodeId | str | None = None) -> list[Leftover]:
        """Return what sessions of dead processes have left, and what was suspended; oldest first.

        The daemon is not asked: some of it may have ended by itself.

        Parameters
        ----------
        node_id
            Only at the daemon of this identity.
        """
        with self.reading() as connection:
            found = left(connection, self._locks, node_id=node_id)
        return [leftover for leftover in found if leftover]

    async def recover(
        self,
        api_config: ApiConfig,
        *,
        how: Literal["end", "settle"] = "end",
        sessions: Sequence[str] | None = None,
    ) -> RecoveryReport:
        """End, pay and release what dead sessions have left at one daemon.

        Activities are destroyed, agreements are terminated with the true reason, invoices are waited for
        (half a minute at most) and accepted if usage and agreed price explain them and the session's budget
        covers them, reservations are released. What belongs to a living session is never touched; when
        several processes recover at the same time, each session is recovered by one of them.

        Parameters
        ----------
        api_config
            Address and key of the daemon.
        how
            ``"settle"`` leaves alone what is still running, pays what is over, and releases the reservation
            if nothing runs on it any more.
        sessions
            Ids of the sessions to recover, suspended ones included; by default all dead ones, without what
            was suspended on purpose.

        Raises
        ------
        ApiError
            The daemon cannot be reached. Whatever else goes wrong is told in the report.
        """
        from golem_nb.ledger.recovery import recover  # needed only where something was left

        return await recover(self, api_config, how=how, sessions=sessions)

    async def write_off(self, leftover: Leftover) -> None:
        """Note that what a dead session had is no more, because its daemon is gone for good.

        Parameters
        ----------
        leftover
            What it had.

        Raises
        ------
        LedgerLockedError
            Another process is recovering that session.
        """
        from golem_nb.ledger.recovery import write_off  # needed only where something was left

        await write_off(self, leftover)

    async def adopt(
        self,
        leftover: Leftover,
        book: Book,
        api_config: ApiConfig,
        class_name: str | None = None,
        beside: ServiceSerialization | None = None,
    ) -> list[ServiceSerialization]:
        """Make the running services of a dead session, or suspended ones, those of a living session.

        Parameters
        ----------
        leftover
            From `left`.
        book
            Of the session that takes them over.
        api_config
            Address and key of the daemon.
        class_name
            Only services of this class; the others are left as they are.
        beside
            Only services that are in the same VPN as this one, or in none as it is; by default in that of the
            first, since a cluster has one.

        Returns
        -------
        list
            Handles for `Golem.resume_service`: all of one class can be resumed at once. Those that have ended
            in the meantime are not among them.

        Raises
        ------
        LedgerLockedError
            Another process is recovering that session.
        """
        from golem_nb.ledger.adoption import adopt  # needed only where something was left

        return await adopt(self, leftover, book, api_config, class_name, beside)

    # -- what was kept ---------------------------------------------------------------------------------------

    def items(self, job: str, name: str | None = None) -> dict[int, FinishedItem]:
        """Return the finished items of a job from all sessions, by their place; the last of each counts.

        Parameters
        ----------
        job
            Name of the job, as given to `Book.finished`.
        name
            Only those of sessions of this name.
        """
        rows = self.select(
            "SELECT place, exit_code, stdout, stderr, files, encoding, value, provider_id, seconds, tries "
            "FROM item WHERE job = ?1 "
            "AND (?2 IS NULL OR session IN (SELECT id FROM session WHERE name = ?2)) ORDER BY place, at",
            job,
            name,
        )
        return {
            index: FinishedItem(
                index, code, stdout, stderr, json.loads(files), encoding, value, provider, seconds, tries
            )
            for index, code, stdout, stderr, files, encoding, value, provider, seconds, tries in rows
        }

    def providers(self) -> ProviderRecords:
        """Return what is known of providers; the object goes on with what this process's sessions see."""
        if self._records is None:
            rows = self.select(
                "SELECT id, name, finished, failed, refused, seconds, hourly, first, last, last_failure "
                "FROM provider"
            )
            self._records = ProviderRecords({row[0]: _record(*row) for row in rows})
        return self._records

    def select(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read rows with a statement in SQL; see the tables in `golem_nb.ledger.schema`.

        Parameters
        ----------
        statement
            A SELECT with ``?`` for each parameter.
        *parameters
            What stands for the places.

        Examples
        --------
        ::

            ledger.select("SELECT sum(amount) FROM invoice WHERE accepted IS NOT NULL")
        """
        with self.reading() as connection:
            return connection.execute(statement, parameters).fetchall()

    # -- for the modules of this package ---------------------------------------------------------------------

    @property
    def writer(self) -> Writer:
        """The thread that writes."""
        return self._writer

    def leftovers(
        self, *, node_id: str | None = None, sessions: Sequence[str] | None = None
    ) -> list[Leftover]:
        """Return all dead sessions, or the given ones, also if they have left nothing.

        Parameters
        ----------
        node_id
            Only those of this identity of the daemon; None: of any.
        sessions
            Ids of the sessions to look at; None: all that are dead.
        """
        with self.reading() as connection:
            return left(connection, self._locks, node_id=node_id, sessions=sessions)

    def lock(self, session_id: str) -> SessionLock:
        """Take the lock of a session that is dead.

        Parameters
        ----------
        session_id
            Id of the session.

        Raises
        ------
        LedgerLockedError
            It lives, or another process is recovering it.
        """
        return SessionLock(self._lock_of(session_id))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Have the connection for reading to oneself; one for this time where the ledger is closed."""
        with self._reading:
            if self._closed:
                with closing(connect(self.path)) as again:
                    yield again
            else:
                if self._read is not self._writer.file:
                    # it was taken away, and is written elsewhere now
                    self._reader.close()
                    self._reader, self._read = connect(self.path), self._writer.file
                yield self._reader

    async def write(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """Write, and wait until it is on disk.

        Parameters
        ----------
        *statements
            Statements in SQL, each with its parameters; all of them are done, or none.
        """
        await asyncio.wrap_future(self._writer.write(statements, can_wait=True))

    def _lock_of(self, session_id: str) -> Path:
        return self._locks / f"{session_id}.lock"


def _record(
    key: str,
    name: str | None,
    finished: int,
    failed: int,
    refused: int,
    seconds: float,
    hourly: str | None,
    first: str,
    last: str,
    last_failure: str | None,
) -> ProviderRecord:
    return ProviderRecord(
        key,
        name,
        finished,
        failed,
        refused,
        seconds,
        None if hourly is None else Decimal(hourly),
        moment(first),
        moment(last),
        None if last_failure is None else moment(last_failure),
    )
