"""What becomes of a command's output: thrown away, streamed as it comes, or kept for the end."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["MAX_KEPT", "Capture"]

#: Bytes of one output that are kept for the result, whatever has been asked for: the memory of the agent
#: and the size of a message on the bus are limited.
MAX_KEPT: Final = 4 << 20


class Capture:
    """Takes the output of one command as the `capture` part of its `run` says.

    Parameters
    ----------
    mode
        None (throw away), `{"stream": {"limit"?, "format"?}}` or `{"atEnd": {"head" | "tail" |
        "headTail"?, "format"?}}`.
    emit
        Called with each piece that is streamed: text, or a list of numbers in the format "bin".

    Examples
    --------
    >>> capture = Capture({"atEnd": {"headTail": 4}}, print)
    >>> capture.feed(b"abcdefgh")
    >>> capture.result()
    'abgh'
    """

    def __init__(self, mode: Mapping[str, Any] | None, emit: Callable[[str | list[int]], None]) -> None:
        mode = mode or {}
        self._emit = emit
        self._stream = "stream" in mode
        # what is streamed is part of the result too: who polls for results gets it only there
        self._keep = self._stream or "atEnd" in mode
        options: Mapping[str, Any] = mode.get("stream" if self._stream else "atEnd") or {}
        self._binary = options.get("format") in ("bin", "binary")
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        limit = options.get("limit") if self._stream else None
        self._left: int | None = int(limit) if limit is not None else None
        self._head_size, self._tail_size, self._asked = self._sizes(options)
        self._head, self._tail = bytearray(), bytearray()
        #: Whether more came than `MAX_KEPT` although all was asked for.
        self.cut = False

    @staticmethod
    def _sizes(options: Mapping[str, Any]) -> tuple[int, int, bool]:
        """How much of the beginning and of the end is kept; whether it was asked for."""
        for name in ("head", "tail", "headTail"):
            if name in options:
                size = options[name]
                size = MAX_KEPT if size is None else max(0, min(int(size), MAX_KEPT))
                if name == "head":
                    return size, 0, True
                if name == "tail":
                    return 0, size, True
                return size - size // 2, size // 2, True
        return MAX_KEPT, 0, False

    def feed(self, data: bytes) -> None:
        """Take a piece of output."""
        if self._stream:
            if self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
            if data:
                self._emit_text(data)
        if self._keep:
            room = self._head_size - len(self._head)
            if room > 0:
                self._head += data[:room]
                data = data[room:]
            if not data:
                return
            if not self._tail_size:
                self.cut = self.cut or not self._asked
                return
            self._tail += data
            if len(self._tail) > 2 * self._tail_size:  # trimmed now and then, not at each piece
                del self._tail[: -self._tail_size]

    def _emit_text(self, data: bytes, *, final: bool = False) -> None:
        if self._binary:
            if data:
                self._emit(list(data))
        elif text := self._decoder.decode(data, final):
            self._emit(text)

    def result(self) -> str | list[int] | None:
        """Return what belongs into the command's result, None if nothing was to be kept; no more is fed."""
        if self._stream:
            self._emit_text(b"", final=True)
        if not self._keep:
            return None
        data = bytes(self._head) + bytes(self._tail[-self._tail_size :] if self._tail_size else b"")
        return list(data) if self._binary else data.decode(errors="replace")
