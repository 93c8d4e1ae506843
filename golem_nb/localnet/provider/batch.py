"""The batches of an activity: scripts, their results, and the events that are streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["Batch"]

#: Output (characters, roughly) that is remembered for those who ask for the events late.
_MAX_HISTORY: Final = 4 << 20


class Batch:
    """One `Exec`: a script and what has become of it so far.

    Parameters
    ----------
    id
        The batch id.
    script
        Its commands, `{"run": {…}}` and so on.
    """

    def __init__(self, id: str, script: Sequence[dict[str, Any]]) -> None:
        self.id, self.script = id, script
        self.results: list[dict[str, Any]] = []
        self.finished = not script
        #: The command that runs now, as `GetRunningCommand` tells it.
        self.running: dict[str, Any] | None = None
        self._events: list[tuple[dict[str, Any], int]] = []
        self._first = 0  # number of the oldest event that is remembered
        self._size = 0
        self._waiting: list[asyncio.Future[None]] = []

    def event(self, index: int, kind: dict[str, Any], size: int = 0) -> None:
        """Record an event; `size` is how much memory its output takes."""
        timestamp = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "000"
        event = {"batch_id": self.id, "index": index, "timestamp": timestamp, "kind": kind}
        self._events.append((event, size))
        self._size += size
        drop = 0
        while self._size > _MAX_HISTORY and drop < len(self._events) - 1:
            self._size -= self._events[drop][1]
            drop += 1
        if drop:
            del self._events[:drop]
            self._first += drop
        self._wake()

    def add(self, result: dict[str, Any]) -> None:
        """Record a command's result."""
        self.results.append(result)
        self.finished = result["isBatchFinished"]
        self._wake()

    def close(self) -> None:
        """Let the streams end: nothing more will happen."""
        self.finished = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _changed(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        finally:
            if waiter.cancelled() and waiter in self._waiting:
                self._waiting.remove(waiter)

    async def wait(self, count: int, timeout: float) -> bool:
        """Wait for `count` results or the batch's end; whether one of them came within `timeout` seconds."""
        if len(self.results) >= count or self.finished:
            return True
        try:
            async with asyncio.timeout(timeout):
                while not (len(self.results) >= count or self.finished):
                    await self._changed()
        except TimeoutError:
            return False
        return True

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        """Iterate over the events, those of the past first, until the batch has ended."""
        at = self._first
        while True:
            at = max(at, self._first)  # a slow reader may have missed some
            while at - self._first < len(self._events):
                event = self._events[at - self._first][0]
                at += 1
                yield event
                at = max(at, self._first)
            if self.finished:
                return
            await self._changed()
