# ruff: noqa: RUF012 - overrides are written as the documentation has it
from __future__ import annotations

import copy
import inspect
import pickle
import time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from golem_nb import events
from golem_nb.contrib.strategy import ProviderFilter
from golem_nb.props import Activity
from golem_nb.props.builder import DemandBuilder
from golem_nb.props.com import Counter
from golem_nb.strategy import (
    PROP_DEBIT_NOTE_INTERVAL_SEC,
    SCORE_NEUTRAL,
    SCORE_REJECTED,
    BaseMarketStrategy,
    DecreaseScoreForUnconfirmedAgreement,
    DummyMS,
    LeastExpensiveLinearPayuMS,
    MarketStrategy,
    PropValueRange,
    WrappingMarketStrategy,
    default_strategy,
)


def offer(
    time_price: Any = 0.001,
    cpu_price: Any = 0.002,
    start: Any = 0.1,
    issuer: str = "0xprovider",
    **changed: Any,
) -> Any:
    props = {
        "golem.com.scheme": "payu",
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": [time_price, cpu_price, start],
        "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
    }
    return SimpleNamespace(id="proposal", issuer=issuer, props={**props, **changed})


@pytest.mark.contract("M05")
async def test_score_falls_with_the_cost_of_the_expected_time() -> None:
    strategy = LeastExpensiveLinearPayuMS()
    assert await strategy.score_offer(offer()) == pytest.approx(100 / (0.1 + 60 * 0.003 + 1.01))
    assert await strategy.score_offer(offer(0, 0, 0)) == pytest.approx(100 / 1.01)
    longer = LeastExpensiveLinearPayuMS(expected_time_secs=3600)
    assert await longer.score_offer(offer()) == pytest.approx(100 / (0.1 + 3600 * 0.003 + 1.01))
    assert await strategy.score_offer(offer(0.001)) > await strategy.score_offer(offer(0.0011))


@pytest.mark.contract("M05")
@pytest.mark.parametrize("key", [Counter.CPU, "golem.usage.cpu_sec"])
async def test_prices_above_the_limits_are_rejected(key: str) -> None:
    strategy = LeastExpensiveLinearPayuMS(max_fixed_price=Decimal("0.1"), max_price_for={key: Decimal("0.2")})
    assert await strategy.score_offer(offer(cpu_price=0.2)) > 0
    assert await strategy.score_offer(offer(cpu_price=0.2000001)) == SCORE_REJECTED
    assert await strategy.score_offer(offer(start=0.1000001)) == SCORE_REJECTED
    assert await strategy.score_offer(offer(time_price=1000)) > 0


@pytest.mark.contract("M05")
@pytest.mark.parametrize(
    "hostile",
    [
        offer(time_price=-1),
        offer(start=-0.1),
        offer(time_price="0"),
        offer(time_price=float("nan")),
        offer(time_price=10**400),
        offer(**{"golem.com.scheme": "other"}),
        offer(**{"golem.com.pricing.model": "other"}),
        offer(**{"golem.com.usage.vector": ["golem.usage.cpu_sec"] * 2}),
        offer(**{"golem.com.usage.vector": []}),
        offer(**{"golem.com.usage.vector": None}),
        SimpleNamespace(id="proposal", issuer="0x", props={}),
    ],
)
async def test_offers_that_make_no_sense_are_rejected(hostile: Any) -> None:
    assert await LeastExpensiveLinearPayuMS().score_offer(hostile) == SCORE_REJECTED
    with pytest.warns(DeprecationWarning, match="DummyMS"):
        dummy = DummyMS()
    assert await dummy.score_offer(hostile) == SCORE_REJECTED


@pytest.mark.contract("M05")
async def test_linear_prices_are_asked_for() -> None:
    demand = DemandBuilder()
    await demand.decorate(LeastExpensiveLinearPayuMS())
    assert demand.constraints == "(golem.com.pricing.model=linear)"


@pytest.mark.parametrize("price", [-1, Decimal("NaN"), "cheap"])
def test_limits_that_are_no_prices_are_errors(price: Any) -> None:
    with pytest.raises(ValueError, match="max_fixed_price"):
        LeastExpensiveLinearPayuMS(max_fixed_price=price)
    with pytest.raises(ValueError, match=r"golem\.usage\.cpu_sec"):
        LeastExpensiveLinearPayuMS(max_price_for={Counter.CPU: price})


@pytest.mark.contract("M06")
async def test_dummy_is_deprecated_and_knows_yes_and_no_only() -> None:
    with pytest.warns(DeprecationWarning, match="LeastExpensiveLinearPayuMS"):
        strategy = DummyMS(activity=Activity(multi_activity=True))
    assert await strategy.score_offer(offer(0.002, 0.02, 0.05)) == SCORE_NEUTRAL
    assert await strategy.score_offer(offer(0.0021, 0.02, 0.05)) == SCORE_REJECTED
    assert await strategy.score_offer(offer(0.002, 0.021, 0.05)) == SCORE_REJECTED
    assert await strategy.score_offer(offer(0.002, 0.02, 0.051)) == SCORE_REJECTED
    demand = DemandBuilder()
    await demand.decorate(strategy)
    assert demand.properties == {"golem.srv.caps.multi-activity": True}
    assert demand.constraints == "(golem.com.pricing.model=linear)"
    with pytest.warns(DeprecationWarning, match="DummyMS"):
        generous = DummyMS(max_fixed_price=Decimal(1), max_price_for={Counter.TIME: Decimal(1)})
    assert await generous.score_offer(offer(1, 0.02, 1)) == SCORE_NEUTRAL


