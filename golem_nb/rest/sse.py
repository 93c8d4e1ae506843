"""Server-sent events, the part of them that the daemon uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from golem_nb.rest.fields import MalformedField

__all__ = ["EventParser", "ServerSentEvent"]

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event at most: its text may be a provider's."""


class ServerSentEvent(NamedTuple):
    """One event of a stream."""

    event: str
    data: str


class EventParser:
    """Cuts a stream of bytes, in whatever pieces it comes, into events.

    A line that begins with a colon is a comment; the daemon sends ``:ping`` as a sign of life, without the
    empty line that would end an event (https://html.spec.whatwg.org/multipage/server-sent-events.html,
    section 9.2.6).
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._scanned = 0
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Take in a piece and give the events that it completes.

        Raises
        ------
        MalformedField
            An event grows beyond 16 MiB.
        """
        rest = self._rest
        rest += chunk
        start = 0
        # a long line comes in many pieces: what was searched once is not searched again
        while (end := rest.find(b"\n", max(start, self._scanned))) >= 0:
            line = rest[start:end].rstrip(b"\r").decode("utf-8", "replace")
            start = end + 1
            if line:
                self._take(line)
            elif self._data:
                yield ServerSentEvent(self._event or "message", "\n".join(self._data))
                self._reset()
            else:
                self._reset()
        del rest[:start]
        self._scanned = len(rest)
        if self._size + len(rest) > MAX_EVENT:
            raise MalformedField(f"an event is larger than {MAX_EVENT} bytes")

    def _reset(self) -> None:
        self._event = ""
        self._data = []
        self._size = 0

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(line)
            if self._size > MAX_EVENT:
                raise MalformedField(f"an event is larger than {MAX_EVENT} bytes")
        elif name == "event":
            self._event = value
