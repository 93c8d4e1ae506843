"""The tasks of one job: read when they are wanted, handed to workers, given back, given up."""

from __future__ import annotations

import asyncio
import errno
import weakref
from collections import Counter, deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.engine.errors import TaskFailedError
from golem_nb.engine.user_code import cancels_us
from golem_nb.events import TaskFinished, TaskStarted
from golem_nb.exceptions import GolemError
from golem_nb.executor.task import Task, TaskStatus
from golem_nb.log import str_capped
from golem_nb.storage import DownloadTooLargeError

if TYPE_CHECKING:
    from golem_nb.ctx import WorkContext

# What no other provider can do better: a file of this machine is missing, or must not be used.
_LOCAL_ERRORS = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)

#: What lies with the task or its worker if it happens with a second provider, too.
CONFIRMED_ERRORS = (AttributeError, DownloadTooLargeError, NameError, TypeError)

# So many kinds of failures are told apart, and so much is told of each.
_TROUBLES = 100
_TROUBLE_SHOWN = 500

TaskSource = AsyncIterable[Task[Any, Any]] | Iterable[Task[Any, Any]]


@attrs.define(eq=False)
class Item:
    """A task and what has become of it so far."""

    task: Task[Any, Any]
    causes: list[BaseException] = attrs.field(factory=list)
    tried_on: set[str] = attrs.field(factory=set)


class TaskQueue:
    """Hands out tasks, each to one worker at a time.

    Parameters
    ----------
    source
        The tasks; it is read no further ahead than somebody waits for them, but for one.
    max_tries
        Failed tries after which a task is given up.
    on_result
        Called with each task whose result was accepted.
    """

    def __init__(
        self, source: TaskSource, max_tries: int, on_result: Callable[[Task[Any, Any]], None]
    ) -> None:
        self._source = source
        self._max_tries = max_tries
        self._on_result = on_result
        self._ready: deque[Item] = deque()
        self._exhausted = False
        self._running = 0
        self._claims = 0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._claimers: deque[asyncio.Future[None]] = deque()
        self._hungry = asyncio.Event()
        self._seen: weakref.WeakSet[Task[Any, Any]] = weakref.WeakSet()
        #: What tries have failed with, a number for each kind.
        self.troubles: Counter[str] = Counter()
        #: Number of tasks whose result was accepted.
        self.done = 0
        #: The tasks that were given up.
        self.failures: list[TaskFailedError] = []

    @property
    def hopeless(self) -> bool:
        """Whether a task was given up before any has succeeded: more tries would only cost more."""
        return bool(self.failures) and not self.done

    async def feed(self) -> None:
        """Read the source while somebody waits for tasks.

        Raises
        ------
        TypeError
            The source gives something that is not a `Task`.
        ValueError
            The source gives the same one twice.
        GolemError
            The source has waited for something that was cancelled, or has called ``sys.exit``.
        """
        try:
            await self._feed()
        except asyncio.CancelledError as error:
            if cancels_us(error):
                raise
            raise GolemError("`data` has waited for something that was cancelled") from error
        except SystemExit as error:
            raise GolemError("`data` has called sys.exit(): raise an exception there") from error

    async def _feed(self) -> None:
        async for task in _each(self._source):
            if not isinstance(task, Task):
                raise TypeError(
                    f"`data` must give Task objects, not {task!r:.200}: wrap it as Task(data=...)"
                )
            if task in self._seen:
                raise ValueError(f"`data` gives {task!r} twice: make a Task for each, each has one result")
            self._seen.add(task)
            self._ready.append(Item(task))
            self._wake(self._getters, one=True)
            self._wake(self._claimers, one=True)
            if not self._getters and not self._claimers:
                self._hungry.clear()
            await self._hungry.wait()
        self._exhausted = True
        self._wake_all()

    async def claim(self) -> Claim | None:
        """Wait until there is a task that no worker is coming for; None when everything is done."""
        while len(self._ready) <= self._claims:
            if self._exhausted and not self._running and not self._ready:
                return None
            await self._wait(self._claimers)
        self._claims += 1
        return Claim(self)

    def unclaim(self) -> None:
        """Note that a worker that was coming is there, or will not come."""
        self._claims -= 1
        if len(self._ready) > self._claims:
            self._wake(self._claimers, one=True)

    async def get(self, consumer: str) -> Item | None:
        """Return the next task for a worker; None when nothing is left that it could do now.

        Parameters
        ----------
        consumer
            Names the worker's activity: a task that has failed there is not given to it again.
        """
        while True:
            for item in self._ready:
                if consumer not in item.tried_on:
                    self._ready.remove(item)
                    self._running += 1
                    item.tried_on.add(consumer)
                    return item
            if self._exhausted:
                return None
            await self._wait(self._getters)

    def finish(self, item: Item) -> None:
        """Take note of an accepted result, or of a rejected one that is not wanted again."""
        self._running -= 1
        if item.task.status is TaskStatus.ACCEPTED:
            self.done += 1
            self._on_result(item.task)
        self._check_end()

    def fail(self, item: Item, cause: BaseException) -> None:
        """Take note of a failed try: the task is given to another worker, or given up."""
        self._running -= 1
        item.causes.append(cause)
        if not isinstance(cause, asyncio.CancelledError):  # that is the end of the job
            trouble = str_capped(f"{type(cause).__name__}: {cause}", _TROUBLE_SHOWN)
            if trouble in self.troubles or len(self.troubles) < _TROUBLES:
                self.troubles[trouble] += 1
        if len(item.causes) >= self._max_tries or _more_would_only_cost_more(item.causes):
            self.failures.append(TaskFailedError(item.task, item.causes))
            self._check_end()
        else:
            self._ready.appendleft(item)
            self._wake_all()

    def _check_end(self) -> None:
        if self._exhausted and not self._running and not self._ready:
            self._wake_all()

    async def _wait(self, waiters: deque[asyncio.Future[None]]) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        self._hungry.set()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in waiters:
                waiters.remove(waiter)
            raise

    def _wake_all(self) -> None:
        self._wake(self._getters)
        self._wake(self._claimers)

    @staticmethod
    def _wake(waiters: deque[asyncio.Future[None]], *, one: bool = False) -> None:
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                if one:
                    return


