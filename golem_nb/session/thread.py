"""The thread that a session's engine runs in."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from golem_nb.session.errors import SessionClosedError

__all__ = ["EngineThread"]

T = TypeVar("T")


class EngineThread:
    """An event loop in a daemon thread of its own.

    A cell that computes, or that is interrupted, never delays what runs here.

    Parameters
    ----------
    name
        Of the thread.

    Examples
    --------
    >>> thread = EngineThread("example")
    >>> thread.submit(asyncio.sleep(0, "done")).result()
    'done'
    >>> thread.close()
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def ident(self) -> int | None:
        """Identifier of the thread."""
        return self._thread.ident

    @property
    def inside(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.get_ident() == self._thread.ident

    @property
    def alive(self) -> bool:
        """Whether something can still be run here."""
        return not self._closed and self._thread.is_alive()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine here; may be called from any thread.

        Raises
        ------
        SessionClosedError
            The thread has ended.
        """
        if not self.alive:
            coroutine.close()
            raise SessionClosedError("The session was stopped: make a new one with Session(...)")
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError as error:  # the loop was closed in between
            coroutine.close()
            raise SessionClosedError("The session was stopped: make a new one with Session(...)") from error

    def close(self, grace: float = 2.0) -> None:
        """Cancel what still runs and end the thread, in `grace` seconds; several may call it, and again."""
        if self.inside:
            return
        with self._closing:  # one after the other: they would cancel each other
            if self._closed:
                return
            with contextlib.suppress(SessionClosedError, concurrent.futures.TimeoutError):
                self.submit(self._cancel_all(grace)).result(grace)
            self._closed = True
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(grace)

    async def _cancel_all(self, grace: float) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=grace * 0.8)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            with contextlib.suppress(Exception):
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
