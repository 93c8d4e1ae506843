"""The strategy that prefers the least expensive offer."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

from golem_nb.strategy.base import SCORE_REJECTED, SCORE_TRUSTED, MarketStrategy
from golem_nb.strategy.linear import LINEAR_PRICES_ONLY, PriceCaps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golem_nb.props.builder import DemandBuilder
    from golem_nb.rest.market import OfferProposal

# Keeps the score of an offer that costs nothing finite, and below that of a trusted one.
_OFFSET = 1.01


class LeastExpensiveLinearPayuMS(MarketStrategy):
    """Score offers by what the expected time of computation would cost: the cheaper, the higher.

    Parameters
    ----------
    expected_time_secs
        Seconds that an activity is expected to take. Each counter of an offer is taken to count as many.
    max_fixed_price
        The highest acceptable price of the start of an activity, GLM.
    max_price_for
        The highest acceptable price of a unit of each counter, GLM; a counter is a `Counter` or its key. A
        counter that is not there has no limit.

    Examples
    --------
    >>> LeastExpensiveLinearPayuMS(
    ...     max_fixed_price=Decimal("1.0"),
    ...     max_price_for={Counter.CPU: Decimal("0.2"), Counter.TIME: Decimal("0.1")},
    ... )
    """

    def __init__(
        self,
        expected_time_secs: int = 60,
        max_fixed_price: Decimal = Decimal("Infinity"),
        max_price_for: Mapping[str, Decimal] = MappingProxyType({}),
    ) -> None:
        self._expected_time_secs = expected_time_secs
        self._caps = PriceCaps(max_fixed_price, max_price_for)

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Ask for offers with linear prices only."""
        demand.ensure(LINEAR_PRICES_ONLY)

    async def score_offer(self, offer: OfferProposal) -> float:
        """Score the offer by its cost; `SCORE_REJECTED` where its terms are not acceptable."""
        linear = self._caps.acceptable(offer)
        if linear is None:
            return SCORE_REJECTED
        cost = linear.calculate_cost([self._expected_time_secs] * len(linear.usage_vector))
        return SCORE_TRUSTED / (cost + _OFFSET)
