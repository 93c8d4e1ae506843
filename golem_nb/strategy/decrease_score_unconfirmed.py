"""A memory of the providers that did not confirm an agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from golem_nb.events import AgreementConfirmed, AgreementRejected
from golem_nb.strategy.base import SCORE_NEUTRAL, BaseMarketStrategy
from golem_nb.strategy.wrapping import WrappingMarketStrategy

if TYPE_CHECKING:
    from golem_nb.events import Event
    from golem_nb.rest.market import OfferProposal


class DecreaseScoreForUnconfirmedAgreement(WrappingMarketStrategy):
    """Lower the scores of providers that rejected our last agreement.

    A provider is forgiven when it confirms one. The strategy learns of both by `on_event`, which has to be
    added as an event consumer.

    Parameters
    ----------
    base_strategy
        The strategy whose scores are lowered.
    factor
        What a positive score is multiplied by, e.g. 0.5.

    Examples
    --------
    >>> strategy = DecreaseScoreForUnconfirmedAgreement(LeastExpensiveLinearPayuMS(), 0.5)
    >>> golem = Golem(budget=1, strategy=strategy)
    >>> golem.add_event_consumer(strategy.on_event)
    """

    #: What it learns from.
    EVENTS: ClassVar[tuple[type[Event], ...]] = (AgreementConfirmed, AgreementRejected)

    def __init__(self, base_strategy: BaseMarketStrategy, factor: float) -> None:
        super().__init__(base_strategy)
        self.factor = factor
        self._rejecting_providers: set[str] = set()

    def on_event(self, event: Event) -> None:
        """Learn from `AgreementConfirmed` and `AgreementRejected`; other events mean nothing to it.

        Parameters
        ----------
        event
            Any event.
        """
        if isinstance(event, AgreementConfirmed):
            self._rejecting_providers.discard(event.provider_id)
        elif isinstance(event, AgreementRejected):
            self._rejecting_providers.add(event.provider_id)

    async def score_offer(self, offer: OfferProposal) -> float:
        """Score the offer; multiply a positive score of a provider that rejects agreements by the factor."""
        score = await self.base_strategy.score_offer(offer)
        if score > SCORE_NEUTRAL and offer.issuer in self._rejecting_providers:
            score *= self.factor
        return score
