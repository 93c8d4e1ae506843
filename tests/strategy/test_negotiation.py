# ruff: noqa: RUF012 - overrides are written as the documentation has it
from __future__ import annotations

import time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from golem_nb.props import InvalidPropertiesError
from golem_nb.props.builder import DemandBuilder
from golem_nb.strategy import (
    DEBIT_NOTE_INTERVAL_GRACE_PERIOD,
    PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT,
    PROP_DEBIT_NOTE_INTERVAL_SEC,
    PROP_PAYMENT_TIMEOUT_SEC,
    SCORE_NEUTRAL,
    SCORE_REJECTED,
    SCORE_TRUSTED,
    MarketStrategy,
    PropValueRange,
)


class Neutral(MarketStrategy):
    async def score_offer(self, offer: Any) -> float:
        return SCORE_NEUTRAL


def offer(**props: Any) -> Any:
    return SimpleNamespace(props=props, issuer="0xprovider", id="proposal")


def demand(hours: float | None) -> DemandBuilder:
    properties = {"golem.node.debug.subnet": "public"}
    if hours is not None:
        properties["golem.srv.comp.expiration"] = round((time.time() + hours * 3600) * 1000)
    return DemandBuilder(properties, "(golem.runtime.name=vm)")


def negotiated(answer: DemandBuilder, asked: DemandBuilder) -> dict[str, Any]:
    assert answer.constraints == asked.constraints
    assert asked.properties.items() <= answer.properties.items()
    return {key: value for key, value in answer.properties.items() if key not in asked.properties}


OFFERED = {
    PROP_DEBIT_NOTE_INTERVAL_SEC: 120,
    PROP_PAYMENT_TIMEOUT_SEC: 120,
    PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: 240,
}


@pytest.mark.contract("M02", "I05")
def test_constants() -> None:
    assert (SCORE_NEUTRAL, SCORE_REJECTED, SCORE_TRUSTED) == (0.0, -1.0, 100.0)
    assert PROP_DEBIT_NOTE_INTERVAL_SEC == "golem.com.scheme.payu.debit-note.interval-sec?"
    assert PROP_PAYMENT_TIMEOUT_SEC == "golem.com.scheme.payu.payment-timeout-sec?"
    assert PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT == "golem.com.payment.debit-notes.accept-timeout?"
    assert DEBIT_NOTE_INTERVAL_GRACE_PERIOD.total_seconds() == 30
    assert Neutral().acceptable_prop_value_ranges == {
        PROP_DEBIT_NOTE_INTERVAL_SEC: PropValueRange(60, None),
        PROP_PAYMENT_TIMEOUT_SEC: PropValueRange(18_000, None),
        PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: PropValueRange(30, None),
    }


@pytest.mark.contract("M03")
@pytest.mark.parametrize("hours", [6, None])
async def test_long_job_takes_all_three_properties(hours: float | None) -> None:
    asked = demand(hours)
    answer = await Neutral().respond_to_provider_offer(asked, offer(**OFFERED))
    assert negotiated(answer, asked) == {
        PROP_DEBIT_NOTE_INTERVAL_SEC: 120,
        PROP_PAYMENT_TIMEOUT_SEC: 18_000,
        PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: 240,
    }
    assert PROP_DEBIT_NOTE_INTERVAL_SEC not in asked.properties


@pytest.mark.contract("M03")
async def test_short_job_takes_the_acceptance_time_only() -> None:
    asked = demand(1)
    answer = await Neutral().respond_to_provider_offer(asked, offer(**OFFERED))
    assert negotiated(answer, asked) == {PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: 240}


@pytest.mark.contract("M03")
async def test_offer_without_an_interval_means_no_payments_on_the_way() -> None:
    asked = demand(6)
    props = {key: value for key, value in OFFERED.items() if key != PROP_DEBIT_NOTE_INTERVAL_SEC}
    answer = await Neutral().respond_to_provider_offer(asked, offer(**props))
    assert negotiated(answer, asked) == {PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: 240}
    assert negotiated(await Neutral().respond_to_provider_offer(asked, offer()), asked) == {}


@pytest.mark.contract("M01", "M03")
async def test_overrides_take_the_place_of_defaults() -> None:
    class Impatient(Neutral):
        acceptable_prop_value_range_overrides = {
            PROP_DEBIT_NOTE_INTERVAL_SEC: PropValueRange(300, 600),
            PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: PropValueRange(None, 100),
        }

    asked = demand(6)
    strategy = Impatient()
    assert strategy.acceptable_prop_value_ranges[PROP_PAYMENT_TIMEOUT_SEC] == PropValueRange(18_000, None)
    answer = await strategy.respond_to_provider_offer(asked, offer(**OFFERED))
    assert negotiated(answer, asked) == {
        PROP_DEBIT_NOTE_INTERVAL_SEC: 300,
        PROP_PAYMENT_TIMEOUT_SEC: 18_000,
        PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: 100,
    }


@pytest.mark.contract("M03", "E04")
async def test_terms_that_cannot_be_accepted_are_value_errors() -> None:
    class Impossible(Neutral):
        acceptable_prop_value_range_overrides = {PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: PropValueRange(2, 1)}

    with pytest.raises(ValueError, match="empty"):
        await Impossible().respond_to_provider_offer(demand(1), offer(**OFFERED))
    for hostile in ("soon", None, True, [240], float("nan"), float("inf"), {"a": 1}):
        with pytest.raises(InvalidPropertiesError, match="accept-timeout") as caught:
            await Neutral().respond_to_provider_offer(
                demand(1), offer(**{PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: hostile})
            )
        assert isinstance(caught.value, ValueError)


@pytest.mark.contract("M01")
async def test_full_amounts_are_accepted_and_the_demand_left_alone() -> None:
    strategy = Neutral()
    assert await strategy.invoice_accepted_amount(SimpleNamespace(amount=Decimal("1.5"))) == Decimal("1.5")
    note = SimpleNamespace(total_amount_due=Decimal("0.5"))
    assert await strategy.debit_note_accepted_amount(note) == Decimal("0.5")
    untouched = DemandBuilder()
    await untouched.decorate(strategy)
    assert repr(untouched) == repr(DemandBuilder())
    with pytest.raises(TypeError, match="score_offer"):
        MarketStrategy()
