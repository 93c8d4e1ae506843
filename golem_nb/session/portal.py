"""The way from a cell, or any other thread, into the engine's loop and back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from golem_nb.session.errors import DeadlockError, SessionClosedError, WaitInterrupted
from golem_nb.session.thread import EngineThread
from golem_nb.session.waiting import WaitLine

__all__ = ["TICK", "Portal", "in_notebook"]

T = TypeVar("T")

#: A waiting cell wakes up that often, in seconds. The kernel's handler of an interrupt only marks its loop;
#: a loop that sleeps without a timer looks at the mark when something else wakes it, seconds later.
TICK = 0.15


class Portal:
    """Runs coroutines in the engine's thread and waits for them in the caller's.

    Parameters
    ----------
    thread
        The engine's thread.
    """

    def __init__(self, thread: EngineThread) -> None:
        self._thread = thread
        self._waiting: set[object] = set()
        self._told: deque[str] = deque()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run something in the engine's thread without waiting for it."""
        return self._thread.submit(coroutine)

    def tell(self, text: str) -> None:
        """Print a line, from any thread: in the cell that waits here, if there is one.

        What the engine's thread prints, a kernel shows below the cell that has started the thread.
        """
        self._told.append(text)
        if not self._waiting:
            self._print(None)

    @contextlib.contextmanager
    def _listening(self, line: WaitLine | None) -> Iterator[None]:
        """Let a cell that waits print what is told meanwhile."""
        waiter = object()
        self._waiting.add(waiter)
        try:
            yield
        finally:
            self._waiting.discard(waiter)
            self._print(line)

    def _print(self, line: WaitLine | None) -> None:
        if line is not None and self._told:
            line.clear()
        with contextlib.suppress(IndexError):
            while True:
                print(self._told.popleft(), file=sys.stderr)  # noqa: T201 - the user is told in the cell

    async def call(
        self,
        work: Coroutine[Any, Any, T] | concurrent.futures.Future[T],
        *,
        keep: bool = False,
        notice: Callable[[], str] | None = None,
        line: WaitLine | None = None,
    ) -> T:
        """Await something that runs in the engine's thread, in any loop.

        Parameters
        ----------
        work
            What is run, or what `start` has returned.
        keep
            Whether it goes on when the caller is cancelled; a mere wait is cancelled, too.
        notice
            Makes the line that a notebook's cell shows when it is interrupted here.
        line
            What a terminal shows meanwhile.
        """
        if isinstance(work, concurrent.futures.Future):
            inner = work
        elif self._thread.inside:
            return await work
        else:
            inner = self._thread.submit(work)
        outer = asyncio.wrap_future(inner)
        outer.add_done_callback(_looked_at)
        try:
            with self._listening(line):
                while not outer.done():
                    # unlike awaiting the future, this does not cancel it
                    await asyncio.wait({outer}, timeout=TICK)
                    self._check(inner)
                    self._print(line)
                    if line is not None:
                        line.draw()
        except asyncio.CancelledError as error:
            if not keep:
                inner.cancel()
            if notice is not None and in_notebook():
                # IPython shows what this returns in place of a traceback; others do not look at it, and it
                # stays the very exception that time-outs around this call are waiting for
                said = notice()
                error._render_traceback_ = lambda: [said]  # type: ignore[attr-defined]
            raise
        finally:
            if line is not None:
                line.clear()
        return outer.result()

    def wait(
        self,
        work: Coroutine[Any, Any, T] | concurrent.futures.Future[T],
        timeout: float | None = None,
        *,
        keep: bool = False,
        notice: Callable[[], str] | None = None,
        line: WaitLine | None = None,
    ) -> T:
        """Wait for something that runs in the engine's thread.

        Parameters
        ----------
        work
            What is run, or what `start` has returned.
        timeout
            Longest time to wait, seconds; None: as long as it takes.
        keep
            Whether it goes on when the waiting is interrupted or takes too long; a mere wait is cancelled.
        notice
            Makes the line that an interrupt shows.
        line
            What a terminal shows meanwhile.

        Raises
        ------
        DeadlockError
            The caller runs in the engine's thread.
        TimeoutError
            Time is up.
        WaitInterrupted
            The waiting was interrupted.
        """
        if self._thread.inside:
            name = getattr(work, "__qualname__", "this").rpartition(".")[2].strip("_")
            if not isinstance(work, concurrent.futures.Future):
                work.close()
            raise DeadlockError(
                f"`{name}` was called without `await` in the engine's own thread (a worker, a service's "
                "handler, an event consumer), where it would wait for itself: await the job or "
                "`session.aio` there, or call it from a cell"
            )
        inner = work if isinstance(work, concurrent.futures.Future) else self._thread.submit(work)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            with self._listening(line):
                while True:
                    left = TICK if deadline is None else min(TICK, max(0.0, deadline - time.monotonic()))
                    try:
                        return inner.result(left)
                    except concurrent.futures.TimeoutError:
                        if inner.done():  # it is the coroutine's own
                            return inner.result()
                        self._check(inner)
                        if deadline is not None and time.monotonic() >= deadline:
                            if not keep:
                                inner.cancel()
                            raise
                    self._print(line)
                    if line is not None:
                        line.draw()
        except KeyboardInterrupt:
            if not keep:
                inner.cancel()
            raise WaitInterrupted("Interrupted." if notice is None else notice()) from None
        finally:
            if line is not None:
                line.clear()

    def _check(self, future: concurrent.futures.Future[Any]) -> None:
        """Leave what will never be done: it was submitted a moment before the thread has ended."""
        if not future.done() and not self._thread.alive:
            raise SessionClosedError("The session was stopped in the meantime")


def _looked_at(future: asyncio.Future[Any]) -> None:
    """Keep a failure that nobody waits for any more from being reported as never retrieved."""
    if not future.cancelled():
        future.exception()


def in_notebook() -> bool:
    """Whether this process is IPython's: a notebook's kernel, or a terminal."""
    # only who has imported IPython can be in one, so that nothing is imported for this question
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
