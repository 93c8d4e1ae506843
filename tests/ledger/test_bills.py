"""What is known of a dead session's bills, whatever order its documents come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

from golem_nb.ledger.bills import Bill

OFFER: dict[str, Any] = {
    "golem.com.pricing.model": "linear",
    "golem.com.pricing.model.linear.coeffs": [0.001, 0.25, 0.5],
    "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.gib"],
}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_was_reported_last_counts(order: tuple[int, ...]) -> None:
    # stand-ins: no provider here sells anything but time
    bill = Bill(SimpleNamespace(offer_props=OFFER))  # type: ignore[arg-type]
    end = datetime.now(UTC)
    activity: Any = SimpleNamespace(id="a1")
    bill.add_activity(activity, end - timedelta(seconds=10), end)
    notes: Any = [
        SimpleNamespace(
            activity_id="a1", total_amount_due=Decimal(due), usage_counter_vector=usage, status="RECEIVED"
        )
        for due, usage in ((1, [1.0, 2.0]), (3, [9.0, 8.0]), (2, None))
    ]
    for number in order:
        bill.add_note(notes[number])
    assert bill.activities[activity.id].usage == [9.0, 8.0]
    # time as the activity has lived, and two seconds; the other counter as reported
    assert bill.explained == (Decimal("0.5") + Decimal("0.001") * 12 + Decimal("0.25") * 8) * Decimal("1.01")
