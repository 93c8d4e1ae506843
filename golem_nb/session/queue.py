"""The items of a batch: handed out to lanes, given back, given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from golem_nb.session.item import Item
from golem_nb.session.signal import Signal

__all__ = ["ItemQueue"]


class ItemQueue:
    """Hands out items, each to one lane at a time.

    Parameters
    ----------
    items
        The items, in the order in which they are to be begun.
    max_tries
        Failed tries after which an item is given up.
    on_end
        Called with each item that is done or was given up.
    on_failure
        Called with each item that has failed, and its error, whether or not it is tried again.
    """

    def __init__(
        self,
        items: Iterable[Item],
        max_tries: int,
        on_end: Callable[[Item], None],
        on_failure: Callable[[Item, BaseException], None],
    ) -> None:
        self._waiting = deque(items)
        self._max_tries = max_tries
        self._on_end = on_end
        self._on_failure = on_failure
        self._running = 0
        self._claims = 0
        self._changed = Signal()
        self.done = 0
        self.failed = 0
        #: What was being computed when the job was over.
        self.interrupted: list[Item] = []

    @property
    def waiting(self) -> int:
        """How many items nobody works on."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many items lanes are at."""
        return self._running

    @property
    def over(self) -> bool:
        """Whether every item is done or given up."""
        return not self._waiting and not self._running

    async def claim(self) -> bool:
        """Wait until there is an item that no lane is coming for; False when everything is over.

        Who is told True is coming for an item, until `unclaim`.
        """
        while len(self._waiting) <= self._claims:
            if self.over:
                return False
            await self._changed.wait()
        self._claims += 1
        return True

    def unclaim(self) -> None:
        """Note that a lane that was coming is there, or will not come."""
        self._claims -= 1
        self._changed.give()

    def take(self, consumer: str, number: int) -> list[Item]:
        """Return up to `number` items that have not failed on this activity; none if there are none now."""
        taken: list[Item] = []
        passed: list[Item] = []
        while self._waiting and len(taken) < number:
            item = self._waiting.popleft()
            (passed if consumer in item.tried_on else taken).append(item)
        self._waiting.extendleft(reversed(passed))
        self._running += len(taken)
        return taken

    def finish(self, item: Item) -> None:
        """Take note of an item that is done."""
        self._running -= 1
        self.done += 1
        self._ended(item)

    def fail(self, item: Item, error: BaseException, consumer: str) -> None:
        """Take note of a failed try: the item is given to another lane, or given up."""
        self._running -= 1
        item.blamed += 1
        item.tried_on.add(consumer)
        if item.blamed < self._max_tries:
            self._waiting.appendleft(item)
            self._on_failure(item, error)
            self._changed.give()
            return
        item.turn("failed")
        item.error = error
        self.failed += 1
        self._on_failure(item, error)
        self._ended(item)

    def interrupt(self, item: Item) -> None:
        """Take back an item that was being computed when the job was over."""
        self.interrupted.append(item)
        self.put_back([item])

    def put_back(self, items: Iterable[Item]) -> None:
        """Take back items that nobody has begun to compute."""
        items = list(items)
        self._running -= len(items)
        self._waiting.extendleft(reversed(items))
        self._changed.give()

    def _ended(self, item: Item) -> None:
        self._on_end(item)
        if self.over:
            self._changed.give()
