"""One request of a client, passed to an instance of a service, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from aiohttp import ClientConnectionResetError, StreamReader, web
from multidict import CIMultiDict

from golem_nb.contrib.service.answer import SWITCHING_PROTOCOLS, MalformedAnswerError
from golem_nb.contrib.service.errors import UpstreamError
from golem_nb.contrib.service.headers import request_headers, response_headers
from golem_nb.contrib.service.pacing import is_busy
from golem_nb.contrib.service.tunnel import TunnelClosedError
from golem_nb.log import get_logger

if TYPE_CHECKING:
    from golem_nb.contrib.service.answer import Head
    from golem_nb.contrib.service.pool import UpstreamPool
    from golem_nb.contrib.service.upstream import Upstream

__all__ = ["ALTERNATIVES", "Alternatives", "Exchange"]

logger = get_logger(__name__)

T = TypeVar("T")

#: Where there is another instance, a connection may take so long, in seconds.
CONNECT_LIMIT = 0.5

#: A node that has not answered a request after so many seconds is asked whether it is still there, …
LIVENESS_AFTER = 0.25

#: … and if there is another instance, it has so long to say so, in seconds. One that has much to do may be
#: later than that, and is then passed over for nothing; but together with the time before it this is what a
#: request to a node that has vanished loses.
LIVENESS_LIMIT = 0.35

#: It is asked again that often, in seconds. So is the instance of a stream in which nothing comes.
LIVENESS_INTERVAL = 5.0

#: A node that has much to do for others is asked later whether it has forgotten this request, in seconds.
ASK_AFTER = 1.5

#: A server that has not taken all of a request has so long to have said why, in seconds.
LAST_ANSWER = 0.5

#: "Going away": tells the server that the client of a websocket has left, since the daemon does not. If it
#: has closed properly, this reaches nobody. …
_GOING_AWAY = b"\x88\x82\x00\x00\x00\x00\x03\xe9"

#: … And the same for the client, when the instance has left.
_SERVER_GOING_AWAY = b"\x88\x02\x03\xe9"

#: While much is being sent in the network answers are late; a node then has so many times as long.
BUSY_FACTOR = 4.0

#: So many requests to one node at a time are no trouble; with more of them it has as many times as long.
EASY = 4

REPEATABLE = ("GET", "HEAD")


@attrs.frozen
class Alternatives:
    """Whether the request at hand could go to another instance. Who is asked last has all the time there is.

    Parameters
    ----------
    to_connecting
        If this one cannot be connected to.
    to_waiting
        If this one may have seen the request and does not answer.
    """

    to_connecting: bool = False
    to_waiting: bool = False


ALTERNATIVES: ContextVar[Alternatives] = ContextVar("golem_nb alternatives")


class Exchange:
    """Passes one request to a node.

    Parameters
    ----------
    request
        The client's.
    pool
        Connections to the node.
    host
        Takes the place of the request's Host header.
    timeout
        Seconds until the answer has to begin.
    present
        Whether the instance still runs on this node.
    """

    def __init__(
        self, request: web.Request, pool: UpstreamPool, host: str | None, timeout: float, present: Any
    ) -> None:
        self._request = request
        self._pool = pool
        self._timeout = timeout
        self._present = present
        self._alternatives = ALTERNATIVES.get(Alternatives())
        self._name = f"instance at {pool.node.ip}"
        self._headers = request_headers(request.raw_headers, host, pool.address)
        self._upgrade = _wants_websocket(request)
        if self._upgrade:
            if request.body_exists:
                # the server would take what comes after the switch for that body
                raise web.HTTPBadRequest(text="A request for a websocket has no body")
            self._headers += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        #: The body on its way there: an answer may begin before it has ended.
        self._sending: asyncio.Task[None] | None = None
        self._has_body = request.body_exists
        if self._has_body and request.content_length is None:
            self._headers.append((b"Transfer-Encoding", b"chunked"))

    @property
    def repeatable(self) -> bool:
        """Whether the request may be sent twice."""
        return self._request.method in REPEATABLE and not self._has_body and not self._upgrade

    async def run(self) -> web.StreamResponse:
        """Send the request, pass the answer to the client, and return it.

        Raises
        ------
        UpstreamError
            There is no answer; the client has got nothing yet.
        """
        self._pool.under_way += 1
        try:
            return await self._run()
        finally:
            self._pool.under_way -= 1

    async def _run(self) -> web.StreamResponse:
        while True:
            limit = self._limit(CONNECT_LIMIT, self._timeout, self._alternatives.to_connecting)
            upstream = await self._pool.acquire(repeatable=self.repeatable, timeout=limit)
            complete = False
            began = asyncio.get_running_loop().time()
            try:
                head = await self._ask(upstream)
                response = await self._answer(upstream, head)
                complete = True
                return response
            except TunnelClosedError as error:
                # the server may have closed an idle connection before this was sent, which shows at once
                late = asyncio.get_running_loop().time() - began >= LIVENESS_AFTER
                if late or not (upstream.used and self.repeatable):
                    raise UpstreamError(
                        502, f"The {self._name} closed the connection without an answer", sent=True
                    ) from error
            except MalformedAnswerError as error:
                raise UpstreamError(
                    502, f"The {self._name} does not speak HTTP: {error}", sent=True
                ) from error
            finally:
                await self._end_sending()
                if complete:
                    self._pool.release(upstream)
                else:
                    self._pool.discard(upstream)

    def _limit(self, short: float, long: float, alternative: bool) -> float:
        """How long the node may take for something, in seconds: not long if there is another one."""
        if not alternative or not self._pool.ready:
            return long
        busy = BUSY_FACTOR if is_busy(self._pool.node.network) else 1.0
        return min(short * max(busy, self._pool.under_way / EASY), long)

    # -- there -------------------------------------------------------------------------------------------

    async def _ask(self, upstream: Upstream) -> Head:
        """Send the request and wait for the head of the answer, which may come before all is sent."""
        request = self._request
        target = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
        loop = asyncio.get_running_loop()
        sending: asyncio.Task[None] | None = None
        if not self._has_body:
            await upstream.send(request.method, target, self._headers, upgrade=self._upgrade)
            began = loop.time()
            # nearly all answers are there by then
            with contextlib.suppress(TimeoutError):
                return await upstream.head(min(LIVENESS_AFTER, self._timeout))
        else:
            send = upstream.send(request.method, target, self._headers, self._body())
            sending = self._sending = asyncio.create_task(send, name="send request")
        heading = asyncio.create_task(upstream.head(), name="head of response")
        try:
            if sending is not None:
                await self._send_all(sending, heading)
                began = loop.time()
            return await self._wait_for(heading, upstream, sending, began + self._timeout)
        finally:
            heading.cancel()
            await asyncio.gather(heading, return_exceptions=True)

    async def _end_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send_all(self, sending: asyncio.Task[None], heading: asyncio.Task[Head]) -> None:
        """Wait until a body is sent, which takes as long as the client takes, or there is an answer."""
        while not (sending.done() or heading.done()):
            await asyncio.wait(
                {sending, heading}, timeout=LIVENESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED
            )
            if not self._present():
                raise UpstreamError(502, f"The {self._name} has ended", sent=True)

    async def _wait_for(
        self,
        heading: asyncio.Task[Head],
        upstream: Upstream,
        sending: asyncio.Task[None] | None,
        deadline: float,
    ) -> Head:
        """Wait for the head of the answer, and look after the node meanwhile."""
        # without a body it was waited for already
        patience = 0.0 if sending is None else LIVENESS_AFTER
        while not heading.done():
            if sending is not None and sending.done() and (error := sending.exception()) is not None:
                if isinstance(error, TunnelClosedError):
                    # the server did not want all of it, and may have said why before it closed
                    await asyncio.wait({heading}, timeout=LAST_ANSWER)
                    if heading.done() and heading.exception() is None:
                        break
                raise error
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise UpstreamError(504, f"No answer from the {self._name} in {self._timeout:g} s", sent=True)
            await asyncio.wait({heading}, timeout=min(patience, left))
            if heading.done():
                break
            patience = LIVENESS_AFTER
            if not self._pool.is_talking or self._timeout - left > ASK_AFTER:
                await self._check_alive(heading)
                sent = sending is None or sending.done()
                if sent and not heading.done() and not self._upgrade:
                    await upstream.ask_whether_open()
                patience = LIVENESS_INTERVAL
        return heading.result()

    async def _check_alive(self, heading: asyncio.Task[Head]) -> None:
        limit = self._limit(LIVENESS_LIMIT, LIVENESS_INTERVAL, self._alternatives.to_waiting)
        probing = asyncio.create_task(self._pool.is_alive(limit), name="probe")
        try:
            await asyncio.wait({heading, probing}, return_when=asyncio.FIRST_COMPLETED)
            if heading.done():
                return
            alive = self._present() and probing.result()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        if not alive:
            raise UpstreamError(502, f"The {self._name} cannot be reached any more", sent=True, lost=True)

    async def _body(self) -> AsyncIterator[bytes]:
        """Read the client's body, no faster than it is passed on."""
        limit = self._request.client_max_size
        size = 0
        async for piece in self._request.content.iter_any():
            size += len(piece)
            if limit and size > limit:
                raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=size)
            yield piece
        # the server waits for what was announced
        if self._request.content_length not in (None, size):
            raise web.HTTPBadRequest(text="Some of the body of this request was taken before it got here")

    # -- and back ----------------------------------------------------------------------------------------

    async def _answer(self, upstream: Upstream, head: Head) -> web.StreamResponse:
        headers = CIMultiDict((_text(name), _text(value)) for name, value in response_headers(head.headers))
        reason = _text(head.reason)
        response: web.StreamResponse
        if head.status == SWITCHING_PROTOCOLS:
            response = web.StreamResponse(status=head.status, reason=reason, headers=headers)
            with contextlib.suppress(ClientConnectionResetError):
                await self._websocket(upstream, response)
            return response
        data, complete = upstream.at_once()
        if complete and self._request.method != "HEAD":
            # goes to the client in one piece, with its head
            response = web.Response(body=data, status=head.status, reason=reason, headers=headers)
        else:
            response = web.StreamResponse(status=head.status, reason=reason, headers=headers)
        try:
            await response.prepare(self._request)
            if not complete:
                if self._sending is not None:
                    self._sending.add_done_callback(self._sent)
                await self._pass(upstream, data, response)
            await response.write_eof()
        except (MalformedAnswerError, TunnelClosedError, UpstreamError) as error:
            # the client has a part of it already: that it ends early is all that it can be told
            logger.warning("The answer of the %s is incomplete: %s", self._name, error)
            self._hang_up()
        except ClientConnectionResetError:
            # it leaves while something is written; at any other time this is cancelled
            logger.debug("The client has left before the end of the answer of the %s", self._name)
        return response

    async def _pass(self, upstream: Upstream, data: bytes, response: web.StreamResponse) -> None:
        piece: bytes | None = data
        while piece is not None:
            if piece:
                await response.write(piece)
            piece = await self._while_present(upstream.more, upstream)

    async def _while_present(self, coming: Callable[[], Awaitable[T]], upstream: Upstream | None = None) -> T:
        """Wait for something that may take as long as it likes while the instance is there.

        Where `upstream` speaks HTTP, its server is asked from time to time whether it has closed.
        """
        while True:
            try:
                async with asyncio.timeout(LIVENESS_INTERVAL):
                    return await coming()
            except TimeoutError:
                if not self._present():
                    raise UpstreamError(502, f"The {self._name} has ended", sent=True) from None
                if upstream is not None and (self._sending is None or self._sending.done()):
                    # that it has is seen as the end of what comes
                    with contextlib.suppress(TunnelClosedError):
                        await upstream.ask_whether_open()

    def _sent(self, sending: asyncio.Task[None]) -> None:
        """End an answer for which the rest of the request will not come."""
        error = None if sending.cancelled() else sending.exception()
        if error is not None and not isinstance(error, TunnelClosedError):
            logger.warning("The request to the %s is incomplete: %s", self._name, error)
            self._hang_up()

    def _hang_up(self) -> None:
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    async def _websocket(self, upstream: Upstream, response: web.StreamResponse) -> None:
        """Pass bytes both ways; what they mean is between client and server."""
        response.headers["Connection"] = "Upgrade"
        response.headers["Upgrade"] = "websocket"
        protocol = self._request.protocol
        await response.prepare(self._request)
        reader = StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
        protocol.set_parser(_Passage(reader))  # type: ignore[arg-type]
        protocol.keep_alive(False)
        tunnel = upstream.tunnel
        upstream.last_words = _GOING_AWAY

        async def there() -> None:
            async for data in reader.iter_any():
                await tunnel.send(data)

        async def back() -> None:
            data = upstream.rest
            while True:
                if data:
                    await response.write(data)
                data = await self._while_present(tunnel.receive)
                if not data:
                    return

        directions = [asyncio.create_task(there()), asyncio.create_task(back())]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in directions:
                task.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            # the server that listens here would wait for another request on this connection
            if (transport := self._request.transport) is not None:
                transport.write(_SERVER_GOING_AWAY)
                transport.close()


class _Passage:
    """Takes what comes on a client's connection after HTTP has ended on it."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()

    def set_exception(self, error: BaseException, cause: BaseException) -> None:
        self._reader.set_exception(error, cause)


def _text(value: bytes) -> str:
    """What is written as UTF-8 goes to the client as it came; anything else is taken for Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _wants_websocket(request: web.Request) -> bool:
    connection = request.headers.get("Connection", "").lower()
    return "upgrade" in connection and request.headers.get("Upgrade", "").lower() == "websocket"
