"""The version, and a remedy for old event loops on Windows."""

from __future__ import annotations

import asyncio
import sys

from golem_nb._version import __version__

__all__ = ["get_version", "windows_event_loop_fix"]


def get_version() -> str:
    """Return the version of this library."""
    return __version__


def windows_event_loop_fix() -> None:
    """Make new event loops on Windows proactor loops, which can run sub-processes.

    They are the default there, so this changes something only where another library has set a different
    policy. Elsewhere it does nothing.
    """
    if sys.platform == "win32":
        policy = asyncio.WindowsProactorEventLoopPolicy
        if not isinstance(asyncio.get_event_loop_policy(), policy):
            asyncio.set_event_loop_policy(policy())
