"""What is known of providers, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from golem_nb import events as ev
from golem_nb.frames import history
from golem_nb.ledger import Book, Ledger, ProviderRecord, RecordedProviders
from golem_nb.rest.market import AgreementRejectedError
from golem_nb.strategy import MarketStrategy

NOW = datetime.now(UTC)
GOOD, BAD, NEW = ("0x" + digit * 40 for digit in "123")


def record(key: str = GOOD, **what: Any) -> ProviderRecord:
    return attrs.evolve(ProviderRecord(key, None, 0, 0, 0, 0.0, None, NOW, NOW, None), **what)


class Ten(MarketStrategy):
    async def score_offer(self, offer: Any) -> float:
        return offer.score


def offer(provider: str, score: float = 10.0) -> Any:
    return SimpleNamespace(issuer=provider, score=score)


async def test_scores_are_weighted() -> None:
    records = {
        GOOD: record(finished=98),
        BAD: record(BAD, finished=8, failed=10, last_failure=NOW),
    }
    strategy = RecordedProviders(Ten(), records)
    assert await strategy.score_offer(offer(GOOD)) == 10.0
    assert await strategy.score_offer(offer(NEW)) == 10.0
    assert await strategy.score_offer(offer(BAD)) == pytest.approx(5.0)
    assert await strategy.score_offer(offer(BAD, -1.0)) == -1.0


async def test_the_hopeless_are_left_out_for_a_time() -> None:
    failing = record(BAD, failed=3, last_failure=NOW)
    assert await RecordedProviders(Ten(), {BAD: failing}).score_offer(offer(BAD)) < 0
    long_ago = attrs.evolve(failing, last_failure=NOW - timedelta(days=8))
    assert await RecordedProviders(Ten(), {BAD: long_ago}).score_offer(offer(BAD)) > 0


def agreement(provider: str, name: str) -> Any:
    props = {
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": [0.0001, 0.0002, 0.001],
        "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
        "golem.inf.cpu.threads": 2,
    }
    details = SimpleNamespace(
        provider_id=provider, provider_node_info=SimpleNamespace(name=name), offer_props=props
    )
    return SimpleNamespace(id=f"agreement with {name}", details=details)


async def test_records_outlive_the_session(ledger: Ledger, begin: Callable[..., Book]) -> None:
    book = begin()
    job, activity = SimpleNamespace(id="1"), SimpleNamespace(id="activity")
    good, bad = agreement(GOOD, "good\x1b[2J"), agreement(BAD, "bad")
    task = SimpleNamespace(running_time=timedelta(seconds=3))
    for _ in range(4):
        book.take(ev.TaskAccepted(job, good, activity, task))
    book.take(ev.WorkerFinished(job, good, activity))
    book.take(ev.TaskAccepted(job, good, activity, task))
    error = RuntimeError("no")
    book.take(ev.WorkerFinished(job, bad, activity, exc_info=(type(error), error, None)))
    refusal = AgreementRejectedError("Waiting", "busy")
    book.take(ev.AgreementRejected(job, bad, exc_info=(type(refusal), refusal, None)))
    # in this process at once, and all of it
    assert ledger.providers()[GOOD].finished == 4
    assert ledger.providers()[GOOD].seconds_per_task == 3.0
    assert ledger.providers()[BAD].failed == ledger.providers()[BAD].refused == 1
    running = history(ledger).providers
    assert list(running["provider"]) == ["good\\x1b[2J", "bad"]
    assert list(running["price_full_hour"]) == [1.8, 1.8]
    await book.close()
    with Ledger() as another:
        records = another.providers()
        assert set(records) == {GOOD, BAD}
        assert (records[GOOD].finished, records[GOOD].failed, records[GOOD].seconds_per_task) == (5, 0, 3.0)
        assert str(records[GOOD].hourly) == "1.8000"
        assert (records[BAD].failed, records[BAD].refused, records[BAD].seconds_per_task) == (1, 1, None)
        frame = history(another).providers
        assert list(frame["provider"]) == ["good\\x1b[2J", "bad"]
        assert list(frame["finished"]) == [5, 0]
