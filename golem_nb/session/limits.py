"""Keeps a session, and its jobs, within their limits on cost and time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any

from golem_nb.engine.charges import LinearPrice
from golem_nb.events import AgreementRejected, AgreementTerminated, Event, JobFinished, JobStarted
from golem_nb.log import get_logger
from golem_nb.rest.errors import ApiError
from golem_nb.rest.ids import AgreementId
from golem_nb.session.errors import DoesNotFitError, LimitReachedError
from golem_nb.session.meter import Meter, first_costs

if TYPE_CHECKING:
    from golem_nb.engine import Job, Journal, JournalEntry
    from golem_nb.engine.accounts import ActivityAccount
    from golem_nb.rest.market import OfferProposal
    from golem_nb.session.handle import Handle

__all__ = ["BudgetJournal", "Limits"]

logger = get_logger(__name__)

#: A warning is given when so much of a limit is used up.
WARN_AT = Decimal("0.8")

#: From this part on, providers are asked what was really used: until then the most that is possible will do.
ASK_FROM = Decimal("0.5")

#: Ending takes a moment, which costs too: work is ended so many seconds before a limit is reached.
ENDING = 3

#: Seconds between two looks, at least and at most.
SHORTEST, LONGEST = 0.5, 30.0

#: Providers get so many seconds to send offers, before work that waits for one which fits is ended.
MARKET_TIME = 30.0

#: Offers whose price is remembered, until an agreement is made.
REMEMBERED = 10_000

ZERO = Decimal(0)


class Limits:
    """Watches the costs of a session; lives in the engine's thread.

    Parameters
    ----------
    budget
        The most that the session may spend, GLM.
    max_time
        How long the session may work; None: as long as it takes.
    meter
        Knows the costs.
    handles
        Gives the jobs of the session.
    warn
        Called with each warning.
    """

    def __init__(
        self,
        budget: Decimal,
        max_time: timedelta | None,
        meter: Meter,
        handles: Callable[[], Collection[Handle[Any, Any]]],
        warn: Callable[[str], None],
    ) -> None:
        self.budget = budget
        self._max_time = max_time
        self._began = monotonic()
        self._meter = meter
        self._handles = handles
        self._warn = warn
        #: With the times at which they began.
        self._jobs: dict[str, tuple[Job, float]] = {}
        self._prices: OrderedDict[str, LinearPrice] = OrderedDict()
        #: Agreements that are being made, or in force: what they may cost at first.
        self._pending: dict[str, Decimal] = {}
        #: The cheapest offer that did not fit, GLM.
        self._refused: Decimal | None = None
        #: Since when nothing fits, and nothing is in force whose end might change that.
        self._starving: float | None = None
        self._warned: set[str] = set()
        self._changed = asyncio.Event()

    # -- before an agreement is made ----------------------------------------------------------------------

    @property
    def left(self) -> Decimal:
        """What is neither accepted nor reserved, GLM."""
        money = self._meter.total()
        return self.budget - money.accepted - money.reserved - self._set_aside()

    def _set_aside(self) -> Decimal:
        """What agreements in force may still cost in their first minute, beyond what is reserved for them."""
        amount = ZERO
        for agreement_id, needed in list(self._pending.items()):
            money = self._meter.of_agreement(AgreementId(agreement_id))
            amount += max(ZERO, needed - money.accepted - money.reserved)
        return amount

    def fits(self, offer: OfferProposal) -> bool:
        """Whether an agreement on an offer could be paid for, now or later; remembers its price."""
        price = LinearPrice.agreed(offer.props)
        if price is None:
            return True
        self._prices[offer.id] = price
        while len(self._prices) > REMEMBERED:
            self._prices.popitem(last=False)
        needed = first_costs(price)
        if needed <= self.left:
            self._starving = None
            return True
        self._does_not_fit(needed)
        # what is reserved may become free; what was accepted does not
        return needed <= self.budget - self._meter.total().accepted

    def _does_not_fit(self, needed: Decimal) -> None:
        if self._refused is None or needed < self._refused:
            self._refused = needed
            self._changed.set()

    def reserve(self, entry: str, proposal_id: str, provider: str) -> None:
        """Set aside what an agreement may cost at first.

        Raises
        ------
        DoesNotFitError
            It is not there.
        """
        price = self._prices.get(proposal_id)
        if price is None:
            return
        needed, left = first_costs(price), self.left
        if needed > left:
            self._does_not_fit(needed)
            raise DoesNotFitError(provider, needed, left)
        self._pending[entry] = needed

    def made(self, entry: str, agreement_id: str | None) -> None:
        """Note what came of it."""
        needed = self._pending.pop(entry, None)
        if agreement_id is not None and needed is not None:
            self._pending[agreement_id] = needed

    def withdrawn(self, agreement_id: str) -> None:
        """Note that an agreement is not to be, or is over."""
        self._pending.pop(agreement_id, None)

    def check(self, what: str) -> None:
        """Let work begin, if there is money and time for it.

        Raises
        ------
        LimitReachedError
            Nothing is left.
        """
        if self.left <= 0:
            raise LimitReachedError(
                f"Nothing is left of the budget of {self.budget} GLM for {what}: stop the session and begin "
                "one with a larger `budget`."
            )
        if self._max_time is not None and monotonic() - self._began >= self._max_time.total_seconds():
            raise self._late(self._max_time, f"{what} cannot begin")

    # -- while work is done -------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Consume an event, after the meter has."""
        match event:
            case JobStarted():
                self._jobs[event.job.id] = event.job, asyncio.get_running_loop().time()
            case JobFinished():
                self._jobs.pop(event.job.id, None)
            case AgreementTerminated() | AgreementRejected():
                self.withdrawn(event.agreement.id)
        self._changed.set()

    async def run(self) -> None:
        """Warn and stop, until cancelled. It looks when a limit may be reached, not before."""
        while True:
            self._changed.clear()
            delay = await self._look()
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
                    # what comes together is looked at together
                    await asyncio.sleep(SHORTEST / 5)
            except TimeoutError:
                pass

    async def _look(self) -> float:
        money = self._meter.total()
        rate = self._meter.rate()
        if rate and money.accepted + money.reserved >= self.budget * ASK_FROM:
            await self._ask()
            money = self._meter.total()
        used = money.accepted + money.reserved
        self._check_warning("session", used, self.budget, "the session's budget")
        if self._jobs and used + rate * ENDING >= self.budget and rate:
            error = LimitReachedError(
                f"The budget of {self.budget} GLM is used up: {money.accepted:.6f} GLM was accepted, and up "
                f"to {money.reserved:.6f} GLM more is owed for what is running. Work was ended; what is "
                "finished is kept. Stop the session and begin one with a larger `budget`."
            )
            for job, _ in list(self._jobs.values()):
                job.stop(error)
        delays = [_until(used, rate, limit) for limit in self._marks(self.budget)]
        delays += self._look_at_time()
        for handle in self._handles():
            delays += self._look_at(handle)
        delays.append(self._look_for_starvation())
        return max(SHORTEST, min(delays, default=LONGEST))

    def _look_at_time(self) -> list[float]:
        if self._max_time is None:
            return []
        over, limit = monotonic() - self._began, self._max_time.total_seconds()
        if over >= limit:
            for job, _ in list(self._jobs.values()):
                job.stop(self._late(self._max_time, "Work was ended; what is finished is kept"))
            return []
        what = f"`max_time` of the session ({self._max_time})"
        return self._time_marks("time of the session", over, limit, what)

    @staticmethod
    def _late(max_time: timedelta, what: str) -> LimitReachedError:
        return LimitReachedError(
            f"The `max_time` of {max_time} of the session is over. {what}. Stop the session and begin one "
            "with a longer `max_time`."
        )

    def _time_marks(self, key: str, over: float, limit: float, what: str) -> list[float]:
        """Warn if it is time for that; return the seconds until a next look."""
        mark = limit * float(WARN_AT)
        if over >= mark:
            self._warn_once(key, f"{over / limit:.0%} of {what} is over.")
        return [left for left in (mark - over, limit - over) if left > 0]

    def _look_at(self, handle: Handle[Any, Any]) -> list[float]:
        if handle.ended:
            return []
        delays = []
        if handle.max_time is not None and handle.working is not None:
            # that it ends in time is its own work
            delays = self._time_marks(
                f"time of {handle.id}",
                handle.working,
                handle.max_time.total_seconds(),
                f"the time of {handle.kind} {handle.id} ({handle.max_time})",
            )
        return delays + self._look_at_cost(handle)

    def _look_at_cost(self, handle: Handle[Any, Any]) -> list[float]:
        limit = handle.max_cost
        if limit is None:
            return []
        money, rate = self._meter.of(handle.engine_jobs), self._meter.rate(handle.engine_jobs)
        used = money.accepted + money.reserved
        self._check_warning(handle.id, used, limit, f"`max_cost` of {handle.kind} {handle.id}")
        if rate and used + rate * ENDING >= limit:
            handle.end_early(
                LimitReachedError(
                    f"{handle.kind} {handle.id} has reached its `max_cost` of {limit} GLM "
                    f"({money.accepted:.6f} GLM accepted, up to {money.reserved:.6f} GLM owed): it was "
                    "ended, what is finished is kept."
                )
            )
            return []
        return [_until(used, rate, mark) for mark in self._marks(limit)]

    def _look_for_starvation(self) -> float:
        """End what has waited long enough for an agreement that can be paid for.

        Returns
        -------
        float
            Seconds until something else may have waited long enough.
        """
        if self._refused is not None and self._refused <= self.left:
            self._refused = None
        waiting = [(job, began) for job, began in self._jobs.values() if job.agreements.waiting]
        # what is in force may end, and leave enough for another one
        in_force = bool(self._pending) or next(self._meter.running(), None) is not None
        if self._refused is None or in_force or not waiting:
            self._starving = None
            return LONGEST
        now = asyncio.get_running_loop().time()
        if self._starving is None:
            self._starving = now
        what = (
            f"what is left of the budget: {max(ZERO, self.left):.6f} of {self.budget} GLM. The cheapest one "
            f"needs {self._refused:.6f} GLM for its fixed fee and a first minute"
        )
        delays = [LONGEST]
        for job, began in waiting:
            left = max(began, self._starving) + MARKET_TIME - now
            if left > 0:
                delays.append(left)
                self._warn_once(
                    f"offers for job {job.id}",
                    f"No offer for job {job.id} so far fits into {what}. Others may come: it waits for "
                    f"{MARKET_TIME:.0f} s.",
                )
                continue
            job.stop(
                LimitReachedError(
                    f"No provider fits into {what}; in {MARKET_TIME:.0f} s no other offer has come. Stop the "
                    "session and begin one with a larger `budget`."
                )
            )
        return min(delays)

    def _warn_once(self, key: str, text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            self._warn(text)

    def _check_warning(self, key: str, used: Decimal, limit: Decimal, what: str) -> None:
        if used >= limit * WARN_AT:
            self._warn_once(key, f"{used / limit:.0%} of {what} ({limit} GLM) is used up or owed.")

    @staticmethod
    def _marks(limit: Decimal) -> tuple[Decimal, ...]:
        return (limit * ASK_FROM, limit * WARN_AT, limit)

    async def _ask(self) -> None:
        """Ask providers what their running activities have used."""

        async def read(account: ActivityAccount) -> None:
            try:
                usage = await account.activity.usage()
            except ApiError as error:
                logger.debug("The usage of an activity is not known: %s", error)
                return
            self._meter.read(account.activity.id, usage.current_usage)

        await asyncio.gather(*(read(account) for account in list(self._meter.running())))


def _until(used: Decimal, rate: Decimal, mark: Decimal) -> float:
    """Seconds until an amount is reached at the earliest; `LONGEST` where it was already."""
    if not rate or used >= mark:
        return LONGEST if not rate else SHORTEST * 2
    return min(LONGEST, float((mark - used) / rate) - ENDING)


class BudgetJournal:
    """A journal that lets no agreement be made which cannot be paid for.

    It stands in the way at the one point that every agreement passes, whatever strategy has chosen it.

    Parameters
    ----------
    journal
        The journal behind it.
    limits
        Of the session.
    """

    def __init__(self, journal: Journal, limits: Limits) -> None:
        self._journal = journal
        self._limits = limits

    async def intent(self, entry: JournalEntry) -> None:
        """Check, then pass on what is about to be done."""
        if entry.action == "create_agreement":
            self._limits.reserve(
                entry.id, entry.subject.get("proposal_id", ""), entry.subject.get("provider_id", "")
            )
            try:
                await self._journal.intent(entry)
            except BaseException:
                self._limits.made(entry.id, None)
                raise
            return
        await self._journal.intent(entry)

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        """Pass on what came of it."""
        if entry.action == "create_agreement":
            self._limits.made(entry.id, outcome.get("agreement_id"))
        elif entry.action == "terminate_agreement":
            self._limits.withdrawn(entry.subject.get("agreement_id", ""))
        await self._journal.done(entry, outcome, error)
