"""Figures of services."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from golem_nb.figures.part import TIME_AXIS, Part, alone
from golem_nb.figures.style import STATE_COLOURS, STATE_PATTERNS, texts
from golem_nb.figures.times import milliseconds

__all__ = ["service_states", "services_part"]

#: Instances that are shown: those that were started last.
MOST_INSTANCES = 60

#: A state that takes no time is drawn that wide, in milliseconds, so that it can be seen.
_LEAST = 150.0

#: States in which an instance is over are not drawn as going on.
_OVER = frozenset({"terminated", "unresponsive"})


def service_states(services: pd.DataFrame, now: datetime | None = None, *, dark: bool = False) -> go.Figure:
    """Return in which states instances were, and when.

    Parameters
    ----------
    services
        As `golem_nb.frames.Recorder.services` gives them.
    now
        States that go on are drawn until then; until this moment by default.
    dark
        For a dark page.
    """
    part = services_part(services, now)
    return alone(part, dark=dark, height=140 + 24 * max(services["service"].nunique(), 3))


def services_part(services: pd.DataFrame, now: datetime | None = None) -> Part:
    """Return the states of instances over time as a part."""
    until = (now or datetime.now(UTC)).timestamp() * 1000
    order = pd.unique(services["service"])[-MOST_INSTANCES:]
    services = services[services["service"].isin(order)]
    start, end = milliseconds(services["start"]), milliseconds(services["end"])
    states = services["state"].astype(str).to_numpy()
    over = np.isin(states, list(_OVER))
    end = np.where(np.isnan(end), np.where(over, start, until), end)
    labels = np.array([f"{text[:8]}" for text in services["service"].astype(str)], dtype=object)
    names = np.array(texts(services["provider"].astype(str)), dtype=object)
    traces: list[dict[str, Any]] = []
    for state, colour in STATE_COLOURS.items():
        rows = states == state
        if not rows.any():
            continue
        traces.append(
            {
                "type": "bar",
                "name": state,
                "orientation": "h",
                "y": labels[rows],
                "base": start[rows],
                "x": np.maximum(end[rows] - start[rows], _LEAST),
                # one instance alone is no reason for a bar as high as the figure
                "width": min(0.8, 0.15 + 0.1 * len(order)),
                "marker": {"color": colour, "pattern": {"shape": STATE_PATTERNS.get(state, "")}},
                "customdata": np.array([names[rows], (end[rows] - start[rows]) / 1000], dtype=object).T,
                "hovertemplate": "%{y} on %{customdata[0]}<br>"
                + state
                + " for %{customdata[1]:.1f} s<extra></extra>",
            }
        )
    return Part(
        title="Service instances",
        traces=traces,
        xaxis=dict(TIME_AXIS),
        yaxis={"type": "category", "autorange": "reversed"},
        empty="" if traces else "No services yet",
    )