class Claim:
    """The promise that a worker is coming for a task; in the meantime nobody else comes for the same one."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue: TaskQueue | None = queue

    def release(self) -> None:
        """The worker is there, or will not come; may be called again."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.unclaim()


class WorkerTasks(AsyncIterator[Task[Any, Any]]):
    """The ``tasks`` of one worker.

    Parameters
    ----------
    queue
        Where they come from.
    context
        The worker's context; its id names the consumer.
    claim
        Released when the worker asks for its first task.
    """

    def __init__(self, queue: TaskQueue, context: WorkContext, claim: Claim) -> None:
        self._queue = queue
        self._context = context
        self._claim = claim
        self._taken = 0
        self._items: list[Item] = []
        self._closed = False
        self._exhausted = False

    def __aiter__(self) -> WorkerTasks:
        return self

    async def __anext__(self) -> Task[Any, Any]:
        self._sweep()
        if self._closed:
            raise StopAsyncIteration
        self._claim.release()
        item = await self._queue.get(self._context.id)
        if item is None:
            self._exhausted = True
            raise StopAsyncIteration
        self._taken += 1
        self._items.append(item)
        item.task.begin(self._context.emit, lambda retry: self._reported(item, retry))
        self._context.emit(TaskStarted, task=item.task)
        return item.task

    async def aclose(self) -> None:
        """Take no more tasks."""
        self._closed = True

    @property
    def taken(self) -> int:
        """Number of tasks that the worker was given."""
        return self._taken

    @property
    def exhausted(self) -> bool:
        """Whether the worker was told that there is nothing left for it."""
        return self._exhausted

    def end(self, error: BaseException | None) -> None:
        """Give back what the worker has neither accepted nor rejected.

        Parameters
        ----------
        error
            What the worker has failed with, if it has.
        """
        self._sweep()
        for item in self._items:
            item.task.give_back()
            self._context.emit(TaskFinished, task=item.task)
            self._queue.fail(
                item,
                error
                or GolemError("the worker has ended without accepting its result: call task.accept_result()"),
            )
        self._items.clear()

    def _reported(self, item: Item, retry: bool) -> None:
        if retry:
            reason = item.task.rejection
            self._queue.fail(item, GolemError("its result was rejected" + (f": {reason}" if reason else "")))
        else:
            self._queue.finish(item)

    def _sweep(self) -> None:
        """Tell of the tasks that were finished since the last look."""
        running = []
        for item in self._items:
            if item.task.status is TaskStatus.RUNNING:
                running.append(item)
            else:
                self._context.emit(TaskFinished, task=item.task)
        self._items = running


def is_local(error: BaseException) -> bool:
    """Whether the mistake is on this machine, so that no other provider can do better."""
    # the latter: a file that is none, such as a pipe
    return isinstance(error, _LOCAL_ERRORS) or (isinstance(error, OSError) and error.errno == errno.EINVAL)


def _more_would_only_cost_more(causes: Sequence[BaseException]) -> bool:
    if is_local(causes[-1]):
        return True
    return sum(any(isinstance(error, CONFIRMED_ERRORS) for error in _chain(cause)) for cause in causes) > 1


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


async def _each(source: TaskSource) -> AsyncIterator[Task[Any, Any]]:
    if isinstance(source, AsyncIterable):
        async for task in source:
            yield task
    else:
        for task in source:
            yield task
