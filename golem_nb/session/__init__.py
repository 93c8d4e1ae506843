"""The notebook's face of golem_nb: a session whose engine runs in a thread of its own."""

from __future__ import annotations

from golem_nb.session.batch import Batch
from golem_nb.session.item import Item
from golem_nb.session.session import Session

__all__ = ["Batch", "Item", "Session"]
