"""Linear prices: what usage costs, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from golem_nb.localnet.spec import ProviderSpec

__all__ = ["COUNTERS", "LinearPricing"]

#: What is measured, in the order of the offer's `golem.com.usage.vector`.
COUNTERS: Final = ("golem.usage.duration_sec", "golem.usage.cpu_sec")

#: GLM has 18 decimals, as most tokens.
_SMALLEST: Final = Decimal(1).scaleb(-18)


@attrs.frozen
class LinearPricing:
    """Prices of the counters, and of a start.

    Parameters
    ----------
    prices
        GLM for a unit of each of `COUNTERS`.
    start
        GLM for an activity's start.

    Examples
    --------
    >>> LinearPricing((Decimal("0.1"), Decimal("0.2")), Decimal(1)).cost([3.0, 0.1])
    Decimal('1.320000000000000000')
    """

    prices: tuple[Decimal, ...]
    start: Decimal

    @classmethod
    def of(cls, spec: ProviderSpec) -> LinearPricing:
        """Prices of a provider."""
        return cls((spec.price_per_second, spec.price_per_cpu_second), spec.start_price)

    @property
    def coefficients(self) -> list[float]:
        """The offer's `golem.com.pricing.model.linear.coeffs`: the start's price is the last."""
        return [float(price) for price in (*self.prices, self.start)]

    def cost(self, usage: Sequence[float]) -> Decimal:
        """Return what `usage` costs, rounded down to the token's last decimal, so never more."""
        with localcontext(Context(prec=60)):
            # the shortest text of a float is the number that everyone else reads in the usage vector
            parts = (
                price * Decimal(repr(float(used))) for price, used in zip(self.prices, usage, strict=True)
            )
            return sum(parts, self.start).quantize(_SMALLEST, ROUND_FLOOR)
