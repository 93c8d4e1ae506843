"""Figures of the market."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from golem_nb.figures.part import TIME_AXIS, Part, alone
from golem_nb.figures.style import PALETTE, finish, texts
from golem_nb.figures.times import MOST_POINTS, led_in, milliseconds, numbers, thinned

__all__ = ["offers_over_time", "offers_part", "price_against_size", "price_distribution", "prices_part"]

_SIZES = {"threads": "threads", "cores": "cores", "memory": "memory, GiB", "storage": "storage, GiB"}
_PRICES = {
    "price_hour": "GLM an hour, idle",
    "price_cpu_hour": "GLM an hour of a thread",
    "price_full_hour": "GLM an hour, all threads busy",
    "price_start": "GLM an activity",
}


def price_against_size(
    offers: pd.DataFrame, size: str = "threads", price: str = "price_full_hour", *, dark: bool = False
) -> go.Figure:
    """Return what providers ask for against what they offer, a point an offer.

    Parameters
    ----------
    offers
        Offers, as `golem_nb.frames.OfferTable` gives them.
    size
        ``"threads"``, ``"cores"``, ``"memory"`` or ``"storage"``.
    price
        ``"price_full_hour"``, ``"price_hour"``, ``"price_cpu_hour"`` or ``"price_start"``.
    dark
        For a dark page.

    Raises
    ------
    ValueError
        There is no such size or price.
    """
    for given, known in ((size, _SIZES), (price, _PRICES)):
        if given not in known:
            raise ValueError(f"{given!r} is not one of {', '.join(known)}")
    if len(offers) > 2 * MOST_POINTS:
        # so many points hide each other; which ones are left out is the same each time
        offers = offers.sample(2 * MOST_POINTS, random_state=0)
    figure = go.Figure()
    for index, seen in enumerate((False, True)):
        rows = offers[offers["seen"].to_numpy(dtype=bool) == seen]
        figure.add_scatter(
            x=numbers(rows[size]),
            y=numbers(rows[price]),
            mode="markers",
            name="seen before" if seen else "new",
            marker={
                "size": 7,
                "opacity": 0.7,
                "color": PALETTE[index],
                "symbol": "diamond" if seen else "circle",
            },
            customdata=np.array([texts(rows["provider"]), texts(rows["runtime"])], dtype=object).T,
            hovertemplate=f"%{{customdata[0]}}<br>%{{x}} {_SIZES[size]}<br>%{{y:.5f}} {_PRICES[price]}"
            "<br>%{customdata[1]}<extra></extra>",
        )
    figure.update_xaxes(title_text=_SIZES[size])
    figure.update_yaxes(title_text=_PRICES[price], rangemode="tozero")
    return finish(figure, dark=dark, height=400, hovermode="closest")


def price_distribution(
    offers: pd.DataFrame, price: str = "price_full_hour", *, dark: bool = False
) -> go.Figure:
    """Return how many providers ask for how much.

    Parameters
    ----------
    offers
        Offers, as `golem_nb.frames.OfferTable` gives them.
    price
        A column of prices.
    dark
        For a dark page.
    """
    return alone(prices_part(offers, price), dark=dark)


def offers_over_time(counts: pd.DataFrame, now: datetime | None = None, *, dark: bool = False) -> go.Figure:
    """Return how many offers there were, over time.

    Parameters
    ----------
    counts
        Columns ``time`` and ``offers``.
    now
        Until when there were as many as at the end; to the last offer by default.
    dark
        For a dark page.
    """
    return alone(offers_part(counts, None if now is None else now.timestamp() * 1000), dark=dark)


def prices_part(offers: pd.DataFrame, price: str = "price_full_hour") -> Part:
    """Return the distribution of prices as a part."""
    values = numbers(offers[price]) if len(offers) else np.zeros(0)
    values = values[np.isfinite(values)]
    counts, edges = (
        np.histogram(values, bins=min(40, max(8, len(values) // 20))) if len(values) else ([], [0.0])
    )
    edges = np.asarray(edges, dtype=np.float64)
    return Part(
        title="Prices of offers",
        traces=[
            {
                "type": "bar",
                "name": "offers by price",
                "x": (edges[:-1] + edges[1:]) / 2,
                "y": np.asarray(counts, dtype=np.float64),
                "width": np.diff(edges),
                "marker": {"color": PALETTE[0]},
                "hovertemplate": "offers at about %{x:.5f} GLM: %{y}<extra></extra>",
                "showlegend": False,
            }
        ],
        xaxis={"title": {"text": _PRICES.get(price, price)}},
        yaxis={"title": {"text": "offers"}, "rangemode": "tozero"},
        empty="" if len(values) else "No offers yet",
    )


def offers_part(counts: pd.DataFrame, until: float | None = None) -> Part:
    """Return the number of offers over time as a part; it stays what it was last until a moment."""
    time, number = thinned(milliseconds(counts["time"]), numbers(counts["offers"]))
    if until is not None and len(time) and time[-1] < until:
        time, number = np.append(time, until), np.append(number, number[-1])
    time, number = led_in(time, number)
    return Part(
        title="Offers seen",
        traces=[
            {
                "type": "scatter",
                "name": "offers",
                "x": time,
                "y": number,
                "mode": "lines",
                "line": {"shape": "hv", "color": PALETTE[0], "width": 2},
                "fill": "tozeroy",
                "hovertemplate": "offers at %{x|%H:%M:%S}: %{y}<extra></extra>",
                "showlegend": False,
            }
        ],
        xaxis=dict(TIME_AXIS),
        yaxis={"title": {"text": "offers"}, "rangemode": "tozero"},
        empty="" if number.any() else "No offers yet",
    )
