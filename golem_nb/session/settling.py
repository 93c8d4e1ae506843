"""Counts finished items as done, once they are on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from golem_nb.exceptions import GolemError
from golem_nb.log import get_logger
from golem_nb.session.item import Item, Outcome
from golem_nb.session.signal import Signal

__all__ = ["Settling"]

logger = get_logger(__name__)


class Settling:
    """Writes finished items down, then accepts them: all that have come while the disk was busy, at once.

    Parameters
    ----------
    write
        Returns when the items are on disk.
    accepted
        Called with each item that counts from now on.
    """

    def __init__(
        self,
        write: Callable[[Sequence[tuple[Item, Outcome]]], Awaitable[None]],
        accepted: Callable[[Item], None],
    ) -> None:
        self._write = write
        self._accepted = accepted
        self._pending: list[tuple[Item, Outcome]] = []
        self._busy = False
        self._changed = Signal()
        self._come = asyncio.Event()

    def put(self, item: Item, outcome: Outcome) -> None:
        """Take a finished item."""
        self._pending.append((item, outcome))
        self._come.set()

    async def flush(self) -> None:
        """Wait until everything that was put is accepted."""
        await self._changed.until(lambda: not self._pending and not self._busy)

    async def run(self) -> None:
        """Work until cancelled; what is put afterwards is lost."""
        while True:
            await self._come.wait()
            self._come.clear()
            pending, self._pending = self._pending, []
            self._busy = True
            try:
                await self._write(pending)
            except (GolemError, OSError) as error:
                # the result is here and paid for: it counts even if nobody will find it after a crash
                logger.warning("%d finished items could not be written down: %s", len(pending), error)
            finally:
                for item, outcome in pending:
                    item.accept(outcome)
                    self._accepted(item)
                self._busy = False
                self._changed.give()
