"""Filters of offers and the cost of a job on them: the same rules as in the browser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["Filters", "job_cost", "matching"]


def _positive(value: Any) -> float | None:
    """Return a number as the browser sends it; None for nothing, and for nonsense."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _word(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""


@attrs.frozen
class Filters:
    """What offers have to be like; each that is None or empty is no condition.

    Parameters
    ----------
    max_price
        The most that an hour with all threads busy may cost, GLM.
    min_threads
        Least number of threads.
    min_memory, min_storage
        GiB.
    runtime, subnet
        Exactly so.
    capability, name
        Contained in the runtime's capabilities, or in the provider's name, whatever the case.
    seen
        Only providers that a session of this user has used before.
    cheapest
        Only so many, the cheapest ones of those that meet the rest.
    """

    max_price: float | None = attrs.field(default=None, converter=_positive)
    min_threads: float | None = attrs.field(default=None, converter=_positive)
    min_memory: float | None = attrs.field(default=None, converter=_positive)
    min_storage: float | None = attrs.field(default=None, converter=_positive)
    runtime: str = attrs.field(default="", converter=_word)
    subnet: str = attrs.field(default="", converter=_word)
    capability: str = attrs.field(default="", converter=_word)
    name: str = attrs.field(default="", converter=_word)
    seen: bool = attrs.field(default=False, converter=bool)
    cheapest: float | None = attrs.field(default=None, converter=_positive)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Filters:
        """Return the filters that the browser has sent; what it has made up is left out."""
        return cls(**{name: values[name] for name in attrs.fields_dict(cls) if name in values})


def matching(offers: pd.DataFrame, filters: Filters) -> npt.NDArray[np.intp]:
    """Return the positions of the offers that meet the filters, cheapest first if only those are wanted."""
    price = offers["price_full_hour"].to_numpy(dtype=np.float64, na_value=np.nan)
    keep = np.ones(len(offers), dtype=bool)
    if filters.max_price is not None:
        keep &= price <= filters.max_price
    for name, least in (
        ("threads", filters.min_threads),
        ("memory", filters.min_memory),
        ("storage", filters.min_storage),
    ):
        if least is not None:
            keep &= offers[name].to_numpy(dtype=np.float64, na_value=np.nan) >= least
    for name, exact in (("runtime", filters.runtime), ("subnet", filters.subnet)):
        if exact:
            keep &= (offers[name].astype(str) == exact).to_numpy()
    for name, part in (("capabilities", filters.capability), ("provider", filters.name)):
        if part:
            # plain text, never a pattern
            texts = offers[name].astype(str).str.lower()
            keep &= texts.str.contains(part.lower(), regex=False, na=False).to_numpy(dtype=bool)
    if filters.seen:
        keep &= offers["seen"].to_numpy(dtype=bool)
    found = np.flatnonzero(keep)
    if filters.cheapest is not None:
        # offers without a price come last, and the order of equals stays
        order = np.argsort(np.where(np.isnan(price[found]), np.inf, price[found]), kind="stable")
        found = found[order[: int(filters.cheapest)]]
    return found


def job_cost(
    offers: pd.DataFrame, items: float, seconds: float, threads: float = 1
) -> npt.NDArray[np.float64]:
    """Return what a job costs on each offer alone, GLM.

    Parameters
    ----------
    offers
        Offers, as `golem_nb.frames.OfferTable` gives them.
    items
        How many items.
    seconds
        What one of them takes.
    threads
        How many threads it keeps busy; no more than the offer has.
    """
    columns = {
        name: offers[name].to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("price_start", "price_hour", "price_cpu_hour", "threads")
    }
    busy = np.fmin(threads, columns["threads"])
    hours = items * seconds / 3600
    cost: npt.NDArray[np.float64] = columns["price_start"] + hours * (
        columns["price_hour"] + busy * columns["price_cpu_hour"]
    )
    return cost
