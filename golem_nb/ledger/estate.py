"""What one session of a dead process has left: found at the daemon, ended, paid, released."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Awaitable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from golem_nb.engine.agreements import CANCELLED
from golem_nb.engine.errors import OverchargeError
from golem_nb.engine.journal import step
from golem_nb.engine.networks import JournaledNet
from golem_nb.engine.payments import INVOICE_WAIT, UNREACHABLE_WAIT
from golem_nb.engine.worker import DESTROY_TIMEOUT
from golem_nb.exceptions import GolemError
from golem_nb.ledger.bills import ACCEPTED, OPEN, Bill, Purse, UnpayableError
from golem_nb.ledger.book import invoice_statements, note_statements
from golem_nb.ledger.journal import SessionJournal
from golem_nb.ledger.leftovers import uncertain_allocations
from golem_nb.ledger.records import moment, now, plain, stamp
from golem_nb.log import get_logger
from golem_nb.rest import Activity as ActivityService
from golem_nb.rest import Market, Payment
from golem_nb.rest.errors import ApiError, CollisionError, GoneError, NotFoundError
from golem_nb.rest.ids import ActivityId, AgreementId, NetworkId

if TYPE_CHECKING:
    from golem_nb.ledger.ledger import Ledger
    from golem_nb.ledger.leftovers import Leftover
    from golem_nb.ledger.report import RecoveryReport
    from golem_nb.rest import Configuration
    from golem_nb.rest.market import Agreement
    from golem_nb.rest.payment import Allocation

__all__ = ["Daemon", "Estate"]

logger = get_logger(__name__)

#: What providers are told, where the process has died and where its daemon could not be reached at the end.
KILLED: Final = "Work cancelled: the requestor's process was killed, and what it left is being ended"
STOPPED: Final = "Work cancelled: the requestor has stopped, and what could not be ended then is being ended"

#: Invoices of agreements that ended longer ago are not waited for: they are there, or do not come.
FRESH: Final = timedelta(minutes=10)

#: Clocks of the ledger and of the daemon differ by this at most; …
CLOCKS: Final = timedelta(seconds=2)

#: … and an answer takes this long at most.
ANSWER: Final = timedelta(seconds=60)


class Daemon:
    """The parts of a daemon's API that a recovery needs."""

    def __init__(self, configuration: Configuration) -> None:
        self.market = Market(configuration.market())
        self.activities = ActivityService(configuration.activity())
        self.payment = Payment(configuration.payment())
        self.net = configuration.net()


