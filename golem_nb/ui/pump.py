"""The only code that writes to panels: one thread a session, a few times a second, only what has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from golem_nb.log import get_logger

__all__ = ["INTERVAL", "Pump", "Pumped"]

logger = get_logger(__name__)

#: Least time between two writes to the same panel, in seconds: the eye wants no more, the browser no less.
INTERVAL = 0.25

#: After each round it rests so many times as long as the round has kept a processor busy: all panels together
#: take no more than a tenth of one …
REST = 9

#: … but it rests no longer than that, in seconds.
LONGEST_REST = 1.0

#: What changes by itself, such as costs, is looked at that often, in seconds.
TICK = 1.0

#: A panel that has had nothing to write for that long says that the kernel is alive, in seconds.
BEAT = 5.0


class Pumped(Protocol):
    """Something that the pump keeps up to date."""

    def flush(self) -> bool:
        """Write what has changed; return whether there was something."""

    def beat(self) -> None:
        """Say that the kernel is alive."""

    @property
    def ticking(self) -> bool:
        """Whether it changes even if nothing happens."""

    @property
    def interval(self) -> float:
        """Least time between two writes, in seconds."""


class _Entry:
    """When something was last looked at and written, and whether something may have changed since."""

    def __init__(self, now: float) -> None:
        self.looked = 0.0
        self.written = now
        self.dirty = True


class Pump:
    """Keeps panels up to date, from a thread of its own that starts with the first one.

    Examples
    --------
    ::

        pump = Pump()
        pump.add(panel)
        pump.mark()     # something has happened; costs next to nothing
        pump.close()
    """

    def __init__(self) -> None:
        self._items: dict[Pumped, _Entry] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<Pump of {len(self._items)} panels>"

    def add(self, item: Pumped) -> None:
        """Keep something up to date from now on; does nothing after `close`."""
        with self._lock:
            if self._closing.is_set():
                return
            if item not in self._items:
                self._items[item] = _Entry(time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="golem_nb pump", daemon=True)
                self._thread.start()
        self.mark()

    def remove(self, item: Pumped) -> None:
        """Leave something as it is from now on."""
        with self._lock:
            self._items.pop(item, None)

    def mark(self) -> None:
        """Note that something may have changed; may be called from anywhere, any number of times."""
        # asking first is three times as fast as setting again
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout: float = 0.5) -> None:
        """End the thread; what is left to write is not written.

        Parameters
        ----------
        timeout
            How long a round that is under way may take, in seconds.
        """
        with self._lock:
            self._closing.set()
            self._items.clear()
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        wait = 0.0
        while not self._closing.is_set():
            if self._wake.wait(wait):
                self._wake.clear()
                with self._lock:
                    for entry in self._items.values():
                        entry.dirty = True
            # of this thread: on a busy machine a round lasts longer, but costs no more
            started = time.thread_time()
            wait = self._round()
            rest = min(REST * (time.thread_time() - started), LONGEST_REST)
            # a shorter pause than the shortest interval would only find that nothing is due
            self._closing.wait(max(min(wait, self._shortest()), rest))

    def _shortest(self) -> float:
        with self._lock:
            return min((item.interval for item in self._items), default=INTERVAL)

    def _round(self) -> float:
        """Write to everything that is due; return after how long something is due again, in seconds."""
        with self._lock:
            items = list(self._items.items())
        due = BEAT
        for item, entry in items:
            if self._closing.is_set():
                return 0.0
            now = time.monotonic()
            ticked = item.ticking and now - entry.looked >= TICK
            if (entry.dirty or ticked) and now - entry.looked >= item.interval:
                entry.looked, entry.dirty = now, False
                if self._try(item, item.flush):
                    entry.written = now
            if now - entry.written >= BEAT:
                self._try(item, item.beat)
                entry.written = now
            if entry.dirty:
                due = min(due, entry.looked + item.interval - now)
            elif item.ticking:
                due = min(due, entry.looked + TICK - now)
        return max(due, 0.0)

    def _try(self, item: Pumped, action: Callable[[], object]) -> bool:
        try:
            return bool(action())
        except Exception:
            # a panel shows its own errors; what gets here must not end the others
            logger.exception("%r could not be brought up to date", item)
            return False
