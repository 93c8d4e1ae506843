"""The terminal: a shell on an instance, in the notebook."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from golem_nb.ui import assets
from golem_nb.ui.faces import terminal_html, terminal_text
from golem_nb.ui.panel import Panel
from golem_nb.ui.pump import Pump
from golem_nb.ui.shell import NO_INTERRUPT, InstanceShell, ShellError
from golem_nb.ui.text import clean, lines

if TYPE_CHECKING:
    from golem_nb.services import Service

__all__ = ["Terminal"]

#: Output that is kept for a page that is loaded again, in bytes.
MOST_OUTPUT = 256 * 1024

#: Output that goes to the browser at once; what a program writes beyond that is skipped, in bytes.
MOST_AT_ONCE = 64 * 1024

#: Lines that were entered, kept for the arrow keys.
MOST_HISTORY = 200


class Terminal(Panel):
    """A shell on an instance of a service.

    Keys go to a pseudo-terminal where the instance has a VPN; otherwise lines are executed as commands. What
    the instance writes is drawn as characters, and can do nothing but that.

    Parameters
    ----------
    service
        The instance.
    loop
        The engine's event loop.
    pump
        Keeps the panel up to date.
    """

    _esm = assets.script("terminal.js")
    _css = assets.style("terminal.css")
    actions: ClassVar[Mapping[str, str]] = {"close": "close", "interrupt": "interrupt", "reopen": "reopen"}
    #: Who types wants to see it sooner than who looks on.
    interval = 0.04
    #: What a terminal is to be on: another one where there is no instance.
    shell_class: ClassVar[type[InstanceShell]] = InstanceShell

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, pump: Pump) -> None:
        self._make: Callable[[], InstanceShell] = lambda: self.shell_class(
            service, loop, self._take, self._ended_with
        )
        self._coming: deque[bytes] = deque()
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._history: deque[str] = deque(maxlen=MOST_HISTORY)
        self._end_reason: str | None = None
        self._all = False
        self._shell = self._make()
        super().__init__(pump)
        if self._shell.lost is None:
            self._shell.open()

    @property
    def ticking(self) -> bool:
        """Whether it changes even if nothing happens: it does not."""
        return False

    @property
    def output(self) -> str:
        """The end of what was written, as text."""
        return lines(bytes(self._kept), 8000)

    def send_text(self, text: str) -> None:
        r"""Type something: keys, or a line, as the instance can take them.

        Parameters
        ----------
        text
            What is typed; a line is sent off by its ``"\n"``.
        """
        self._shell.write(text.encode())

    def interrupt(self) -> None:
        """Interrupt what is running, as Ctrl+C does.

        Raises
        ------
        ShellError
            It cannot be, and why.
        """
        if self._shell.mode == "keys":
            self._shell.write(b"\x03")
        elif self._shell.busy:
            raise ShellError(NO_INTERRUPT)

    def close(self) -> None:
        """End the shell; what it has written stays."""
        self._shell.close()

    def reopen(self) -> None:
        """Begin another shell on the same instance."""
        if self._end_reason is not None and self._shell.lost is None:
            self._end_reason = None
            self._shell = self._make()
            self._shell.open()
            self._changed()

    def end(self, *, last: bool = True) -> None:
        """End the shell, and show the last state."""
        self._shell.close()
        super().end(last=last)

    def describe(self) -> dict[str, Any]:
        """Return the state for the browser; output goes beside it."""
        lost = self._shell.lost
        if lost is not None:
            # a shell that executes lines waits for the next one and would not notice
            self._end_reason = lost
            self._shell.close()
        return {
            "title": self._shell.title,
            "mode": self._shell.mode,
            "running": self._shell.busy,
            "ended": None if self._end_reason is None else clean(self._end_reason, 600),
            "lost": lost is not None,
            "history": list(self._history),
        }

    def face_html(self) -> str:
        """Return a snapshot."""
        return terminal_html(self._shell.title, self.output)

    def face_text(self) -> str:
        """Return one line."""
        return terminal_text(self._shell.title)

    def _flush(self) -> bool:
        with self._lock:
            data, everything = b"".join(self._coming), self._all
            self._coming.clear()
            self._all = False
            if everything:
                data = bytes(self._kept)
        if len(data) > MOST_AT_ONCE and not everything:
            skipped = len(data) - MOST_AT_ONCE
            data = f"\r\n\x1b[0m… {skipped} bytes left out …\r\n".encode() + data[-MOST_AT_ONCE:]
        if data or everything:
            self.send({"kind": "output", "again": everything}, [data])
        return super()._flush() or bool(data)

    def _take(self, data: bytes) -> None:
        with self._lock:
            self._coming.append(data)
            self._kept += data
            if len(self._kept) > MOST_OUTPUT:
                del self._kept[: len(self._kept) - MOST_OUTPUT]
            # a program that writes without end is not waited for, and not kept
            while sum(map(len, self._coming)) > 4 * MOST_AT_ONCE and len(self._coming) > 1:
                self._coming.popleft()
        self._pump.mark()

    def _ended_with(self, reason: str) -> None:
        # that the instance has ended says more than that its shell has
        self._end_reason = self._shell.lost or reason
        self._pump.mark()

    def on_other(self, message: Mapping[str, Any], _buffers: list[Any], /) -> None:
        """Take keys, lines and sizes of the browser, or send everything to a new page."""
        kind = message.get("kind")
        if kind == "keys" and isinstance(message.get("text"), str):
            self._shell.write(message["text"].encode())
            # the page sends the next ones then: messages that come close together may change their order
            self.send({"kind": "typed", "page": message.get("page")})
        elif kind == "line" and isinstance(message.get("text"), str):
            text = message["text"][:10_000]
            if text.strip() and (not self._history or self._history[-1] != text):
                self._history.append(text)
            self._shell.write(text.encode() + b"\n")
            self._changed()
        elif kind == "size":
            columns, rows = message.get("columns"), message.get("rows")
            if isinstance(columns, int) and isinstance(rows, int):
                self._shell.resize(columns, rows)
        elif kind == "want":
            with self._lock:
                self._all = True
            self._changed()
