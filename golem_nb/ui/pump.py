"""The only code that writes to panels: one thread a session, a few times a second, only what has changed."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from golem_nb.log import get_logger

__all__ = ["Pump", "Pumped"]

logger = get_logger(__name__)

#: Least time between two writes to the same panel, in seconds: the eye wants no more, the browser no less.
INTERVAL = 0.25

#: A round that takes longer than that, in seconds, makes the next ones come …
SLOW_ROUND = 0.05

#: … that far apart, in seconds.
SLOW_INTERVAL = 1.0

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
        self._items: dict[Pumped, float] = {}
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
            self._items[item] = time.monotonic()
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
        while not self._closing.is_set():
            with self._lock:
                ticking = any(item.ticking for item in self._items)
            marked = self._wake.wait(TICK if ticking else BEAT)
            self._wake.clear()
            started = time.monotonic()
            self._round(look=marked or ticking)
            took = time.monotonic() - started
            self._closing.wait(INTERVAL if took < SLOW_ROUND else SLOW_INTERVAL)

    def _round(self, *, look: bool) -> None:
        with self._lock:
            items = list(self._items)
        for item in items:
            if self._closing.is_set():
                return
            try:
                now = time.monotonic()
                written = look and item.flush()
                if not written and now - self._items.get(item, now) >= BEAT:
                    item.beat()
                    written = True
            except Exception:
                # a panel shows its own errors; what gets here must not end the others
                logger.exception("%r could not be brought up to date", item)
                continue
            if written:
                with self._lock:
                    if item in self._items:
                        self._items[item] = now
