"""HTTP/1.1 with an instance of a service: connections that are used again, and one exchange after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import h11

from golem_nb.contrib.service.chunk import chunks
from golem_nb.contrib.service.tunnel import MESSAGE, TunnelClosedError

if TYPE_CHECKING:
    from golem_nb.contrib.service.headers import RawHeaders
    from golem_nb.contrib.service.tunnel import Tunnel

__all__ = ["Head", "Upstream"]

#: The head of a response is not larger than this, bytes.
MAX_HEAD = 64 * 1024

#: A request waits so long for more of its body before it is sent in two messages, in seconds.
GATHER = 0.003

#: A body whose end is the end of the connection is thought to be at its end after so many seconds of silence;
#: then the server is asked.
SILENCE = 1.0

#: Nobody waits longer for a server to be told of the end, in seconds.
LAST_WORDS_LIMIT = 2.0

Head = h11.Response | h11.InformationalResponse


class Upstream:
    """One connection to a server, for one exchange at a time.

    Parameters
    ----------
    tunnel
        The connection.
    """

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.used = False
        #: What the server is told when the connection is given up.
        self.last_words = b""
        self.idle_since = asyncio.get_running_loop().time()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._delimited = True
        self._asked = False

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return (
            not self._asked
            and not self.tunnel.ended
            and not self.tunnel.pending
            # what nobody has asked for would be taken for the answer to the next request
            and not self._http.trailing_data[0]
            and self._http.our_state is h11.IDLE
            and self._http.their_state is h11.IDLE
        )

    async def send(
        self, method: str, target: str, headers: RawHeaders, body: AsyncIterator[bytes] | None
    ) -> None:
        """Send a request.

        Raises
        ------
        TunnelClosedError
            The connection has ended.
        h11.LocalProtocolError
            The request is none.
        """
        request = h11.Request(method=method, target=target, headers=headers)
        data = bytearray(self._http.send(request) or b"")
        if body is not None:
            await self._send_body(data, body)
        data += self._http.send(h11.EndOfMessage()) or b""
        if data:
            await self.tunnel.send(data)

    async def _send_body(self, data: bytearray, body: AsyncIterator[bytes]) -> None:
        """Send a body after what is in `data`; what is not sent yet is left there."""
        while True:
            coming = asyncio.ensure_future(anext(body, None))
            try:
                if data:
                    # a message that waits for a little more costs less than another message
                    await asyncio.wait({coming}, timeout=GATHER)
                    if not coming.done():
                        await self.tunnel.send(data)
                        data.clear()
                piece = await coming
            finally:
                coming.cancel()
            if piece is None:
                return
            for part in chunks(piece, MESSAGE // 2):
                framed = self._http.send(h11.Data(data=bytes(part))) or b""
                if len(data) + len(framed) > MESSAGE:
                    await self.tunnel.send(data)
                    data.clear()
                data += framed

    async def head(self) -> Head:
        """Wait for the head of the response.

        Raises
        ------
        TunnelClosedError
            The connection has ended before it.
        h11.RemoteProtocolError
            What has come is no HTTP.
        """
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                names = {name for name, _ in event.headers}
                self._delimited = b"content-length" in names or b"transfer-encoding" in names
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return event

    async def ask_whether_open(self) -> None:
        """Find out whether the server has closed the connection, while an answer is waited for.

        The daemon tells of it only when something is sent. An empty line before the next request is ignored
        by servers, or makes them close the connection after the answer; so there is no next request.

        Raises
        ------
        TunnelClosedError
            It had.
        """
        self._asked = True
        await self.tunnel.send(b"\r\n")

    def at_once(self) -> tuple[bytes, bool]:
        """Return what of the body has come with the head, and whether that is all of it.

        Raises
        ------
        h11.RemoteProtocolError
            It is no HTTP.
        """
        data = b""
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if not isinstance(event, h11.Data):
                return data, self._is_end(event)
            data += event.data
        return data, False

    async def more(self) -> bytes | None:
        """Wait for more of the body; None at its end. It may be cancelled, and called again.

        Raises
        ------
        h11.RemoteProtocolError
            It is incomplete, or no HTTP.
        """
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if self._is_end(event):
                return None

    def _is_end(self, event: object) -> bool:
        if isinstance(event, h11.EndOfMessage):
            self.tunnel.answered()
        return isinstance(event, h11.EndOfMessage | h11.ConnectionClosed)

    def finish(self) -> None:
        """Prepare for the next exchange, if there can be one."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        self.used = True
        self.idle_since = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Give the connection up."""
        if self.last_words and not self.tunnel.ended:
            try:
                async with asyncio.timeout(LAST_WORDS_LIMIT):
                    await self.tunnel.send(self.last_words)
            except (TunnelClosedError, TimeoutError):
                pass
        await self.tunnel.close()

    @property
    def rest(self) -> bytes:
        """What has come after the head that ended HTTP on this connection."""
        return self._http.trailing_data[0]

    async def _event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            in_body = self._http.their_state is h11.SEND_BODY
            if in_body and not self._delimited:
                data = await self._receive_or_end()
            else:
                data = await self.tunnel.receive()
            if not data and not in_body:
                raise TunnelClosedError("The connection was closed before an answer came")
            self._http.receive_data(data)

    async def _receive_or_end(self) -> bytes:
        """Wait for more of a body that ends with the connection, whose end the daemon does not tell."""
        try:
            async with asyncio.timeout(SILENCE):
                return await self.tunnel.receive()
        except TimeoutError:
            try:
                await self.ask_whether_open()
            except TunnelClosedError:
                return b""
            return await self.tunnel.receive()
