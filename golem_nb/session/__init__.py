"""The notebook's face of golem_nb: a session whose engine runs in a thread of its own."""

from __future__ import annotations
