"""What is left at a requestor's daemon, for tests that compare it with what was there before them.

By id, not by number: what an earlier test has left may go away at any moment.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import attrs

from golem_nb.config import ApiConfig
from golem_nb.rest import Configuration, Market, Payment

__all__ = ["NOTHING", "Leavings", "look", "peek", "since"]


@attrs.frozen
class Leavings:
    """Reservations, agreements in force and invoices that nobody has answered."""

    allocations: frozenset[str]
    agreements: frozenset[str]
    invoices: frozenset[str]

    def __sub__(self, before: Leavings) -> Leavings:
        """What has come since."""
        return Leavings(
            self.allocations - before.allocations,
            self.agreements - before.agreements,
            self.invoices - before.invoices,
        )


NOTHING = Leavings(frozenset(), frozenset(), frozenset())


async def peek(config: ApiConfig) -> Leavings:
    """See what is left at a daemon."""
    async with Configuration(config) as configuration:
        payment, market = Payment(configuration.payment()), Market(configuration.market())
        return Leavings(
            frozenset(allocation.id for allocation in await payment.allocations()),
            frozenset(agreement.id for agreement in await market.agreements(state="Approved")),
            frozenset(i.invoice_id for i in await payment.invoices() if i.status == "RECEIVED"),
        )


def look(config: ApiConfig) -> Leavings:
    """See what is left at a daemon, from a thread that may have a loop of its own."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(asyncio.run, peek(config)).result(30)


def since(config: ApiConfig, before: Leavings, seconds: float = 0.0) -> Leavings:
    """Wait until nothing is left that was not there before, for so long; return what is."""
    deadline = time.monotonic() + seconds
    while (left := look(config) - before) != NOTHING and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
