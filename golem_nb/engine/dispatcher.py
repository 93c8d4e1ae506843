"""Hands events to consumers: in order, one at a time, without ever delaying or failing the engine."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from golem_nb.engine.user_code import USER_ERRORS, cancels_us
from golem_nb.events import Event
from golem_nb.log import get_logger

logger = get_logger(__name__)

#: A consumer that is not done with its events that long after the shutdown is told so and left, in seconds.
DRAIN_LIMIT = 10.0

#: A consumer that keeps the event loop to itself for longer is named in a warning, in seconds.
BLOCKING_LIMIT = 0.1

#: Consumers give the loop to others at least this often while they catch up, in seconds.
SLICE = 0.005

Consumer = Callable[[Any], Any]


class _Queue:
    """The events that one consumer has not seen yet, and the task that feeds it."""

    def __init__(self, consumer: Consumer, classes: tuple[type[Event], ...]) -> None:
        self.consumer = consumer
        self.classes = classes
        self.events: deque[Event] = deque()
        # a future instead of an asyncio.Event, which asks the system for its loop with every wait
        self.waiter: asyncio.Future[None] | None = None
        self.closing = False
        self.task: asyncio.Task[None] | None = None
        self.warned = False

    def wake(self) -> None:
        """Have `run` look again."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def run(self) -> None:
        loop, clock = asyncio.get_running_loop(), time.perf_counter
        events, consumer = self.events, self.consumer
        while True:
            previous = clock()
            slice_end = previous + SLICE
            while events:
                event = events.popleft()
                # most consumers are plain functions: a coroutine for each call would cost more than they do
                try:
                    outcome = consumer(event)
                except USER_ERRORS:  # nothing is awaited here, so that no cancellation is ours
                    self._failed(event)
                    outcome = None
                now = clock()
                if now > slice_end and now - previous > BLOCKING_LIMIT:
                    self._blocked(event, now - previous)
                previous = now
                if outcome is not None and inspect.isawaitable(outcome):
                    try:
                        await outcome
                    except USER_ERRORS as error:
                        if cancels_us(error):
                            raise
                        self._failed(event)
                    previous = clock()
                if previous > slice_end:
                    await asyncio.sleep(0)
                    previous = clock()
                    slice_end = previous + SLICE
            if self.closing:
                return
            self.waiter = loop.create_future()
            await self.waiter

    def _blocked(self, event: Event, seconds: float) -> None:
        if not self.warned:
            self.warned = True
            logger.warning(
                "Event consumer %r kept the engine waiting for %.1f s at %s: do slow work in a thread, or "
                "make the consumer a coroutine function",
                self.consumer,
                seconds,
                type(event).__name__,
            )

    def _failed(self, event: Event) -> None:
        logger.exception(
            "Unhandled exception in event consumer %r at %s", self.consumer, type(event).__name__
        )


class EventDispatcher:
    """All event consumers of a `Golem`; they survive a restart of the engine."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []
        #: Who wants the events of a class, for the classes that there were.
        self._wanting: dict[type[Event], list[_Queue]] = {}
        self._running = False

    def add(self, consumer: Consumer, classes: tuple[type[Event], ...]) -> None:
        """Add a consumer of the events that are instances of `classes`."""
        queue = _Queue(consumer, classes)
        self._queues.append(queue)
        self._wanting.clear()
        if self._running:
            self._launch(queue)

    def start(self) -> None:
        """Begin to feed the consumers; needs the running loop of the engine."""
        self._running = True
        for queue in self._queues:
            self._launch(queue)

    def emit(self, event: Event) -> None:
        """Queue an event for all consumers that want it."""
        wanting = self._wanting.get(type(event))
        if wanting is None:
            wanting = [queue for queue in self._queues if isinstance(event, queue.classes)]
            self._wanting[type(event)] = wanting
        for queue in wanting:
            queue.events.append(event)
            if queue.waiter is not None:
                queue.wake()

    async def stop(self) -> None:
        """Deliver what is queued, then end the consumers' tasks.

        A consumer that is not done within `DRAIN_LIMIT` loses the rest, with a warning.
        """
        self._running = False
        tasks = []
        for queue in self._queues:
            if queue.task is not None:
                queue.closing = True
                queue.wake()
                tasks.append(queue.task)
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_LIMIT)
        for queue in self._queues:
            if queue.task is not None and not queue.task.done():
                queue.task.cancel()
                await asyncio.gather(queue.task, return_exceptions=True)
                logger.warning(
                    "Event consumer %r was too slow: %d events were not delivered",
                    queue.consumer,
                    len(queue.events),
                )
                queue.events.clear()
            queue.task = None

    def _launch(self, queue: _Queue) -> None:
        queue.closing = False
        queue.task = asyncio.create_task(queue.run(), name=f"events for {queue.consumer!r}")
