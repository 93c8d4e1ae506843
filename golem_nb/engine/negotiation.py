"""The market loop of one job: a demand, the offers it meets, and what is said to each."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import sys
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.engine.charges import LinearPrice, UnreadablePriceError
from golem_nb.engine.journal import step
from golem_nb.engine.offers import PREFERENCE_WAIT
from golem_nb.engine.unmet import why_unmet
from golem_nb.events import (
    CollectFailed,
    NoProposalsConfirmed,
    ProposalConfirmed,
    ProposalFailed,
    ProposalReceived,
    ProposalRejected,
    ProposalResponded,
    SubscriptionCreated,
    SubscriptionFailed,
)
from golem_nb.log import get_logger, pluralize
from golem_nb.rest.errors import ApiError, NotFoundError
from golem_nb.rest.market import ProposalRejection
from golem_nb.strategy import SCORE_NEUTRAL

if TYPE_CHECKING:
    from golem_nb.engine.job import Job
    from golem_nb.rest.ids import NodeId, ProposalId
    from golem_nb.rest.market import OfferProposal, Subscription

logger = get_logger(__name__)

#: One look for new proposals lasts so long at most, in seconds; the daemon answers at once when there is one.
POLL = 30.0

#: Proposals taken in one look; the daemon allows 100.
MAX_EVENTS = 100

#: Proposals that are scored and answered at the same time.
HANDLERS = 10

#: A job negotiates with no more providers ahead of need than this; the other offers wait, best first.
RESERVE = 20

#: "No proposals" is told that often while someone waits for one.
NO_PROPOSALS_AFTER = timedelta(seconds=20)

#: Where no offer has come after so many seconds, it is found out why.
UNMET_AFTER = 5.0

#: The market is given up after that many failed looks in a row.
MAX_FAILURES = 5

#: A provider that has refused an agreement is asked again after so many seconds, doubled each time …
REFUSED_AGAIN = 2.0

#: … up to so many.
REFUSED_LIMIT = 60.0

PLATFORM_PREFIX = "golem.com.payment.platform."
CHOSEN_PLATFORM = "golem.com.payment.chosen-platform"


@attrs.frozen
class _Spent:
    proposal: OfferProposal
    not_before: float


def platforms(proposal: OfferProposal) -> set[str]:
    """Payment platforms that an offer accepts; ``NGNT`` where it names none, as the first providers did."""
    named = {
        key.removeprefix(PLATFORM_PREFIX).rpartition(".")[0]
        for key in proposal.props
        if key.startswith(PLATFORM_PREFIX)
    }
    return named or {"NGNT"}


async def _whatever_happens(ending: Coroutine[Any, Any, None]) -> None:
    """Do what ends something also when the job itself is cancelled meanwhile, with its loop."""
    task = asyncio.create_task(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _price_fault(proposal: OfferProposal) -> str | None:
    """Say why no bill could be checked against the price of an offer; None where it can be."""
    try:
        LinearPrice.read(proposal.props)
    except UnreadablePriceError as error:
        return str(error)
    return None


class Negotiation:
    """Keeps a demand on the market and turns proposals into drafts in the job's `OfferPool`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._market = job.engine.market
        self._strategy = job.engine.strategy
        self._platform = job.engine.budget.platform
        self._pool = job.offers
        self._limit = asyncio.Semaphore(HANDLERS)
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, OfferProposal]] = []
        self._spent: dict[NodeId, _Spent] = {}
        self._refusals: dict[NodeId, int] = {}
        self._answered: dict[ProposalId, NodeId] = {}
        self._confirmed = 0
        self._received = 0
        self._unmet = ""
        self._refusals_heard: Counter[str] = Counter()
        self._handlers: asyncio.TaskGroup

    async def run(self) -> None:
        """Negotiate until cancelled; a demand that has expired is subscribed anew.

        Raises
        ------
        ApiError
            When the daemon refuses the demand, or cannot be asked for proposals any more.
        """
        async with asyncio.TaskGroup() as self._handlers:
            self._handlers.create_task(self._notice_silence(), name="no proposals notice")
            self._handlers.create_task(self._explain_silence(), name="why there are no proposals")
            while True:
                subscription = await self._subscribe()
                try:
                    await self._collect(subscription)
                finally:
                    self._unsubscribe(subscription)

    def spent(self, proposal: OfferProposal, *, refused: bool = False) -> None:
        """Note that a draft was used up; its provider may be asked again, later if it has refused."""
        provider = proposal.issuer
        now = asyncio.get_running_loop().time()
        if refused:
            refusals = self._refusals[provider] = self._refusals.get(provider, 0) + 1
            self._spent[provider] = _Spent(
                proposal, now + min(REFUSED_AGAIN * 2.0 ** (refusals - 1), REFUSED_LIMIT)
            )
        else:
            self._refusals.pop(provider, None)
            self._spent[provider] = _Spent(proposal, now)
        self._pool.changed.set()  # whoever waits may now ask this provider for one more

    @property
    def fruitless(self) -> bool:
        """Whether no provider was ready to make an agreement so far."""
        return not self._confirmed

    def summary(self) -> str:
        """What has come of the demand so far, in words."""
        if not self._received:
            return "no provider has an offer that meets the demand" + (
                f": {self._unmet}"
                if self._unmet
                else " (check subnet, payment network and the size that the payload asks for)"
            )
        text = f"{pluralize(self._received, 'offer')} received, {self._confirmed} negotiated"
        if self._refusals_heard:
            text += "; " + ", ".join(
                f"{reason} ({pluralize(times, 'time')})"
                for reason, times in self._refusals_heard.most_common(3)
            )
        return text

    def starved(self) -> float | None:
        """Somebody waits for an agreement and there is no offer: negotiate more.

        Returns
        -------
        float or None
            Seconds after which it is worth while to call this again; None if only an event can help.
        """
        if self._waiting:
            self._answer_waiting()
            return None
        # the daemon lets a used draft be countered again, and the provider decides whether it has room for
        # one more
        now = asyncio.get_running_loop().time()
        wanted = self._job.agreements.waiting - self._pool.under_way
        for provider, spent in heapq.nsmallest(
            wanted,
            self._spent.items(),
            key=lambda item: (item[1].not_before > now, self._pool.failures(item[0]), item[1].not_before),
        ):
            if spent.not_before <= now:
                del self._spent[provider]
                self._pool.expect(provider, SCORE_NEUTRAL)
                self._handlers.create_task(
                    self._respond_safely(spent.proposal, SCORE_NEUTRAL), name="one more agreement"
                )
        if self._pool.under_way:
            return PREFERENCE_WAIT
        return (
            max(0.0, min(spent.not_before for spent in self._spent.values()) - now) if self._spent else None
        )

    async def _subscribe(self) -> Subscription:
        publishing = asyncio.create_task(self._publish(), name=f"demand of job {self._job.id}")
        try:
            subscription = await asyncio.shield(publishing)
        except asyncio.CancelledError:
            # the daemon may have it already, and what was published must be withdrawn
            self._job.clean_up(self._take_back(publishing))
            raise
        except ApiError as error:
            self._job.emit(SubscriptionFailed, reason=str(error), exc_info=sys.exc_info())
            raise
        self._job.emit(SubscriptionCreated, subscription=subscription)
        return subscription

    async def _publish(self) -> Subscription:
        demand = self._job.demand
        subscription: Subscription | None = None
        try:
            async with step(self._job.engine.journal, "subscribe", job_id=self._job.id) as outcome:
                subscription = await self._market.subscribe(demand.properties, demand.constraints)
                outcome["subscription_id"] = subscription.id
        except Exception:
            if subscription is not None:
                await self._withdraw(subscription)
            raise
        return subscription

    async def _take_back(self, publishing: asyncio.Task[Subscription]) -> None:
        with contextlib.suppress(Exception):  # then there is nothing to withdraw
            await self._withdraw(await publishing)

    def _unsubscribe(self, subscription: Subscription) -> None:
        """Forget what came of a demand, and let it be withdrawn: nobody has to wait for that."""
        self._answered.clear()
        self._waiting.clear()
        self._spent.clear()
        self._job.clean_up(_whatever_happens(self._withdraw(subscription)))

    async def _withdraw(self, subscription: Subscription) -> None:
        async def withdraw() -> None:
            async with step(self._job.engine.journal, "unsubscribe", subscription_id=subscription.id):
                with contextlib.suppress(NotFoundError):  # it had expired
                    await subscription.delete()

        await self._job.engine.endings.end(f"The demand of job {self._job.id}", withdraw)

    async def _collect(self, subscription: Subscription) -> None:
        failures = 0
        while True:
            try:
                events = await subscription.collect(timeout=POLL, max_events=MAX_EVENTS)
            except NotFoundError:
                return
            except ApiError as error:
                failures += 1
                self._job.emit(
                    CollectFailed, subscription=subscription, reason=str(error), exc_info=sys.exc_info()
                )
                if failures >= MAX_FAILURES:
                    raise
                await asyncio.sleep(0.2 * 2**failures)
                continue
            failures = 0
            for event in events:
                if isinstance(event, ProposalRejection):
                    self._on_rejection(event)
                    continue
                await self._limit.acquire()
                self._handlers.create_task(self._handle(event), name="proposal")

    def _on_rejection(self, rejection: ProposalRejection) -> None:
        provider = self._answered.pop(rejection.proposal_id, None)
        if provider is not None:
            logger.debug("Provider %s rejected our proposal: %r", provider, rejection.reason)
            self._refusals_heard[f"a provider said {str(rejection.reason)[:200]!r}"] += 1
            self._pool.forget(provider)

    async def _handle(self, proposal: OfferProposal) -> None:
        try:
            self._job.emit(ProposalReceived, proposal=proposal)
            self._received += not proposal.is_draft
            score = await self._strategy.score_offer(proposal)
            if score < SCORE_NEUTRAL:
                await self._reject(proposal, "Score too low")
            elif self._platform not in platforms(proposal):
                await self._reject(proposal, "No common payment platform")
            elif (fault := _price_fault(proposal)) is not None:
                await self._reject(proposal, f"Unreadable price: {fault}")
            elif proposal.is_draft:
                self._confirmed += 1
                self._job.emit(ProposalConfirmed, proposal=proposal)
                self._pool.add(proposal)
            elif self._has_enough():
                heapq.heappush(self._waiting, (-score, next(self._order), proposal))
            else:
                await self._respond(proposal, score)
        except ApiError:
            self._job.emit(ProposalFailed, proposal=proposal, exc_info=sys.exc_info())
        finally:
            self._limit.release()

    def _has_enough(self) -> bool:
        return len(self._pool) + self._pool.under_way >= RESERVE + self._job.agreements.waiting

    def _answer_waiting(self) -> None:
        while self._waiting and not self._has_enough():
            score, _, proposal = heapq.heappop(self._waiting)
            self._pool.expect(proposal.issuer, -score)
            self._handlers.create_task(self._respond_safely(proposal, -score), name="waiting proposal")

    async def _respond_safely(self, proposal: OfferProposal, score: float) -> None:
        try:
            await self._respond(proposal, score)
        except ApiError:
            self._job.emit(ProposalFailed, proposal=proposal, exc_info=sys.exc_info())

    async def _respond(self, proposal: OfferProposal, score: float) -> None:
        self._pool.expect(proposal.issuer, score)
        try:
            try:
                answer = await self._strategy.respond_to_provider_offer(self._job.demand, proposal)
            except ValueError:
                logger.debug("No acceptable terms in the offer of %s", proposal.issuer, exc_info=True)
                await self._reject(proposal, "Could not accept provider's terms.")
                return
            properties = {**answer.properties, CHOSEN_PLATFORM: self._platform}
            counter = await proposal.respond(properties, answer.constraints)
        except BaseException:
            self._pool.forget(proposal.issuer)
            raise
        self._answered[counter] = proposal.issuer
        self._job.emit(ProposalResponded, proposal=proposal)

    async def _reject(self, proposal: OfferProposal, reason: str) -> None:
        self._pool.forget(proposal.issuer)
        self._refusals_heard[f"we said {reason!r}"] += 1
        await proposal.reject(reason)
        self._job.emit(ProposalRejected, proposal=proposal, reason=reason)

    async def _explain_silence(self) -> None:
        """Find out, once, which part of the demand keeps all offers away."""
        await asyncio.sleep(UNMET_AFTER)
        if self._received or not self._job.agreements.waiting:
            return
        try:
            unmet = await why_unmet(self._market, self._job.demand.constraints)
        except ApiError as error:
            logger.debug("It could not be found out why no offer meets the demand: %s", error)
            return
        if not self._received:
            self._unmet = unmet
            logger.warning("No provider has an offer that meets the demand: %s", unmet)

    async def _notice_silence(self) -> None:
        confirmed = self._confirmed
        while True:
            await asyncio.sleep(NO_PROPOSALS_AFTER.total_seconds())
            if self._confirmed == confirmed and self._job.agreements.waiting:
                self._job.emit(NoProposalsConfirmed, timeout=NO_PROPOSALS_AFTER)
            confirmed = self._confirmed
