"""Frames as figures: functions from DataFrames to plotly figures that know of nothing else.

They take the frames of a session, of `golem_nb.frames.history` or of your own, and return plain
`plotly.graph_objects.Figure` objects, to be changed and exported like any other.
"""

from __future__ import annotations

from golem_nb.figures.costs import cost_by_provider, cost_by_session, cost_over_time
from golem_nb.figures.dashboard import PARTS, dashboard
from golem_nb.figures.offers import offers_over_time, price_against_size, price_distribution
from golem_nb.figures.services import service_states
from golem_nb.figures.tasks import task_states, throughput

__all__ = [
    "PARTS",
    "cost_by_provider",
    "cost_by_session",
    "cost_over_time",
    "dashboard",
    "offers_over_time",
    "price_against_size",
    "price_distribution",
    "service_states",
    "task_states",
    "throughput",
]
