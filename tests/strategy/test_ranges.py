from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.strategy import PropValueRange

bounds = st.one_of(st.none(), st.integers(), st.floats(allow_nan=False))


@pytest.mark.contract("M08")
def test_contains_and_clamp() -> None:
    assert 60 in PropValueRange(60, None)
    assert 59 not in PropValueRange(60, None)
    assert 5 in PropValueRange(max=5)
    assert 6 not in PropValueRange(max=5)
    assert -1e300 in PropValueRange()
    assert PropValueRange(60, 120).clamp(30) == 60
    assert PropValueRange(60, 120).clamp(90) == 90
    assert PropValueRange(60, 120).clamp(900) == 120
    assert str(PropValueRange(60, None)) == "(60, None)"


@pytest.mark.contract("M08")
def test_empty_range_holds_nothing_and_clamps_nothing() -> None:
    empty = PropValueRange(2, 1)
    assert 1.5 not in empty
    with pytest.raises(ValueError, match=r"\(2, 1\)"):
        empty.clamp(1.5)


def test_nan_is_in_no_range() -> None:
    assert math.nan not in PropValueRange()
    with pytest.raises(ValueError, match="NaN"):
        PropValueRange(1, 2).clamp(math.nan)


@given(bounds, bounds, st.one_of(st.integers(), st.floats(allow_nan=False)))
def test_clamped_value_is_the_closest_in_the_range(
    low: float | None, high: float | None, value: float
) -> None:
    span = PropValueRange(low, high)
    if low is not None and high is not None and low > high:
        with pytest.raises(ValueError, match="empty"):
            span.clamp(value)
        return
    clamped = span.clamp(value)
    assert clamped in span
    assert clamped in (value, low, high)
    assert (clamped == value) == (value in span)
