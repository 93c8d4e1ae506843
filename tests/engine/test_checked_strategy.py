"""A strategy is the user's own code: what goes wrong in it is told at once, and costs nothing."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb.engine import StrategyError
from golem_nb.strategy import MarketStrategy, WrappingMarketStrategy

if TYPE_CHECKING:
    from golem_nb.props.builder import DemandBuilder
    from golem_nb.rest.market import OfferProposal
    from golem_nb.rest.payment import DebitNote, Invoice

    from .conftest import Batch

pytestmark = pytest.mark.localnet


def answer(value: Any) -> Any:
    """Raise what can be raised, return the rest."""
    if isinstance(value, BaseException):
        raise value
    return value


class Scores(MarketStrategy):
    """Scores each offer alike, or fails at it; drafts differently if told so."""

    def __init__(self, value: Any, draft: Any = None) -> None:
        self.value = value
        self.draft = value if draft is None else draft
        self.looks = 0

    async def score_offer(self, offer: OfferProposal) -> float:
        return answer(self.draft if offer.is_draft else self.value)  # type: ignore[no-any-return]


class Responds(Scores):
    """Fails at the answer to an offer."""

    async def respond_to_provider_offer(
        self, our_demand: DemandBuilder, provider_offer: OfferProposal
    ) -> DemandBuilder:
        return answer(self.draft)  # type: ignore[no-any-return]


class Decorates(Scores):
    """Fails at the demand."""

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        answer(self.draft)


class AtTheChoice(Scores):
    """Scores an offer and its draft, and fails when the draft is scored again to be chosen."""

    async def score_offer(self, offer: OfferProposal) -> float:
        self.looks += offer.is_draft
        return 1.0 if self.looks < 2 else await super().score_offer(offer)


@pytest.mark.parametrize(
    ("strategy", "method", "what"),
    [
        (Scores(RuntimeError("boom")), "score_offer", "RuntimeError: boom"),
        (Scores(None, draft=1.0), "score_offer", "TypeError: a number should be returned, not None"),
        (Scores("high"), "score_offer", "TypeError: a number should be returned, not 'high'"),
        (Scores(Decimal("NaN")), "score_offer", "TypeError: a number should be returned, not Decimal('NaN')"),
        (Scores(float("nan")), "score_offer", "TypeError: a number should be returned, not nan"),
        (Scores(SystemExit(3)), "score_offer", "SystemExit: 3"),
        (Scores(asyncio.CancelledError()), "score_offer", "CancelledError"),
        (Scores(1, draft=KeyError("x")), "score_offer", "KeyError: 'x'"),
        (AtTheChoice(1, draft=KeyError("late")), "score_offer", "KeyError: 'late'"),
        (Responds(1, draft=RuntimeError("boom")), "respond_to_provider_offer", "RuntimeError: boom"),
        (
            Responds(1, draft="yes"),
            "respond_to_provider_offer",
            "TypeError: a DemandBuilder should be returned, not 'yes'",
        ),
        (Responds(1, draft=SystemExit("bye")), "respond_to_provider_offer", "SystemExit: bye"),
        (Decorates(1, draft=RuntimeError("boom")), "decorate_demand", "RuntimeError: boom"),
        (Decorates(1, draft=SystemExit(1)), "decorate_demand", "SystemExit: 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_strategy_that_fails_ends_the_job_at_once(
    tame: Batch, strategy: Scores, method: str, what: str
) -> None:
    outcome = await tame(["x"], strategy=strategy, timeout=60)
    assert isinstance(outcome.error, StrategyError)
    name = type(strategy).__name__
    assert str(outcome.error) == f"The strategy {name} has failed in `{method}`: {what}."
    assert type(outcome.error.__cause__).__name__ == what.partition(":")[0]
    assert outcome.seconds < 30  # far from the time-out, on a busy machine, too
    assert not outcome.of("InvoiceAccepted", "PaymentFailed")
    (finished,) = outcome.of("JobFinished")
    assert finished.exception is outcome.error


async def test_strategies_within_each_other_are_all_named(tame: Batch) -> None:
    class Outer(WrappingMarketStrategy):
        pass

    outcome = await tame(["x"], strategy=Outer(Scores(RuntimeError("boom"))))
    assert "The strategy Outer around Scores has failed in `score_offer`: RuntimeError" in str(outcome.error)


async def test_a_value_error_refuses_an_offer_and_nothing_else(tame: Batch) -> None:
    outcome = await tame(["x"], strategy=Responds(1, draft=ValueError("not these terms")), timeout=3)
    assert "Could not accept provider's terms." in str(outcome.error)
    assert not isinstance(outcome.error, StrategyError)


class Pays(Scores):
    """Fails at bills."""

    async def debit_note_accepted_amount(self, debit_note: DebitNote) -> Decimal:
        return answer(self.draft)  # type: ignore[no-any-return]

    async def invoice_accepted_amount(self, invoice: Invoice) -> Decimal:
        return answer(self.draft)  # type: ignore[no-any-return]

    async def score_offer(self, offer: OfferProposal) -> float:
        return 1.0


@pytest.mark.parametrize("value", [RuntimeError("boom"), SystemExit(2), "all", Decimal("NaN")], ids=repr)
async def test_a_strategy_that_fails_over_a_bill_leaves_nobody_unpaid(
    tame: Batch, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "golem_nb"):
        outcome = await tame(["x"], strategy=Pays(1, draft=value), max_workers=1)
    assert outcome.error is None
    (accepted,) = outcome.of("InvoiceAccepted")
    (record,) = [one for one in caplog.records if "invoice_accepted_amount" in one.getMessage()]
    assert record.getMessage().startswith("The strategy Pays has failed in `invoice_accepted_amount`: ")
    assert f"The bill of provider {accepted.provider_id} over {accepted.amount} GLM" in record.getMessage()
    assert record.exc_info is not None
    assert "Traceback" in caplog.text
    assert outcome.seconds_to_stop < 15
