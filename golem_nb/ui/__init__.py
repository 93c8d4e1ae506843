"""What a notebook shows: panels that live, snapshots that stay, and one line of text for everybody else.

Nothing here is loaded by ``import golem_nb``, and ipywidgets, anywidget and plotly only when something is
displayed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golem_nb.ui.desk import Desk

__all__ = ["Desk"]

_HOMES = {"Desk": "golem_nb.ui.desk"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'golem_nb.ui' has no attribute {name!r}")
