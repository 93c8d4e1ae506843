"""What is owed for the agreements of a session that is no more, and what of it is paid."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import attrs

from golem_nb.engine.accounts import ActivityAccount
from golem_nb.engine.allocation import MARGIN
from golem_nb.engine.charges import LinearPrice
from golem_nb.engine.errors import OverchargeError
from golem_nb.engine.journal import step
from golem_nb.engine.negotiation import CHOSEN_PLATFORM
from golem_nb.exceptions import GolemError
from golem_nb.rest.errors import NotFoundError

if TYPE_CHECKING:
    from golem_nb.engine.journal import Journal
    from golem_nb.rest import Payment
    from golem_nb.rest.activity import Activity
    from golem_nb.rest.ids import ActivityId, AgreementId, AllocationId
    from golem_nb.rest.market import AgreementDetails
    from golem_nb.rest.payment import Allocation, DebitNote, Invoice

__all__ = ["Bill", "Purse"]

#: Documents in these states were agreed to.
ACCEPTED: Final = ("ACCEPTED", "SETTLED")

#: Documents in these states wait for us.
OPEN: Final = ("ISSUED", "RECEIVED", "FAILED")


class UnpayableError(GolemError):
    """A bill is not paid, for another reason than its amount."""


@attrs.define(eq=False)
class Bill:
    """All that is known of the money of one agreement.

    Attributes
    ----------
    details
        What was agreed on.
    activities
        Its activities.
    over
        Whether the agreement has ended, so that an invoice is due.
    reachable
        Whether its provider could be reached.
    """

    details: AgreementDetails
    activities: dict[ActivityId, ActivityAccount] = attrs.field(factory=dict)
    over: bool = False
    reachable: bool = True
    invoice: Invoice | None = None
    notes: dict[ActivityId, DebitNote] = attrs.field(factory=dict)

    @property
    def agreement_id(self) -> AgreementId:
        """Number of the agreement."""
        return self.details.agreement_id

    @property
    def provider(self) -> str:
        """How messages name the provider."""
        name = self.details.provider_node_info.name
        return f"{name!r} ({self.details.provider_id})" if name else f"({self.details.provider_id})"

    @property
    def platform(self) -> str | None:
        """The payment platform that was agreed on."""
        platform = self.details.demand_props.get(CHOSEN_PLATFORM)
        return platform if isinstance(platform, str) else None

    @property
    def accepted(self) -> Decimal:
        """What was accepted so far, GLM."""
        if self.invoice is not None and self.invoice.status in ACCEPTED:
            return self.invoice.amount
        return sum((activity.accepted for activity in self.activities.values()), Decimal(0))

    @property
    def explained(self) -> Decimal | None:
        """The most that price and usage explain, GLM; None where the price cannot be checked."""
        price = LinearPrice.agreed(self.details.offer_props)
        if price is None:
            return None
        return sum(
            (price.explained(a.usage, a.lifetime, went_on=True) for a in self.activities.values()), Decimal(0)
        )

    @property
    def settled(self) -> bool:
        """Whether its invoice was dealt with."""
        return self.invoice is not None and self.invoice.status not in OPEN

    def add_activity(self, activity: Activity, created: datetime, ended: datetime | None) -> None:
        """Expect to pay for an activity."""
        self.activities[activity.id] = ActivityAccount(activity, created=created, ended=ended)

    def add_invoice(self, invoice: Invoice) -> None:
        """Take note of an invoice; one that was dealt with counts more than one that was not."""
        if self.invoice is None or self.invoice.status in OPEN:
            self.invoice = invoice

    def add_note(self, note: DebitNote) -> None:
        """Take note of a debit note: what was accepted, and the last one that was not."""
        account = self.activities.get(note.activity_id)
        if account is None:
            return
        due = note.total_amount_due
        # counters never fall, and notes may come in any order
        reported = zip_longest(note.usage_counter_vector or (), account.usage or (), fillvalue=0.0)
        account.usage = [max(pair) for pair in reported] or None
        if note.status in ACCEPTED:
            account.accepted = max(account.accepted, due)
        elif note.status in OPEN:
            known = self.notes.get(note.activity_id)
            if known is None or known.total_amount_due < due:
                self.notes[note.activity_id] = note


class Purse:
    """Pays the bills of one session out of its reservation, or out of another one if that is gone.

    Parameters
    ----------
    payment
        The daemon's payment API.
    journal
        Told of each step before it is taken.
    budget
        What the session was allowed to spend, GLM.
    bills
        All of its bills; what was accepted of them counts against the budget.
    allocations
        Its reservations that are in force.
    """

    def __init__(
        self,
        payment: Payment,
        journal: Journal,
        budget: Decimal,
        bills: Iterable[Bill],
        allocations: Iterable[Allocation],
    ) -> None:
        self._payment = payment
        self._journal = journal
        self._budget = budget
        self._bills = list(bills)
        self._lock = asyncio.Lock()
        #: The reservations that are in force now.
        self.allocations = list(allocations)
        #: What was accepted here, GLM.
        self.accepted = Decimal(0)

    async def pay_invoice(self, bill: Bill, invoice: Invoice) -> None:
        """Accept an invoice, or reject it because it is too high.

        Raises
        ------
        OverchargeError
            It was rejected.
        UnpayableError
            It does not fit into the budget, or asks for another kind of money than was agreed on.
        ApiError
            The daemon cannot do it.
        """
        async with self._lock:
            explained = bill.explained
            if explained is not None and invoice.amount > explained:
                error = OverchargeError(
                    f"Invoice {invoice.invoice_id}", bill.provider, invoice.amount, explained
                )
                async with step(
                    self._journal, "reject_invoice", invoice_id=invoice.invoice_id, amount=invoice.amount
                ):
                    await invoice.reject("INCORRECT_AMOUNT", bill.accepted, message=str(error))
                raise error
            more = invoice.amount - bill.accepted
            allocation = await self._allocation(bill, invoice.payment_platform, more)
            async with step(
                self._journal, "accept_invoice", invoice_id=invoice.invoice_id, amount=invoice.amount
            ):
                await invoice.accept(invoice.amount, allocation)
            self.accepted += more
            bill.invoice = attrs.evolve(invoice, status="ACCEPTED")

    async def pay_notes(self, bill: Bill) -> None:
        """Accept the last debit note of each activity as far as it is explained.

        Raises
        ------
        OverchargeError
            One asks for too much; it was not accepted.
        UnpayableError, ApiError
            As for `pay_invoice`.
        """
        async with self._lock:
            price = LinearPrice.agreed(bill.details.offer_props)
            for activity_id, note in list(bill.notes.items()):
                account = bill.activities[activity_id]
                due = note.total_amount_due
                if due <= account.accepted:
                    continue
                if price is not None:
                    explained = price.explained(note.usage_counter_vector, account.lifetime)
                    if due > explained:
                        raise OverchargeError(
                            f"Debit note {note.debit_note_id}", bill.provider, due, explained
                        )
                more = due - account.accepted
                allocation = await self._allocation(bill, note.payment_platform, more)
                async with step(
                    self._journal, "accept_debit_note", debit_note_id=note.debit_note_id, amount=due
                ):
                    await note.accept(due, allocation)
                self.accepted += more
                account.accepted = due

    async def _allocation(self, bill: Bill, platform: str, more: Decimal) -> AllocationId:
        """Find a reservation out of which `more` can be paid, or make one."""
        if platform != bill.platform:
            raise UnpayableError(
                f"{bill.provider} wants to be paid on {platform}, but {bill.platform} was agreed on: not paid"
            )
        spent = sum((each.accepted for each in self._bills), Decimal(0))
        if spent + more > self._budget:
            raise UnpayableError(
                f"{bill.provider} asks for {more} GLM more, which the session's budget of {self._budget} GLM "
                f"does not cover after {spent} GLM: not paid"
            )
        for allocation in list(self.allocations):
            try:
                remaining = (await allocation.details()).remaining_amount
            except NotFoundError:  # it has expired
                self.allocations.remove(allocation)
                continue
            if allocation.platform == platform and remaining >= more:
                return allocation.id
        # a reservation of nothing is refused, and what was accepted before needs none
        amount = max(more, Decimal("0.000000001"))
        accounts = await self._payment.accounts()
        address = next((each.address for each in accounts if each.platform == platform and each.send), None)
        if address is None:
            raise UnpayableError(
                f"The daemon has no account on {platform} to pay {bill.provider} from: `yagna payment init "
                "--sender`, then recover again"
            )
        expires = datetime.now(UTC) + MARGIN
        async with step(self._journal, "create_allocation", amount=amount, platform=platform) as outcome:
            allocation = await self._payment.create_allocation(amount, platform, address, expires)
            outcome["allocation_id"] = allocation.id
        self.allocations.append(allocation)
        return allocation.id
