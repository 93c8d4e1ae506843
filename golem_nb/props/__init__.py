"""The language of demands and offers: properties, constraints, and models of both."""

from __future__ import annotations

from golem_nb.props.base import ConstraintException, InvalidPropertiesError, Model, constraint, prop
from golem_nb.props.node import Activity, NodeInfo

__all__ = [
    "Activity",
    "ConstraintException",
    "InvalidPropertiesError",
    "Model",
    "NodeInfo",
    "constraint",
    "prop",
]
