"""What the agreed price and the reported usage explain of a provider's bill.

A provider reports its usage itself. What can be checked from here is that the amount follows from the
usage, and that the time
in it is not longer than the activity lived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs

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


@attrs.frozen
class LinearPrice:
    """The price of one agreement: a fee an activity, and a price a unit of each usage counter, in GLM."""

    fixed: Decimal
    per_unit: Mapping[str, Decimal]
    threads: int

    @classmethod
    def agreed(cls, offer_props: Mapping[str, Any]) -> LinearPrice | None:
        """Read the price out of the offer; None where it is not linear, or not readable."""
        if offer_props.get(PRICING_MODEL) != "linear":
            return None
        coefficients, vector = offer_props.get(COEFFICIENTS), offer_props.get(USAGE_VECTOR)
        if not isinstance(coefficients, list) or not isinstance(vector, list):
            return None
        numbers = [Decimal(str(value)) for value in coefficients if type(value) in (int, float)]
        if len(numbers) != len(vector) + 1 or len(coefficients) != len(numbers):
            return None
        if not all(number.is_finite() and number >= 0 for number in numbers):
            return None
        threads = offer_props.get(CPU_THREADS)
        return cls(
            fixed=numbers[-1],
            per_unit=dict(zip(map(str, vector), numbers[:-1], strict=True)),
            threads=threads if isinstance(threads, int) and threads > 0 else 1,
        )

    def explained(self, usage: Sequence[float] | None, lifetime: timedelta) -> Decimal:
        """Return the largest amount that is explained for one activity.

        Parameters
        ----------
        usage
            Counters as the provider reports them, in the order of the offer; None if it reports none.
        lifetime
            How long the activity has existed, as seen from here.
        """
        seconds = Decimal(str(lifetime.total_seconds())) + SLACK
        limits = {DURATION: seconds, CPU: seconds * self.threads}
        amount = self.fixed
        for index, (counter, price) in enumerate(self.per_unit.items()):
            limit = limits.get(counter)
            if usage is not None and index < len(usage):
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
