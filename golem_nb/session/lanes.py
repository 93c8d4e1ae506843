"""Works off the items of a batch on several providers at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from golem_nb.engine.errors import JobTimeoutError, WorkersFailedError
from golem_nb.engine.worker import Worker
from golem_nb.log import get_logger, pluralize
from golem_nb.session.lane import Lane
from golem_nb.session.pace import Tempo

if TYPE_CHECKING:
    from golem_nb.engine import Job
    from golem_nb.session.item import Item
    from golem_nb.session.queue import ItemQueue
    from golem_nb.session.settling import Settling
    from golem_nb.session.work import Work

__all__ = ["Lanes"]

logger = get_logger(__name__)

#: Activities in a row that may fail before they could be given an item, beside one a lane.
MAX_BARREN = 5

#: When so many items were given up before one has succeeded, the others are not tried: it would only cost.
HOPELESS = 10


class Lanes:
    """The lanes of one job: each has an activity at a time and sends scripts of several items to it.

    Parameters
    ----------
    job
        The engine's job.
    work
        What is done with the items.
    queue
        The items.
    settling
        Counts the finished ones.
    number
        How many lanes.
    timeout
        Time for all items.
    """

    def __init__(
        self, job: Job, work: Work, queue: ItemQueue, settling: Settling, number: int, timeout: timedelta
    ) -> None:
        self._job = job
        self._work = work
        self._queue = queue
        self._settling = settling
        self._number = number
        self._timeout = timeout
        self._barren: list[BaseException] = []
        self._tempo = Tempo()
        #: Those that have an activity, or are about to get one.
        self._active: set[Lane] = set()

    @property
    def at_work(self) -> list[Item]:
        """What is being computed at this moment, at most one item a lane."""
        return [item for lane in list(self._active) if (item := lane.at_work) is not None]

    async def run(self) -> None:
        """Work until all items are done or given up.

        Raises
        ------
        JobTimeoutError
            Time is up.
        WorkersFailedError
            Activity after activity has failed before its first item.
        """
        try:
            async with asyncio.timeout(self._timeout.total_seconds()) as scope, asyncio.TaskGroup() as group:
                settling = group.create_task(self._settling.run(), name="finished items")
                async with asyncio.TaskGroup() as lanes:
                    for number in range(1, self._number + 1):
                        lanes.create_task(self._lane(), name=f"lane {number} of job {self._job.id}")
                await self._settling.flush()
                settling.cancel()
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise JobTimeoutError(self._timeout, self._progress()) from error

    def _progress(self) -> str:
        if not self._job.agreements.made:
            return f"no agreement was made; {self._job.negotiation.summary()}"
        # a provider that has stalled is to be told from one that has much to do
        tries = sorted(
            ((item.tries[-1].seconds or 0.0, item) for item in self._queue.interrupted),
            key=lambda entry: -entry[0],
        )
        at_work = ", ".join(
            f"item {item.index} on {item.provider!r} since {seconds:.1f} s" for seconds, item in tries[:3]
        )
        return (
            f"{pluralize(self._queue.done, 'item was', 'items were')} done; "
            + (f"at work: {at_work}; " if at_work else "")
            + "pass a longer `timeout` or more `max_workers`, or begin the rest again with `retry_failed()`"
        )

    async def _lane(self) -> None:
        while not self._hopeless and await self._queue.claim():
            lane = Lane(
                self._job, self._work, self._queue, self._settling, lambda: len(self._active), self._tempo
            )
            self._active.add(lane)
            try:
                held = await self._job.agreements.acquire()
                await Worker(self._job, held).run(lane.scripts)
            except Exception as error:
                logger.warning(
                    "Work for job %s has failed: %s: %s", self._job.id, type(error).__name__, error
                )
                if not lane.begun:
                    self._barren.append(error)
                    if len(self._barren) >= MAX_BARREN + self._number:
                        raise WorkersFailedError(self._barren) from error
            finally:
                self._active.remove(lane)
                lane.arrive()
            if lane.begun:
                self._barren.clear()

    @property
    def _hopeless(self) -> bool:
        return self._queue.failed >= HOPELESS and not self._queue.done
