"""One figure of everything: a figure costs a browser megabytes, a subplot next to nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from golem_nb.figures.costs import costs_go_on, costs_part, running_costs
from golem_nb.figures.offers import offers_part, prices_part
from golem_nb.figures.part import Part, placed
from golem_nb.figures.services import services_part
from golem_nb.figures.style import STRIP, finish
from golem_nb.figures.tasks import finished_counts, tasks_part, throughput_part

__all__ = ["PARTS", "assembled", "check", "dashboard", "traces"]

#: What a dashboard may show, in its order.
PARTS = ("offers", "prices", "costs", "services", "tasks", "throughput")


def check(show: Sequence[str] | str) -> tuple[str, ...]:
    """Return a choice of parts, in order.

    Raises
    ------
    ValueError
        One of them does not exist, or there is none.
    """
    chosen = (show,) if isinstance(show, str) else tuple(show)
    for name in chosen:
        if name not in PARTS:
            raise ValueError(f"A dashboard has no part {name!r}; it has {', '.join(PARTS)}")
    if not chosen:
        raise ValueError(f"Choose at least one of {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in chosen)


def dashboard(
    *,
    events: pd.DataFrame,
    offers: pd.DataFrame,
    services: pd.DataFrame,
    tasks: pd.DataFrame,
    budget: float | None = None,
    show: Sequence[str] = PARTS,
    now: datetime | None = None,
    dark: bool = False,
) -> go.Figure:
    """Return offers, costs, services and tasks as one figure.

    Parameters
    ----------
    events, offers, services, tasks
        As the methods of `golem_nb.frames.Recorder` give them.
    budget
        Drawn as a line, GLM.
    show
        Which of `PARTS`.
    now
        States that go on are drawn until then, and so is the number of offers: to the last event by default.
    dark
        For a dark page.

    Raises
    ------
    ValueError
        There is no such part.

    Examples
    --------
    ::

        figure = dashboard(
            events=session.events,
            offers=session.offers(),
            services=recorder.services(),
            tasks=recorder.tasks(),
        )
        figure.write_html("costs.html")
    """
    # a session has looked at the market for as long as something happened in it
    until = events["time"].max() if now is None and len(events) else now
    proposals = events.loc[events["event"] == "ProposalReceived", ["time", "provider_id"]]
    # each provider counts once, however many jobs it was asked for
    seen = proposals.drop_duplicates("provider_id")["time"]
    counts = pd.DataFrame({"time": seen, "offers": range(1, len(seen) + 1)})
    states = tasks["state"].astype(str).value_counts()
    parts = {
        "offers": offers_part(counts, None if until is None else until.timestamp() * 1000),
        "prices": prices_part(offers),
        "costs": costs_part(running_costs(events), budget, going_on=costs_go_on(events)),
        "services": services_part(services, now),
        "tasks": tasks_part({str(state): int(number) for state, number in states.items()}),
        "throughput": throughput_part(finished_counts(tasks)),
    }
    return assembled(parts, check(show), dark=dark)


def traces(parts: Mapping[str, Part], show: Sequence[str]) -> list[dict[str, Any]]:
    """Return the traces of several parts, each on its axes; those that are not chosen are not visible."""
    found = []
    for number, (name, part) in enumerate(parts.items(), 1):
        suffix = "" if number == 1 else str(number)
        found += [
            {
                **trace,
                "xaxis": f"x{suffix}",
                "yaxis": f"y{suffix}",
                "visible": name in show,
            }
            for trace in part.traces
        ]
    return found


def assembled(parts: Mapping[str, Part], show: Sequence[str], *, dark: bool = False) -> go.Figure:
    """Return one figure of several parts."""
    figure = go.Figure(traces(parts, show))
    figure.update_layout(placed(parts, show))
    finish(figure, dark=dark, height=figure.layout.height)
    figure.update_layout(
        legend={"y": 0, "yref": "container", "traceorder": "normal"}, margin={"t": 34 + STRIP, "b": 70}
    )
    return figure
