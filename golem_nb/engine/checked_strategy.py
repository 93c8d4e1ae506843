"""The user's strategy, as the engine calls it: what it raises or returns wrongly is told in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

from golem_nb.engine.errors import StrategyError
from golem_nb.engine.user_code import USER_ERRORS, cancels_us
from golem_nb.log import get_logger
from golem_nb.props.builder import DemandBuilder
from golem_nb.strategy import BaseMarketStrategy, WrappingMarketStrategy

if TYPE_CHECKING:
    from golem_nb.rest.market import OfferProposal
    from golem_nb.rest.payment import DebitNote, Invoice

logger = get_logger(__name__)


class CheckedStrategy(WrappingMarketStrategy):
    """Calls a strategy and checks what it answers.

    A strategy is the user's own code. What goes wrong in it when offers are chosen will go wrong with the
    next offer, too: the `StrategyError` ends the job. What goes wrong in it over a bill must not leave a
    provider unpaid that has done its work: the bill, which price and usage explain, is accepted, as by
    default.
    """

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Let the strategy decorate the demand.

        Raises
        ------
        StrategyError
            It has raised something.
        """
        with self._told("decorate_demand"):
            await self.base_strategy.decorate_demand(demand)

    async def score_offer(self, offer: OfferProposal) -> float:
        """Let the strategy score an offer.

        Raises
        ------
        StrategyError
            It has raised something, or the score is not a number.
        """
        with self._told("score_offer"):
            return float(_number(await self.base_strategy.score_offer(offer)))

    async def respond_to_provider_offer(
        self, our_demand: DemandBuilder, provider_offer: OfferProposal
    ) -> DemandBuilder:
        """Let the strategy answer an offer; its `ValueError` means that it does not want it.

        Raises
        ------
        StrategyError
            It has raised something else, or what it returns is not a demand.
        """
        with self._told("respond_to_provider_offer", passing=ValueError):
            answer: Any = await self.base_strategy.respond_to_provider_offer(our_demand, provider_offer)
            if not isinstance(answer, DemandBuilder):
                raise TypeError(f"a DemandBuilder should be returned, not {answer!r:.100}")
            return answer

    async def debit_note_accepted_amount(self, debit_note: DebitNote) -> Decimal:
        """Let the strategy say what is accepted: the full amount, with an error in the log, if it cannot."""
        accepted = self.base_strategy.debit_note_accepted_amount
        return await self._amount(accepted, debit_note, debit_note.total_amount_due)

    async def invoice_accepted_amount(self, invoice: Invoice) -> Decimal:
        """Let the strategy say what is accepted: the full amount, with an error in the log, if it cannot."""
        return await self._amount(self.base_strategy.invoice_accepted_amount, invoice, invoice.amount)

    async def _amount(self, method: Any, bill: DebitNote | Invoice, full: Decimal) -> Decimal:
        try:
            with self._told(method.__name__):
                return Decimal(_number(await method(bill)))
        except StrategyError as error:
            logger.error(
                "%s The bill of provider %s over %s GLM is accepted, as it would be without that method.",
                error,
                bill.issuer_id,
                full,
                exc_info=error,
            )
            return full

    @contextmanager
    def _told(self, method: str, passing: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        try:
            yield
        except passing:
            raise
        except USER_ERRORS as error:
            if cancels_us(error):
                raise
            raise StrategyError(_name(self.base_strategy), method, error) from error


def _number(value: Any) -> Any:
    if not isinstance(value, Real | Decimal) or math.isnan(value):
        raise TypeError(f"a number should be returned, not {value!r:.100}")
    return value


def _name(strategy: BaseMarketStrategy) -> str:
    """Name a strategy, with those that it wraps."""
    name = type(strategy).__name__
    base = getattr(strategy, "base_strategy", None)
    return f"{name} around {_name(base)}" if isinstance(base, BaseMarketStrategy) else name