class Estate:
    """Recovers one session.

    Parameters
    ----------
    ledger
        Where it is written down.
    daemon
        Where its things are.
    leftover
        What it has left; its lock is held by the caller.
    end
        Whether to end what still runs.
    report
        Is told what is done.
    """

    def __init__(
        self, ledger: Ledger, daemon: Daemon, leftover: Leftover, *, end: bool, report: RecoveryReport
    ) -> None:
        self._ledger = ledger
        self._daemon = daemon
        self._left = leftover
        self._end = end
        self._reason = {**CANCELLED, "message": STOPPED if leftover.stopped else KILLED}
        self._report = report
        self._journal = SessionJournal(ledger.writer, leftover.session_id)
        self._bills: dict[AgreementId, Bill] = {}
        #: Whether anything is still in force that was left alone, or could not be ended.
        self._in_force = False
        self._problems = 0

    async def recover(self) -> bool:
        """Do it; return whether nothing is left."""
        allocations = await self._find_allocations()
        if self._end:
            await self._withdraw_demands()
        agreements = await self._find_agreements()
        async with asyncio.TaskGroup() as group:
            for agreement, running in agreements:
                group.create_task(self._agreement(agreement, running))
        purse = Purse(
            self._daemon.payment, self._journal, self._left.budget, self._bills.values(), allocations
        )
        await self._pay(purse)
        if not self._in_force:
            await self._remove_networks()
            async with asyncio.TaskGroup() as group:
                for allocation in purse.allocations:
                    group.create_task(self._release(allocation))
        over = not self._in_force and not self._problems
        if over:
            key = self._left.session_id
            await self._ledger.write(
                ("UPDATE session SET ended = coalesce(ended, ?) WHERE id = ?", (now(), key)),
                ("DELETE FROM step WHERE session = ?", (key,)),
            )
            self._report.sessions.append(key)
        return over

    def _problem(self, text: str) -> None:
        self._problems += 1
        self._report.problems.append(text)
        logger.warning("%s", text)

    # -- finding ---------------------------------------------------------------------------------------------

    async def _find_allocations(self) -> list[Allocation]:
        """Return the session's reservations that are in force, with those whose numbers never came."""
        await self._resolve_allocations()
        rows = await self._select(
            "SELECT id FROM allocation WHERE session = ? AND released IS NULL", self._left.session_id
        )
        found = []
        for (key,) in rows:
            try:
                found.append(await self._daemon.payment.allocation(key))
            except NotFoundError:
                await self._ledger.write(("UPDATE allocation SET released = ? WHERE id = ?", (now(), key)))
        return found

    async def _resolve_allocations(self) -> None:
        """Match reservations that may have been made with what the daemon has, by time and amount."""
        wanted = await asyncio.to_thread(self._uncertain)
        if not wanted:
            return
        known = {key for (key,) in await self._select("SELECT id FROM allocation")}
        # a living session may be waiting for the answer to the same question
        rivals = [
            (json.loads(subject), moment(at))
            for subject, at in await self._select(
                "SELECT subject, at FROM step WHERE action = 'create_allocation' AND finished IS NULL "
                "AND session != ?",
                self._left.session_id,
            )
        ]
        for allocation in await self._daemon.payment.allocations():
            if allocation.id in known:
                continue
            with suppress(NotFoundError):
                details = await allocation.details()
                for asked in wanted:
                    if (
                        asked.amount == details.total_amount
                        and asked.platform == details.payment_platform
                        and asked.at - CLOCKS <= details.timestamp <= asked.at + ANSWER
                        and not any(
                            subject["amount"] == str(asked.amount) and at - CLOCKS <= details.timestamp
                            for subject, at in rivals
                        )
                    ):
                        insert = (
                            "INSERT OR IGNORE INTO allocation (id, session, amount, platform, made, expires) "
                            "VALUES (?, ?, ?, ?, ?, ?)"
                        )
                        row = (
                            allocation.id,
                            self._left.session_id,
                            str(details.total_amount),
                            details.payment_platform,
                            stamp(details.timestamp),
                            None if details.timeout is None else stamp(details.timeout),
                        )
                        await self._ledger.write(
                            (insert, row), ("DELETE FROM step WHERE id = ?", (asked.step_id,))
                        )
                        wanted.remove(asked)
                        break

    def _uncertain(self) -> list[Any]:
        with self._ledger.reading() as connection:
            return uncertain_allocations(connection, self._left.session_id)

    async def _find_agreements(self) -> list[tuple[Agreement, bool]]:
        """Return the agreements that are in force, or not settled; with whether they are in force."""
        rows = await self._select(
            "SELECT id, kept AND ended IS NULL FROM agreement WHERE session = ? AND confirmed IS NOT NULL "
            "AND (ended IS NULL OR settled IS NULL)",
            self._left.session_id,
        )
        pending: list[AgreementId] = []
        for key, kept in rows:
            if kept and not self._left.suspended:
                self._in_force = True  # left on purpose, beside what could not be ended
            else:
                pending.append(key)
        known = set(pending)
        others = {key for (key,) in await self._select("SELECT id FROM agreement")}
        app_sessions: set[str] = set()
        found = []
        while pending:
            agreement_id = pending.pop()
            try:
                agreement = await self._daemon.market.agreement(agreement_id)
            except NotFoundError:
                await self._over(agreement_id, "the daemon does not know it", None)
                continue
            state = agreement.details.state
            found.append((agreement, state in ("Pending", "Approved")))
            # the daemon may know more agreements of the same run of the engine than are on disk
            session = agreement.details.app_session_id
            if session is not None and session not in app_sessions:
                app_sessions.add(session)
                for summary in await self._daemon.market.agreements(app_session_id=session):
                    if summary.id not in known and summary.id not in others:
                        known.add(summary.id)
                        pending.append(summary.id)
                        await self._add_agreement(summary.id)
        return found

    async def _add_agreement(self, agreement_id: AgreementId) -> None:
        agreement = await self._daemon.market.agreement(agreement_id)
        made = stamp(agreement.details.timestamp)
        insert = (
            "INSERT OR IGNORE INTO agreement (id, session, provider_id, made, confirmed) "
            "VALUES (?, ?, ?, ?, ?)"
        )
        row = (agreement_id, self._left.session_id, agreement.details.provider_id, made, made)
        await self._ledger.write((insert, row))

    # -- ending ----------------------------------------------------------------------------------------------

    async def _withdraw_demands(self) -> None:
        wanted = set(self._left.demands)
        if not wanted:
            return
        for subscription in await self._daemon.market.subscriptions():
            if subscription.id in wanted:
                with suppress(NotFoundError):
                    async with step(self._journal, "unsubscribe", subscription_id=subscription.id):
                        await subscription.delete()
        # all others have ended by themselves
        await self._ledger.write(
            *(("UPDATE demand SET ended = coalesce(ended, ?) WHERE id = ?", (now(), key)) for key in wanted)
        )

    async def _agreement(self, agreement: Agreement, running: bool) -> None:
        """End an agreement if it is to be ended, and make out what is owed for it."""
        try:
            ended = None if running else await self._ended(agreement)
            bill = await self._bill(agreement, ended)
            self._bills[agreement.id] = bill
            if not running:
                bill.over = True
            elif self._end:
                await self._end_agreement(agreement, bill)
            else:
                self._in_force = True
                self._report.running.append(agreement.id)
        except GolemError as error:
            self._in_force = True
            self._problem(f"agreement {agreement.id}: {error}")

    async def _bill(self, agreement: Agreement, ended: datetime | None) -> Bill:
        bill = Bill(agreement.details)
        rows = await self._select("SELECT id, made, ended FROM activity WHERE agreement = ?", agreement.id)
        times = {key: (moment(made), gone and moment(gone)) for key, made, gone in rows}
        keys = {*times, *await self._daemon.activities.activities(agreement.id)}
        approved = agreement.details.approved or agreement.details.timestamp
        for key in sorted(keys):
            # one whose number never came began when the agreement did, at the earliest
            made, gone = times.get(key, (approved, None))
            activity = self._daemon.activities.attach(ActivityId(key), agreement.id)
            bill.add_activity(activity, made, gone or ended)
        insert = "INSERT OR IGNORE INTO activity (id, agreement, session, made) VALUES (?, ?, ?, ?)"
        await self._ledger.write(
            *(
                (insert, (key, agreement.id, self._left.session_id, stamp(approved)))
                for key in keys - set(times)
            )
        )
        return bill

    async def _ended(self, agreement: Agreement) -> datetime | None:
        """Note the end of an agreement that nobody here has seen; return when it was, if that is known."""
        state = agreement.details.state
        if state == "Terminated":
            event = await agreement.termination_reason()
            message = plain((event.reason or {}).get("message"))
            await self._over(agreement.id, f"{event.terminator}: {message}", event.date)
            return event.date
        await self._over(agreement.id, state, None)
        return None

    async def _over(self, agreement_id: AgreementId, reason: str, at: datetime | None) -> None:
        end = stamp(at) if at is not None else now()
        await self._ledger.write(
            (
                "UPDATE agreement SET ended = coalesce(ended, ?), reason = coalesce(reason, ?) WHERE id = ?",
                (end, plain(reason), agreement_id),
            ),
            ("UPDATE activity SET ended = coalesce(ended, ?) WHERE agreement = ?", (end, agreement_id)),
        )

    async def _end_agreement(self, agreement: Agreement, bill: Bill) -> None:
        async with asyncio.TaskGroup() as group:
            for account in bill.activities.values():
                if account.ended is None:
                    group.create_task(self._destroy(bill, account.activity.id))
        async with step(self._journal, "terminate_agreement", agreement_id=agreement.id):
            if agreement.details.state == "Pending":
                try:
                    await agreement.cancel(self._reason["message"])
                except GoneError:  # approved at this moment
                    await self._terminate(agreement)
            else:
                await self._terminate(agreement)
        await self._over(agreement.id, self._reason["message"], None)
        bill.over = True
        self._report.ended.append(agreement.id)

    async def _terminate(self, agreement: Agreement) -> None:
        try:
            await agreement.terminate(self._reason)
        except CollisionError:
            # the process died in the middle of it: the provider has ended it, and the daemon does not know
            invoices = await self._daemon.payment.invoices(after=self._left.started - CLOCKS)
            if not any(invoice.agreement_id == agreement.id for invoice in invoices):
                raise

    async def _destroy(self, bill: Bill, activity_id: ActivityId) -> None:
        account = bill.activities[activity_id]
        try:
            async with step(self._journal, "destroy_activity", activity_id=activity_id):
                await account.activity.destroy(timeout=DESTROY_TIMEOUT)
        except ApiError as error:
            # the end of its agreement, which follows, is the provider's word to end it
            bill.reachable = False
            logger.warning("Activity %s on %s could not be ended: %s", activity_id, bill.provider, error)
        else:
            self._report.destroyed.append(activity_id)
        account.ended = datetime.now(UTC)

    # -- paying -------------------------------------------------------------------------------------------

    async def _pay(self, purse: Purse) -> None:
        """Pay what is owed and explained; wait for invoices that are still to come."""
        begun = datetime.now(UTC) - CLOCKS
        await self._read_documents()
        owing = [bill for bill in self._bills.values() if bill.over and bill.activities]
        await self._wait_for_invoices([bill for bill in owing if bill.invoice is None], begun)
        for bill in owing:
            await self._pay_bill(purse, bill)
        for bill in self._bills.values():
            if not bill.over:
                await self._pay_notes(purse, bill)
        self._report.accepted += purse.accepted

    async def _read_documents(self) -> None:
        """Take note of all that providers have sent for the session's agreements."""
        if not self._bills:
            return
        payment, since = self._daemon.payment, self._left.started - CLOCKS
        statements = []
        for note in await payment.debit_notes(after=since):
            if bill := self._bills.get(note.agreement_id):
                bill.add_note(note)
                statements += note_statements(self._left.session_id, note, note.timestamp)
        await self._ledger.write(*statements)
        for invoice in await payment.invoices(after=since):
            if bill := self._bills.get(invoice.agreement_id):
                bill.add_invoice(invoice)

    async def _wait_for_invoices(self, missing: list[Bill], after: datetime) -> None:
        """Wait until providers have sent their invoices, for a time."""
        fresh = {bill.agreement_id: bill for bill in missing if await self._is_fresh(bill.agreement_id)}
        loop = asyncio.get_running_loop()
        start = loop.time()
        while fresh:
            limit = INVOICE_WAIT if any(bill.reachable for bill in fresh.values()) else UNREACHABLE_WAIT
            if (left := start + limit - loop.time()) <= 0:
                return
            for event in await self._daemon.payment.collect_invoice_events(after, timeout=left):
                after = max(after, event.date)
                invoice = await self._daemon.payment.invoice(event.invoice_id)
                if bill := fresh.pop(invoice.agreement_id, None):
                    bill.add_invoice(invoice)

    async def _is_fresh(self, agreement_id: AgreementId) -> bool:
        rows = await self._select("SELECT ended FROM agreement WHERE id = ?", agreement_id)
        return any(ended is None or datetime.now(UTC) - moment(ended) < FRESH for (ended,) in rows)

    async def _pay_bill(self, purse: Purse, bill: Bill) -> None:
        invoice = bill.invoice
        if invoice is None:
            await self._pay_notes(purse, bill)
            self._report.unbilled.append(bill.agreement_id)
            return
        await self._ledger.write(*invoice_statements(self._left.session_id, invoice, invoice.timestamp))
        if invoice.status not in OPEN:
            column = "accepted" if invoice.status in ACCEPTED else "rejected"
            await self._ledger.write(
                (
                    f"UPDATE invoice SET {column} = coalesce({column}, ?) WHERE id = ?",  # noqa: S608
                    (now(), invoice.invoice_id),
                ),
                (
                    "UPDATE agreement SET settled = coalesce(settled, ?) WHERE id = ?",
                    (now(), bill.agreement_id),
                ),
            )
            return
        if await self._paid(bill, purse.pay_invoice(bill, invoice)):
            self._report.paid.append(bill.agreement_id)

    async def _pay_notes(self, purse: Purse, bill: Bill) -> None:
        await self._paid(bill, purse.pay_notes(bill))

    async def _paid(self, bill: Bill, paying: Awaitable[None]) -> bool:
        try:
            await paying
        except (OverchargeError, UnpayableError) as error:
            self._report.refused[bill.agreement_id] = str(error)
            logger.warning("%s", error)
        except GolemError as error:
            self._problem(f"agreement {bill.agreement_id} with {bill.provider}: {error}")
        else:
            return True
        return False

    # -- releasing ----------------------------------------------------------------------------------------

    async def _release(self, allocation: Allocation) -> None:
        try:
            async with step(self._journal, "release_allocation", allocation_id=allocation.id):
                await allocation.release()
                await self._confirm_release(allocation)
        except GolemError as error:
            self._problem(f"reservation {allocation.id}: {error}")
        else:
            self._report.released.append(allocation.id)

    @staticmethod
    async def _confirm_release(allocation: Allocation) -> None:
        """See that a reservation is gone: who is told so does not look again."""
        try:
            details = await allocation.details()
        except NotFoundError:
            return
        raise GolemError(
            "the daemon says that it is released, and still has it in force, with "
            f"{details.remaining_amount} GLM: recover again"
        )

    async def _remove_networks(self) -> None:
        """Remove its VPNs, also those whose numbers never came."""
        wanted = {NetworkId(key) for key in self._left.networks}
        net = JournaledNet(self._daemon.net, self._journal)
        try:
            wanted |= await self._uncertain_networks(net)
            for key in wanted:
                await net.remove_network(key)
                self._report.removed.append(key)
        except GolemError as error:
            self._problem(f"VPNs: {error}")

    async def _uncertain_networks(self, net: JournaledNet) -> set[NetworkId]:
        rows = await self._select(
            "SELECT session, subject FROM step WHERE action = 'create_network' "
            "AND coalesce(outcome, '{}') = '{}'"
        )
        asked: dict[str, set[str]] = {}
        for session, subject in rows:
            network = str(ipaddress.ip_network(json.loads(subject)["ip"], strict=False))
            asked.setdefault(network, set()).add(session)
        if not any(self._left.session_id in sessions for sessions in asked.values()):
            return set()
        known = {key for (key,) in await self._select("SELECT id FROM vpn")}
        return {
            info.id
            for info in await net.networks()
            # only where no other session may have made it
            if info.id not in known and asked.get(info.ip) == {self._left.session_id}
        }

    async def _select(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(self._ledger.select, statement, *parameters)
