"""What a job would cost, from the offers that are on the market now."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.log import pluralize
from golem_nb.ui.text import amount

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Estimate", "estimate"]

#: Seconds that an activity is paid for beside its tasks: its start, its end, and waiting in between; in the
#: highest estimate.
AROUND = 20

#: How much longer than said tasks may take, in the highest estimate.
LONGER = Decimal("1.5")

ZERO = Decimal(0)


@attrs.frozen(repr=False)
class Estimate:
    """What a job would cost, GLM.

    Attributes
    ----------
    low
        All of it on the cheapest provider, which is idle most of the time.
    median
        On the cheapest ones that the job would use, one thread busy.
    high
        On the dearest, with all threads busy, a start for each worker, and tasks half as long again.
    tasks, seconds
        Size of the job: tasks, and seconds that each takes.
    workers
        Providers that it would use at the same time.
    offers
        Offers that it is estimated from.
    """

    low: Decimal
    median: Decimal
    high: Decimal
    tasks: int
    seconds: float
    workers: int
    offers: int

    def __repr__(self) -> str:
        return (
            f"<Estimate: {amount(self.median)} GLM, from {amount(self.low)} to {amount(self.high)}, for "
            f"{pluralize(self.tasks, 'task')} of {self.seconds:g} s on {self.workers} of "
            f"{pluralize(self.offers, 'provider')}>"
        )


def estimate(
    offers: Sequence[Mapping[str, object]], tasks: int, seconds: float, max_workers: int
) -> Estimate:
    """Estimate a job.

    Parameters
    ----------
    offers
        Properties of the offers that it may use, the best one first.
    tasks, seconds
        How many tasks, and how long each takes.
    max_workers
        Most providers at the same time.

    Raises
    ------
    ValueError
        No offer has a linear price.
    """
    prices = [price for price in map(LinearPrice.agreed, offers) if price is not None]
    if not prices:
        raise ValueError("None of the offers has a price that can be read")
    workers = min(max_workers, tasks, len(prices))
    busy = Decimal(str(seconds)) * tasks
    each = busy / workers
    usual = sorted(_cost(price, each, busy=each) for price in prices[:workers])
    return Estimate(
        low=min(_cost(price, busy, busy=ZERO) for price in prices),
        median=statistics.median(usual) * workers,
        high=max(
            _cost(price, each * LONGER + AROUND, busy=(each * LONGER + AROUND) * price.threads)
            for price in prices
        )
        * workers,
        tasks=tasks,
        seconds=seconds,
        workers=workers,
        offers=len(prices),
    )


def _cost(price: LinearPrice, seconds: Decimal, busy: Decimal) -> Decimal:
    """What an activity of so many seconds costs, with so many seconds of threads' time."""
    time, processor = price.per_unit.get(DURATION, ZERO), price.per_unit.get(CPU, ZERO)
    return price.fixed + time * seconds + processor * busy
