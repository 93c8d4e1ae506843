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

__all__ = ["LiveFigure"]

_SHARED = (
    "globalThis.gnbPlotly ??= (() => { const shared = {}; "
    "shared.promise = new Promise((resolve) => { shared.resolve = resolve; }); return shared; })();\n"
)


class _Runtime(anywidget.AnyWidget):
    """Carries plotly's bundle to the page, and is never shown."""

    _view_name = traitlets.Any(None, allow_none=True).tag(sync=True)


def _runtime_source() -> str | None:
    """Return plotly's bundle, changed to give itself to all figures; None if it is not what this expects."""
    bundle = Path(plotly.__file__).parent / "package_data" / "widgetbundle.js"
    if not bundle.is_file():
        return None
    text = bundle.read_text(encoding="utf-8")
    # the last one says: export{A as FigureModel,B as FigureView,C as default}
    exports = list(re.finditer(r"export\s*\{[^{}]*?([\w$]+) as default[^{}]*\};?", text))
    if not exports:
        return None
    last = exports[-1]
    return (
        _SHARED
        + text[: last.start()]
        + f"globalThis.gnbPlotly.resolve({last[1]});export default {{ render() {{}} }};"
        + text[last.end() :]
    )


_SOURCE = _runtime_source()


@functools.cache
def _runtime() -> _Runtime | None:
    """Return the one runtime of this kernel."""
    return None if _SOURCE is None else _Runtime(_esm=_SOURCE)


class LiveFigure(go.FigureWidget):  # type: ignore[misc]  # plotly publishes no types
    """A `plotly.graph_objects.FigureWidget` that shares plotly's code with all others of its kernel.

    It fills the width that it is given, follows the theme of the page, and a page that is loaded again shows
    it as it is, not as it was made. Where plotly's bundle has changed it is an ordinary figure widget.
    """

    if _SOURCE is not None:
        _esm = assets.script("figure.js")
    _css = assets.read("figure.css")

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        _runtime()
        super().__init__(*arguments, **keywords)
        self._config = {"responsive": True, "displaylogo": False}

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
            restyle_data, {**types, **(relayout_data or {})}, trace_indexes, source_view_id
        )

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


def _put(trace: dict[str, Any], path: str, value: Any) -> None:
    """Set a property by its path; None takes it away."""
    *parents, name = path.split(".")
    for parent in parents:
        trace = trace.setdefault(parent, {})
    if value is None:
        trace.pop(name, None)
    else:
        trace[name] = value
