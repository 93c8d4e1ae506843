"""A TCP connection to a node of a VPN, through the daemon."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import aiohttp

from golem_nb.contrib.service.chunk import chunks
from golem_nb.contrib.service.pacing import Pacer
from golem_nb.exceptions import GolemError

if TYPE_CHECKING:
    from golem_nb.network import Node

__all__ = ["Tunnel", "TunnelClosedError"]

#: Bytes of one websocket message at most. The daemon looks at each message that waits whenever it can pass
#: something on, so that many small ones make it slow.
MESSAGE = 64 * 1024

#: Bytes that are kept for a reader that does not come; nothing more is taken from the daemon then.
BUFFER = 256 * 1024

#: The daemon drops a client that it has not heard of for ten seconds; it hears of us that often, in seconds.
SIGN_OF_LIFE = 4.0


class TunnelClosedError(GolemError):
    """The connection has ended."""


class Tunnel:
    """A stream of bytes to a port of a node and back.

    The daemon does not tell when the other end closes its side. It ends the connection when something is sent
    after that. Nor does the other end learn that this side has closed.

    Parameters
    ----------
    socket
        The daemon's websocket.
    node
        The node at the other end.
    port
        The port there.
    best
        How long the connection took to make, in seconds.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, node: Node, port: int, best: float) -> None:
        self._socket = socket
        self._name = f"{node.ip}:{port}"
        self._buffer: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._ended = False
        self.pacer = Pacer(node, best)
        self._pump_task = asyncio.create_task(self._pump(), name=f"tunnel to {self._name}")

    @classmethod
    async def open(cls, node: Node, port: int, timeout: float) -> Tunnel:
        """Connect to a port of a node.

        Parameters
        ----------
        node
            The node.
        port
            TCP port.
        timeout
            Seconds that the connection may take.

        Raises
        ------
        ApiError
            Nobody listens there, or there is no such node.
        TimeoutError
            It took too long.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.timeout(timeout):
            socket = await node.network.connect(node.ip, port)
        return cls(socket, node, port, loop.time() - start)

    def __repr__(self) -> str:
        return f"<Tunnel to {self._name}{', ended' if self._ended else ''}>"

    @property
    def ended(self) -> bool:
        """Whether the connection has ended, as far as is known."""
        return self._ended

    @property
    def pending(self) -> bool:
        """Whether something has come that was not received yet."""
        return bool(self._buffer)

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, no faster than the daemon passes them on.

        Raises
        ------
        TunnelClosedError
            The connection has ended.
        """
        for piece in chunks(data, MESSAGE):
            await self.pacer.before(len(piece))
            try:
                await self._socket.send_bytes(bytes(piece))
            except (aiohttp.ClientError, ConnectionError) as error:
                raise self._closed() from error

    async def receive(self) -> bytes:
        """Wait for bytes; give all that are there, and none at the end of the connection."""
        while not self._buffer:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        self._size = 0
        self._changed.set()
        return data

    async def close(self) -> None:
        """Leave the connection; what was not sent yet is sent by the daemon all the same."""
        self._ended = True
        self._pump_task.cancel()
        await asyncio.gather(self._pump_task, return_exceptions=True)
        await self._socket.close()

    def _closed(self) -> TunnelClosedError:
        return TunnelClosedError(f"The connection to {self._name} has ended")

    async def _pump(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                if message.type is aiohttp.WSMsgType.BINARY:
                    data = message.data
                elif message.type is aiohttp.WSMsgType.TEXT:
                    data = message.data.encode()
                else:
                    return
                self._buffer.append(data)
                self._size += len(data)
                self._changed.set()
                while self._size > BUFFER:
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(SIGN_OF_LIFE):
                            await self._changed.wait()
                    except TimeoutError:
                        await self._socket.pong()
        except (aiohttp.ClientError, ConnectionError):
            pass
        finally:
            self._ended = True
            self._changed.set()
