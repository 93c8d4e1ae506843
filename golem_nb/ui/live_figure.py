"""A figure that can be changed while it is shown, without its own copy of plotly's five megabytes."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import plotly
import plotly.graph_objects as go
import traitlets

from golem_nb.ui import assets
from golem_nb.ui.addressed import Addressed

__all__ = ["LiveFigure", "flat"]


#: What a trace is, and never becomes: plotly draws anew what is given another type, and exchanges x and y of
#: whatever is told its orientation in a change, those that come with it too.
FIXED = frozenset({"type", "orientation"})


class _Runtime(anywidget.AnyWidget):
    """Carries plotly's bundle to the page, and is never shown."""

    _esm = assets.script("runtime.js")
    _view_name = traitlets.Any(None, allow_none=True).tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)


def _bundle() -> str | None:
    """Return plotly's bundle; None if it is not what this expects."""
    path = Path(plotly.__file__).parent / "package_data" / "widgetbundle.js"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    # near its end it says: export{A as FigureModel,B as FigureView,C as default}
    return text if re.search(r"export\s*\{[^{}]* as default\b", text[-10_000:]) else None


_SOURCE = _bundle()


@functools.cache
def _runtime() -> _Runtime | None:
    """Return the one runtime of this kernel."""
    return None if _SOURCE is None else _Runtime(source=_SOURCE)


def _is_kernel() -> bool:
    """Whether this is a kernel of Jupyter, whose pages know all of its widgets."""
    from IPython.core.getipython import get_ipython

    return get_ipython() is not None


class LiveFigure(Addressed, go.FigureWidget):  # type: ignore[misc]  # plotly publishes no types
    """A `plotly.graph_objects.FigureWidget` that shares plotly's code with all others of its kernel.

    It fills the width that it is given, follows the theme of the page, and a page that is loaded again shows
    it as it is, not as it was made. Where plotly's bundle has changed it is an ordinary figure widget.
    """

    if _SOURCE is not None:
        _esm = assets.script("figure.js")
    _css = assets.read("figure.css")
    _made = False

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        if _is_kernel():
            _runtime()
        elif _SOURCE is not None:
            # elsewhere, as in marimo, a page does not get to know widgets that are never shown; a widget's
            # style sheet holds for it alone there, and plotly itself draws it
            self._esm = _SOURCE
            self._css = self._css.replace("[data-gnb-figure]", ".js-plotly-plot")
        super().__init__(*arguments, **keywords)
        self._config = {"responsive": True, "displaylogo": False, "showSendToCloud": False}
        self.on_msg(self._on_message)
        self._made = True
        self.open()

    def open(self) -> None:
        """Open the way to the browser, but not before the figure is complete: it goes out in one piece."""
        if self._made:
            super().open()

    def change(self, traces: Mapping[int, Mapping[str, Any]]) -> None:
        """Change several traces at once, in one message and so one drawing, without plotly's validation.

        Parameters
        ----------
        traces
            For each trace, by its number, properties by their paths. All traces are given the same ones: what
            one of them lacks and another has is taken away. Arrays of float64 travel as they are.
        """
        names = dict.fromkeys(name for properties in traces.values() for name in properties)
        for number, properties in traces.items():
            for name in names:
                _put(self._data[number], name, properties.get(name))
        self._send_update_msg(
            restyle_data={name: [properties.get(name) for properties in traces.values()] for name in names},
            relayout_data={},
            trace_indexes=list(traces),
        )

    def _on_message(self, _: Any, message: Any, __: Any) -> None:
        """Answer the browser's half, which wants to know whether it hears of changes."""
        kind = message.get("kind") if isinstance(message, dict) else None
        if kind == "ping":
            self.send({"kind": "pong"})
        elif kind == "hello":
            # what it has missed
            traces = [flat(trace) for trace in self._data]
            self._send_update_msg(
                restyle_data={
                    name: [trace.get(name) for trace in traces]
                    for name in dict.fromkeys(name for trace in traces for name in trace)
                },
                relayout_data=flat(self._layout),
                trace_indexes=list(range(len(traces))),
            )

    def _send_update_msg(
        self, restyle_data: Any, relayout_data: Any, trace_indexes: Any = None, source_view_id: Any = None
    ) -> None:
        # new data makes plotly.js forget what kind of axis it is for, unless the same message says it
        types = {
            f"{name}.{key}": axis[key]
            for name, axis in self._layout.items()
            if "axis" in name and isinstance(axis, dict)
            for key in ("type", "autorange")
            if key in axis
        }
        super()._send_update_msg(
            restyle_data, self._wide({**types, **(relayout_data or {})}), trace_indexes, source_view_id
        )

    def _send_relayout_msg(self, layout_data: Any, source_view_id: Any = None) -> None:
        super()._send_relayout_msg(self._wide(layout_data), source_view_id)

    def _wide(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return changes of the layout that leave the figure as wide as its place."""
        if "height" not in changes or self._layout.get("width") is not None:
            return dict(changes)
        # whoever sets the one has the other one set to what it is in that moment, for ever
        return {**changes, "autosize": True, "width": None}

    def _send_restyle_msg(
        self, restyle_data: Any, trace_indexes: Any = None, source_view_id: Any = None
    ) -> None:
        self._send_update_msg(restyle_data, {}, trace_indexes, source_view_id)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
        """Return the state for a page, with the figure as it is now."""
        # plotly itself keeps the figure as it was made
        if key is None and getattr(self, "_data", None) is not None:
            self._trait_values["_widget_data"] = copy.deepcopy(self._data)
            self._trait_values["_widget_layout"] = copy.deepcopy(self._layout)
        return super().get_state(key, drop_defaults)


def flat(properties: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return properties by their paths, which is how they can be changed; those of `FIXED` are left out."""
    found: dict[str, Any] = {}
    for key, value in properties.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{path}{key}.")
        elif path + key not in FIXED:
            found[path + key] = value
    return found


def _put(trace: dict[str, Any], path: str, value: Any) -> None:
    """Set a property by its path; None takes it away."""
    *parents, name = path.split(".")
    for parent in parents:
        trace = trace.setdefault(parent, {})
    if value is None:
        trace.pop(name, None)
    else:
        trace[name] = value
