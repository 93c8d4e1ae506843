"""What a bill may come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from golem_nb.engine.accounts import ActivityAccount, AgreementAccount
from golem_nb.engine.charges import LinearPrice, UnreadablePriceError
from golem_nb.strategy import PROP_DEBIT_NOTE_INTERVAL_SEC as INTERVAL
from golem_nb.strategy import PROP_PAYMENT_TIMEOUT_SEC as PAYMENT

OFFER: dict[str, Any] = {
    "golem.com.pricing.model": "linear",
    "golem.com.pricing.model.linear.coeffs": [0.001, 0.002, 0.5],
    "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
    "golem.inf.cpu.threads": 4,
}


def price() -> LinearPrice:
    agreed = LinearPrice.agreed(OFFER)
    assert agreed is not None
    return agreed


def test_reads_the_price_exactly() -> None:
    assert price().fixed == Decimal("0.5")
    assert price().per_unit == {
        "golem.usage.duration_sec": Decimal("0.001"),
        "golem.usage.cpu_sec": Decimal("0.002"),
    }


def test_explains_what_was_used_and_a_little_slack() -> None:
    true_cost = Decimal("0.5") + Decimal("0.001") * 100 + Decimal("0.002") * 50
    explained = price().explained([100.0, 50.0], timedelta(seconds=101))
    assert true_cost <= explained <= true_cost * Decimal("1.06")


def test_does_not_believe_more_time_than_the_activity_lived() -> None:
    lifetime = timedelta(seconds=10)
    most = price().explained([10_000.0, 10_000.0], lifetime)
    assert most <= (Decimal("0.5") + Decimal("0.001") * 12 + Decimal("0.002") * 12 * 4) * Decimal("1.01")


def test_an_activity_may_have_gone_on_after_its_last_report() -> None:
    lifetime = timedelta(seconds=100)
    true_cost = Decimal("0.5") + Decimal("0.001") * 100 + Decimal("0.002") * 300
    assert price().explained([1.0, 0.1], lifetime) < true_cost
    at_the_end = price().explained([1.0, 0.1], lifetime, went_on=True)
    assert true_cost <= at_the_end == price().explained(None, lifetime)


def test_what_time_does_not_limit_is_as_reported() -> None:
    offer = OFFER | {"golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.gib"]}
    agreed = LinearPrice.agreed(offer)
    assert agreed is not None
    for went_on in (False, True):
        more = agreed.explained([10.0, 60.0], timedelta(seconds=10), went_on=went_on)
        less = agreed.explained([10.0, 50.0], timedelta(seconds=10), went_on=went_on)
        assert more - less == Decimal("0.002") * 10 * Decimal("1.01")


def test_without_a_report_the_lifetime_counts() -> None:
    assert price().explained(None, timedelta(seconds=10)) >= Decimal("0.5") + Decimal("0.001") * 10


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"golem.com.pricing.model": "auction"}, "the price model is 'auction', not 'linear'"),
        ({"golem.com.pricing.model": None}, "the price model is None"),
        ({"golem.com.pricing.model.linear.coeffs": [0.1]}, "are not the prices of"),
        ({"golem.com.pricing.model.linear.coeffs": [0.1, "many", 0.2]}, "'many' is no price"),
        ({"golem.com.pricing.model.linear.coeffs": ["2e-05", 0.1, 0.2]}, "'2e-05' is no price"),
        ({"golem.com.pricing.model.linear.coeffs": [0.1, True, 0.2]}, "True is no price"),
        ({"golem.com.pricing.model.linear.coeffs": [0.1, -1.0, 0.2]}, "-1.0 is no price"),
        ({"golem.com.pricing.model.linear.coeffs": [0.1, float("nan"), 0.2]}, "nan is no price"),
        ({"golem.com.pricing.model.linear.coeffs": None}, "are not the prices of"),
        ({"golem.com.usage.vector": "everything"}, "the usage counters are 'everything'"),
        ({"golem.com.usage.vector": ["golem.usage.cpu_sec"] * 2}, "listed twice"),
        ({"golem.com.usage.vector": [["golem.usage.cpu_sec"], 1]}, "the usage counters are"),
    ],
)
def test_an_unreadable_price_is_named(change: dict[str, Any], fault: str) -> None:
    assert LinearPrice.agreed({**OFFER, **change}) is None
    with pytest.raises(UnreadablePriceError, match=fault):
        LinearPrice.read({**OFFER, **change})


def test_without_a_price_nothing_is_explained() -> None:
    account = AgreementAccount(job=Mock(), held=Mock(), price=None)
    account.activities = {Mock(): ActivityAccount(Mock(), usage=[100.0, 50.0])}
    assert account.explained == 0


@pytest.mark.contract("E14")
@pytest.mark.parametrize(
    ("agreed", "seconds", "payable", "code"),
    [
        # the grace time is 30 s: n notes may come in (n - 1) intervals less that
        ({INTERVAL: 60}, 25, [False] * 1, None),
        ({INTERVAL: 60}, 31, [False] * 2, None),
        ({INTERVAL: 60}, 25, [False] * 2, "TooManyDebitNotes"),
        ({INTERVAL: 60}, 95, [False] * 3, None),
        ({INTERVAL: 60}, 85, [False] * 3, "TooManyDebitNotes"),
        # payments in mid-agreement were not agreed on
        ({INTERVAL: 60}, 3600, [True], "TooManyPayableDebitNotes"),
        ({}, 3600, [False] * 50, None),
        ({}, 3600, [True], "TooManyPayableDebitNotes"),
        ({INTERVAL: 60, PAYMENT: 18000}, 3600, [False] * 10 + [True], None),
        ({INTERVAL: 60, PAYMENT: 18000}, 3600, [True, False, True], "TooManyPayableDebitNotes"),
        ({INTERVAL: 60, PAYMENT: 18000}, 18005, [True, False, True], None),
    ],
)
def test_notes_that_come_too_often(
    agreed: dict[str, Any], seconds: float, payable: list[bool], code: str | None
) -> None:
    # a stand-in for the agreement: intervals of a minute and of five hours cannot be waited for
    held = SimpleNamespace(agreement=SimpleNamespace(details=SimpleNamespace(demand_props=agreed)))
    account = AgreementAccount(job=Mock(), held=held, price=price())
    now = datetime.now(UTC)
    activity = ActivityAccount(Mock(), created=now - timedelta(seconds=seconds), ended=now)
    due = now + timedelta(hours=1)
    reasons = [
        account.too_many_notes(
            activity, SimpleNamespace(activity_id="a1", payment_due_date=due if is_payable else None)
        )
        for is_payable in payable
    ]
    assert reasons[:-1] == [None] * (len(payable) - 1)
    assert (reasons[-1] or {}).get("golem.requestor.code") == code
    if code is not None:
        assert reasons[-1]["message"].endswith(" (activity: a1)")


def test_a_hostile_number_of_threads_counts_as_one() -> None:
    agreed = LinearPrice.agreed({**OFFER, "golem.inf.cpu.threads": "10**9"})
    assert agreed is not None
    assert agreed.threads == 1
