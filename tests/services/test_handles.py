"""What is wrong with a handle is said, with the field that it is in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from golem_nb.services import ServiceResumeError
from golem_nb.services.handles import read_handles


def handle(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "id": "me",
        "state": "running",
        "agreement_id": "a1",
        "activity_id": "b1",
        "session_id": "s1",
        "created": now.isoformat(),
        "since": now.isoformat(),
        "expiration": (now + timedelta(hours=1)).isoformat(),
        "allocation_id": None,
        "accepted": "0.25",
        "cost_per_hour": None,
        "network": {"network_id": "n1"},
        "ip": "192.168.0.2",
    } | changes


def test_a_handle_is_read() -> None:
    (read,) = read_handles([handle()])
    assert (read.id, read.state, read.network_id, read.ip) == ("me", "running", "n1", "192.168.0.2")
    assert read.accepted == Decimal("0.25")
    assert read.expiration > datetime.now(UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 7),
        ("state", "nonsense"),
        ("state", "suspended"),
        ("agreement_id", ""),
        ("activity_id", None),
        ("created", 0),
        ("since", "just now"),
        ("expiration", "yesterday"),
        ("accepted", "NaN"),
        ("accepted", "-1"),
        ("allocation_id", 1),
        ("network", "n1"),
        ("ip", ["192.168.0.2"]),
    ],
)
def test_each_field_is_looked_at(field: str, value: object) -> None:
    first = handle(agreement_id="a2", activity_id="b2")
    with pytest.raises(ValueError, match=f"Handle 2 of 2 cannot be resumed: field '{field}'.*golem.stop"):
        read_handles([first, handle(**{field: value})])


def test_every_field_that_is_needed_is_missed() -> None:
    optional = {"allocation_id", "cost_per_hour", "network", "ip"}
    for field in handle().keys() - optional:
        lacking = handle()
        del lacking[field]
        with pytest.raises(ValueError, match=f"field '{field}'"):
            read_handles([lacking])


def test_what_is_no_list_of_handles() -> None:
    with pytest.raises(TypeError, match="instances must be a list of handles"):
        read_handles(handle())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Handle 1 of 1 cannot be resumed: expected an object"):
        read_handles("x")
    with pytest.raises(ValueError, match="no instances to resume"):
        read_handles([])


def test_each_is_given_once() -> None:
    with pytest.raises(ValueError, match="'activity_id' is that of handle 1"):
        read_handles([handle(), handle()])
    with pytest.raises(ValueError, match="'agreement_id' is that of handle 1"):
        read_handles([handle(), handle(activity_id="b2")])


def test_one_whose_time_is_over() -> None:
    with pytest.raises(ServiceResumeError, match=r"Service me .* has expired at 2020.*Run the service anew"):
        read_handles([handle(expiration="2020-01-01T00:00:00+00:00")])
