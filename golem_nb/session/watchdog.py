"""Notices user code that keeps the engine's loop to itself, and names it."""

from __future__ import annotations

import functools
import site
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from golem_nb.log import get_logger
from golem_nb.session.thread import EngineThread

__all__ = ["Watchdog"]

logger = get_logger(__name__)

#: The loop is asked for a sign of life that often, in seconds.
INTERVAL = 1.0

#: A loop that does not answer for so long is being blocked, in seconds.
LIMIT = 1.0


class Watchdog:
    """Watches a thread's loop from another thread.

    What blocks it is named in a warning: the function of the user's that is on its stack, with file and line.
    When it is over, a second one says how long it took.

    Parameters
    ----------
    thread
        The thread to watch.
    interval, limit
        Seconds between two looks, and seconds without an answer that are too long.
    """

    def __init__(self, thread: EngineThread, interval: float = INTERVAL, limit: float = LIMIT) -> None:
        self._watched = thread
        self._interval = interval
        self._limit = limit
        self._closing = threading.Event()
        #: What was found so far, newest last.
        self.findings: list[str] = []
        threading.Thread(target=self._watch, name="golem-watchdog", daemon=True).start()

    def close(self) -> None:
        """Watch no more."""
        self._closing.set()

    def _watch(self) -> None:
        while not self._closing.wait(self._interval) and self._watched.alive:
            answered = threading.Event()
            asked = time.monotonic()
            try:
                self._watched.loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed
                return
            if answered.wait(self._limit):
                continue
            culprit = self._culprit()
            if culprit is not None:
                self._report(f"{culprit} keeps the engine waiting", time.monotonic() - asked)
            while not answered.wait(self._limit):
                if self._closing.is_set() or not self._watched.alive:
                    return
            if culprit is not None:
                self._report(f"{culprit} kept the engine waiting", time.monotonic() - asked)

    def _culprit(self) -> str | None:
        """Name the innermost function on the stack that is the user's; None if there is none."""
        frame = None if self._watched.ident is None else sys._current_frames().get(self._watched.ident)
        for entry in _stack(frame):
            if not _is_library(entry.f_code.co_filename):
                name = entry.f_code.co_qualname.replace("<locals>.", "")
                return f"`{name}` ({_place(entry)})"
        return None

    def _report(self, what: str, seconds: float) -> None:
        text = (
            f"Your code {what} for {seconds:.1f} s, in which nothing else can run, payments included: use "
            "`await asyncio.to_thread(...)` for what takes long"
        )
        self.findings.append(text)
        logger.warning("%s", text)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@functools.cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(site.getsitepackages())
    folders.add(str(Path(__file__).parents[1]))
    return tuple(str(Path(folder)) + "/" for folder in folders)


def _is_library(filename: str) -> bool:
    return filename.startswith(("<frozen", *_libraries()))


def _place(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    # kernels compile cells from files of a folder of this name
    where = "a cell" if "ipykernel_" in str(path) else path.name
    return f"{where}, line {frame.f_lineno}"
