"""A TCP connection to a node of a VPN, through the daemon."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

import aiohttp

from golem_nb.contrib.service.chunk import chunks
from golem_nb.contrib.service.pacing import Gate
from golem_nb.contrib.service.spool import Spool
from golem_nb.exceptions import GolemError
from golem_nb.log import get_logger
from golem_nb.rest.client import acknowledge_at_once

if TYPE_CHECKING:
    from golem_nb.network import Node

__all__ = ["MESSAGE", "Tunnel", "TunnelClosedError"]

logger = get_logger(__name__)

#: Bytes of one websocket message at most: the daemon closes the connection at one of more than 64 KiB, and
#: this much fits twice into what it takes at once for a connection.
MESSAGE = 60 * 1024

#: Bytes that are kept in memory for a reader that does not come; the others wait on disk. They cannot wait at
#: the daemon: where it cannot get rid of the data of one connection, all others to its networks stand still
#: (measured with yagna 0.17.6; 100 kB a second are not enough), and after ten seconds it drops this one.
BUFFER = 256 * 1024

#: A connection for which so many bytes wait on disk is ended.
SPOOL_LIMIT = 1024 * 1024 * 1024

#: What comes from a VPN comes in pieces of little more than a kilobyte. After so many bytes without a word of
#: ours, pieces are …
BULK = 16 * 1024

#: … taken together that come within so many seconds: passing each on by itself costs more than the rest.
GATHER = 0.002

#: The daemon acknowledges data that came alone after 40 ms, but only if something makes it look. Until then a
#: server that has not switched off Nagle's algorithm keeps the rest of a small answer: 250 ms instead of 60
#: were measured. An empty message makes it look, after so many seconds, then less and less often …
FIRST_NUDGE = 0.045

#: … down to this, in seconds. The daemon drops a client that it has not heard of for ten.
SIGN_OF_LIFE = 4.0


#: Closing waits no longer for what was sent, in seconds.
CLOSE_LIMIT = 2.0


class TunnelClosedError(GolemError):
    """The connection has ended."""


class Tunnel:
    """A stream of bytes to a port of a node and back.

    The daemon does not tell when the other end closes its side. It ends the connection when something is sent
    after that. Nor does the other end learn that this side has closed, or that it reads slowly: what comes
    faster than it is received is kept, up to 1 GiB of it on disk.

    Parameters
    ----------
    socket
        The daemon's websocket.
    node
        The node at the other end.
    port
        The port there.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, node: Node, port: int) -> None:
        self._socket = socket
        self._name = f"{node.ip}:{port}"
        self._buffer: deque[bytes] = deque()
        self._size = 0
        #: What follows that in the buffer, if anything does.
        self._spool: Spool | None = None
        self._changed = asyncio.Event()
        self._ended = False
        #: Why it has ended too early, if we have ended it.
        self._given_up = ""
        #: Whether something has come that the daemon may not have acknowledged.
        self._owing = False
        #: Bytes that have come since something was sent.
        self._run = 0
        self._sending = asyncio.Lock()
        self._gate = Gate(node)
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
        async with asyncio.timeout(timeout):
            socket = await node.network.connect(node.ip, port)
        return cls(socket, node, port)

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
        """Send bytes, in order, and no faster than the daemon passes them on.

        What is sent in one call costs less than in several: each has to wait for the one before.

        Raises
        ------
        TunnelClosedError
            The connection has ended.
        """
        async with self._sending:
            for piece in chunks(data, MESSAGE):
                await self._gate.ready()
                await self._gate.enter(len(piece))
                try:
                    await self._socket.send_bytes(bytes(piece))
                except (aiohttp.ClientError, ConnectionError) as error:
                    self._ended = True
                    raise TunnelClosedError(f"The connection to {self._name} has ended") from error
                self._owing = False
                self._run = 0
                self._gate.sent(len(piece))

    async def receive(self, deadline: float | None = None) -> bytes:
        """Wait for bytes; give all that are there, and none at the end of the connection.

        Parameters
        ----------
        deadline
            Time of the loop until which to wait.

        Raises
        ------
        TimeoutError
            Nothing has come by then.
        TunnelClosedError
            So much was not received for so long that the rest is lost.
        """
        pause = FIRST_NUDGE if self._owing else SIGN_OF_LIFE
        loop = asyncio.get_running_loop()
        while not self._buffer:
            if self._given_up:
                raise TunnelClosedError(self._given_up)
            if self._ended:
                return b""
            self._changed.clear()
            nudge = loop.time() + pause
            # cheaper than a time limit, of which each message would need one
            timer = loop.call_at(nudge if deadline is None else min(nudge, deadline), self._changed.set)
            try:
                await self._changed.wait()
            finally:
                timer.cancel()
            if self._buffer or self._ended:
                continue
            now = loop.time()
            if deadline is not None and now >= deadline:
                raise TimeoutError
            if now >= nudge:
                await self._nudge()
                pause = min(2 * pause, SIGN_OF_LIFE)
        if self._run > BULK and self._size < MESSAGE and not self._ended:
            await asyncio.sleep(GATHER)
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        self._size = 0
        if self._spool is not None:
            self._buffer.append(self._spool.take(BUFFER))
            self._size = len(self._buffer[0])
            if not self._spool:
                self._drop_spool()
        return data

    def answered(self) -> None:
        """Note that the other end has answered everything that was sent: the next message need not wait."""
        self._gate.answered()

    async def close(self) -> None:
        """Leave the connection, when what was sent has been passed on."""
        if not self._ended:
            try:
                async with asyncio.timeout(CLOSE_LIMIT):
                    # the daemon forgets what waits when the connection is closed
                    await self._gate.ready()
            except TimeoutError:
                pass
        self._ended = True
        self._gate.leave()
        self._pump_task.cancel()
        await asyncio.gather(self._pump_task, return_exceptions=True)
        self._drop_spool()
        await self._socket.close()

    async def _nudge(self) -> None:
        """Make the daemon look at the connection, without sending anything to the other end."""
        if self._sending.locked():
            return  # what is being sent does it
        self._owing = False
        try:
            await self._socket.send_bytes(b"")
        except (aiohttp.ClientError, ConnectionError):
            self._ended = True

    async def _pump(self) -> None:
        connected = self._socket.get_extra_info("socket")
        try:
            while True:
                # the daemon's next small write waits for it
                acknowledge_at_once(connected)
                message = await self._socket.receive()
                if message.type is aiohttp.WSMsgType.BINARY:
                    data = message.data
                elif message.type is aiohttp.WSMsgType.TEXT:
                    data = message.data.encode()
                else:
                    return
                self._gate.received()
                self._owing = True
                self._run += len(data)
                if self._size <= BUFFER and self._spool is None:
                    self._buffer.append(data)
                    self._size += len(data)
                elif not self._keep_on_disk(data):
                    # the daemon must not wait for us
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(CLOSE_LIMIT):
                            await self._socket.close()
                    return
                self._changed.set()
        except (aiohttp.ClientError, ConnectionError):
            pass
        finally:
            self._ended = True
            self._changed.set()

    def _keep_on_disk(self, data: bytes) -> bool:
        """Keep bytes for later; return whether that is possible."""
        try:
            if self._spool is None:
                self._spool = Spool()
            if len(self._spool) < SPOOL_LIMIT:
                self._spool.put(data)
                return True
            why = f"{SPOOL_LIMIT / 2**20:g} MiB wait for a reader that is too slow"
        except OSError as error:
            why = f"what waits for a slow reader cannot be kept on disk: {error}"
        self._given_up = f"The connection to {self._name} was ended, since {why}"
        logger.warning("%s", self._given_up)
        return False

    def _drop_spool(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()
