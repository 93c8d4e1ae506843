"""What a session's work has cost, costs at the moment, and may still cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.events import AgreementConfirmed, Event

if TYPE_CHECKING:
    from golem_nb.engine.accounts import ActivityAccount, AgreementAccount
    from golem_nb.engine.payments import Payments
    from golem_nb.rest.ids import ActivityId, AgreementId

__all__ = ["MINIMUM_RUN", "Meter", "Money", "first_costs"]

#: An agreement is made only if its fixed fee and so much time on it are covered.
MINIMUM_RUN = timedelta(minutes=1)

ZERO = Decimal(0)


@attrs.frozen
class Money:
    """Amounts in GLM.

    Attributes
    ----------
    accepted
        Accepted debit notes and invoices.
    reserved
        The most that is still to come for what was begun and is not settled: usage times price, with what
        is not known of the usage taken as the highest that is possible, and fixed fees.
    spent
        The likely cost so far: what was accepted, or what the known usage explains where that is more.
    per_hour
        What running activities cost in an hour, with one busy thread each.
    """

    accepted: Decimal = ZERO
    reserved: Decimal = ZERO
    spent: Decimal = ZERO
    per_hour: Decimal = ZERO

    def __add__(self, other: Money) -> Money:
        return Money(
            self.accepted + other.accepted,
            self.reserved + other.reserved,
            self.spent + other.spent,
            self.per_hour + other.per_hour,
        )


@attrs.frozen
class _Reading:
    usage: list[float]
    at: datetime


class Meter:
    """Adds up what is owed for the agreements of a session; lives in the engine's thread."""

    def __init__(self) -> None:
        self._payments: Payments | None = None
        self._jobs: dict[str, list[AgreementId]] = {}
        self._readings: dict[ActivityId, _Reading] = {}

    def attach(self, payments: Payments) -> None:
        """Take the engine's accounts."""
        self._payments = payments

    def take(self, event: Event) -> None:
        """Consume an event."""
        if isinstance(event, AgreementConfirmed):
            self.know(event.job.id, event.agreement.id)

    def know(self, job: str, agreement_id: AgreementId) -> None:
        """Count an agreement among those of a job."""
        self._jobs.setdefault(job, []).append(agreement_id)

    def read(self, activity_id: ActivityId, usage: list[float]) -> None:
        """Take note of the usage that a provider reports for a running activity."""
        self._readings[activity_id] = _Reading(usage, datetime.now(UTC))

    def total(self) -> Money:
        """All jobs."""
        return self.of(list(self._jobs))

    def of(self, jobs: Iterable[str]) -> Money:
        """Some jobs, by their ids."""
        money = Money()
        for job in jobs:
            for account in self._accounts(job):
                money += self._account(account)
        return money

    def of_agreement(self, agreement_id: AgreementId) -> Money:
        """One agreement."""
        payments = self._payments
        known = any(agreement_id in agreements for agreements in list(self._jobs.values()))
        return self._account(payments.account(agreement_id)) if known and payments is not None else Money()

    def running(self) -> Iterator[ActivityAccount]:
        """Give the activities that cost something now."""
        for account in self.accounts():
            if not account.ended:
                yield from (a for a in list(account.activities.values()) if a.ended is None)

    def accounts(self) -> Iterator[AgreementAccount]:
        """Give what is owed, agreement by agreement."""
        for job in list(self._jobs):
            yield from self._accounts(job)

    def rate(self, jobs: Iterable[str] | None = None) -> Decimal:
        """The most that running activities cost in a second, GLM."""
        return sum(
            (
                _per_second(account.price, account.price.threads)
                for job in (list(self._jobs) if jobs is None else jobs)
                for account in self._accounts(job)
                if account.price is not None and not account.ended
                for activity in list(account.activities.values())
                if activity.ended is None
            ),
            ZERO,
        )

    def _accounts(self, job: str) -> Iterator[AgreementAccount]:
        payments = self._payments
        if payments is not None:
            # a copy: other threads look at this while the engine's changes it
            yield from (payments.account(agreement_id) for agreement_id in list(self._jobs.get(job, ())))

    def _account(self, account: AgreementAccount) -> Money:
        accepted, price = account.accepted, account.price
        if account.settled or price is None:
            return Money(accepted, ZERO, accepted, ZERO)
        activities = list(account.activities.values())
        running = [a for a in activities if a.ended is None and not account.ended]
        bound = sum((self._bound(price, a) for a in activities), ZERO)
        likely = sum((self._likely(price, a) for a in activities), ZERO)
        return Money(
            accepted,
            max(ZERO, bound - accepted),
            max(accepted, likely),
            _per_second(price, 1) * 3600 * len(running),
        )

    def _bound(self, price: LinearPrice, activity: ActivityAccount) -> Decimal:
        reading = self._readings.get(activity.activity.id)
        if reading is None or len(reading.usage) < len(price.per_unit):
            return price.explained(None, activity.lifetime)
        # that it has ended makes nothing of what was read before untrue
        since = max(0.0, ((activity.ended or datetime.now(UTC)) - reading.at).total_seconds())
        usage = [
            used + since * (price.threads if counter == CPU else 1)
            for counter, used in zip(price.per_unit, reading.usage, strict=False)
        ]
        return price.explained(usage, activity.lifetime)

    def _likely(self, price: LinearPrice, activity: ActivityAccount) -> Decimal:
        reading = self._readings.get(activity.activity.id)
        reported = activity.usage or (None if reading is None else reading.usage)
        amount = price.fixed
        for index, (counter, unit) in enumerate(price.per_unit.items()):
            if counter == DURATION:
                amount += unit * Decimal(str(activity.lifetime.total_seconds()))
            elif reported is not None and index < len(reported):
                amount += unit * Decimal(str(reported[index]))
        return amount


def first_costs(price: LinearPrice, run: timedelta | None = None) -> Decimal:
    """What an agreement may cost at least: its fixed fee and a `run`, with all threads busy.

    Parameters
    ----------
    price
        That was agreed on.
    run
        How long something runs; None: `MINIMUM_RUN`.
    """
    seconds = int((MINIMUM_RUN if run is None else run).total_seconds())
    return price.fixed + _per_second(price, price.threads) * seconds


def _per_second(price: LinearPrice, threads: int) -> Decimal:
    return price.per_unit.get(DURATION, ZERO) + price.per_unit.get(CPU, ZERO) * threads
