"""An asyncio client of the daemon's service bus: services that are bound, calls that are made."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import attrs

from golem_nb.exceptions import GolemError
from golem_nb.localnet.bus import packets
from golem_nb.localnet.bus.payloads import dumps, loads

__all__ = [
    "Bus",
    "BusCallError",
    "BusConnectionError",
    "BusError",
    "Call",
    "ErrorReply",
    "Handler",
    "RawHandler",
    "ServiceError",
]

logger = logging.getLogger(__name__)

#: Bytes that may wait to be sent before `drain` waits, unless something else is asked for.
_HIGH_WATER: Final = 8 << 20


class BusError(GolemError):
    """Something on the service bus went wrong."""


class BusConnectionError(BusError):
    """There is no connection to the service bus, or it was lost."""


class BusCallError(BusError):
    """The bus or the service refused a call; `code` is 400 (bad request, no such address) or 500."""

    def __init__(self, address: str, code: int, message: str) -> None:
        super().__init__(f"{address}: {code}: {message}")
        self.address, self.code, self.message = address, code, message


class ServiceError(BusError):
    """The service answered with the `Err` arm of its reply; `value` is the decoded error."""

    def __init__(self, address: str, value: Any) -> None:
        super().__init__(f"{address}: {value!r}")
        self.address, self.value = address, value


@attrs.frozen
class Call:
    """A call that came in.

    Parameters
    ----------
    caller
        Node id of the caller, or a name for local ones.
    component
        Last part of the address: which method is called.
    payload
        The decoded argument.
    """

    caller: str
    component: str
    payload: Any


@attrs.frozen
class ErrorReply:
    """Returned by a handler (or yielded in a stream) to answer with the `Err` arm."""

    value: Any


#: Answers a call: with a value, or, when the coroutine's result is an async iterator, with a stream.
Handler = Callable[[Call], Awaitable[Any]]
#: Takes a raw message (caller, bytes); it is acknowledged without a payload. May not block.
RawHandler = Callable[[str, bytes], None]


class Bus(asyncio.Protocol):
    """A connection to the service bus, made by `Bus.connect`.

    Calls run concurrently: each incoming call has a task, which `close` cancels and awaits.

    Examples
    --------
    ::

        async with await Bus.connect("unix:/tmp/yagna.sock", "example") as bus:
            await bus.bind("/public/hello", answer)
            me = await bus.call("/local/identity/Get", "byDefault")
    """

    def __init__(self, name: str, high_water: int = _HIGH_WATER) -> None:
        self.name, self._high_water = name, high_water
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._frames = packets.Frames()
        self._handlers: dict[str, Handler] = {}
        self._raw: dict[str, RawHandler] = {}
        self._calls: dict[str, asyncio.Future[bytes]] = {}
        self._registrations: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        # the central net's hub may see the ids of many connections: they start at a random place
        self._next_id = random.getrandbits(52)
        self._room = asyncio.Event()
        self._room.set()
        #: Done when the connection has ended: None after `close`, else the reason.
        self.closed: asyncio.Future[Exception | None] = self._loop.create_future()

    @classmethod
    async def connect(cls, url: str, name: str, high_water: int = _HIGH_WATER) -> Bus:
        """Connect and say hello.

        Parameters
        ----------
        url
            `unix:/path` as in the daemon's `GSB_URL`, or `tcp:host:port`.
        name
            Who we are, for the daemon's log.
        high_water
            Bytes that may wait to be sent before `full` is true and `drain` waits.

        Raises
        ------
        BusConnectionError
            Nobody listens there.
        """
        loop = asyncio.get_running_loop()
        try:
            if url.startswith("tcp:"):
                host, _, port = url[4:].removeprefix("//").partition(":")
                _, bus = await loop.create_connection(lambda: cls(name, high_water), host, int(port))
            else:
                path = url.removeprefix("unix:").removeprefix("//")
                _, bus = await loop.create_unix_connection(lambda: cls(name, high_water), path)
        except OSError as error:
            raise BusConnectionError(f"no service bus at {url}: {error}; is the daemon running?") from error
        return bus

    async def __aenter__(self) -> Bus:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # -- the connection ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello (asyncio calls this)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(self._high_water)
        self._write(packets.hello(self.name, os.urandom(16)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits for the bus (asyncio calls this)."""
        self._end(exc or BusConnectionError("the daemon closed the connection to the service bus"))

    def pause_writing(self) -> None:
        """Make `drain` wait (asyncio calls this)."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Let `drain` go on (asyncio calls this)."""
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """Take packets (asyncio calls this)."""
        try:
            for frame in self._frames.feed(data):
                self._packet(packets.parse(frame))
        except packets.BusProtocolError as error:
            logger.error("service bus: %s", error)
            self._end(error)

    def _end(self, reason: Exception | None) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        self._room.set()
        if self._transport is not None:
            self._transport.close()
        error = BusConnectionError(f"the connection to the service bus has ended: {reason or 'closed'}")
        waiting: list[asyncio.Future[Any]] = [*self._calls.values(), *self._registrations]
        for call in waiting:
            if not call.done():
                call.set_exception(error)
                call.exception()  # whoever waited may have been cancelled: no "never retrieved" noise
        self._registrations.clear()

    async def close(self) -> None:
        """Close the connection; calls being answered are cancelled, calls that wait fail."""
        self._end(None)
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def abort(self) -> None:
        """Cut the connection at once, leaving unsent what waits to be sent."""
        if self._transport is not None:
            self._transport.abort()
        self._end(None)

    def _write(self, frame: bytes) -> None:
        if self._transport is not None and not self.closed.done():
            self._transport.write(frame)

    async def drain(self) -> None:
        """Wait while much is waiting to be sent."""
        await self._room.wait()

    @property
    def full(self) -> bool:
        """Whether so much is waiting to be sent that `drain` would wait."""
        return not self._room.is_set()

    # -- packets ----------------------------------------------------------------------------------

    def _packet(self, packet: Any) -> None:
        kind = packet.WhichOneof("packet")
        if kind == "call_request":
            self._incoming(packet.call_request)
        elif kind == "call_reply":
            reply = packet.call_reply
            waiting = self._calls.pop(reply.request_id, None)
            if waiting is None or waiting.done():
                return
            if reply.code:
                waiting.set_exception(BusCallError("", reply.code, reply.data.decode(errors="replace")))
            else:
                waiting.set_result(reply.data)
        elif kind == "ping":
            self._write(packets.pong())
        elif kind in ("register_reply", "unregister_reply") and self._registrations:
            waiter = self._registrations.popleft()
            reply = getattr(packet, kind)
            if waiter.done():
                return
            if reply.code:
                waiter.set_exception(BusCallError("", reply.code, getattr(reply, "message", "")))
            else:
                waiter.set_result(None)

    def _incoming(self, call: Any) -> None:
        address: str = call.address
        raw = self._raw.get(address)
        if raw is not None:
            if not call.no_reply:
                self._write(packets.call_reply(call.request_id, b""))
            raw(call.caller, call.data)
            return
        service, _, component = address.rpartition("/")
        handler = self._handlers.get(service)
        if handler is None:
            if not call.no_reply:
                message = f"No service registered under given address '{address}'"
                self._write(packets.call_reply(call.request_id, message.encode(), 400))
            return
        task = self._loop.create_task(
            self._serve(handler, call.caller, component, call.request_id, call.data, call.no_reply)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, handler: Handler, caller: str, component: str, request_id: str, data: bytes, no_reply: bool
    ) -> None:
        code, body = 0, b""
        try:
            result = await handler(Call(caller, component, loads(data) if data else None))
            if isinstance(result, AsyncIterator):
                async for item in result:
                    self._write(packets.call_reply(request_id, _body(item), 0, packets.REPLY_PARTIAL))
                    if not self._room.is_set():
                        await self.drain()
                # a full reply without a payload ends the stream
            else:
                body = _body(result)
        except BusCallError as error:
            code, body = error.code, error.message.encode()
        except packets.BusProtocolError as error:
            code, body = 400, str(error).encode()
        except Exception as error:  # a bug in a handler must reach the caller, not only our log
            logger.exception("service bus: %s failed", component)
            code, body = 500, f"{type(error).__name__}: {error}".encode()
        if not no_reply:
            self._write(packets.call_reply(request_id, body, code))

    # -- services and calls -----------------------------------------------------------------------

    async def bind(self, service: str, handler: Handler) -> None:
        """Serve all calls to `service`/<component>.

        Raises
        ------
        BusCallError
            The address is taken (code 409).
        BusConnectionError
            The connection has ended.
        """
        self._handlers[service] = handler
        try:
            await self._register(service, packets.register_request(service))
        except BaseException:
            self._handlers.pop(service, None)
            raise

    async def unbind(self, service: str) -> None:
        """Stop serving `service`; it is no error when the connection has ended."""
        self._handlers.pop(service, None)
        with contextlib.suppress(BusError):
            await self._register(service, packets.unregister_request(service))

    def on_raw(self, address: str, handler: RawHandler | None) -> None:
        """Let `handler` have the raw messages to exactly `address` of a bound service (None: no more)."""
        if handler is None:
            self._raw.pop(address, None)
        else:
            self._raw[address] = handler

    async def _register(self, service: str, frame: bytes) -> None:
        self._check()
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._registrations.append(waiter)
        self._write(frame)
        try:
            await waiter
        except BusCallError as error:
            raise BusCallError(service, error.code, error.message or "the address is taken") from error

    def _check(self) -> None:
        if self.closed.done():
            raise BusConnectionError("the connection to the service bus has ended")

    async def call(
        self, address: str, payload: Any, timeout: float = 30, caller: str = "/local/golem_nb"
    ) -> Any:
        """Call a service and return its decoded answer.

        Parameters
        ----------
        address
            Service and component, such as `/net/<node id>/gftp/<name>/GetChunk`.
        payload
            What `payloads.dumps` takes.
        timeout
            Seconds to wait for the answer.
        caller
            Who asks.

        Raises
        ------
        ServiceError
            The service answered with an error of its own.
        BusCallError
            The bus or the service refused the call.
        TimeoutError
            No answer came in time.
        BusConnectionError
            The connection has ended.
        """
        data = await self.call_bytes(address, dumps(payload), timeout, caller)
        result = loads(data) if data else None
        if isinstance(result, dict) and len(result) == 1:
            if "Ok" in result:
                return result["Ok"]
            if "Err" in result:
                raise ServiceError(address, result["Err"])
        return result

    async def call_bytes(self, address: str, data: bytes, timeout: float, caller: str) -> bytes:
        """Call a service with an encoded payload; return the encoded answer (see `call`)."""
        self._check()
        self._next_id += 1
        request_id = str(self._next_id)
        waiting: asyncio.Future[bytes] = self._loop.create_future()
        self._calls[request_id] = waiting
        try:
            self._write(packets.call_request(caller, address, request_id, data))
            async with asyncio.timeout(timeout):
                return await waiting
        except BusCallError as error:
            raise BusCallError(address, error.code, error.message) from error
        except TimeoutError as error:
            raise TimeoutError(f"no answer from {address} within {timeout:g} s") from error
        finally:
            self._calls.pop(request_id, None)

    def push(self, address: str, data: bytes, caller: str = "local") -> None:
        """Send raw bytes without wanting an answer."""
        self._next_id += 1
        self._write(packets.call_request(caller, address, str(self._next_id), data, no_reply=True))


def _body(item: Any) -> bytes:
    return dumps({"Err": item.value} if isinstance(item, ErrorReply) else {"Ok": item})
