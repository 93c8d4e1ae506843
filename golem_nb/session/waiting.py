"""What a terminal shows while it waits for a job: a line that is drawn again and again, and goes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from time import monotonic

__all__ = ["WaitLine"]

#: A wait that is over sooner shows nothing, in seconds.
PATIENCE = 0.6

#: It is drawn no more often, in seconds.
INTERVAL = 0.25


class WaitLine:
    """A line of a terminal.

    It is there only where the error output is a terminal; in notebooks and in pipes nothing is written.

    Parameters
    ----------
    text
        Makes the line, of no more than so many characters, with or without those beyond ASCII.
    """

    def __init__(self, text: Callable[[int, bool], str]) -> None:
        self._text = text
        self._next = monotonic() + PATIENCE
        self._drawn = False
        stream = sys.stderr
        self._possible = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"

    def draw(self) -> None:
        """Draw it, if it is time; to be called while waiting."""
        now = monotonic()
        if not self._possible or now < self._next:
            return
        self._next = now + INTERVAL
        columns = shutil.get_terminal_size().columns
        unicode = "utf" in (sys.stderr.encoding or "").lower()
        # a character in the last column would begin another line
        self._write(f"\r{self._text(columns - 1, unicode)}\x1b[K")
        self._drawn = True

    def clear(self) -> None:
        """Take it away."""
        if self._drawn:
            self._drawn = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            # the terminal is gone, or its encoding knows less than it says: the waiting goes on
            self._possible = False
