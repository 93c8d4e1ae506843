"""Runs what a button asks for away from the thread that has heard of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["run"]

#: More at the same time are refused: somebody is leaning on a key.
MOST = 16

_slots = threading.BoundedSemaphore(MOST)


def run(function: Callable[[], Any], done: Callable[[BaseException | None], None]) -> bool:
    """Call `function` on a thread of its own, then `done` with what it has raised, or None.

    The thread may block without harm: neither the kernel nor the engine waits for it, and it does not keep
    the process alive.

    Parameters
    ----------
    function
        What to do.
    done
        Is told how it went, on the same thread.

    Returns
    -------
    bool
        False if too many are under way; nothing is called then.
    """
    if not _slots.acquire(blocking=False):
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            function()
        except BaseException as raised:
            error = raised
        finally:
            _slots.release()
        done(error)

    threading.Thread(target=work, name="golem_nb command", daemon=True).start()
    return True