class Special(MarketStrategy):
    acceptable_prop_value_range_overrides = {PROP_DEBIT_NOTE_INTERVAL_SEC: PropValueRange(1, 2)}

    def __init__(self) -> None:
        self.favourite = "0xfavourite"

    async def score_offer(self, offer: Any) -> float:
        return 10.0 if offer.issuer == self.favourite else 5.0

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        demand.ensure("(special=1)")

    async def respond_to_provider_offer(
        self, our_demand: DemandBuilder, provider_offer: Any
    ) -> DemandBuilder:
        return DemandBuilder({"answer": 42})

    async def invoice_accepted_amount(self, invoice: Any) -> Decimal:
        return Decimal(1)

    async def debit_note_accepted_amount(self, debit_note: Any) -> Decimal:
        return Decimal(2)

    def switch(self) -> str:
        return "switched"


@pytest.mark.contract("M04")
async def test_wrapper_forwards_everything() -> None:
    base = Special()
    wrapper = WrappingMarketStrategy(WrappingMarketStrategy(base))
    assert isinstance(wrapper, BaseMarketStrategy)
    assert wrapper.base_strategy.base_strategy is base
    assert wrapper.acceptable_prop_value_ranges == base.acceptable_prop_value_ranges
    assert wrapper.acceptable_prop_value_range_overrides is base.acceptable_prop_value_range_overrides
    assert await wrapper.score_offer(offer(issuer="0xfavourite")) == 10.0
    assert await wrapper.invoice_accepted_amount(None) == 1
    assert await wrapper.debit_note_accepted_amount(None) == 2
    assert (await wrapper.respond_to_provider_offer(DemandBuilder(), None)).properties == {"answer": 42}
    demand = DemandBuilder()
    await demand.decorate(wrapper)
    assert demand.constraints == "(special=1)"
    assert (wrapper.favourite, wrapper.switch()) == ("0xfavourite", "switched")
    base.favourite = "0xother"
    assert wrapper.favourite == "0xother"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = wrapper.nonsense


@pytest.mark.contract("M04")
def test_wrapper_can_be_copied_and_pickled() -> None:
    wrapper = WrappingMarketStrategy(Special())
    assert copy.deepcopy(wrapper).favourite == "0xfavourite"
    assert pickle.loads(pickle.dumps(wrapper)).favourite == "0xfavourite"


def agreement(provider_id: str) -> Any:
    return SimpleNamespace(id="agreement", details=SimpleNamespace(provider_id=provider_id))


@pytest.mark.contract("M07")
async def test_provider_that_rejects_agreements_scores_less_until_it_confirms_one() -> None:
    strategy = DecreaseScoreForUnconfirmedAgreement(Special(), 0.5)
    bad, good = offer(issuer="0xbad"), offer(issuer="0xgood")
    strategy.on_event(events.AgreementRejected(None, agreement("0xbad")))
    strategy.on_event(events.AgreementRejected(None, agreement("0xbad")))
    strategy.on_event(events.ShutdownFinished())
    assert (await strategy.score_offer(bad), await strategy.score_offer(good)) == (2.5, 5.0)
    strategy.on_event(events.AgreementConfirmed(None, agreement("0xbad")))
    strategy.on_event(events.AgreementConfirmed(None, agreement("0xgood")))
    assert await strategy.score_offer(bad) == 5.0


@pytest.mark.contract("M07")
async def test_only_positive_scores_are_lowered() -> None:
    strategy = DecreaseScoreForUnconfirmedAgreement(LeastExpensiveLinearPayuMS(), 0.5)
    strategy.on_event(events.AgreementRejected(None, agreement("0xprovider")))
    assert await strategy.score_offer(offer(time_price=-1)) == SCORE_REJECTED


@pytest.mark.contract("G05")
async def test_default_strategy() -> None:
    strategy = default_strategy()
    assert isinstance(strategy, DecreaseScoreForUnconfirmedAgreement)
    assert isinstance(strategy.base_strategy, LeastExpensiveLinearPayuMS)
    assert strategy.factor == 0.5
    assert await strategy.score_offer(offer(0.1, 0.2, 1.0)) > 0
    for too_much in (offer(0.11), offer(0.1, 0.21), offer(start=1.01)):
        assert await strategy.score_offer(too_much) == SCORE_REJECTED
    assert default_strategy() is not strategy


@pytest.mark.contract("M05", "M06")
def test_signatures() -> None:
    def written(cls: type) -> list[tuple[str, Any]]:
        return [(p.name, p.default) for p in inspect.signature(cls).parameters.values()]

    assert written(LeastExpensiveLinearPayuMS) == [
        ("expected_time_secs", 60),
        ("max_fixed_price", Decimal("Infinity")),
        ("max_price_for", {}),
    ]
    assert written(DummyMS) == [
        ("max_fixed_price", Decimal("0.05")),
        ("max_price_for", {}),
        ("activity", None),
    ]


async def test_ten_thousand_offers_are_scored_and_answered_quickly() -> None:
    strategy = ProviderFilter(default_strategy(), lambda provider_id: True)
    offers = [offer(issuer=f"0x{n:040x}") for n in range(10_000)]
    demand = DemandBuilder({f"golem.some.key{n}": "x" * 40 for n in range(10)}, "(a=1)")
    started = time.process_time()
    for one in offers:
        await strategy.score_offer(one)
        await strategy.respond_to_provider_offer(demand, one)
    assert time.process_time() - started < 2.0
