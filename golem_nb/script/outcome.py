"""The result of one command, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from golem_nb.events import CommandExecuted
    from golem_nb.script.command import Command
    from golem_nb.script.script import Script

__all__ = ["CommandOutcome"]


class CommandOutcome(Awaitable["CommandExecuted"]):
    """What `Script.run` and its like return: awaiting it gives the command's `CommandExecuted`.

    It may be awaited any number of times, by any number of tasks, also through `asyncio.gather` and
    `asyncio.wait_for`. It raises what the command failed with, or `CommandNotExecutedError` if the script
    ended before the command did. It is not tied to an event loop until it is awaited, so that scripts can be
    made anywhere, and an outcome that nobody awaits makes no noise.
    """

    # Not an asyncio.Future: that would have to be made inside a running loop, would complain about errors
    # which nobody looked at, and could be cancelled by one of several waiters.

    __slots__ = ("_error", "_event", "_script", "_traceback", "_waiters", "command")

    def __init__(self, script: Script, command: Command) -> None:
        self._script = script
        self.command = command
        self._event: CommandExecuted | None = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._waiters: list[asyncio.Future[None]] | None = None

    @property
    def settled(self) -> bool:
        """Whether awaiting this object returns, or raises, at once."""
        return self._event is not None or self._error is not None

    def resolve(self, event: CommandExecuted) -> None:
        """Settle with a result; does nothing when settled already."""
        if not self.settled:
            self._event = event
            self._wake()

    def fail(self, error: BaseException) -> None:
        """Settle with an error; does nothing when settled already."""
        if not self.settled:
            self._error = error
            self._traceback = error.__traceback__
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def __await__(self) -> Generator[Any, None, CommandExecuted]:
        if not self.settled:
            yield from self._wait().__await__()
        if self._error is not None:
            # each raise would lengthen the traceback that the error carries
            raise self._error.with_traceback(self._traceback)
        assert self._event is not None
        return self._event

    async def _wait(self) -> None:
        if not self._script.taken:
            # tasks that are ready to run go first: one of them may be about to take the script
            await asyncio.sleep(0)
            if not self._script.taken:
                raise RuntimeError(
                    f"{self.command!s}: script {self._script.id} was not sent yet, so that waiting for its "
                    "result would never end: yield the script first, then await the result"
                )
            if self.settled:
                return
        waiter = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if self._waiters is not None:
                self._waiters.remove(waiter)

    def __repr__(self) -> str:
        state = "failed" if self._error is not None else "executed" if self._event is not None else "pending"
        return f"<{type(self).__name__} of {self.command!s}: {state}>"
