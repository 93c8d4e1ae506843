"""Figures of services."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from golem_nb.figures.part import TIME_AXIS, Part, alone
from golem_nb.figures.style import escaped
from golem_nb.figures.times import milliseconds
from golem_nb.frames.instances import STATE_COLOURS, STATE_PATTERNS, instance_names

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
    names = _names(services)
    order = list(names)[-MOST_INSTANCES:]
    services = services[services["service"].isin(order)]
    start, end = milliseconds(services["start"]), milliseconds(services["end"])
    states = services["state"].astype(str).to_numpy()
    over = np.isin(states, list(_OVER))
    end = np.where(np.isnan(end), np.where(over, start, until), end)
    # rows are told apart by their ids, which nobody wants to read
    ids = services["service"].astype(str).to_numpy(dtype=object)
    labels = np.array(
        [
            f"{escaped(kind)} on {escaped(names[each])}"
            for kind, each in zip(services["class"], ids, strict=True)
        ],
        dtype=object,
    )
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
                "y": ids[rows],
                "base": start[rows],
                "x": np.maximum(end[rows] - start[rows], _LEAST),
                # one instance alone is no reason for a bar as high as the figure
                "width": min(0.8, 0.15 + 0.1 * len(order)),
                "marker": {"color": colour, "pattern": {"shape": STATE_PATTERNS[state]}},
                "customdata": np.array([labels[rows], (end[rows] - start[rows]) / 1000], dtype=object).T,
                "hovertemplate": "%{customdata[0]}<br>"
                + state
                + " for %{customdata[1]:.1f} s<extra></extra>",
            }
        )
    return Part(
        title="Service instances",
        traces=traces,
        xaxis=dict(TIME_AXIS),
        yaxis={
            "type": "category",
            "autorange": "reversed",
            "tickmode": "array",
            "tickvals": order,
            "ticktext": [escaped(names[each], 20) for each in order],
        },
        empty="" if traces else "No services yet",
    )


def _names(services: pd.DataFrame) -> dict[str, str]:
    """Return what instances are called in the panels of their clusters, by their ids, in their order."""
    # an instance may have been on other providers before
    last = services.astype({"service": str, "provider": object}).groupby("service", sort=False).last()
    found: dict[str, str] = {}
    for _, cluster in last.groupby("job", sort=False, dropna=False, observed=True):
        found |= instance_names((str(each), _text(name)) for each, name in cluster["provider"].items())
    return {str(each): found[str(each)] for each in last.index}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
