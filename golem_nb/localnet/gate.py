"""The daemons' way out of the machine, closed.

A daemon asks GitHub at its start whether there is a newer release. On the local network nothing leaves the
machine: its `HTTPS_PROXY` is this gate, which refuses.

The moment is useful, too. When a daemon asks, its identities and its service bus work, and its networking has
not started; that reads the identities once, so that new ones would need a restart, unless they are made just
then. So the gate tells when the first request comes, and may keep it waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

__all__ = ["Gate"]

_REFUSAL: Final = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_MAX_REQUEST: Final = 8 << 10
# a bound on the wait of a daemon whose supervisor hangs
_LONGEST_WAIT: Final = 60.0


class Gate:
    """A proxy that refuses everything, on a loopback port of its own.

    Parameters
    ----------
    hold
        Whether requests wait for `open` before they are refused.

    Attributes
    ----------
    asked : asyncio.Event
        Set when the first request has come.
    """

    def __init__(self, hold: bool) -> None:
        self.asked = asyncio.Event()
        self._open = asyncio.Event()
        if not hold:
            self._open.set()
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Begin to listen; return the port."""
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", 0, limit=_MAX_REQUEST)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def open(self) -> None:
        """Refuse at once from now on."""
        self._open.set()

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        for visit in list(self._visits):
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            self.asked.set()
            with contextlib.suppress(
                OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
            ):
                async with asyncio.timeout(_LONGEST_WAIT):
                    await reader.readuntil(b"\r\n\r\n")
                    await self._open.wait()
                writer.write(_REFUSAL)
                await writer.drain()
        finally:
            self._visits.discard(task)
            writer.close()
