"""A filter of providers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from golem_nb.strategy.base import SCORE_REJECTED, BaseMarketStrategy
from golem_nb.strategy.wrapping import WrappingMarketStrategy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from golem_nb.rest.market import OfferProposal


class ProviderFilter(WrappingMarketStrategy):
    """Leave out the offers of some providers; the others are scored by another strategy.

    Parameters
    ----------
    base_strategy
        The strategy that scores the offers of allowed providers.
    is_allowed
        Is given the node id of a provider and returns whether its offers are considered, or an awaitable of
        that. An exception out of it leaves the offer out, too.

    Examples
    --------
    >>> bad_providers = {"0xbad"}
    >>> strategy = ProviderFilter(
    ...     LeastExpensiveLinearPayuMS(), lambda provider_id: provider_id not in bad_providers
    ... )
    """

    def __init__(
        self,
        base_strategy: BaseMarketStrategy,
        is_allowed: Callable[[str], bool] | Callable[[str], Awaitable[bool]],
    ) -> None:
        super().__init__(base_strategy)
        self._is_allowed = is_allowed

    async def score_offer(self, offer: OfferProposal) -> float:
        """Return the wrapped strategy's score, or `SCORE_REJECTED` for a provider that is not allowed."""
        # What it returns decides, not what it is: a lambda, a partial or a callable object may also return
        # an awaitable, and an awaitable that nobody awaits is always true.
        allowed = self._is_allowed(offer.issuer)
        if inspect.isawaitable(allowed):
            allowed = await allowed
        return await self.base_strategy.score_offer(offer) if allowed else SCORE_REJECTED
