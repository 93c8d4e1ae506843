"""Widgets that know their address from the beginning, so that their browser half can look after them."""

from __future__ import annotations

import uuid

import traitlets
from ipywidgets import Widget

__all__ = ["Addressed"]


class Addressed(Widget):  # type: ignore[misc]  # ipywidgets publishes no types
    """A widget that tells its browser half its own id."""

    _gnb_id = traitlets.Unicode().tag(sync=True)

    def open(self) -> None:
        """Open the way to the browser."""
        name: str | None = getattr(self, "_model_id", None)
        self._model_id = self._gnb_id = name or uuid.uuid4().hex
        super().open()
