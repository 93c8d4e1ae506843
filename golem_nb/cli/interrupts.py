"""What Ctrl-C does to a command: once, it ends in order; twice, at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

__all__ = ["INTERRUPTED", "leave", "run"]

T = TypeVar("T")

#: Exit status of a command that was interrupted.
INTERRUPTED = 130


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does; a second interrupt ends the process without waiting.

    Parameters
    ----------
    main
        The coroutine.
    """

    async def watched() -> T:
        with _impatience():
            return await main

    return asyncio.run(watched())


@contextlib.contextmanager
def _impatience() -> Iterator[None]:
    orderly = signal.getsignal(signal.SIGINT)  # asyncio's, which cancels the coroutine
    asked = False

    def interrupted(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            # what is being cleaned up would be interrupted anywhere, and all of it would complain
            leave()
        asked = True
        if callable(orderly):
            orderly(number, frame)

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        if not asked:  # else what follows is a part of the end
            signal.signal(signal.SIGINT, orderly)


def leave() -> NoReturn:
    """End the process now; the networks and daemons that it has started see that, and end, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.isatty(1):
        os.write(1, b"\x1b[?25h")  # the cursor, which is hidden while something turns
    os.write(2, b"golem-nb: interrupted; everything that was started ends with it\n")
    os._exit(INTERRUPTED)
