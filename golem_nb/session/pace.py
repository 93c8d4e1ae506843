"""How many items go into the next script of a lane."""

from __future__ import annotations

import attrs

__all__ = ["Pace", "Tempo"]

#: A script of several items is to take about so long, in seconds. A result waits no longer than that for its
#: neighbours, and the daemon's work for a script hardly counts any more.
TARGET = 0.5

#: The largest part of a script's time that may go into what each script costs by itself, such as the start of
#: an interpreter: scripts become longer where that is needed.
OVERHEAD = 0.25

#: A first item that has taken no longer, in seconds, is followed by two in one script where it may have had
#: to warm something up: their times tell.
PROBED = 1.0

#: What takes no longer, in seconds, has warmed nothing up.
INSTANT = 0.02

#: Seconds that a script of one item may have spent on its way.
ROUND_TRIP = 0.02


@attrs.define
class Tempo:
    """What items of a job have taken lately, on whichever lane: what a new lane begins with."""

    seconds: float | None = None
    #: Of a script, beside its items.
    overhead: float = 0.0


class Pace:
    """Sizes the scripts of one lane by what the items before have taken.

    The first script of a job has one item, so that a first result, or a first failure, comes as soon as it
    can.

    Parameters
    ----------
    most
        The most items in one script.
    tempo
        Of the job; all its lanes add to it.
    """

    def __init__(self, most: int, tempo: Tempo) -> None:
        self._most = most
        self._tempo = tempo
        self._unsure = False
        self._alone = False
        self._seconds: float | None = None
        self._overhead = 0.0

    def size(self, waiting: int, running: int, lanes: int) -> int:
        """Return how many items to take.

        Parameters
        ----------
        waiting
            Items that are to be had.
        running
            Items that lanes are at.
        lanes
            Lanes that are at some, or want some.
        """
        seconds, overhead = self._seconds, self._overhead
        if seconds is None and not self._alone:
            seconds, overhead = self._tempo.seconds, self._tempo.overhead
        if seconds is None:
            return 1
        # who was here earlier has taken a share already
        share = -(-(waiting + running) // max(1, lanes))
        if self._unsure and seconds <= PROBED:
            return max(1, min(2, share))
        target = max(TARGET, overhead / OVERHEAD)
        return max(1, min(int(target / max(seconds, 1e-5)), share, self._most))

    def took(self, items: int, seconds: float, overhead: float = 0.0, *, warms_up: bool = False) -> None:
        """Learn from a script.

        Parameters
        ----------
        items
            How many it had.
        seconds
            How long it took.
        overhead
            How much of that was not spent on items.
        warms_up
            Whether the first item of each script may take longer than the others.
        """
        if items == 1 and not warms_up:
            # a part of it went into sending the script and fetching its result
            overhead = max(overhead, min(seconds / 2, ROUND_TRIP))
        each = max(0.0, seconds - overhead) / max(1, items)
        self._unsure = warms_up and items == 1 and each > INSTANT
        # quick to slow down, slow to speed up: a script that is too long keeps results waiting
        self._seconds = each if self._seconds is None or each > self._seconds else (each + self._seconds) / 2
        self._overhead = overhead
        self._alone = False
        if not self._unsure:
            self._tempo.seconds, self._tempo.overhead = self._seconds, overhead

    def alone(self) -> None:
        """Take one item next: it is not known which of several has failed."""
        self._seconds = None
        self._alone = True
