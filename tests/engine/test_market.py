"""What a job says on the market: its demand, its answers, its choice."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Task, WorkContext
from golem_nb.engine import negotiation
from golem_nb.engine.negotiation import platforms
from golem_nb.engine.offers import OfferPool
from golem_nb.rest import Configuration, Market
from golem_nb.rest.errors import BadRequestError, ServerError
from golem_nb.strategy import LeastExpensiveLinearPayuMS, MarketStrategy

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork, LocalProvider
    from golem_nb.rest.market import OfferProposal

    from .conftest import Batch, Meddler, Running

Tasks = AsyncIterator[Task[Any, Any]]
Worker = AsyncGenerator[Any, Any]

IMAGE = r"hash:sha3:[0-9a-f]{56}:http://127\.0\.0\.1:\d+/\S+"


async def demands(network: LocalNetwork) -> list[Any]:
    """What the daemon says of our demands."""
    async with Configuration(network.api_config) as configuration:
        return await Market(configuration.market()).subscriptions()


@pytest.mark.contract("E02")
async def test_the_demand_as_the_daemon_lists_it(tame: Batch, network: LocalNetwork) -> None:
    listed: list[Any] = []

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        listed.extend(await demands(network))
        async for task in tasks:
            task.accept_result()
        return
        yield

    outcome = await tame(["x"], worker=worker, strategy=LeastExpensiveLinearPayuMS())
    assert outcome.error is None
    (demand,) = listed
    assert demand.details.constraints == (
        "(&(golem.node.debug.subnet=public)\n\t"
        "(golem.com.payment.platform.erc20-hoodi-tglm.address=*)\n\t"
        "(golem.com.payment.protocol.version>1)\n\t"
        "(golem.com.pricing.model=linear)\n\t"
        "(&(golem.inf.mem.gib>=0.5)\n\t"
        "(golem.inf.storage.gib>=2.0)\n\t"
        "(golem.inf.cpu.threads>=1)\n\t"
        "(golem.runtime.name=vm)))"
    )
    properties = dict(demand.details.properties)
    assert re.fullmatch(IMAGE, properties.pop("golem.srv.comp.task_package"))
    assert properties.pop("golem.srv.comp.expiration") > datetime.now(UTC).timestamp() * 1000
    assert properties == {
        "golem.srv.caps.multi-activity": True,
        "golem.node.debug.subnet": "public",
        "golem.com.payment.platform.erc20-hoodi-tglm.address": network.requestor,
        "golem.com.payment.protocol.version": "3",
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
    }


@pytest.mark.contract("E03")
async def test_a_demand_that_has_expired_is_put_on_the_market_again(
    running: Running, network: LocalNetwork
) -> None:
    heard = running.heard
    both = asyncio.Event()

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            if task.data == 0:
                async with asyncio.timeout(10):
                    await both.wait()
            script = context.new_script()
            script.run("/bin/true")
            yield script
            task.accept_result(context.provider_name)

    async def source() -> AsyncIterator[Task[Any, Any]]:
        yield Task(0)
        while not heard.of("SubscriptionCreated"):
            await asyncio.sleep(0.05)
        # the daemon ends a demand when its time is over; here its time is over now
        async with Configuration(network.api_config) as configuration:
            for demand in await Market(configuration.market()).subscriptions():
                await demand.delete()
        while len(heard.of("SubscriptionCreated")) < 2:
            await asyncio.sleep(0.05)
        both.set()
        yield Task(1)

    results = [
        task.result
        async for task in running.golem.execute_tasks(worker, source(), running.payload, max_workers=2)
    ]
    assert len(results) == 2
    first, second = heard.of("SubscriptionCreated")
    assert first.subscription.id != second.subscription.id
    assert first.subscription.details.constraints == second.subscription.details.constraints
    assert first.subscription.details.properties == second.subscription.details.properties
    assert not heard.of("CollectFailed", "SubscriptionFailed")


@pytest.mark.contract("E03")
async def test_a_market_that_cannot_be_asked_ends_the_job(tame: Batch, meddler: Meddler) -> None:
    meddler.spoil("GET", r"/market-api/v1/demands/[^/]+/events", body='{"message": "disk full"}', times=99)
    outcome = await tame(["x"], api_config=meddler.api_config)
    assert isinstance(outcome.error, ServerError)
    assert "disk full" in str(outcome.error)
    assert outcome.names.count("CollectFailed") == negotiation.MAX_FAILURES
    assert outcome.of("JobFinished")[0].exception is outcome.error


@pytest.mark.contract("E03")
async def test_a_market_that_fails_for_a_moment(tame: Batch, meddler: Meddler) -> None:
    meddler.spoil("GET", r"/market-api/v1/demands/[^/]+/events", times=2)
    outcome = await tame(["x"], api_config=meddler.api_config)
    assert outcome.error is None
    assert outcome.results == ["x"]
    assert outcome.names.count("CollectFailed") == 2


@pytest.mark.contract("E03")
async def test_a_demand_that_the_daemon_refuses(tame: Batch, meddler: Meddler) -> None:
    meddler.spoil("POST", "/market-api/v1/demands$", status=400, body='{"message": "no such thing"}')
    outcome = await tame(["x"], api_config=meddler.api_config)
    assert isinstance(outcome.error, BadRequestError)
    (failed,) = outcome.of("SubscriptionFailed")
    assert "no such thing" in failed.reason


@pytest.mark.contract("E05")
async def test_answers_choose_the_platform_and_drafts_are_kept(tame: Batch) -> None:
    outcome = await tame(["x"])
    agreement = outcome.of("AgreementConfirmed")[0].agreement
    assert agreement.details.demand_props["golem.com.payment.chosen-platform"] == "erc20-hoodi-tglm"
    received = outcome.of("ProposalReceived")
    drafts = [event.proposal for event in received if event.proposal.is_draft]
    assert {event.proposal.id for event in outcome.of("ProposalConfirmed")} == {draft.id for draft in drafts}
    assert max(Counter(event.proposal.issuer for event in outcome.of("ProposalResponded")).values()) == 1


@pytest.mark.contract("E05")
async def test_offers_are_scored_again_at_each_choice(tame: Batch, network: LocalNetwork) -> None:
    class Learning(MarketStrategy):
        """Wants another provider after each failure."""

        def __init__(self) -> None:
            self.bad: set[str] = set()

        async def score_offer(self, offer: OfferProposal) -> float:
            return 1.0 if offer.issuer in self.bad else 50.0

    strategy = Learning()

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            if len(strategy.bad) < 2:
                # all offers are there already: only another look at their scores helps
                strategy.bad.add(context.provider_id)
                raise LookupError
            task.accept_result(context.provider_id)

    outcome = await tame(["x"], worker=worker, max_workers=1, strategy=strategy)
    assert outcome.error is None
    assert outcome.results[0] not in strategy.bad
    assert {provider.node_id for provider in network.providers} == {*strategy.bad, *outcome.results}


def proposal(props: dict[str, Any]) -> Any:
    return SimpleNamespace(props=props)


@pytest.mark.contract("E06")
def test_platforms() -> None:
    assert platforms(
        proposal(
            {
                "golem.com.payment.platform.erc20-hoodi-tglm.address": "0x1",
                "golem.com.payment.platform.erc20-polygon-glm.address": "0x1",
                "golem.com.payment.protocol.version": "3",
            }
        )
    ) == {"erc20-hoodi-tglm", "erc20-polygon-glm"}
    assert platforms(proposal({"golem.com.payment.debit-notes.accept-timeout?": 240})) == {"NGNT"}


@pytest.mark.contract("E06")
async def test_platforms_of_real_offers(tame: Batch) -> None:
    outcome = await tame(["x"])
    for event in outcome.of("ProposalReceived"):
        assert "erc20-hoodi-tglm" in platforms(event.proposal)


# --- the choice ------------------------------------------------------------------------------------------


@pytest.mark.contract("E07")
async def test_the_best_offer_first(
    tame: Batch, network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a busy machine may need longer for an answer than a better offer is worth waiting for
    monkeypatch.setattr("golem_nb.engine.offers.PREFERENCE_WAIT", 10.0)
    best = network.provider("cobalt").node_id

    class Dearest(MarketStrategy):
        async def score_offer(self, offer: OfferProposal) -> float:
            return 10.0 if offer.issuer == best else 1.0

    outcome = await tame(range(3), max_workers=1, strategy=Dearest())
    assert {event.provider_id for event in outcome.of("AgreementCreated")} == {best}
    details = outcome.of("AgreementCreated")[0].agreement.details
    valid = details.valid_to - datetime.now(UTC)
    assert timedelta(minutes=59) < valid <= timedelta(hours=1)


@pytest.mark.contract("E07")
async def test_equal_offers_are_chosen_at_random() -> None:
    class Equal(MarketStrategy):
        async def score_offer(self, offer: OfferProposal) -> float:
            return 5.0

    first = Counter()
    for _ in range(300):
        pool = OfferPool(Equal())
        for issuer in ("a", "b", "c"):
            pool.add(SimpleNamespace(issuer=issuer))  # type: ignore[arg-type]
        chosen, _ = await pool.best()
        assert chosen is not None
        first[chosen.issuer] += 1
    assert set(first) == {"a", "b", "c"}
    assert min(first.values()) > 50


@pytest.mark.contract("E07")
async def test_a_draft_of_a_provider_that_has_failed_is_not_used() -> None:
    class Equal(MarketStrategy):
        async def score_offer(self, offer: OfferProposal) -> float:
            return 5.0

    pool = OfferPool(Equal())
    draft = SimpleNamespace(issuer="a")
    pool.add(draft)  # type: ignore[arg-type]
    # it may be a provider that has vanished: nobody would answer an agreement
    assert pool.failed("a") is draft  # type: ignore[arg-type]
    assert await pool.best() == (None, None)
    assert pool.failed("a") is None  # type: ignore[arg-type]
    assert (pool.failures("a"), pool.failures("b")) == (2, 0)  # type: ignore[arg-type]
    # asked anew it is as good as any other that has failed
    pool.add(draft)  # type: ignore[arg-type]
    assert (await pool.best())[0] is draft


@pytest.mark.contract("E07")
@pytest.mark.xdist_group("unruly")
async def test_a_provider_that_has_refused_may_be_asked_again(batch: Batch, bad: LocalProvider) -> None:
    from golem_nb.localnet import Misbehaviour

    await bad.misbehave(Misbehaviour(kind="refuse-agreement", times=1))
    outcome = await batch(["x"], only="bad", max_workers=1)
    assert outcome.results == ["x"]
    (rejected,) = outcome.of("AgreementRejected")
    assert rejected.provider_id == bad.node_id
    assert rejected.exception is not None
    (confirmed,) = outcome.of("AgreementConfirmed")
    assert confirmed.agr_id != rejected.agr_id
    # a fresh negotiation, not the old draft again
    assert outcome.names.count("ProposalResponded") == 2
    assert outcome.names.count("ProposalConfirmed") == 2


async def test_prices_over_the_caps_are_refused_with_a_reason(tame: Batch) -> None:
    outcome = await tame(
        ["x"], strategy=LeastExpensiveLinearPayuMS(max_fixed_price=Decimal(0), max_price_for={}), timeout=3
    )
    # amber has no start price
    assert outcome.results == ["x"]
    assert {event.reason for event in outcome.of("ProposalRejected")} == {"Score too low"}
