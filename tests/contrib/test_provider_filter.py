from __future__ import annotations

import asyncio
import functools
from types import SimpleNamespace
from typing import Any

import pytest

from golem_nb.contrib.strategy import ProviderFilter
from golem_nb.strategy import SCORE_REJECTED, MarketStrategy


class Five(MarketStrategy):
    answer = 42

    async def score_offer(self, offer: Any) -> float:
        return 5.0


GOOD, BAD = SimpleNamespace(issuer="0xgood"), SimpleNamespace(issuer="0xbad")


async def ask(provider_id: str) -> bool:
    await asyncio.sleep(0)
    return provider_id != "0xbad"


async def ask_with(bad: set[str], provider_id: str) -> bool:
    return provider_id not in bad


class Asker:
    async def __call__(self, provider_id: str) -> bool:
        return await ask(provider_id)


@pytest.mark.contract("M09")
@pytest.mark.parametrize(
    "is_allowed",
    [
        lambda provider_id: provider_id != "0xbad",
        ask,
        lambda provider_id: ask(provider_id),
        lambda provider_id: asyncio.ensure_future(ask(provider_id)),
        functools.partial(ask_with, {"0xbad"}),
        Asker(),
    ],
    ids=["sync", "async", "lambda of coroutine", "lambda of task", "partial", "callable object"],
)
async def test_offers_of_providers_that_are_not_allowed_are_rejected(is_allowed: Any) -> None:
    strategy = ProviderFilter(Five(), is_allowed)
    assert await strategy.score_offer(GOOD) == 5.0
    assert await strategy.score_offer(BAD) == SCORE_REJECTED


@pytest.mark.contract("M09")
async def test_list_of_bad_providers_may_grow() -> None:
    bad: set[str] = set()
    strategy = ProviderFilter(Five(), lambda provider_id: provider_id not in bad)
    assert await strategy.score_offer(BAD) == 5.0
    bad.add("0xbad")
    assert await strategy.score_offer(BAD) == SCORE_REJECTED
    assert strategy.answer == 42


async def test_error_of_the_condition_is_not_swallowed() -> None:
    def broken(provider_id: str) -> bool:
        raise LookupError("the table is gone")

    with pytest.raises(LookupError, match="table"):
        await ProviderFilter(Five(), broken).score_offer(GOOD)
