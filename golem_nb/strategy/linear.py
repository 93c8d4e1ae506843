"""The terms that both strategies for linear prices look at."""

from __future__ import annotations

import logging
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from golem_nb.props.base import InvalidPropertiesError
from golem_nb.props.com import PRICE_MODEL, ComLinear, PriceModel
from golem_nb.props.grammar import clause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from golem_nb.rest.market import OfferProposal

logger = logging.getLogger(__name__)

LINEAR_PRICES_ONLY = clause(PRICE_MODEL, "=", PriceModel.LINEAR)


class PriceCaps:
    """The highest acceptable prices, GLM: of the start, and of a unit of each counter."""

    def __init__(self, fixed: Decimal | float, price_for: Mapping[str, Decimal | float]) -> None:
        self.fixed = _price("max_fixed_price", fixed)
        # `Counter` members are text, so both kinds of key are the same one.
        self.price_for = {
            str(counter): _price(f"max_price_for[{str(counter)!r}]", price)
            for counter, price in price_for.items()
        }

    def acceptable(self, offer: OfferProposal) -> ComLinear | None:
        """Return the prices of an offer, or None where they are unreadable, negative or too high."""
        try:
            linear = ComLinear.from_properties(offer.props)
        except InvalidPropertiesError as error:
            logger.debug("Offer %s refused: %s", offer.id, error)
            return None
        if not 0 <= linear.start_price <= self.fixed:
            logger.debug("Offer %s refused: start price %s", offer.id, linear.start_price)
            return None
        for counter, price in linear.prices.items():
            cap = self.price_for.get(counter)
            if price < 0 or (cap is not None and price > cap):
                logger.debug("Offer %s refused: price %s for %r", offer.id, price, counter)
                return None
        return linear


def _price(name: str, value: Decimal | float) -> Decimal:
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        price = Decimal("NaN")
    if price.is_nan() or price < 0:
        raise ValueError(f"{name} must be a price in GLM, zero or more, not {value!r}.")
    return price
