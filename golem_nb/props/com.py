"""The commercial part of an offer: the scheme of payment, the price model and the prices."""

# ruff: noqa: RUF009 - `prop` declares a field, as `dataclasses.field` does

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, overload

from golem_nb.props.base import InvalidPropertiesError, Model, prop
from golem_nb.props.errors import shown

SCHEME = "golem.com.scheme"
PRICE_MODEL = "golem.com.pricing.model"
LINEAR_COEFFS = "golem.com.pricing.model.linear.coeffs"
DEFINED_USAGES = "golem.com.usage.vector"


class BillingScheme(StrEnum):
    """How a provider bills."""

    PAYU = "payu"  #: pay as you use


class PriceModel(StrEnum):
    """How a provider computes prices from usage."""

    LINEAR = "linear"


class Counter(StrEnum):
    """What usage is counted in. Providers may have further counters of their own."""

    TIME = "golem.usage.duration_sec"  #: seconds that the activity lives
    CPU = "golem.usage.cpu_sec"  #: seconds of processor time, summed over threads
    STORAGE = "golem.usage.storage_gib"  #: GiB of storage
    MEMORY = "golem.usage.gib"  #: GiB of memory
    MAXMEM = "golem.usage.gib"


@dataclass
class Com(Model):
    """The billing scheme and the price model of an offer.

    Parameters
    ----------
    scheme
        The billing scheme.
    price_model
        The price model.
    """

    scheme: BillingScheme = prop(SCHEME)
    price_model: PriceModel = prop(PRICE_MODEL)


@dataclass
class ComLinear(Com):
    """Prices that grow linearly with usage: ``start price + sum(price * usage)``.

    Read it from an offer with ``ComLinear.from_properties(offer.props)``. Prices are in GLM (tGLM on test
    networks) a unit of the counter, as the offer has them; `prices` and `start_price` are the same as exact
    decimals.

    Parameters
    ----------
    scheme
        The billing scheme.
    price_model
        The price model.
    linear_coeffs
        Prices in the order of `usage_vector`, and the price of the start, GLM.
    usage_vector
        The counters.

    Raises
    ------
    InvalidPropertiesError
        The price model is another, the numbers of counters and prices do not fit, or a counter is listed
        twice.
    """

    linear_coeffs: list[float] = prop(LINEAR_COEFFS)
    usage_vector: list[str] = prop(DEFINED_USAGES)

    def __post_init__(self) -> None:
        if len(self.linear_coeffs) != len(self.usage_vector) + 1:
            raise InvalidPropertiesError(
                f"The property `{LINEAR_COEFFS}` should have one element more than `{DEFINED_USAGES}`,"
                f" but they have {len(self.linear_coeffs)} and {len(self.usage_vector)}."
            )
        if len(set(self.usage_vector)) != len(self.usage_vector):
            raise InvalidPropertiesError(
                f"The property `{DEFINED_USAGES}` lists a counter twice: {shown(self.usage_vector)}."
            )

    @property
    def fixed_price(self) -> float:
        """The price of the start of an activity."""
        return self.linear_coeffs[-1]

    @property
    def price_for(self) -> dict[str, float]:
        """The price of a unit of each counter; a `Counter` is a key, too."""
        return dict(zip(self.usage_vector, self.linear_coeffs, strict=False))

    @cached_property
    def start_price(self) -> Decimal:
        """The price of the start of an activity, as an exact decimal."""
        return Decimal(str(self.linear_coeffs[-1]))

    @cached_property
    def prices(self) -> dict[str, Decimal]:
        """The price of a unit of each counter, as an exact decimal."""
        exact = (Decimal(str(coeff)) for coeff in self.linear_coeffs)
        return dict(zip(self.usage_vector, exact, strict=False))

    @overload
    def calculate_cost(self, usage: Sequence[Decimal]) -> Decimal: ...

    @overload
    def calculate_cost(self, usage: Sequence[float]) -> float: ...

    def calculate_cost(self, usage: Sequence[float] | Sequence[Decimal]) -> float | Decimal:
        """Return the cost of a usage vector, in the order of `usage_vector`.

        Usage in `Decimal` gives the exact cost in `Decimal`, usage in float a float.
        """
        if len(usage) != len(self.usage_vector):
            raise ValueError(
                f"The usage should have {len(self.usage_vector)} elements (one a counter), but has"
                f" {len(usage)}."
            )
        exact = sum(
            (price * Decimal(str(used)) for price, used in zip(self.prices.values(), usage, strict=True)),
            self.start_price,
        )
        is_exact = any(isinstance(used, Decimal) for used in usage)
        return exact if is_exact else float(exact)

    def usage_as_dict(self, usage: Sequence[Any]) -> Mapping[str, Any]:
        """Return the usage vector as a dict by counter."""
        return dict(zip(self.usage_vector, usage, strict=False))
