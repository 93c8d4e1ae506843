"""How figures look: transparent, so that they fit any page, and readable on light and on dark ones."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

__all__ = ["PALETTE", "STATE_COLOURS", "STATE_PATTERNS", "STRIP", "escaped", "finish", "texts"]

#: Told apart by people who see colours differently, and at least 3:1 on white and on JupyterLab's dark grey.
PALETTE = ("#3b82c4", "#c2701c", "#3a9d5d", "#a06bd1", "#cc5560", "#8f7c3a", "#23989a", "#808080")

#: Of tasks.
STATE_COLOURS = {
    "waiting": "#808080",
    "running": "#3b82c4",
    "accepted": "#3a9d5d",
    "rejected": "#c2701c",
    "failed": "#cc5560",
}

#: A state is never told by its colour alone.
STATE_PATTERNS = {"waiting": ".", "rejected": "\\", "failed": "x"}

#: Plotly's buttons lie over the top of a figure while the mouse is there; nothing else does, in pixels.
STRIP = 26

#: Buttons that would send the figure to somebody, or do what mouse and wheel do, and take what room there is.
_NO_BUTTONS = (
    "sendChartToCloud",
    "sendDataToCloud",
    "select2d",
    "lasso2d",
    "zoomIn2d",
    "zoomOut2d",
    "autoScale2d",
)

_LIGHT = {"text": "#1b1f24", "muted": "#57606a", "grid": "rgba(110,119,129,0.22)", "hover": "#ffffff"}
_DARK = {"text": "#f0f3f6", "muted": "#a7b1bb", "grid": "rgba(160,170,180,0.22)", "hover": "#22272e"}


def escaped(value: object, limit: int = 40) -> str:
    """Return a text that plotly shows as it is.

    plotly reads tags and entities in every text, and TeX between dollar signs; a provider's name may hold
    both.
    """
    text = str(value)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return html.escape(shown, quote=False).replace("$", "&#36;")


def texts(values: Iterable[object]) -> list[str]:
    """Return texts that plotly shows as they are."""
    known: dict[object, str] = {}
    return [known[value] if value in known else known.setdefault(value, escaped(value)) for value in values]


def finish(figure: go.Figure, *, dark: bool = False, height: int | None = None, **layout: Any) -> go.Figure:
    """Give a figure its colours and margins; returns it."""
    colours = _DARK if dark else _LIGHT
    figure.update_layout(
        template="none",
        colorway=PALETTE,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": colours["text"]},
        hoverlabel={
            "bgcolor": colours["hover"],
            "font": {"color": colours["text"]},
            "bordercolor": colours["muted"],
        },
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "bgcolor": "rgba(0,0,0,0)"},
        modebar={
            "remove": list(_NO_BUTTONS),
            "bgcolor": "rgba(0,0,0,0)",
            "color": colours["muted"],
            "activecolor": colours["text"],
        },
        margin={"l": 64, "r": 16, "t": 56, "b": 48},
        autosize=True,
        height=height,
        barmode="stack",
        bargap=0.15,
    )
    axis = {
        "gridcolor": colours["grid"],
        "zerolinecolor": colours["grid"],
        "linecolor": colours["muted"],
        "tickfont": {"color": colours["muted"]},
        "automargin": True,
        "title": {"standoff": 8},
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_layout(**layout)
    return figure
