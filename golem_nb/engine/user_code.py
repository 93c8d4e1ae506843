"""What the user's own code may raise inside of the engine."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Final

#: All that ends a call of the user's code and is to be told. asyncio would let `SystemExit` tear down the
#: whole loop, and take `CancelledError` for the wish of whoever runs the task.
USER_ERRORS: Final = (Exception, SystemExit, asyncio.CancelledError)


def cancels_us(error: BaseException) -> bool:
    """Whether an error comes from somebody who cancels the running task, and not from the code in it."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def may_give_async_generator(function: Any) -> bool:
    """Whether a call may give an async generator: what a plain function gives is seen when it is called."""
    if not callable(function):
        return False
    inner = inspect.unwrap(function, stop=inspect.isasyncgenfunction)
    other = inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
    return inspect.isasyncgenfunction(inner) or not other
