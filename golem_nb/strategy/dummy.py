"""The former default strategy."""

from __future__ import annotations

import warnings
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

from golem_nb.props.com import Counter
from golem_nb.strategy.base import SCORE_NEUTRAL, SCORE_REJECTED, MarketStrategy
from golem_nb.strategy.linear import LINEAR_PRICES_ONLY, PriceCaps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golem_nb.props import Activity
    from golem_nb.props.builder import DemandBuilder
    from golem_nb.rest.market import OfferProposal

_DEFAULT_CAPS: Mapping[str, Decimal] = MappingProxyType(
    {Counter.TIME: Decimal("0.002"), Counter.CPU: Decimal("0.02")}
)


class DummyMS(MarketStrategy):
    """Take any offer below the given prices. Deprecated: use `LeastExpensiveLinearPayuMS`.

    Parameters
    ----------
    max_fixed_price
        The highest acceptable price of the start of an activity, GLM.
    max_price_for
        The highest acceptable price of a unit of each counter, GLM, in addition to (or in the place of) the
        default ones: 0.002 a second of time and 0.02 a second of processor time.
    activity
        Terms of the activities to add to the demand.
    """

    def __init__(
        self,
        max_fixed_price: Decimal = Decimal("0.05"),
        max_price_for: Mapping[str, Decimal] = MappingProxyType({}),
        activity: Activity | None = None,
    ) -> None:
        warnings.warn(
            "DummyMS is deprecated, use LeastExpensiveLinearPayuMS instead.", DeprecationWarning, stacklevel=2
        )
        self._caps = PriceCaps(max_fixed_price, {**_DEFAULT_CAPS, **max_price_for})
        self._activity = activity

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Ask for offers with linear prices only."""
        demand.ensure(LINEAR_PRICES_ONLY)
        if self._activity is not None:
            demand.add(self._activity)

    async def score_offer(self, offer: OfferProposal) -> float:
        """Return `SCORE_NEUTRAL` for an offer within the limits, else `SCORE_REJECTED`."""
        return SCORE_REJECTED if self._caps.acceptable(offer) is None else SCORE_NEUTRAL
