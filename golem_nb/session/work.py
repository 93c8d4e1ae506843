"""What a batch does with its items on a provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Protocol

from golem_nb.script.transfer import Download, DownloadFile

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from golem_nb.events import CommandExecuted
    from golem_nb.script import Script
    from golem_nb.session.item import Item, Outcome
    from golem_nb.storage import Destination

__all__ = ["EagerBytes", "EagerDownload", "Parcel", "Work"]

_DAY = 86_400.0


class Parcel(Protocol):
    """The items of one script, when it was written."""

    def outcomes(self) -> AsyncIterator[tuple[Item, Outcome | Exception]]:
        """Give each item with its outcome, or with what it has failed with, as soon as that is known.

        Items that were not begun are not given. The script may end in the middle.
        """

    #: Whether the first item of each script may take longer than the others.
    warms_up: bool

    @property
    def overhead(self) -> float:
        """Seconds that the script itself has cost, as far as is known when it has ended."""


class Work(Protocol):
    """What is done with the items of a batch."""

    #: Kind of the job, for people.
    kind: str

    #: The most items in one script.
    most: int

    def prepare(self, script: Script) -> None:
        """Add to an activity's first script what all items need."""

    def pack(self, script: Script, items: Sequence[Item]) -> Parcel:
        """Add to a script what computes some items."""


class EagerDownload(DownloadFile):
    """A download that can be waited for while the rest of its script still runs."""

    async def arrived(self, outcome: Awaitable[CommandExecuted]) -> None:
        """Wait until the file is in its place.

        Parameters
        ----------
        outcome
            The command's, from `Script.add`: ends the waiting when the script fails.
        """
        await _arrival(self._destination, outcome)


class EagerBytes(Download):
    """The same, into memory.

    Parameters
    ----------
    src_path
        Path of the file on the provider.
    limit
        Largest size to accept, bytes.
    """

    def __init__(self, src_path: str, limit: int) -> None:
        super().__init__(src_path)
        self._limit = limit

    async def _open(self) -> Destination:
        return await self.script.context.storage.new_destination(limit=self._limit)

    async def arrived(self, outcome: Awaitable[CommandExecuted]) -> bytes:
        """Wait until all is there, and return it."""
        await _arrival(self._destination, outcome)
        assert self._destination is not None
        return await self._destination.bytes()


async def _arrival(destination: Destination | None, outcome: Awaitable[CommandExecuted]) -> None:
    assert destination is not None
    # of the two that tell, the place that the data is sent to is the first where other commands follow
    arrival = asyncio.ensure_future(destination.wait(_DAY))
    end = asyncio.ensure_future(outcome)
    try:
        await asyncio.wait({arrival, end}, return_when=asyncio.FIRST_COMPLETED)
        await (end if end.done() else arrival)
    finally:
        for task in (arrival, end):
            task.cancel()
        await asyncio.gather(arrival, end, return_exceptions=True)
