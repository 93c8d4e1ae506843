"""The live dashboard: one figure, and a panel to choose what it shows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import ipywidgets
import numpy as np
import pandas as pd

from golem_nb.figures.costs import costs_part
from golem_nb.figures.dashboard import PARTS, assembled, check
from golem_nb.figures.offers import offers_part, prices_part
from golem_nb.figures.part import Part, placed
from golem_nb.figures.services import services_part
from golem_nb.figures.tasks import tasks_part, throughput_part
from golem_nb.ui import assets
from golem_nb.ui.faces import dashboard_html, dashboard_text
from golem_nb.ui.live_figure import LiveFigure, flat
from golem_nb.ui.panel import Panel
from golem_nb.ui.pump import Pump
from golem_nb.ui.series import Series
from golem_nb.ui.sources import SessionSource
from golem_nb.ui.text import clean

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from golem_nb.frames import Recorder

__all__ = ["Dashboard"]

TITLES = {
    "offers": "Offers seen",
    "prices": "Prices",
    "costs": "Cost",
    "services": "Services",
    "tasks": "Tasks",
    "throughput": "Throughput",
}

#: Traces that each part may have. They are all there from the beginning, so that none has to be added or
#: taken away while somebody looks at the figure.
SLOTS = {"offers": 1, "prices": 1, "costs": 10, "services": 8, "tasks": 5, "throughput": 1}

#: It is drawn that often, in seconds: each drawing keeps a browser busy for a tenth of one.
DRAW = 0.45

#: Frames that grow with the market are made no more often than that, in seconds.
SLOW = 2.0

#: A line to this moment grows in so many steps over its length, and no more often than once a second.
_STEPS = 200

_EMPTY: dict[str, Any] = {
    "name": "",
    "x": np.zeros(0),
    "y": np.zeros(0),
    "showlegend": False,
    "hovertemplate": "",
}


class Dashboard(Panel):
    """Offers, costs, services and tasks as they go on, in one figure.

    `figure` is a plain plotly figure of this moment; `live` is the one that is shown.

    Parameters
    ----------
    session
        Whose budget is drawn.
    recorder
        Its offers and services.
    series
        What was counted of its events.
    pump
        Keeps it up to date.
    show
        Which parts are shown at first.

    Raises
    ------
    ValueError
        There is no such part.
    """

    _esm = assets.script("dashboard.js")
    _css = assets.style("dashboard.css")
    actions: ClassVar[Mapping[str, str]] = {"show_part": "show_part"}
    interval = DRAW

    def __init__(
        self,
        session: SessionSource,
        recorder: Recorder | None,
        series: Series,
        pump: Pump,
        show: Sequence[str] = PARTS,
    ) -> None:
        self._session = session
        self._recorder = recorder
        self._series = series
        self._facts = session.facts()
        self._show = check(show)
        self._columns, self._tight = 2, False
        self._dark = False
        self._prices: Part = prices_part(pd.DataFrame({"price_full_hour": []}))
        self._prices_at = 0.0
        #: How far the line of the offers goes, in milliseconds since 1970.
        self._until: float | None = None
        self._drawing = threading.Lock()
        self._parts = self._compute()
        self._sent = _slotted(self._parts)
        self._laid = placed(self._parts, self._show)
        parts = {name: attrs.evolve(part, traces=self._sent[name]) for name, part in self._parts.items()}
        self.live = LiveFigure(assembled(parts, self._show))
        super().__init__(pump)

    @property
    def figure(self) -> go.Figure:
        """A plain figure of this moment, to be changed and exported."""
        return assembled(self._compute(), self._show, dark=self._dark)

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self._facts.state == "stopped"

    def choose(self, show: Sequence[str]) -> None:
        """Show these parts.

        Parameters
        ----------
        show
            Some of `golem_nb.figures.PARTS`.

        Raises
        ------
        ValueError
            There is no such part, or none is left.
        """
        with self._drawing:
            self._choose(check(show))
        self._pump.mark()

    def show_part(self, name: str, shown: bool) -> None:
        """Show one more part, or one less; where none is left, the figure says what to do.

        Parameters
        ----------
        name
            One of `golem_nb.figures.PARTS`.
        shown
            Whether it is to be shown.
        """
        with self._drawing:
            self._choose(tuple(part for part in PARTS if (shown if part == name else part in self._show)))
        self._pump.mark()

    def on_other(self, message: Mapping[str, Any], _: list[Any], /) -> None:
        """Hear how much room there is in the browser, and which theme."""
        if message.get("kind") == "theme":
            self._dark = message.get("dark") is True
        elif message.get("kind") == "room":
            # the next drawing places everything anew
            self._columns = 1 if message.get("narrow") is True else 2
            self._tight = message.get("tight") is True
            self._pump.mark()

    def _choose(self, chosen: tuple[str, ...]) -> None:
        self._show = chosen
        wanted = [name in chosen for name in PARTS for _ in range(SLOTS[name])]
        self._laid = placed(self._parts, chosen, self._columns, tight=self._tight)
        with self.live.batch_update():
            self._lay(self._laid)
            for trace, visible in zip(self.live.data, wanted, strict=True):
                trace.visible = visible

    def describe(self) -> dict[str, Any]:
        """Return the state for the browser, and draw what has changed."""
        self._facts = self._session.facts()
        self._draw()
        return {
            "name": clean(self._facts.name, 60),
            "state": self._facts.state,
            "parts": {name: {"title": TITLES[name], "shown": name in self._show} for name in PARTS},
        }

    def bundle(self) -> dict[str, Any]:
        """Return the three faces; the live one holds panel and figure."""
        grid = ipywidgets.GridBox(
            [self, self.live], layout=ipywidgets.Layout(grid_template_columns="minmax(0, 1fr)", width="100%")
        )
        bundle = super().bundle()
        view = dict(next(value for key, value in bundle.items() if "widget-view" in key))
        view["model_id"] = grid.model_id
        return {key: view if "widget-view" in key else value for key, value in bundle.items()}

    def last_bundle(self) -> dict[str, Any]:
        """Return what is left of it: the figure as it was, which needs no kernel, and the other faces."""
        from plotly.io import to_json

        last = self.figure
        # the page's theme is not asked any more, and may be another one when the notebook is opened again
        paper = "#111111" if self._dark else "#ffffff"
        last.update_layout(paper_bgcolor=paper, plot_bgcolor=paper)
        figure: dict[str, Any] = json.loads(to_json(last, validate=False))
        return {"application/vnd.plotly.v1+json": figure, **super().last_bundle()}

    def face_html(self) -> str:
        """Return a snapshot: the numbers that the figure shows."""
        tasks, costs = self._series.tasks, self._costs_by_provider()
        return dashboard_html(self._facts, self._series.offers, tasks, costs)

    def face_text(self) -> str:
        """Return one line."""
        return dashboard_text(self._facts, self._series.offers, self._series.tasks)

    def _costs_by_provider(self) -> dict[str, float]:
        _, names, costs = self._series.cost_rows
        return dict(zip(names, costs, strict=True))

    def _compute(self) -> dict[str, Part]:
        self._series.sample()
        facts = self._session.facts()
        time_, offers = self._series.offer_rows
        if time_ and facts.state != "stopped":
            moment = time.time() * 1000
            # what would not move by a pixel or two is not worth a drawing
            step = max((moment - time_[0]) / _STEPS, 1000.0)
            self._until = moment - moment % step
        finished_at, finished = self._series.task_rows
        cost_at, providers, costs = self._series.cost_rows
        now = time.monotonic()
        if self._recorder is not None and now - self._prices_at > SLOW:
            self._prices_at = now
            self._prices = prices_part(self._recorder.offers())
        columns = ("service", "class", "job", "provider", "state", "start", "end")
        services = pd.DataFrame({name: [] for name in columns})
        if self._recorder is not None:
            services = self._recorder.services()
        return {
            "offers": offers_part(_frame(time=time_, offers=offers), self._until),
            "prices": self._prices,
            "costs": costs_part(
                _frame(time=cost_at, provider=providers, cost=costs),
                float(facts.budget),
                going_on=facts.state != "stopped" and facts.per_hour != 0,
            ),
            "services": services_part(services),
            "tasks": tasks_part(self._series.tasks),
            "throughput": throughput_part(_frame(time=finished_at, finished=finished)),
        }

    def _draw(self) -> None:
        """Bring the figure up to date: only traces that differ, all in one message."""
        with self._drawing:
            self._parts = self._compute()
            wanted = _slotted(self._parts)
            changed: dict[int, dict[str, Any]] = {}
            keys: set[str] = set()
            index = 0
            for name in PARTS:
                for before, after in zip(self._sent[name], wanted[name], strict=True):
                    if name in self._show and (differing := _differing(before, after)):
                        changed[index] = after
                        keys |= differing
                    index += 1
            if changed:
                self.live.change(
                    {
                        number: flat({key: trace[key] for key in keys if key in trace})
                        for number, trace in changed.items()
                    }
                )
            for name in self._show:
                self._sent[name] = wanted[name]
            # axes appear with the first data
            laid = placed(self._parts, self._show, self._columns, tight=self._tight)
            if laid != self._laid:
                self._laid = laid
                with self.live.batch_update():
                    self._lay(laid)

    def _lay(self, laid: Mapping[str, Any]) -> None:
        # an update would give each annotation what the one before it in its place had, and leave what is
        # too many
        self.live.layout.annotations = laid["annotations"]
        self.live.layout.update({name: value for name, value in laid.items() if name != "annotations"})


def _frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def _slotted(parts: Mapping[str, Part]) -> dict[str, list[dict[str, Any]]]:
    """Return each part's traces, filled up with empty ones; lines over areas keep the last places."""
    found = {}
    for name, part in parts.items():
        areas = [trace for trace in part.traces if "stackgroup" in trace or name != "costs"]
        lines = [trace for trace in part.traces if "stackgroup" not in trace and name == "costs"]
        kind = {"type": "bar", "orientation": "h"} if name == "services" else {"type": "scatter"}
        fill = SLOTS[name] - len(areas) - len(lines)
        slots = [*areas, *({**_EMPTY, **kind} for _ in range(fill)), *lines]
        found[name] = [{"showlegend": True, **slot} for slot in slots[: SLOTS[name]]]
    return found


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return the properties in which two traces differ."""
    keys = before.keys() ^ after.keys()
    for key in before.keys() & after.keys():
        known, value = before[key], after[key]
        if isinstance(value, np.ndarray):
            if not (isinstance(known, np.ndarray) and np.array_equal(known, value)):
                keys.add(key)
        elif known != value:
            keys.add(key)
    return keys
