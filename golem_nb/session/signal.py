"""Lets coroutines of one loop wait for the next change of something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Signal"]


class Signal:
    """Wakes up all that wait, each time it is given; remembers nothing.

    Examples
    --------
    ::

        while not condition():
            await signal.wait()
    """

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def give(self) -> None:
        """Wake up all that wait now."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until it is given next."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, which is looked at each time that the signal is given."""
        while not condition():
            await self.wait()
