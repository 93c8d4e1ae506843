"""Strategies around other strategies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from golem_nb.strategy.base import BaseMarketStrategy, PropValueRange

if TYPE_CHECKING:
    from decimal import Decimal

    from golem_nb.props.builder import DemandBuilder
    from golem_nb.rest.market import OfferProposal
    from golem_nb.rest.payment import DebitNote, Invoice


class WrappingMarketStrategy(BaseMarketStrategy):
    """Base of strategies that change something of another one.

    Every method and attribute is the wrapped strategy's, also those that only it has; a subclass overrides
    what it wants to be different.

    Parameters
    ----------
    base_strategy
        The strategy to wrap.

    Examples
    --------
    >>> class HalfScore(WrappingMarketStrategy):
    ...     async def score_offer(self, offer):
    ...         return await super().score_offer(offer) / 2
    """

    base_strategy: BaseMarketStrategy
    """The strategy within this one."""

    def __init__(self, base_strategy: BaseMarketStrategy) -> None:
        self.base_strategy = base_strategy

    def __getattr__(self, name: str) -> Any:
        # `copy` and `pickle` ask a bare instance for names; without this rule they would ask for ever.
        if name == "base_strategy" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self.base_strategy, name)

    @property
    def acceptable_prop_value_ranges(self) -> dict[str, PropValueRange]:
        """The range of acceptable values of each negotiable property."""
        return self.base_strategy.acceptable_prop_value_ranges

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Decorate the demand as the wrapped strategy does."""
        await self.base_strategy.decorate_demand(demand)

    async def score_offer(self, offer: OfferProposal) -> float:
        """Score the offer as the wrapped strategy does."""
        return await self.base_strategy.score_offer(offer)

    async def respond_to_provider_offer(
        self, our_demand: DemandBuilder, provider_offer: OfferProposal
    ) -> DemandBuilder:
        """Answer the offer as the wrapped strategy does."""
        return await self.base_strategy.respond_to_provider_offer(our_demand, provider_offer)

    async def debit_note_accepted_amount(self, debit_note: DebitNote) -> Decimal:
        """Accept what the wrapped strategy accepts."""
        return await self.base_strategy.debit_note_accepted_amount(debit_note)

    async def invoice_accepted_amount(self, invoice: Invoice) -> Decimal:
        """Accept what the wrapped strategy accepts."""
        return await self.base_strategy.invoice_accepted_amount(invoice)
