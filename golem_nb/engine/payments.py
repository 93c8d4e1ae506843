"""Debit notes and invoices: what is due and explained is accepted, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import attrs

from golem_nb.engine.accounts import ActivityAccount, AgreementAccount
from golem_nb.engine.charges import LinearPrice
from golem_nb.engine.errors import BudgetExceededError, OverchargeError
from golem_nb.engine.journal import step
from golem_nb.engine.spending import NotCoveredError, Spending
from golem_nb.events import (
    DebitNoteAccepted,
    DebitNoteReceived,
    InvoiceAccepted,
    InvoiceReceived,
    PaymentFailed,
)
from golem_nb.log import get_logger
from golem_nb.rest.errors import ApiError

if TYPE_CHECKING:
    from golem_nb.engine.agreements import HeldAgreement
    from golem_nb.engine.engine import Engine
    from golem_nb.engine.job import Job
    from golem_nb.rest.activity import Activity
    from golem_nb.rest.ids import AgreementId
    from golem_nb.rest.payment import DebitNote, DebitNoteEvent, Invoice, InvoiceEvent

logger = get_logger(__name__)

E = TypeVar("E", "DebitNoteEvent", "InvoiceEvent")
D = TypeVar("D", "DebitNote", "Invoice")

#: One look for debit notes or invoices lasts so long, in seconds.
POLL = 30.0

#: When an agreement ends, its invoice is looked for at once: for so long, in seconds, then twice as long, up
#: to a second. (The daemon, yagna 0.17.6, looks for what came in when it is asked and then once a second,
#: while most providers send their invoice within a few milliseconds.)
FIRST_LOOK = 0.05

#: Documents of a kind that are worked on at the same time.
HANDLERS = 10

#: An invoice waits that long for the debit notes that have come before it, at most, in seconds.
NOTES_WAIT = 5.0

#: At the end, invoices are waited for so long, in seconds; …
INVOICE_WAIT = 30.0

#: … those of providers that could not be reached any more, so long.
UNREACHABLE_WAIT = 5.0


@attrs.define(eq=False)
class _Notes:
    """Looks for debit notes: the one that is under way, and who waits for the next one."""

    look: asyncio.Timeout | None = None
    awaited: list[asyncio.Future[None]] = attrs.field(factory=list)

    def next_look(self) -> asyncio.Future[None]:
        """Look at once; done when what has come by now is being worked on."""
        loop = asyncio.get_running_loop()
        told = loop.create_future()
        self.awaited.append(told)
        if self.look is not None and not self.look.expired():
            self.look.reschedule(loop.time())
        return told


class Payments:
    """Works on what providers send to be paid.

    Parameters
    ----------
    engine
        Whose budget and strategy decide.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._accounts: dict[AgreementId, AgreementAccount] = {}
        self._spending = Spending(engine.budget.budget)
        #: One for each engine whose debit notes are followed.
        self._notes: list[_Notes] = []
        self._changed = asyncio.Event()
        self._next_look = POLL
        self._looks: set[asyncio.Timeout] = set()
        self._handlers: asyncio.TaskGroup

    # -- what the rest of the engine tells ---------------------------------------------------------------

    def agreement_confirmed(self, job: Job, held: HeldAgreement) -> None:
        """Expect bills for an agreement."""
        price = LinearPrice.agreed(held.agreement.details.offer_props)
        self._accounts[held.agreement.id] = AgreementAccount(job, held, price)

    def agreement_ended(self, agreement_id: AgreementId) -> None:
        """Accept its invoice from now on."""
        account = self._accounts[agreement_id]
        account.ended = True
        if account.early_invoice is not None:
            self._handlers.create_task(self._invoice_of(account, account.early_invoice), name="early invoice")
        elif account.owes:
            self._next_look = FIRST_LOOK
            for look in self._looks:
                if not look.expired():  # another agreement may have ended it at this very moment
                    look.reschedule(asyncio.get_running_loop().time())
        self._changed.set()

    def activity_created(self, agreement_id: AgreementId, activity: Activity) -> None:
        """Expect to pay for an activity."""
        self._accounts[agreement_id].activities[activity.id] = ActivityAccount(activity)

    def activity_taken_up(
        self, agreement_id: AgreementId, activity: Activity, created: datetime, accepted: Decimal
    ) -> None:
        """Expect to pay for an activity that was created by another engine, which has accepted `accepted`."""
        self._spending.take_up(agreement_id, accepted)
        account = ActivityAccount(activity, created=created, accepted=accepted)
        self._accounts[agreement_id].activities[activity.id] = account

    def account(self, agreement_id: AgreementId) -> AgreementAccount:
        """What is owed for an agreement of this engine."""
        return self._accounts[agreement_id]

    def activity_ended(self, agreement_id: AgreementId, activity: Activity, *, reachable: bool) -> None:
        """Expect to pay for an activity no longer than until now."""
        account = self._accounts[agreement_id]
        account.activities[activity.id].ended = datetime.now(UTC)
        account.reachable = account.reachable and reachable

    # -- the loops ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work on debit notes and invoices until cancelled."""
        async with asyncio.TaskGroup() as self._handlers:
            self.follow_session(self._engine.session_id, self._engine.started)

    def follow_session(self, session_id: str, after: datetime) -> None:
        """Work on what comes in for an engine, this one or one whose agreements were taken up."""
        payment = self._engine.payment
        self._handlers.create_task(
            self._follow(
                "invoices",
                self._look_for_invoices,
                lambda event: payment.invoice(event.invoice_id),
                self._on_invoice,
                session_id,
                after,
                _Notes(),
            ),
            name="invoices",
        )
        notes = _Notes()
        self._notes.append(notes)
        self._handlers.create_task(
            self._follow(
                "debit notes",
                partial(self._look_for_notes, notes),
                lambda event: payment.debit_note(event.debit_note_id),
                self._on_debit_note,
                session_id,
                after,
                notes,
            ),
            name="debit notes",
        )

    async def wait_for_invoices(self) -> None:
        """Wait until nothing is owed; not at all if nothing is, and at most `INVOICE_WAIT`."""
        start = asyncio.get_running_loop().time()
        told = False
        while owing := [account for account in self._accounts.values() if account.owes]:
            if not told:
                logger.info("%d agreements still unpaid, waiting for invoices...", len(owing))
                told = True
            limit = INVOICE_WAIT if any(account.reachable for account in owing) else UNREACHABLE_WAIT
            self._changed.clear()
            try:
                async with asyncio.timeout_at(start + limit):
                    await self._changed.wait()
            except TimeoutError:
                logger.warning(
                    "Unpaid agreements: %s",
                    {account.held.agreement.id: account.held.provider for account in owing},
                )
                return

    async def _look_for_invoices(
        self, after: datetime, timeout: float, app_session_id: str
    ) -> Sequence[InvoiceEvent]:
        """Wait for invoices, once, until an agreement ends at most."""
        timeout = min(timeout, self._next_look)
        self._next_look = 2 * timeout if timeout < 1 else POLL
        try:
            async with asyncio.timeout(None) as look:
                self._looks.add(look)
                return await self._engine.payment.collect_invoice_events(
                    after, timeout=timeout, app_session_id=app_session_id
                )
        except TimeoutError:
            return []
        finally:
            self._looks.discard(look)

    async def _look_for_notes(
        self, notes: _Notes, after: datetime, timeout: float, app_session_id: str
    ) -> Sequence[DebitNoteEvent]:
        """Wait for debit notes, once, until an invoice is there to be accepted at most."""
        try:
            async with asyncio.timeout(None) as look:
                # one that does not wait is not ended: those who have asked for it go on when it is over
                notes.look = look if timeout else None
                return await self._engine.payment.collect_debit_note_events(
                    after, timeout=timeout, app_session_id=app_session_id
                )
        except TimeoutError:
            return []
        finally:
            notes.look = None

    async def _follow(
        self,
        what: str,
        collect: Callable[..., Awaitable[Sequence[E]]],
        read: Callable[[E], Awaitable[D]],
        handle: Callable[[D], Awaitable[None]],
        session_id: str,
        after: datetime,
        notes: _Notes,
    ) -> None:
        failures = 0
        before: asyncio.Event | None = None
        limit = asyncio.Semaphore(HANDLERS)
        while True:
            awaited, notes.awaited = notes.awaited, []
            try:
                events = await collect(after, timeout=0 if awaited else POLL, app_session_id=session_id)
            except ApiError as error:
                notes.awaited[:0] = awaited
                failures += 1
                logger.warning("New %s could not be asked for, which will be tried again: %s", what, error)
                await asyncio.sleep(min(0.5 * 2**failures, POLL))
                continue
            failures = 0
            for event in events:
                after = max(after, event.date)
                await limit.acquire()
                begun = asyncio.Event()
                self._handlers.create_task(
                    self._handle(what, partial(read, event), handle, before, begun, limit), name=what
                )
                before = begun
            if awaited:
                self._handlers.create_task(_tell(awaited, before), name="debit notes before invoices")

    async def _handle(
        self,
        what: str,
        read: Callable[[], Awaitable[D]],
        handle: Callable[[D], Awaitable[None]],
        before: asyncio.Event | None,
        begun: asyncio.Event,
        limit: asyncio.Semaphore,
    ) -> None:
        """Work on one document: many are read at a time, and begun in the order in which they have come."""
        try:
            document = await read()
            if before is not None:
                await before.wait()
            begun.set()
            await handle(document)
        except Exception:
            # one bad document must not keep the others from being paid
            logger.exception("One of the %s could not be worked on", what)
        finally:
            begun.set()
            limit.release()

    # -- debit notes -------------------------------------------------------------------------------------

    async def _on_debit_note(self, note: DebitNote) -> None:
        account = self._accounts.get(note.agreement_id)
        if account is None:
            return
        async with account.lock:
            account.job.emit(DebitNoteReceived, agreement=account.held.agreement, debit_note=note)
            if not account.settled:
                await self._debit_note(account, note)

    async def _debit_note(self, account: AgreementAccount, note: DebitNote) -> None:
        held = account.held
        activity = account.activities.get(note.activity_id)
        if activity is None:
            logger.warning(
                "Ignored a debit note of %s for an activity that nobody has asked for", held.provider
            )
            return
        if reason := account.too_many_notes(activity, note):
            self._end(account, reason)
            return
        activity.usage = note.usage_counter_vector or activity.usage
        due = note.total_amount_due
        if due < activity.accepted:
            return  # overtaken by a later one
        explained = account.explained_for(activity)
        if due > explained:
            error = OverchargeError(f"Debit note {note.debit_note_id}", held.provider, due, explained)
            self._failed(account, error)
            self._end(account, {"message": str(error), "golem.requestor.code": "Overcharged"})
            return
        if await self._engine.strategy.debit_note_accepted_amount(note) < due:
            logger.warning(
                "Ignored debit note %s from %s, amount: %s", note.debit_note_id, held.provider, due
            )
            return
        total = account.accepted - activity.accepted + due
        try:
            async with (
                self._reserved(account, total),
                step(self._engine.journal, "accept_debit_note", debit_note_id=note.debit_note_id, amount=due),
            ):
                await note.accept(due, self._engine.budget.allocation)
        except Exception as error:
            self._failed(account, error)
            return
        activity.accepted = due
        account.job.emit(DebitNoteAccepted, agreement=held.agreement, debit_note=note)

    # -- invoices ----------------------------------------------------------------------------------------

    async def _on_invoice(self, invoice: Invoice) -> None:
        account = self._accounts.get(invoice.agreement_id)
        if account is None:
            return
        account.job.emit(InvoiceReceived, agreement=account.held.agreement, invoice=invoice)
        if account.ended:
            await self._invoice_of(account, invoice)
        else:
            account.early_invoice = invoice

    async def _notes_before(self, account: AgreementAccount, invoice: Invoice) -> None:
        """Let the debit notes that have come before an invoice have their turn.

        The daemon (yagna 0.17.6) leaves them as they are, whatever it is told, once the invoice is accepted.
        """
        if account.accepted >= invoice.amount:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTES_WAIT):
                await asyncio.gather(*(notes.next_look() for notes in self._notes))

    async def _invoice_of(self, account: AgreementAccount, invoice: Invoice) -> None:
        await self._notes_before(account, invoice)
        async with account.lock:
            if account.settled:
                return
            try:
                await self._invoice(account, invoice)
            except Exception as error:
                self._failed(account, error)
            finally:
                account.settled = True
                self._changed.set()

    async def _invoice(self, account: AgreementAccount, invoice: Invoice) -> None:
        held, journal = account.held, self._engine.journal
        explained = account.explained
        if invoice.amount > explained:
            error = OverchargeError(f"Invoice {invoice.invoice_id}", held.provider, invoice.amount, explained)
            self._failed(account, error)
            async with step(journal, "reject_invoice", invoice_id=invoice.invoice_id, amount=invoice.amount):
                await invoice.reject("INCORRECT_AMOUNT", account.accepted, message=str(error))
            return
        if await self._engine.strategy.invoice_accepted_amount(invoice) < invoice.amount:
            logger.warning(
                "Ignored invoice %s from %s, amount: %s", invoice.invoice_id, held.provider, invoice.amount
            )
            return
        async with (
            self._reserved(account, invoice.amount),
            step(journal, "accept_invoice", invoice_id=invoice.invoice_id, amount=invoice.amount),
        ):
            await invoice.accept(invoice.amount, self._engine.budget.allocation)
        account.invoice = invoice
        account.job.emit(InvoiceAccepted, agreement=held.agreement, invoice=invoice)

    # -- decisions ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _reserved(self, account: AgreementAccount, total: Decimal) -> AsyncGenerator[None, None]:
        """Have `total` reserved for an agreement; ends every job if the budget does not cover it."""
        try:
            with self._spending.reserved(account.held.agreement.id, total):
                yield
        except NotCoveredError as short:
            error = BudgetExceededError(
                self._spending.budget,
                short.spoken_for,
                short.more,
                account.held.provider,
                work_ended=self._engine.working,
            )
            self._engine.fail(error)
            raise error from None

    def _failed(self, account: AgreementAccount, error: Exception) -> None:
        logger.warning("%s", error)
        exc_info = (type(error), error, error.__traceback__)
        account.job.emit(PaymentFailed, agreement=account.held.agreement, exc_info=exc_info)

    def _end(self, account: AgreementAccount, reason: dict[str, str]) -> None:
        self._handlers.create_task(
            account.job.agreements.terminate(account.held, reason), name="end agreement"
        )


async def _tell(waiting: Sequence[asyncio.Future[None]], begun: asyncio.Event | None) -> None:
    """Let those go on who have waited for a look, as soon as what it has found is being worked on."""
    if begun is not None:
        await begun.wait()
    for future in waiting:
        if not future.done():
            future.set_result(None)
