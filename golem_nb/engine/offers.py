"""The negotiated offers of one job, best first by what the strategy thinks now."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import attrs

from golem_nb.strategy import SCORE_NEUTRAL

if TYPE_CHECKING:
    from golem_nb.rest.ids import NodeId
    from golem_nb.rest.market import OfferProposal
    from golem_nb.strategy import BaseMarketStrategy

#: How long a ready offer waits for a better-scored one whose negotiation is under way, in seconds.
PREFERENCE_WAIT = 0.25


@attrs.define
class _Expectation:
    score: float
    until: float


class OfferPool:
    """Draft proposals that can become agreements, at most one a provider.

    Parameters
    ----------
    strategy
        Scores the offers again at each choice, so that a strategy that has learned something is heard.
    """

    def __init__(self, strategy: BaseMarketStrategy) -> None:
        self._strategy = strategy
        self._offers: dict[NodeId, OfferProposal] = {}
        self._expected: dict[NodeId, _Expectation] = {}
        self._failures: dict[NodeId, int] = {}
        #: Set whenever a choice may come out differently than before.
        self.changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._offers)

    @property
    def under_way(self) -> int:
        """Number of negotiations whose answer is still awaited."""
        now = asyncio.get_running_loop().time()
        return sum(expectation.until > now for expectation in self._expected.values())

    def expect(self, provider: NodeId, score: float) -> None:
        """Note that a provider was answered and may soon have an offer ready."""
        now = asyncio.get_running_loop().time()
        self._expected[provider] = _Expectation(score, now + PREFERENCE_WAIT)

    def forget(self, provider: NodeId) -> None:
        """Note that a negotiation has failed."""
        self._expected.pop(provider, None)
        self.changed.set()

    def add(self, proposal: OfferProposal) -> None:
        """Add a draft; it replaces an earlier one of the same provider."""
        self._expected.pop(proposal.issuer, None)
        self._offers[proposal.issuer] = proposal
        self.changed.set()

    def failed(self, provider: NodeId) -> OfferProposal | None:
        """Note that work on a provider has failed: others are preferred from now on.

        Returns
        -------
        OfferProposal or None
            The draft that it had in the pool, which is taken out: if the provider has vanished since, an
            agreement with it fails only when its time is up.
        """
        self._failures[provider] = self._failures.get(provider, 0) + 1
        return self._offers.pop(provider, None)

    def failures(self, provider: NodeId) -> int:
        """How often work on a provider has failed."""
        return self._failures.get(provider, 0)

    async def best(self) -> tuple[OfferProposal | None, float | None]:
        """Take the best offer.

        Returns
        -------
        tuple
            The offer, which is then no longer in the pool, and None; or None and the seconds after which
            another look is
            worth while although nothing has changed (None: only a change helps).
        """
        ranked = []
        for provider, proposal in list(self._offers.items()):
            score = await self._strategy.score_offer(proposal)
            if score < SCORE_NEUTRAL:
                self._offers.pop(provider, None)
                continue
            ranked.append((-self.failures(provider), score, random.random(), proposal))
        if not ranked:
            return None, None
        failures, score, _, proposal = max(ranked, key=lambda entry: entry[:3])
        now = asyncio.get_running_loop().time()
        better = [
            expectation.until - now
            for provider, expectation in self._expected.items()
            if expectation.until > now and (-self.failures(provider), expectation.score) > (failures, score)
        ]
        if better:
            return None, max(better)
        del self._offers[proposal.issuer]
        return proposal, None
