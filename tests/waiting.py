"""Waiting for what another thread or process does, where nothing tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["soon"]


def soon(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Wait until a condition holds, for so long at most; return whether it does."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()
