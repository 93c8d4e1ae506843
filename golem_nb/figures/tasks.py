"""Figures of tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from golem_nb.figures.part import TIME_AXIS, Part, alone
from golem_nb.figures.style import PALETTE, STATE_COLOURS, STATE_PATTERNS
from golem_nb.figures.times import led_in, milliseconds, numbers, thinned

__all__ = ["finished_counts", "task_states", "tasks_part", "throughput", "throughput_part"]

_STATES = ("waiting", "running", "accepted", "rejected", "failed")

#: Intervals in which throughput is counted.
_INTERVALS = 60


def task_states(tasks: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """Return how many tasks are in which state.

    Parameters
    ----------
    tasks
        As `golem_nb.frames.Recorder.tasks` gives them.
    dark
        For a dark page.
    """
    counts = tasks["state"].astype(str).value_counts()
    return alone(
        tasks_part({str(state): int(number) for state, number in counts.items()}), dark=dark, height=280
    )


def throughput(tasks: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """Return how many tasks were finished, over time, and how many a second.

    Parameters
    ----------
    tasks
        As `golem_nb.frames.Recorder.tasks` gives them.
    dark
        For a dark page.
    """
    return alone(throughput_part(finished_counts(tasks)), dark=dark)


def finished_counts(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return how many tasks were finished until when: columns ``time`` and ``finished``."""
    time = np.sort(milliseconds(tasks.loc[tasks["state"] == "accepted", "finished"].dropna()))
    return pd.DataFrame({"time": time, "finished": np.arange(1, len(time) + 1, dtype=np.float64)})


def tasks_part(counts: dict[str, int]) -> Part:
    """Return tasks by state as a part."""
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": state,
            "y": [state],
            "x": np.array([counts.get(state, 0)], dtype=np.float64),
            "orientation": "h",
            "text": [str(counts.get(state, 0))],
            # beside the bar, since no colour of text can be read on all the colours and patterns of states
            "textposition": "outside",
            "cliponaxis": False,
            "marker": {
                "color": STATE_COLOURS[state],
                "pattern": {"shape": STATE_PATTERNS.get(state, ""), "fillmode": "overlay"},
            },
            "hovertemplate": "%{x} " + state + "<extra></extra>",
            "showlegend": False,
        }
        for state in _STATES
    ]
    return Part(
        title="Tasks by state",
        traces=traces,
        xaxis={"rangemode": "tozero"},
        yaxis={"type": "category", "categoryarray": list(_STATES), "autorange": "reversed"},
        empty="" if any(counts.values()) else "No tasks yet",
    )


def throughput_part(counts: pd.DataFrame) -> Part:
    """Return finished tasks a second as a part; see `finished_counts` for the columns."""
    time, finished = milliseconds(counts["time"]), numbers(counts["finished"])
    if len(time) > 1 and time[-1] > time[0]:
        edges = np.linspace(time[0], time[-1], min(_INTERVALS, max(len(time), 2)) + 1)
        sums = np.interp(edges, time, finished)
        middle = (edges[:-1] + edges[1:]) / 2
        rate = np.diff(sums) / np.diff(edges) * 1000
    else:
        middle, rate = thinned(time, np.zeros(len(time)))
    middle, rate = led_in(middle, rate)
    return Part(
        title="Throughput",
        traces=[
            {
                "type": "scatter",
                "name": "tasks a second",
                "x": middle,
                "y": rate,
                "mode": "lines",
                "line": {"width": 2, "color": PALETTE[2]},
                "fill": "tozeroy",
                "hovertemplate": "%{y:.2f} a second at %{x|%H:%M:%S}<extra></extra>",
                "showlegend": False,
            }
        ],
        xaxis=dict(TIME_AXIS),
        yaxis={"title": {"text": "tasks a second"}, "rangemode": "tozero"},
        empty="" if finished.any() else "No task is done yet",
    )
