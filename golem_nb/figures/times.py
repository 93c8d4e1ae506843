"""Times and long columns as browsers take them fastest: float64 milliseconds, not more points than pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["LEAST_SPAN", "MOST_POINTS", "led_in", "milliseconds", "numbers", "thinned"]

#: A trace has no more points than that.
MOST_POINTS = 1000

#: What has gone on for less than that is shown with the time before, in milliseconds: an axis of a few of
#: them says nothing to anybody.
LEAST_SPAN = 10_000.0

Floats = npt.NDArray[np.float64]


def milliseconds(column: pd.Series[Any]) -> Floats:
    """Return moments as milliseconds since 1970; NaN for missing ones."""
    if column.empty or pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64)
    moments = pd.DatetimeIndex(column).as_unit("ms").asi8.astype(np.float64)
    moments[column.isna().to_numpy()] = np.nan
    return moments


def numbers(column: pd.Series[Any]) -> Floats:
    """Return numbers as float64; NaN for missing ones."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def led_in(time: Floats, *columns: Floats) -> tuple[Floats, ...]:
    """Return counts over time with the nothing that was before, where they cover less than `LEAST_SPAN`."""
    if not len(time) or time[-1] - time[0] >= LEAST_SPAN:
        return time, *columns
    start = time[-1] - LEAST_SPAN
    return np.concatenate([[start], time]), *(np.concatenate([[0.0], column]) for column in columns)


def thinned(x: Floats, *columns: Floats, most: int = MOST_POINTS) -> tuple[Floats, ...]:
    """Return at most `most` rows of sorted columns: the first and the last one, and evenly between."""
    if len(x) <= most:
        return x, *columns
    rows = np.unique(np.linspace(0, len(x) - 1, most).round().astype(np.intp))
    return x[rows], *(column[rows] for column in columns)
