"""Keeps a session, and its jobs, within their limits on cost and time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from datetime import timedelta
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from golem_nb.engine.charges import LinearPrice
from golem_nb.events import (
    AgreementRejected,
    AgreementTerminated,
    Event,
    JobFinished,
    JobStarted,
    ProposalReceived,
)
from golem_nb.log import get_logger
from golem_nb.rest.errors import ApiError
from golem_nb.rest.ids import AgreementId
from golem_nb.session.errors import DoesNotFitError, LimitReachedError
from golem_nb.session.hunger import Hunger, budget_hunger, job_hunger
from golem_nb.session.meter import Meter, first_costs

if TYPE_CHECKING:
    from golem_nb.engine import Job
    from golem_nb.engine.accounts import ActivityAccount
    from golem_nb.rest.market import OfferProposal
    from golem_nb.session.handle import Handle

__all__ = ["Limits"]

logger = get_logger(__name__)

#: A warning is given when so much of a limit is used up.
WARN_AT = Decimal("0.8")

#: From this part on, providers are asked what was really used: until then the most that is possible will do.
ASK_FROM = Decimal("0.5")

#: Ending takes a moment, which costs too: work is ended so many seconds before a limit is reached.
ENDING = 3

#: Seconds between two looks, at least and at most.
SHORTEST, LONGEST = 0.5, 30.0

#: Offers whose price is remembered, until an agreement is made.
REMEMBERED = 10_000

ZERO = Decimal(0)

V = TypeVar("V")


@attrs.frozen
class _Pledge:
    """What is set aside for an agreement, GLM.

    Attributes
    ----------
    job
        Whose agreement it is.
    first
        Its fixed fee and a first minute.
    least
        Its fixed fee and the time that it takes to end it.
    """

    job: str
    first: Decimal
    least: Decimal


@attrs.frozen
class _Entry:
    """A job of the engine, when it began, and what of its offers does not fit into the budget."""

    job: Job
    began: float
    hunger: Hunger = attrs.field(factory=budget_hunger)


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
        self._jobs: dict[str, _Entry] = {}
        self._prices: OrderedDict[str, LinearPrice] = OrderedDict()
        #: Jobs to which offers were made.
        self._owners: OrderedDict[str, str] = OrderedDict()
        #: For agreements that are being made, or in force.
        self._pledges: dict[str, _Pledge] = {}
        #: Of jobs with a limit of their own.
        self._hungers: dict[str, Hunger] = {}
        self._warned: set[str] = set()
        #: Warnings that hold now, as the last look found, and those that the present look has found so far.
        self.standing: tuple[str, ...] = ()
        self._found: list[str] = []
        self._changed = asyncio.Event()

    # -- before an agreement is made ----------------------------------------------------------------------

    @property
    def left(self) -> Decimal:
        """What is neither accepted nor reserved, GLM."""
        money = self._meter.total()
        return self.budget - money.accepted - money.reserved - self._set_aside()

    def _set_aside(self) -> Decimal:
        """What agreements in force may still cost in their first minute, beyond what is reserved for them."""
        return sum((self._open(key, pledge.first) for key, pledge in list(self._pledges.items())), ZERO)

    def _open(self, agreement_id: str, pledged: Decimal) -> Decimal:
        money = self._meter.of_agreement(AgreementId(agreement_id))
        return max(ZERO, pledged - money.accepted - money.reserved)

    def _left_of(self, handle: Handle[Any, Any], limit: Decimal) -> Decimal:
        """What is left of the limit of a job, GLM."""
        money = self._meter.of(handle.engine_jobs)
        pledges = [entry for entry in self._pledges.items() if entry[1].job in handle.engine_jobs]
        set_aside = sum((self._open(key, pledge.least) for key, pledge in pledges), ZERO)
        return limit - money.accepted - money.reserved - set_aside

    def fits(self, offer: OfferProposal) -> bool:
        """Whether an agreement on an offer could be paid for, now or later; remembers its price."""
        price = LinearPrice.agreed(offer.props)
        if price is None:
            return True
        _remember(self._prices, offer.id, price)
        needed = first_costs(price)
        self._weigh(self._owners.get(offer.id), needed)
        # what is reserved may become free; what was accepted does not
        return needed <= self.budget - self._meter.total().accepted

    def _weigh(self, job: str | None, needed: Decimal) -> None:
        """Take note of whether an offer to a job fits into what is left."""
        entry = self._jobs.get(job or "")
        if entry is None:
            return
        if needed <= self.left:
            entry.hunger.feed()
        elif entry.hunger.refuse(needed):
            self._changed.set()

    def reserve(self, entry: str, proposal_id: str, provider: str, job: str) -> None:
        """Set aside what an agreement may cost at first.

        Raises
        ------
        DoesNotFitError
            It is not there.
        """
        price = self._prices.get(proposal_id)
        if price is None:
            return
        pledge = _Pledge(job, first_costs(price), first_costs(price, timedelta(seconds=ENDING)))
        left = self.left
        if pledge.first > left:
            self._weigh(job, pledge.first)
            raise DoesNotFitError(provider, pledge.first, left)
        handle = next((each for each in self._handles() if job in each.engine_jobs), None)
        if handle is not None and handle.max_cost is not None:
            left = self._left_of(handle, handle.max_cost)
            if self._has_agreements(handle) and pledge.first > left:
                # many at once would use up the limit before any of them has done something
                raise DoesNotFitError(provider, pledge.first, left)
            hunger = self._hungers.setdefault(handle.id, job_hunger(f"{handle.kind} {handle.id}"))
            if pledge.least > left:
                if hunger.refuse(pledge.least):
                    self._changed.set()
                raise DoesNotFitError(provider, pledge.least, left)
            hunger.feed()
        self._pledges[entry] = pledge

    def _has_agreements(self, handle: Handle[Any, Any]) -> bool:
        """Whether a job has agreements in force, or is making some."""
        return any(pledge.job in handle.engine_jobs for pledge in self._pledges.values()) or bool(
            self._meter.rate(handle.engine_jobs)
        )

    def made(self, entry: str, agreement_id: str | None) -> None:
        """Note what came of it."""
        pledge = self._pledges.pop(entry, None)
        if agreement_id is not None and pledge is not None:
            self._pledges[agreement_id] = pledge

    def withdrawn(self, agreement_id: str) -> None:
        """Note that an agreement is not to be, or is over."""
        self._pledges.pop(agreement_id, None)

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
            case ProposalReceived():
                _remember(self._owners, event.proposal.id, event.job.id)
                # known if the session allows the provider: it is asked before this event comes, or after it
                price = self._prices.get(event.proposal.id)
                if price is not None:
                    self._weigh(event.job.id, first_costs(price))
                return
            case JobStarted():
                self._jobs[event.job.id] = _Entry(event.job, asyncio.get_running_loop().time())
            case JobFinished():
                self._jobs.pop(event.job.id, None)
            case AgreementTerminated() | AgreementRejected():
                self.withdrawn(event.agreement.id)
        self._changed.set()

    async def run(self) -> None:
        """Warn and stop, until cancelled. It looks when a limit may be reached, not before."""
        while True:
            self._changed.clear()
            self._found = []
            delay = await self._look()
            self.standing = tuple(self._found)
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
        near = money.accepted + money.reserved >= self.budget * ASK_FROM
        if rate and (near or any(map(self._is_near, self._handles()))):
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
            for entry in list(self._jobs.values()):
                entry.job.stop(error)
        delays = [_until(used, rate, limit) for limit in self._marks(self.budget)]
        delays += self._look_at_time()
        for handle in self._handles():
            delays += self._look_at(handle)
        delays += self._look_for_starvation()
        return max(SHORTEST, min(delays, default=LONGEST))

    def _is_near(self, handle: Handle[Any, Any]) -> bool:
        """Whether it is time to know what a job has really used."""
        if handle.ended or handle.max_cost is None:
            return False
        money = self._meter.of(handle.engine_jobs)
        return money.accepted + money.reserved >= handle.max_cost * ASK_FROM

    def _look_at_time(self) -> list[float]:
        if self._max_time is None:
            return []
        over, limit = monotonic() - self._began, self._max_time.total_seconds()
        if over >= limit:
            for entry in list(self._jobs.values()):
                entry.job.stop(self._late(self._max_time, "Work was ended; what is finished is kept"))
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
                    f"({money.accepted:.6f} GLM accepted, up to {money.reserved:.6f} GLM owed, and up to "
                    f"{rate * ENDING:.6f} GLM more until all has ended): it was ended, what is finished is "
                    "kept."
                )
            )
            return []
        return [_until(used, rate, mark) for mark in self._marks(limit)]

    def _look_for_starvation(self) -> list[float]:
        """End what has waited long enough for an agreement that can be paid for."""
        now = asyncio.get_running_loop().time()
        waiting = {name: entry for name, entry in self._jobs.items() if entry.job.agreements.waiting}
        delays: list[float] = []
        in_force = bool(self._pledges) or next(self._meter.running(), None) is not None
        for name, entry in self._jobs.items():
            mine = [(f"job {name}", entry.began, entry.job.stop)] if name in waiting else []
            delays += entry.hunger.look(now, self.left, self.budget, in_force, mine, self._warn_once)
        for handle in self._handles():
            hunger = self._hungers.get(handle.id)
            if hunger is None or handle.max_cost is None or handle.ended:
                continue
            entries = [waiting[name] for name in handle.engine_jobs if name in waiting]
            delays += hunger.look(
                now,
                self._left_of(handle, handle.max_cost),
                handle.max_cost,
                self._has_agreements(handle),
                [(f"{handle.kind} {handle.id}", entry.began, handle.end_early) for entry in entries],
                self._warn_once,
            )
        return delays

    def _warn_once(self, key: str, text: str) -> None:
        self._found.append(text)
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


def _remember(known: OrderedDict[str, V], key: str, value: V) -> None:
    """Keep a value, and no more than `REMEMBERED` of them."""
    known[key] = value
    while len(known) > REMEMBERED:
        known.popitem(last=False)


def _until(used: Decimal, rate: Decimal, mark: Decimal) -> float:
    """Seconds until an amount is reached at the earliest; `LONGEST` where it was already."""
    if not rate or used >= mark:
        return LONGEST
    return min(LONGEST, float((mark - used) / rate) - ENDING)
