"""What a market strategy is, and what all of them share: negotiation and the acceptance of amounts."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.props.builder import DemandDecorator
from golem_nb.props.errors import InvalidPropertiesError, shown
from golem_nb.props.node import EXPIRATION

if TYPE_CHECKING:
    from decimal import Decimal

    from golem_nb.props.builder import DemandBuilder
    from golem_nb.rest.market import OfferProposal
    from golem_nb.rest.payment import DebitNote, Invoice

SCORE_NEUTRAL: float = 0.0
SCORE_REJECTED: float = -1.0
SCORE_TRUSTED: float = 100.0

PROP_DEBIT_NOTE_INTERVAL_SEC = "golem.com.scheme.payu.debit-note.interval-sec?"
PROP_PAYMENT_TIMEOUT_SEC = "golem.com.scheme.payu.payment-timeout-sec?"
PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT = "golem.com.payment.debit-notes.accept-timeout?"

#: How late the count of debit notes may be judged: notes travel, and clocks differ.
DEBIT_NOTE_INTERVAL_GRACE_PERIOD = timedelta(seconds=30)

#: Seconds that a job must have left for payments in the middle of its agreements to be worth a transaction.
_MID_AGREEMENT_PAYMENTS_FROM_SEC = 18_000


@attrs.frozen(repr=False)
class PropValueRange:
    """The range of values of a negotiable property that are acceptable, bounds included.

    Parameters
    ----------
    min, max
        The bounds; None for no bound.

    Examples
    --------
    >>> 90 in PropValueRange(60, None)
    True
    >>> PropValueRange(60, None).clamp(30)
    60
    """

    min: float | None = None
    max: float | None = None

    def __contains__(self, item: float) -> bool:
        if math.isnan(item):
            return False
        return (self.min is None or item >= self.min) and (self.max is None or item <= self.max)

    def clamp(self, item: float) -> float:
        """Return the acceptable value that is closest to `item`.

        Raises
        ------
        ValueError
            The range is empty (``max < min``), or `item` is not a number.
        """
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"The range {self} is empty: nothing can be clamped to it.")
        if math.isnan(item):
            raise ValueError("NaN cannot be clamped to a range.")
        if self.min is not None and item < self.min:
            return self.min
        if self.max is not None and item > self.max:
            return self.max
        return item

    def __str__(self) -> str:
        return f"({self.min}, {self.max})"

    def __repr__(self) -> str:
        return f"PropValueRange{self}"


DEFAULT_PROPERTY_VALUE_RANGES: Mapping[str, PropValueRange] = MappingProxyType(
    {
        PROP_DEBIT_NOTE_INTERVAL_SEC: PropValueRange(60, None),
        PROP_PAYMENT_TIMEOUT_SEC: PropValueRange(18_000, None),
        PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: PropValueRange(30, None),
    }
)


class BaseMarketStrategy(DemandDecorator, ABC):
    """What the engine asks of a strategy.

    What a strategy raises, or returns that makes no sense, ends the job with a `StrategyError` while offers
    are chosen. Where it is about a bill it is logged, and the bill is accepted, as it is by default.
    """

    @property
    @abstractmethod
    def acceptable_prop_value_ranges(self) -> dict[str, PropValueRange]:
        """The range of acceptable values of each negotiable property."""

    @abstractmethod
    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Add constraints and properties to a demand before it is published."""

    @abstractmethod
    async def score_offer(self, offer: OfferProposal) -> float:
        """Score an offer: the higher the better; below `SCORE_NEUTRAL` it is rejected."""

    @abstractmethod
    async def respond_to_provider_offer(
        self, our_demand: DemandBuilder, provider_offer: OfferProposal
    ) -> DemandBuilder:
        """Return the demand that answers an offer.

        A `ValueError` rejects the offer: its terms cannot be accepted.

        Parameters
        ----------
        our_demand
            What we ask for.
        provider_offer
            The offer.
        """

    @abstractmethod
    async def debit_note_accepted_amount(self, debit_note: DebitNote) -> Decimal:
        """Return the highest total amount due to accept, GLM.

        Parameters
        ----------
        debit_note
            The note.
        """

    @abstractmethod
    async def invoice_accepted_amount(self, invoice: Invoice) -> Decimal:
        """Return the highest amount to accept, GLM.

        Parameters
        ----------
        invoice
            The invoice.
        """


class MarketStrategy(BaseMarketStrategy, ABC):
    """Base of strategies: all but the score.

    Examples
    --------
    >>> class PreferKnown(MarketStrategy):
    ...     acceptable_prop_value_range_overrides = {PROP_DEBIT_NOTE_INTERVAL_SEC: PropValueRange(120, None)}
    ...
    ...     async def score_offer(self, offer):
    ...         return SCORE_TRUSTED if offer.issuer in known else SCORE_NEUTRAL
    """

    #: Ranges to take in the place of the default ones, by the key of the property.
    acceptable_prop_value_range_overrides: Mapping[str, PropValueRange] = MappingProxyType({})

    @property
    def acceptable_prop_value_ranges(self) -> dict[str, PropValueRange]:
        """The range of acceptable values of each negotiable property."""
        return {**DEFAULT_PROPERTY_VALUE_RANGES, **self.acceptable_prop_value_range_overrides}

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Add nothing; to be overridden."""

    async def respond_to_provider_offer(
        self, our_demand: DemandBuilder, provider_offer: OfferProposal
    ) -> DemandBuilder:
        """Answer an offer with acceptable values of its negotiable properties.

        Payments in the middle of an agreement are agreed on if the provider offers an interval of debit notes
        and the demand has at least 5 hours left. Then the interval, the time to pay and the time to accept a
        debit note are taken from the offer, each moved into its acceptable range; otherwise only the last.

        Raises
        ------
        InvalidPropertiesError
            One of these properties is not a number (a `ValueError`).
        ValueError
            An acceptable range is empty.
        """
        negotiable = [PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT]
        if PROP_DEBIT_NOTE_INTERVAL_SEC in provider_offer.props and _has_time_for_payments(our_demand):
            negotiable += [PROP_DEBIT_NOTE_INTERVAL_SEC, PROP_PAYMENT_TIMEOUT_SEC]
        ranges = self.acceptable_prop_value_ranges
        answer = our_demand.copy()
        answer.add_properties(
            {
                key: ranges.get(key, _ANY).clamp(_number(key, provider_offer.props[key]))
                for key in negotiable
                if key in provider_offer.props
            }
        )
        return answer

    async def debit_note_accepted_amount(self, debit_note: DebitNote) -> Decimal:
        """Accept the full amount."""
        return debit_note.total_amount_due

    async def invoice_accepted_amount(self, invoice: Invoice) -> Decimal:
        """Accept the full amount."""
        return invoice.amount


_ANY = PropValueRange()


def _has_time_for_payments(demand: DemandBuilder) -> bool:
    expiration = demand.properties.get(EXPIRATION)
    return expiration is None or expiration / 1000 - time.time() >= _MID_AGREEMENT_PAYMENTS_FROM_SEC


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidPropertiesError(f"The property `{key}` should be a number, but is {shown(value)}.")
    return value
