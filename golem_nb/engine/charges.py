"""What the agreed price and the reported usage explain of a provider's bill.

A provider reports its usage itself. What can be checked from here is that the amount follows from the
usage, and that the time in it is not longer than the activity lived. Where the price itself cannot be read,
nothing is explained: such offers are not accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs

from golem_nb.exceptions import GolemError

DURATION = "golem.usage.duration_sec"
CPU = "golem.usage.cpu_sec"

PRICING_MODEL = "golem.com.pricing.model"
COEFFICIENTS = "golem.com.pricing.model.linear.coeffs"
USAGE_VECTOR = "golem.com.usage.vector"
CPU_THREADS = "golem.inf.cpu.threads"

#: The two ends do not see an activity begin and end at the same moment, in seconds …
SLACK = Decimal(2)

#: … and may round usage and amounts differently.
TOLERANCE = Decimal("1.01")


class UnreadablePriceError(GolemError, ValueError):
    """What an offer says of its price explains no bill; the text says what is wrong with it."""


@attrs.frozen
class LinearPrice:
    """The price of one agreement: a fee an activity, and a price a unit of each usage counter, in GLM."""

    fixed: Decimal
    per_unit: Mapping[str, Decimal]
    threads: int

    @classmethod
    def read(cls, offer_props: Mapping[str, Any]) -> LinearPrice:
        """Read the price out of an offer.

        Raises
        ------
        UnreadablePriceError
            It is not linear; or its coefficients are not numbers of zero or more, one for each counter, which
            are all different, and one for the start.
        """
        model = offer_props.get(PRICING_MODEL)
        if model != "linear":
            raise UnreadablePriceError(f"the price model is {_shown(model)}, not 'linear'")
        coefficients, vector = offer_props.get(COEFFICIENTS), offer_props.get(USAGE_VECTOR)
        if not isinstance(vector, list) or not all(isinstance(counter, str) for counter in vector):
            raise UnreadablePriceError(f"the usage counters are {_shown(vector)}")
        if len(set(vector)) != len(vector):
            raise UnreadablePriceError(f"a usage counter is listed twice: {_shown(vector)}")
        if not isinstance(coefficients, list) or len(coefficients) != len(vector) + 1:
            raise UnreadablePriceError(f"{_shown(coefficients)} are not the prices of {_shown(vector)}")
        *per_unit, fixed = map(_price, coefficients)
        threads = offer_props.get(CPU_THREADS)
        return cls(
            fixed=fixed,
            per_unit=dict(zip(vector, per_unit, strict=True)),
            threads=threads if isinstance(threads, int) and threads > 0 else 1,
        )

    @classmethod
    def agreed(cls, offer_props: Mapping[str, Any]) -> LinearPrice | None:
        """Read the price out of an offer; None where it cannot be read."""
        try:
            return cls.read(offer_props)
        except UnreadablePriceError:
            return None

    def explained(
        self, usage: Sequence[float] | None, lifetime: timedelta, *, went_on: bool = False
    ) -> Decimal:
        """Return the largest amount that is explained for one activity.

        Parameters
        ----------
        usage
            Counters as the provider reports them, in the order of the offer; None if it reports none.
        lifetime
            How long the activity has existed, as seen from here.
        went_on
            Whether the activity went on after that report, so that what time limits may have risen to there.
        """
        seconds = Decimal(str(lifetime.total_seconds())) + SLACK
        limits = {DURATION: seconds, CPU: seconds * self.threads}
        amount = self.fixed
        for index, (counter, price) in enumerate(self.per_unit.items()):
            limit = limits.get(counter)
            if usage is not None and index < len(usage) and not (went_on and limit is not None):
                reported = Decimal(str(usage[index]))
                if counter == DURATION:
                    reported += SLACK
                elif counter == CPU:
                    reported += SLACK * self.threads
                used = reported if limit is None else min(reported, limit)
            else:
                used = limit if limit is not None else Decimal(0)
            amount += price * used
        return amount * TOLERANCE


def _price(value: Any) -> Decimal:
    # a bool is an int for Python, and text that looks like a number is none
    price = Decimal(str(value)) if type(value) in (int, float) else Decimal("NaN")
    if not price.is_finite() or price < 0:
        raise UnreadablePriceError(f"{_shown(value)} is no price")
    return price


def _shown(value: Any) -> str:
    return f"{value!r:.100}"
