"""HTTP/1.1 with an instance of a service: connections that are used again, and one exchange after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from golem_nb.contrib.service.answer import Answer
from golem_nb.contrib.service.chunk import chunks
from golem_nb.contrib.service.tunnel import MESSAGE, TunnelClosedError

if TYPE_CHECKING:
    from golem_nb.contrib.service.answer import Head
    from golem_nb.contrib.service.headers import RawHeaders
    from golem_nb.contrib.service.tunnel import Tunnel

__all__ = ["Upstream"]

#: A request waits so long for more of its body before it is sent in two messages, in seconds.
GATHER = 0.003

#: A body whose end is the end of the connection is thought to be at its end after so many seconds of silence;
#: then the server is asked.
SILENCE = 1.0

#: Nobody waits longer for a server to be told of the end, in seconds.
LAST_WORDS_LIMIT = 2.0


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
        #: What comes for the request that was sent last, and whether all of that was sent.
        self._answer: Answer | None = None
        self._sent = True
        self._asked = False

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return (
            not self._asked
            and not self.tunnel.ended
            # what nobody has asked for would be taken for the answer to the next request
            and not self.tunnel.pending
            and self._sent
            and (self._answer is None or self._answer.reusable)
        )

    async def send(
        self,
        method: str,
        target: str,
        headers: RawHeaders,
        body: AsyncIterator[bytes] | None = None,
        *,
        upgrade: bool = False,
    ) -> None:
        """Send a request.

        Parameters
        ----------
        method, target, headers
            As a parser of HTTP has accepted them. The headers say how long the body is, or that it comes in
            chunks.
        body
            The body.
        upgrade
            Whether the answer may switch to another protocol.

        Raises
        ------
        TunnelClosedError
            The connection has ended.
        """
        self._answer = Answer(method, upgrade=upgrade)
        lines = [b"%b %b HTTP/1.1" % (method.encode(), target.encode("utf-8", "surrogateescape"))]
        lines += [b"%b: %b" % header for header in headers]
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        if body is None:
            await self.tunnel.send(head)
            return
        self._sent = False
        chunked = any(name.lower() == b"transfer-encoding" for name, _ in headers)
        await self._send_body(bytearray(head), body, chunked)
        self._sent = True

    async def _send_body(self, data: bytearray, body: AsyncIterator[bytes], chunked: bool) -> None:
        """Send a body after what is in `data`."""
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
                break
            for part in chunks(piece, MESSAGE // 2):
                framed = b"%x\r\n%b\r\n" % (len(part), bytes(part)) if chunked else part
                if len(data) + len(framed) > MESSAGE:
                    await self.tunnel.send(data)
                    data.clear()
                data += framed
        if chunked:
            data += b"0\r\n\r\n"
        if data:
            await self.tunnel.send(data)

    async def head(self, within: float | None = None) -> Head:
        """Wait for the head of the response. It may be called again.

        Parameters
        ----------
        within
            No longer than this, seconds.

        Raises
        ------
        TimeoutError
            It has not come by then.
        TunnelClosedError
            The connection has ended before it.
        MalformedAnswerError
            What has come is no HTTP.
        """
        answer = self._expected
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        while answer.head is None:
            data = await self.tunnel.receive(deadline)
            if not data:
                raise TunnelClosedError("The connection was closed before an answer came")
            answer.feed(data)
        return answer.head

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
        """Return what of the body has come with the head, and whether that is all of it."""
        answer = self._expected
        if answer.complete:
            self.tunnel.answered()
        return answer.take(), answer.complete

    async def more(self) -> bytes | None:
        """Wait for more of the body; None at its end. It may be cancelled, and called again.

        Raises
        ------
        MalformedAnswerError
            It is incomplete, or no HTTP.
        """
        answer = self._expected
        while True:
            data = answer.take()
            if data:
                return data
            if answer.complete:
                self.tunnel.answered()
                return None
            data = await (self.tunnel.receive() if answer.delimited else self._receive_or_end())
            if data:
                answer.feed(data)
            else:
                answer.end()

    @property
    def _expected(self) -> Answer:
        assert self._answer is not None, "nothing was sent"
        return self._answer

    def finish(self) -> None:
        """Note that the exchange is over."""
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
        return self._expected.rest

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
