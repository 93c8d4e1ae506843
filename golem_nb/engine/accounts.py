"""What an engine owes for each of its agreements."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from golem_nb.strategy import (
    DEBIT_NOTE_INTERVAL_GRACE_PERIOD,
    PROP_DEBIT_NOTE_INTERVAL_SEC,
    PROP_PAYMENT_TIMEOUT_SEC,
)

if TYPE_CHECKING:
    from golem_nb.engine.agreements import HeldAgreement
    from golem_nb.engine.charges import LinearPrice
    from golem_nb.engine.job import Job
    from golem_nb.rest.activity import Activity
    from golem_nb.rest.ids import ActivityId
    from golem_nb.rest.payment import DebitNote, Invoice


@attrs.define(eq=False)
class ActivityAccount:
    """One activity as far as money is concerned.

    Attributes
    ----------
    usage
        Counters as in the last debit note, in the order of its offer.
    accepted
        Total of the debit note accepted last, GLM.
    """

    activity: Activity
    created: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    usage: list[float] | None = None
    accepted: Decimal = Decimal(0)
    notes: int = 0
    payable_notes: int = 0

    @property
    def lifetime(self) -> timedelta:
        """How long the activity has existed, as seen from here."""
        return (self.ended or datetime.now(UTC)) - self.created


@attrs.define(eq=False)
class AgreementAccount:
    """What is owed for one agreement.

    Attributes
    ----------
    price
        The agreed price; None where it cannot be read, so that it explains no bill.
    ended
        Whether the agreement is over, so that its invoice may be accepted.
    reachable
        Whether the provider could still be reached when its activities ended.
    settled
        Whether its invoice was dealt with: accepted, rejected or left.
    """

    job: Job
    held: HeldAgreement
    price: LinearPrice | None
    activities: dict[ActivityId, ActivityAccount] = attrs.field(factory=dict)
    ended: bool = False
    reachable: bool = True
    early_invoice: Invoice | None = None
    invoice: Invoice | None = None
    settled: bool = False
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    @property
    def owes(self) -> bool:
        """Whether an invoice is still to come, or to be dealt with."""
        return bool(self.activities) and not self.settled and (self.ended or not self.held.kept)

    @property
    def accepted(self) -> Decimal:
        """What was accepted for it, GLM."""
        if self.invoice is not None:
            return self.invoice.amount
        return sum((activity.accepted for activity in self.activities.values()), Decimal(0))

    @property
    def explained(self) -> Decimal:
        """The most that price and usage explain of an invoice, GLM; nothing where there is no price."""
        # the last report came before the end; to ask after it only gives what was asked for before it
        return sum((self._explained_for(each, went_on=True) for each in self.activities.values()), Decimal(0))

    def explained_for(self, activity: ActivityAccount) -> Decimal:
        """The most that price and usage explain of a debit note with that usage, GLM."""
        return self._explained_for(activity, went_on=False)

    def _explained_for(self, activity: ActivityAccount, *, went_on: bool) -> Decimal:
        if self.price is None:
            return Decimal(0)
        return self.price.explained(activity.usage, activity.lifetime, went_on=went_on)

    def too_many_notes(self, activity: ActivityAccount, note: DebitNote) -> dict[str, str] | None:
        """Count a debit note; return why the agreement must be ended if they come too often."""
        activity.notes += 1
        demand = self.held.agreement.details.demand_props
        seconds = activity.lifetime.total_seconds()
        allowed = seconds + DEBIT_NOTE_INTERVAL_GRACE_PERIOD.total_seconds()
        where = f"(activity: {note.activity_id})"
        interval = demand.get(PROP_DEBIT_NOTE_INTERVAL_SEC)
        if isinstance(interval, int | float) and allowed < (activity.notes - 1) * interval:
            return {
                "message": f"Too many debit notes: {activity.notes} notes/{seconds:.0f}s {where}",
                "golem.requestor.code": "TooManyDebitNotes",
            }
        if note.payment_due_date is None:
            return None
        activity.payable_notes += 1
        timeout = demand.get(PROP_PAYMENT_TIMEOUT_SEC)
        if not isinstance(timeout, int | float):
            return {
                "message": "Payable debit note received when mid-agreement payments inactive " + where,
                "golem.requestor.code": "TooManyPayableDebitNotes",
            }
        if allowed < (activity.payable_notes - 1) * timeout:
            return {
                "message": f"Too many payable debit notes: {activity.payable_notes} notes/{seconds:.0f}s "
                + where,
                "golem.requestor.code": "TooManyPayableDebitNotes",
            }
        return None
