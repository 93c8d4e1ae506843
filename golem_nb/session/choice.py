"""Chooses among the offers that a session allows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.strategy import SCORE_REJECTED, WrappingMarketStrategy

if TYPE_CHECKING:
    from golem_nb.rest.market import OfferProposal
    from golem_nb.session.limits import Limits
    from golem_nb.strategy import BaseMarketStrategy

__all__ = ["LimitedStrategy", "hourly"]

ZERO = Decimal(0)


class LimitedStrategy(WrappingMarketStrategy):
    """A strategy that refuses what the session does not allow.

    Parameters
    ----------
    base_strategy
        Decides among what is allowed.
    limits
        Of the session; None: no offer is too dear for them.
    providers
        Names or node ids of the providers that may be used; None: all.
    max_price
        The most that an hour with one busy thread may cost, GLM; None: any price.
    """

    def __init__(
        self,
        base_strategy: BaseMarketStrategy,
        limits: Limits | None,
        providers: Collection[str] | None,
        max_price: Decimal | None,
    ) -> None:
        super().__init__(base_strategy)
        self._limits = limits
        self._providers = None if providers is None else frozenset(providers)
        self._max_price = max_price

    async def score_offer(self, offer: OfferProposal) -> float:
        """Score what is allowed as the base strategy does."""
        if not self.allows(offer.issuer, offer.props):
            return SCORE_REJECTED
        if self._limits is not None and not self._limits.fits(offer):
            return SCORE_REJECTED
        return await super().score_offer(offer)

    def allows(self, provider_id: str, props: Mapping[str, object]) -> bool:
        """Whether a provider and its price are among those that the session may use."""
        if (
            self._providers is not None
            and not {
                provider_id,
                props.get("golem.node.id.name"),
            }
            & self._providers
        ):
            return False
        if self._max_price is not None:
            price = LinearPrice.agreed(props)
            if price is None or hourly(price) > self._max_price:
                return False
        return True


def hourly(price: LinearPrice) -> Decimal:
    """What an hour with one busy thread costs, GLM, without the fixed fee."""
    return (price.per_unit.get(DURATION, ZERO) + price.per_unit.get(CPU, ZERO)) * 3600
