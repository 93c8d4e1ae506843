"""The pages of one session: its journal, what its events tell, and what it has finished."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from golem_nb.engine.charges import LinearPrice
from golem_nb.events import (
    ActivityCreateFailed,
    AgreementConfirmed,
    AgreementCreated,
    AgreementRejected,
    AgreementTerminated,
    DebitNoteAccepted,
    DebitNoteReceived,
    Event,
    InvoiceAccepted,
    InvoiceReceived,
    ServiceFinished,
    ServiceStateChanged,
    TaskAccepted,
    WorkerFinished,
)
from golem_nb.ledger.journal import SessionJournal
from golem_nb.ledger.records import FinishedItem, hourly_price, now, plain, price_to_json, stamp
from golem_nb.rest.market import AgreementRejectedError

if TYPE_CHECKING:
    from golem_nb.engine.journal import JournalEntry
    from golem_nb.ledger.locks import SessionLock
    from golem_nb.ledger.reputation import ProviderRecords
    from golem_nb.ledger.writer import Statement, Writer
    from golem_nb.rest.payment import DebitNote, Invoice, PaymentRecord
    from golem_nb.services import ServiceSerialization

__all__ = ["Book"]

_NOTE: Final = (
    "INSERT INTO debit_note (id, session, agreement, activity, amount, received) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET agreement = excluded.agreement, activity = excluded.activity, "
    "received = coalesce(received, excluded.received)"
)
_INVOICE: Final = (
    "INSERT INTO invoice (id, session, agreement, amount, received) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET agreement = excluded.agreement, "
    "received = coalesce(received, excluded.received)"
)
_SERVICE: Final = (
    "INSERT INTO service (id, session, class, agreement, activity, state, expiration, vpn, ip) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET session = excluded.session, "
    "agreement = excluded.agreement, activity = excluded.activity, state = excluded.state, "
    "vpn = excluded.vpn, ip = excluded.ip, handle = NULL"
)
_PROVIDER: Final = (
    "INSERT INTO provider (id, name, finished, failed, refused, seconds, hourly, first, last, last_failure) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "name = coalesce(excluded.name, name), finished = finished + excluded.finished, "
    "failed = failed + excluded.failed, refused = refused + excluded.refused, "
    "seconds = seconds + excluded.seconds, hourly = coalesce(excluded.hourly, hourly), last = excluded.last, "
    "last_failure = coalesce(excluded.last_failure, last_failure)"
)
_ITEM: Final = (
    "INSERT OR REPLACE INTO item (session, job, place, at, exit_code, stdout, stderr, files, encoding, "
    "value, provider_id, seconds, tries) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Book(SessionJournal):
    """What one session writes down; comes from `Ledger.begin`.

    It is the engine's journal (``golem.journal = book``), and a consumer of its events
    (``golem.add_event_consumer(book.take, book.EVENTS)``). Its session counts as alive until it is closed, or
    its process has ended.
    """

    #: The events that are worth keeping.
    EVENTS: ClassVar[tuple[type[Event], ...]] = (
        ActivityCreateFailed,
        AgreementConfirmed,
        AgreementCreated,
        AgreementRejected,
        AgreementTerminated,
        DebitNoteAccepted,
        DebitNoteReceived,
        InvoiceAccepted,
        InvoiceReceived,
        ServiceFinished,
        ServiceStateChanged,
        TaskAccepted,
        WorkerFinished,
    )

    def __init__(
        self, writer: Writer, session_id: str, name: str, lock: SessionLock, records: ProviderRecords
    ) -> None:
        super().__init__(writer, session_id)
        self.name = name
        self._lock = lock
        self._records = records
        self._finished: dict[str, list[float]] = {}
        #: Agreements that this session has tried to end.
        self._ending: set[str] = set()

    def __repr__(self) -> str:
        return f"<Book of session {self.name!r} ({self.session_id})>"

    @property
    def problem(self) -> str | None:
        """Why the ledger could not be written the last time; None while all is well."""
        return self._writer.problem

    # -- what happens ----------------------------------------------------------------------------------------

    async def intent(self, entry: JournalEntry) -> None:
        """See `SessionJournal.intent`."""
        if entry.action == "terminate_agreement":
            self._ending.add(entry.subject["agreement_id"])
        await super().intent(entry)

    def take(self, event: Any) -> None:
        """Keep what is worth keeping of an event; returns at once.

        Parameters
        ----------
        event
            One of `EVENTS`; others are passed over.
        """
        handler = _HANDLERS.get(type(event))
        if handler is not None and (statements := handler(self, event)):
            self._writer.post(statements)

    async def finished(self, job: str, items: Iterable[FinishedItem]) -> None:
        """Keep items of a job that are done; they are on disk when this returns.

        While the disk is full they are kept in memory.

        Parameters
        ----------
        job
            Name under which they are found again, see `Ledger.items`.
        items
            What is done.
        """
        statements: list[Statement] = [
            (
                _ITEM,
                (
                    self.session_id,
                    job,
                    item.index,
                    now(),
                    item.exit_code,
                    _text(item.stdout),
                    _text(item.stderr),
                    json.dumps(dict(item.files)),
                    item.encoding,
                    item.value,
                    item.provider_id,
                    item.seconds,
                    item.tries,
                ),
            )
            for item in items
        ]
        await self._write(statements, can_wait=True)

    def payments(self, records: Iterable[PaymentRecord]) -> None:
        """Keep what the daemon tells of payments; the same one may come again.

        Parameters
        ----------
        records
            The payments.
        """
        insert = "INSERT OR IGNORE INTO payment (id, agreement, activity, amount, at) VALUES (?, ?, ?, ?, ?)"
        statements: list[Statement] = []
        for record in records:
            key, at = record.payment_id, stamp(record.timestamp)
            for agreement, amount in record.agreement_payments.items():
                statements.append((insert, (key, agreement, "", str(amount), at)))
            for activity, amount in record.activity_payments.items():
                statements.append((insert, (key, "", activity, str(amount), at)))
        if statements:
            self._writer.post(statements)

    # -- the end ---------------------------------------------------------------------------------------------

    async def close(self, suspended: Sequence[ServiceSerialization] = ()) -> None:
        """Note that the session has ended properly. What is still in force then is found by `Ledger.left`.

        Parameters
        ----------
        suspended
            What `Golem.stop` has returned: services that go on.
        """
        await asyncio.to_thread(self.close_now, suspended)

    def close_now(self, suspended: Sequence[ServiceSerialization] = (), *, abandoned: bool = False) -> None:
        """Do what `close` does, and wait for it without an event loop.

        Parameters
        ----------
        suspended
            Whether what is running was left on purpose.
        abandoned
            Whether nobody has waited for invoices: a session that has some to come has not ended properly,
            and is left to a recovery.
        """
        statements = self._counts()
        for handle in suspended:
            service = "UPDATE service SET handle = ? WHERE id = ?"
            statements.append((service, (json.dumps(handle), handle["id"])))
            statements.append(("UPDATE agreement SET kept = 1 WHERE id = ?", (handle["agreement_id"],)))
        key = self.session_id
        statements.append(
            (
                "UPDATE session SET ended = ? WHERE id = ? AND NOT (? AND EXISTS (SELECT 1 FROM agreement "
                "WHERE session = ? AND settled IS NULL AND id IN (SELECT agreement FROM activity)))",
                (now(), key, abandoned, key),
            )
        )
        # a reservation that may have been made, but whose number never came, has to be looked for later
        statements.append(
            (
                "DELETE FROM step WHERE session = "
                "(SELECT id FROM session WHERE id = ? AND ended IS NOT NULL) "
                "AND NOT (action = 'create_allocation' AND coalesce(outcome, '{}') = '{}')",
                (key,),
            )
        )
        self._writer.write(statements, can_wait=True).result()
        self._lock.release(remove=True)

    # -- events ----------------------------------------------------------------------------------------------

    def _agreement(self, event: AgreementCreated | AgreementConfirmed) -> list[Statement]:
        agreement = event.agreement
        if isinstance(event, AgreementConfirmed):
            statement = "UPDATE agreement SET approved = coalesce(approved, ?) WHERE id = ?"
            return [(statement, (stamp(event.timestamp), agreement.id))]
        price = LinearPrice.agreed(agreement.details.offer_props)
        statement = "UPDATE agreement SET provider = ?, job = ?, price = ? WHERE id = ?"
        name = plain(event.provider_info.name, 200)
        return [(statement, (name, event.job_id, price_to_json(price), agreement.id))]

    def _rejected(self, event: AgreementRejected) -> list[Statement]:
        # one that was not answered in time is withdrawn, which is a step of its own
        over = stamp(event.timestamp) if isinstance(event.exception, AgreementRejectedError) else None
        statement = (
            "UPDATE agreement SET reason = coalesce(reason, ?), ended = coalesce(ended, ?) WHERE id = ?"
        )
        row = (plain(event.exception), over, event.agr_id)
        return [(statement, row), *self._count(event, refused=1)]

    def _terminated(self, event: AgreementTerminated) -> list[Statement]:
        # the engine is done with one that it could not end; at the daemon, and for a recovery, it is in force
        over = None if event.agr_id in self._ending else stamp(event.timestamp)
        self._ending.discard(event.agr_id)
        statement = (
            "UPDATE agreement SET ended = coalesce(ended, ?), reason = coalesce(reason, ?) WHERE id = ?"
        )
        return [(statement, (over, plain(event.reason.get("message")), event.agr_id))]

    def _debit_note(self, event: DebitNoteReceived | DebitNoteAccepted) -> list[Statement]:
        return note_statements(self.session_id, event.debit_note, event.timestamp)

    def _invoice(self, event: InvoiceReceived | InvoiceAccepted) -> list[Statement]:
        statements = invoice_statements(self.session_id, event.invoice, event.timestamp)
        if isinstance(event, InvoiceAccepted):
            settled = "UPDATE agreement SET settled = coalesce(settled, ?) WHERE id = ?"
            statements.append((settled, (stamp(event.timestamp), event.agr_id)))
        return statements

    def _service(self, event: ServiceStateChanged) -> list[Statement]:
        service = event.service
        cluster, node = service.cluster, service.network_node
        expiration = None if cluster is None else stamp(cluster.expiration)
        row = (
            service.id,
            self.session_id,
            type(service).__name__,
            event.agr_id,
            event.activity.id,
            str(event.new.value),
            expiration,
            None if node is None else node.network.network_id,
            None if node is None else node.ip,
        )
        return [(_SERVICE, row)]

    def _service_finished(self, event: ServiceFinished) -> list[Statement]:
        state = str(event.service.state.value)
        return [("UPDATE service SET state = ? WHERE id = ?", (state, event.service.id))]

    def _activity_failed(self, event: ActivityCreateFailed) -> list[Statement]:
        return self._count(event, failed=1)

    def _task_accepted(self, event: TaskAccepted) -> list[Statement]:
        # many a second: summed up here, and written when their worker has ended
        running_time = event.task.running_time
        sums = self._finished.setdefault(event.provider_id, [0, 0.0])
        sums[0] += 1
        sums[1] += running_time.total_seconds() if running_time is not None else 0.0
        return []

    def _worker_finished(self, event: WorkerFinished) -> list[Statement]:
        return self._count(event, failed=int(event.exc_info is not None))

    def _count(self, event: Any, *, failed: int = 0, refused: int = 0) -> list[Statement]:
        """Add to the record of the provider of an event."""
        provider = event.provider_id
        finished, seconds = self._finished.pop(provider, (0, 0.0))
        hourly = hourly_price(LinearPrice.agreed(event.agreement.details.offer_props))
        news: dict[str, Any] = {
            "name": plain(event.provider_info.name, 200),
            "finished": int(finished),
            "failed": failed,
            "refused": refused,
            "seconds": seconds,
        }
        self._records.count(provider, hourly=hourly, **news)
        row = _provider_row(provider, hourly=None if hourly is None else str(hourly), **news)
        return [(_PROVIDER, row)]

    def _counts(self) -> list[Statement]:
        """The tasks of workers that have not ended."""
        counts = {provider: tuple(sums) for provider, sums in self._finished.items()}
        self._finished.clear()
        return [
            (_PROVIDER, _provider_row(provider, finished=int(number), seconds=seconds))
            for provider, (number, seconds) in counts.items()
        ]


def note_statements(session: str, note: DebitNote, at: datetime) -> list[Statement]:
    """Return what keeps a debit note, and the usage that it reports."""
    statements: list[Statement] = [
        (
            _NOTE,
            (
                note.debit_note_id,
                session,
                note.agreement_id,
                note.activity_id,
                str(note.total_amount_due),
                stamp(at),
            ),
        )
    ]
    if note.usage_counter_vector:
        usage = json.dumps(note.usage_counter_vector)
        statements.append(("UPDATE activity SET usage = ? WHERE id = ?", (usage, note.activity_id)))
    return statements


def invoice_statements(session: str, invoice: Invoice, at: datetime) -> list[Statement]:
    """Return what keeps an invoice."""
    return [
        (_INVOICE, (invoice.invoice_id, session, invoice.agreement_id, str(invoice.amount), stamp(at))),
    ]


def _provider_row(
    provider: str,
    *,
    name: str | None = None,
    finished: int = 0,
    failed: int = 0,
    refused: int = 0,
    seconds: float = 0.0,
    hourly: str | None = None,
) -> tuple[Any, ...]:
    at = now()
    failure = at if failed or refused else None
    return (provider, name, finished, failed, refused, seconds, hourly, at, at, failure)


def _text(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()


_HANDLERS: Final[Mapping[type[Event], Callable[[Book, Any], list[Statement]]]] = {
    ActivityCreateFailed: Book._activity_failed,
    AgreementConfirmed: Book._agreement,
    AgreementCreated: Book._agreement,
    AgreementRejected: Book._rejected,
    AgreementTerminated: Book._terminated,
    DebitNoteAccepted: Book._debit_note,
    DebitNoteReceived: Book._debit_note,
    InvoiceAccepted: Book._invoice,
    InvoiceReceived: Book._invoice,
    ServiceFinished: Book._service_finished,
    ServiceStateChanged: Book._service,
    TaskAccepted: Book._task_accepted,
    WorkerFinished: Book._worker_finished,
}
