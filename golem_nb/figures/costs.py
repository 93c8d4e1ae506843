"""Figures of money. Amounts are in GLM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from golem_nb.figures.part import TIME_AXIS, Part, alone
from golem_nb.figures.style import PALETTE, escaped, finish, texts
from golem_nb.figures.times import Floats, led_in, milliseconds, numbers, thinned
from golem_nb.log import pluralize

__all__ = [
    "cost_by_provider",
    "cost_by_session",
    "cost_over_time",
    "costs_go_on",
    "costs_part",
    "running_costs",
]

#: Providers that get a colour of their own; the others are shown together.
MOST_PROVIDERS = 7

#: Points of the areas: they share their times.
_POINTS = 200

#: The projection looks that far ahead, as a share of the time so far.
_AHEAD = 0.25


def cost_over_time(
    costs: pd.DataFrame, budget: float | None = None, *, going_on: bool = True, dark: bool = False
) -> go.Figure:
    """Return what was spent, over time and by provider, with the budget and a projection.

    Parameters
    ----------
    costs
        Columns ``time``, ``provider`` and ``cost``, the provider's sum at that time; what `running_costs`
        makes of events.
    budget
        Drawn as a line.
    going_on
        Whether something still runs, and so costs: only then there is a projection.
    dark
        For a dark page.
    """
    return alone(costs_part(costs, budget, going_on=going_on), dark=dark)


def costs_go_on(events: pd.DataFrame) -> bool:
    """Return whether an agreement has not ended, from the events of a session.

    Parameters
    ----------
    events
        As `golem_nb.frames.Recorder.events` gives them.
    """
    # one that was taken up from another session is confirmed there
    begun = events["event"].isin(("AgreementConfirmed", "WorkerStarted"))
    ended = events["event"] == "AgreementTerminated"
    return bool(set(events.loc[begun, "agreement"]) - set(events.loc[ended, "agreement"]))


def running_costs(events: pd.DataFrame) -> pd.DataFrame:
    """Return each provider's accepted sum over time, from the events of a session.

    Parameters
    ----------
    events
        As `golem_nb.frames.Recorder.events` gives them.
    """
    documents = events[events["event"].isin(("DebitNoteAccepted", "InvoiceAccepted"))]
    due: dict[Any, dict[Any, float]] = {}
    sums: dict[Any, float] = {}
    running = []
    for kind, provider, agreement, activity, asked in zip(
        *(documents[name] for name in ("event", "provider", "agreement", "activity", "amount")), strict=True
    ):
        # a note asks for all that its activity owes until then, an invoice for all of the agreement
        known = due.setdefault(agreement, {})
        before = sum(known.values())
        if kind == "InvoiceAccepted":
            due[agreement] = known = {None: asked}
        else:
            known[activity] = asked
        sums[provider] = sums.get(provider, 0.0) + sum(known.values()) - before
        running.append(sums[provider])
    return pd.DataFrame(
        {
            "time": documents["time"].to_numpy(),
            "provider": documents["provider"].astype(str).to_numpy(),
            "cost": np.array(running, dtype=np.float64),
        }
    )


def cost_by_provider(costs: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """Return what each provider has cost: settled, accepted and not yet billed.

    Parameters
    ----------
    costs
        As `golem_nb.frames.Recorder.costs` or `History.costs` gives them.
    dark
        For a dark page.
    """
    # of past sessions it is known what was billed, and not what else was to be expected
    owed = costs["expected"] if "expected" in costs else costs[["due", "invoiced"]].max(axis="columns")
    sums = costs.assign(owed=owed).groupby("provider", observed=True)[["owed", "accepted", "settled"]].sum()
    sums = sums.sort_values("accepted", ascending=False).head(40)
    settled, accepted = numbers(sums["settled"]), numbers(sums["accepted"])
    rest = np.maximum(numbers(sums["owed"]) - accepted, 0)
    figure = go.Figure()
    shares: list[tuple[str, Floats, str, str]] = [
        ("settled", settled, PALETTE[2], ""),
        ("accepted", np.maximum(accepted - settled, 0), PALETTE[0], ""),
        ("not billed yet", rest, PALETTE[1], "/"),
    ]
    for name, values, colour, pattern in shares:
        figure.add_bar(
            y=texts(sums.index),
            x=values,
            orientation="h",
            name=name,
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate="%{y}: %{x:.6f} GLM<extra>" + name + "</extra>",
        )
    figure.update_xaxes(title_text="GLM")
    figure.update_yaxes(type="category", autorange="reversed")
    return finish(figure, dark=dark, height=120 + 26 * max(len(sums), 2))


def cost_by_session(sessions: pd.DataFrame, *, dark: bool = False) -> go.Figure:
    """Return what each session has cost, oldest first.

    Parameters
    ----------
    sessions
        As `golem_nb.frames.History.sessions` gives them.
    dark
        For a dark page.
    """
    figure = go.Figure()
    accepted, settled = numbers(sessions["accepted"]), numbers(sessions["settled"])
    labels = np.array([texts(sessions["name"]), texts(sessions["network"])], dtype=object).T
    for name, values, colour in (
        ("settled", settled, PALETTE[2]),
        ("accepted", np.maximum(accepted - settled, 0), PALETTE[0]),
    ):
        figure.add_bar(
            x=np.arange(len(sessions), dtype=np.float64),
            y=values,
            name=name,
            marker={"color": colour},
            customdata=labels,
            hovertemplate="%{customdata[0]} on %{customdata[1]}: %{y:.6f} GLM<extra>" + name + "</extra>",
        )
    started = pd.DatetimeIndex(sessions["started"]).strftime("%Y-%m-%d %H:%M")
    figure.update_xaxes(
        tickvals=list(range(len(sessions)))[:: max(len(sessions) // 12, 1)],
        ticktext=list(started)[:: max(len(sessions) // 12, 1)],
    )
    figure.update_yaxes(title_text="GLM", rangemode="tozero")
    return finish(figure, dark=dark, height=360)


def costs_part(costs: pd.DataFrame, budget: float | None = None, *, going_on: bool = True) -> Part:
    """Return the cost over time as a part."""
    time, cost = milliseconds(costs["time"]), numbers(costs["cost"])
    codes, names = pd.factorize(costs["provider"])
    last = [float(cost[codes == code][-1]) for code in range(len(names))]
    order = sorted(range(len(names)), key=lambda code: -last[code])
    grid = np.unique(time)
    (grid,) = thinned(grid, most=_POINTS)
    (shown,) = led_in(grid)
    total = np.zeros(len(grid))
    others = np.zeros(len(shown))
    traces: list[dict[str, Any]] = []
    for rank, code in enumerate(order):
        rows = codes == code
        total += _stretched(grid, time[rows], cost[rows])
        spread = _stretched(shown, time[rows], cost[rows])
        if rank >= MOST_PROVIDERS:
            others += spread
            continue
        traces.append(_area(escaped(names[code], 20), shown, spread, PALETTE[rank]))
    if len(order) > MOST_PROVIDERS:
        traces.append(_area(pluralize(len(order) - MOST_PROVIDERS, "other"), shown, others, PALETTE[-1]))
    if len(grid):
        end, most = grid[-1], total[-1]
        if going_on and len(grid) > 1:
            end += (grid[-1] - grid[0]) * _AHEAD
            # the pace of the later half: deploying costs nothing, and would pull the line down
            half = int(np.searchsorted(grid, (grid[0] + grid[-1]) / 2))
            half = min(half, len(grid) - 2)
            most += (total[-1] - total[half]) / (grid[-1] - grid[half]) * (end - grid[-1])
            traces.append(_line("projection", np.array([grid[-1], end]), np.array([total[-1], most]), "dot"))
        # far below the budget its line would press everything else to the ground
        if budget is not None and most > budget / 4:
            traces.append(
                _line("budget", np.array([shown[0], end]), np.array([budget, budget]), "dash", PALETTE[4])
            )
    return Part(
        title="Cost" if budget is None else f"Cost, of a budget of {budget:g} GLM",
        traces=traces,
        xaxis=dict(TIME_AXIS),
        yaxis={"title": {"text": "GLM"}, "rangemode": "tozero", "exponentformat": "none"},
        empty="" if len(grid) else "Nothing is spent yet",
    )


def _stretched(grid: Floats, time: Floats, values: Floats) -> Floats:
    """Return what a stepwise sum was at other times."""
    index = np.searchsorted(time, grid, side="right") - 1
    return np.where(index < 0, 0.0, values[np.maximum(index, 0)])


def _area(name: str, x: Floats, y: Floats, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "x": x,
        "y": y,
        "mode": "lines",
        "stackgroup": "cost",
        "line": {"shape": "hv", "width": 1, "color": colour},
        "hovertemplate": "%{y:.6f} GLM at %{x|%H:%M:%S}<extra>" + name + "</extra>",
    }


def _line(name: str, x: Floats, y: Floats, dash: str, colour: str = PALETTE[-1]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "x": x,
        "y": y,
        "mode": "lines",
        "line": {"dash": dash, "width": 2, "color": colour},
        "hovertemplate": "%{y:.6f} GLM<extra>" + name + "</extra>",
    }
