"""How long a daemon that does not answer is waited for."""

from __future__ import annotations

import asyncio

__all__ = ["Patience"]


class Patience:
    """Shared by the clients of one daemon, whose requests have time limits of their own until it is lost."""

    def __init__(self) -> None:
        #: Whether the daemon was given up: nothing is asked of it any more.
        self.lost = False
        self._waiting: set[asyncio.Timeout] = set()

    def watch(self, scope: asyncio.Timeout) -> None:
        """Let `scope` expire when patience is lost."""
        self._waiting.add(scope)

    def unwatch(self, scope: asyncio.Timeout) -> None:
        """Forget a scope that is left."""
        self._waiting.discard(scope)

    def lose(self) -> None:
        """End all requests that wait for an answer, and refuse all that come."""
        self.lost = True
        now = asyncio.get_running_loop().time()
        for scope in self._waiting:
            if not scope.expired():
                scope.reschedule(now)
