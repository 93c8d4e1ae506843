"""A part of a figure: traces and axes that can stand alone or as one of several subplots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import plotly.graph_objects as go

from golem_nb.figures.style import STRIP, finish

__all__ = ["TIME_AXIS", "Part", "alone", "placed"]

#: An axis of time: few ticks, since those of short times are long.
TIME_AXIS: Mapping[str, Any] = {"type": "date", "nticks": 4, "tickangle": 0}

#: Where it is tight, an axis of time has so many ticks, and headings begin so much farther left, in pixels.
_TIGHT_TICKS, _MARGIN = 2, 70

#: Space between subplots, as shares of the figure: for ticks, axis titles and headings.
_GAP_X, _GAP_Y = 0.11, 0.19


@attrs.define
class Part:
    """One subplot.

    Parameters
    ----------
    title
        Its heading.
    traces
        Traces as JSON data, each with a ``name`` that is unique within the part.
    xaxis, yaxis
        Its axes.
    empty
        What is said in place of data, where there is none; an axis of nothing is only confusing.
    """

    title: str
    traces: list[dict[str, Any]]
    xaxis: dict[str, Any] = attrs.field(factory=dict)
    yaxis: dict[str, Any] = attrs.field(factory=dict)
    empty: str = ""


def alone(part: Part, *, dark: bool, height: int = 360) -> go.Figure:
    """Return a figure of one part."""
    figure = go.Figure(part.traces)
    figure.update_xaxes(**part.xaxis, **_scale(part))
    figure.update_yaxes(**part.yaxis, **_scale(part))
    if part.empty:
        figure.add_annotation(_words(part, 0.5, 0.5))
    legend = sum(trace.get("showlegend", True) for trace in part.traces) > 1
    finish(figure, dark=dark, height=height + STRIP)
    return figure.update_layout(
        title={
            "text": part.title,
            "font": {"size": 15},
            "x": 0,
            "xref": "container",
            "y": 1,
            "yanchor": "top",
            "pad": {"l": 12, "t": STRIP + 4},
        },
        # at the bottom, where it is in no other's way, however many rows it takes
        legend={"y": 0, "yref": "container", "traceorder": "normal"},
        margin={"t": STRIP + 38, "b": 48 + 26 * legend},
    )


def placed(
    parts: Mapping[str, Part], show: Sequence[str], columns: int = 2, *, tight: bool = False
) -> dict[str, Any]:
    """Return the layout of a figure with several parts: all their axes, and headings.

    Axes are numbered by the order of `parts`, whether they are shown or not, so that a figure can be given
    another choice by another layout alone. Where it is tight, headings begin at the figure's edge, and ticks
    and titles of axes leave each other room.
    """
    shown = [name for name in parts if name in show]
    columns = min(columns, max(len(shown), 1))
    rows = max(math.ceil(len(shown) / columns), 1)
    width = (1 - _GAP_X * (columns - 1)) / columns
    gap = _GAP_Y * 2 / max(rows, 2)
    depth = (1 - gap * (rows - 1)) / rows
    layout: dict[str, Any] = {"annotations": []}
    for number, (name, part) in enumerate(parts.items(), 1):
        suffix = "" if number == 1 else str(number)
        xaxis = {**part.xaxis, **_scale(part), "anchor": f"y{suffix}"}
        yaxis = {**part.yaxis, **_scale(part), "anchor": f"x{suffix}"}
        if "nticks" in xaxis and tight:
            xaxis["nticks"] = _TIGHT_TICKS
        if "title" in xaxis:
            xaxis["title"] = {**xaxis["title"], "font": {"size": 9 if tight else 12}}
        if name in shown:
            row, column = divmod(shown.index(name), columns)
            # the last one of an odd number has the row to itself
            last = len(shown) % columns and shown.index(name) == len(shown) - 1
            left = column * (width + _GAP_X)
            top = 1 - row * (depth + gap)
            xaxis.update(domain=[left, 1.0 if last else left + width], visible=True)
            yaxis.update(domain=[max(top - depth, 0.0), top], visible=True)
            if part.empty:
                right = xaxis["domain"][1]
                layout["annotations"].append(_words(part, (left + right) / 2, top - depth / 2))
            layout["annotations"].append(
                {
                    "text": f"<b>{part.title}</b>",
                    "x": left,
                    "y": top,
                    "xref": "paper",
                    "yref": "paper",
                    "xanchor": "left",
                    "yanchor": "bottom",
                    "xshift": -_MARGIN if tight else 0,
                    "yshift": 6,
                    "showarrow": False,
                    "font": {"size": 12 if tight else 13},
                }
            )
        else:
            xaxis.update(domain=[0.0, 0.01], visible=False)
            yaxis.update(domain=[0.0, 0.01], visible=False)
        layout[f"xaxis{suffix}"] = xaxis
        layout[f"yaxis{suffix}"] = yaxis
    layout["height"] = 80 + STRIP + 280 * rows
    if not shown:
        layout["height"] = 200
        nothing = Part("", [], empty="Nothing is chosen. Tick above what you want to see.")
        layout["annotations"].append(_words(nothing, 0.5, 0.5))
    return layout


def _scale(part: Part) -> dict[str, Any]:
    # a line in particular: where a legend makes room for itself, plotly draws those of axes without data
    # before it has worked out where they are, and the browser complains of numbers that are none
    return dict.fromkeys(("showticklabels", "showgrid", "showline", "zeroline"), not part.empty)


def _words(part: Part, x: float, y: float) -> dict[str, Any]:
    """Return the annotation that says that there is nothing."""
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "middle"}
    return {**place, "text": part.empty, "showarrow": False, "opacity": 0.75}
