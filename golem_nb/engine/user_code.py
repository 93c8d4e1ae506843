"""What the user's own code may raise inside of the engine."""

from __future__ import annotations

import asyncio
from typing import Final

#: All that ends a call of the user's code and is to be told. asyncio would let `SystemExit` tear down the
#: whole loop, and take `CancelledError` for the wish of whoever runs the task.
USER_ERRORS: Final = (Exception, SystemExit, asyncio.CancelledError)


def cancels_us(error: BaseException) -> bool:
    """Whether an error comes from somebody who cancels the running task, and not from the code in it."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
