"""The local network's hub: routes messages between daemons.

Daemons that were told to use the central net (`YA_NET_TYPE=central`) keep one TCP connection to it and speak
the protocol of the service bus. All node-to-node traffic passes here, so it is on every hot path:

* The daemon leaves Nagle's algorithm on, so that a message after another waits for the acknowledgement of the
  first, which Linux delays by 40 ms. `TCP_QUICKACK`, set anew after each read as the kernel forgets it, makes
  a round trip between nodes 3 ms instead of 90.
* Frames of virtual private networks are pushed by one daemon, but the central net makes calls of them, and
  the next frame is sent only after the answer to the last. The hub answers them itself, at once.
* What arrives together for one destination leaves together. Who sends faster than a destination reads is
  not read until that has caught up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any, Final

from golem_nb.localnet.bus import packets

__all__ = ["Hub"]

_log = logging.getLogger(__name__)

#: Bytes that may wait for a destination before its senders are paused.
_HIGH_WATER: Final = 4 << 20
_READ_SIZE: Final = 256 << 10
#: Addresses, topics and calls that one connection may have: honest daemons need a few dozen.
_MAX_SERVICES: Final = 10_000
_MAX_TOPICS: Final = 1_000
_MAX_PENDING: Final = 20_000
_MAX_CONNECTIONS: Final = 256
_MAX_ROUTES: Final = 10_000
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)


class Hub:
    """Router of the local network."""

    def __init__(self) -> None:
        self._services: dict[str, _Connection] = {}
        self._topics: dict[str, set[_Connection]] = {}
        # the address of a call -> its destination; valid until a service comes or goes
        self._routes: dict[str, _Connection] = {}
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def serve(self, listening: socket.socket) -> None:
        """Serve the connections of a listening socket until `close`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), sock=listening)

    async def close(self) -> None:
        """Close all connections and the listening socket."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()

    @property
    def addresses(self) -> set[str]:
        """The addresses that are registered, such as "/net/0x…" for an identity."""
        return set(self._services)

    def find(self, address: str) -> _Connection | None:
        """Return the connection whose registered address is the longest prefix of this one."""
        route = self._routes.get(address)
        if route is not None:
            return route
        end = len(address)
        while end > 0:
            route = self._services.get(address[:end])
            if route is not None:
                if len(self._routes) >= _MAX_ROUTES:
                    self._routes.clear()
                self._routes[address] = route
                return route
            end = address.rfind("/", 0, end)
        return None

    def connected(self, connection: _Connection) -> None:
        """Take in a connection, or abort it if there are too many."""
        self._connections.add(connection)
        if len(self._connections) > _MAX_CONNECTIONS:
            connection.abort()

    def disconnected(self, connection: _Connection) -> None:
        """Forget a connection and all that it had registered."""
        self._connections.discard(connection)
        self._routes.clear()
        for address in connection.services:
            del self._services[address]
        for topic in connection.topics:
            self._drop(topic, connection)

    def register(self, connection: _Connection, address: str) -> bool:
        """Give an address to a connection; False if it is taken."""
        if address in self._services or len(connection.services) >= _MAX_SERVICES:
            return False
        self._services[address] = connection
        connection.services.add(address)
        self._routes.clear()
        return True

    def unregister(self, connection: _Connection, address: str) -> bool:
        """Take an address back; False if the connection does not have it."""
        if address not in connection.services:
            return False
        connection.services.discard(address)
        del self._services[address]
        self._routes.clear()
        return True

    def subscribe(self, connection: _Connection, topic: str) -> bool:
        """Give a connection the broadcasts of a topic; False if it has too many."""
        if len(connection.topics) >= _MAX_TOPICS:
            return False
        connection.topics.add(topic)
        self._topics.setdefault(topic, set()).add(connection)
        return True

    def unsubscribe(self, connection: _Connection, topic: str) -> None:
        """End a subscription."""
        if topic in connection.topics:
            connection.topics.discard(topic)
            self._drop(topic, connection)

    def subscribers(self, topic: str) -> set[_Connection]:
        """Return who gets the broadcasts of a topic."""
        return self._topics.get(topic, set())

    def _drop(self, topic: str, connection: _Connection) -> None:
        members = self._topics[topic]
        members.discard(connection)
        if not members:
            del self._topics[topic]


class _Connection(asyncio.BufferedProtocol):
    """One daemon (or exe-unit) at the hub."""

    def __init__(self, hub: Hub) -> None:
        self.services: set[str] = set()
        self.topics: set[str] = set()
        self._hub = hub
        # calls that this connection has been sent and has not answered: request -> who asked
        self._pending: dict[str, _Connection] = {}
        self._transport: asyncio.Transport
        self._buffer = bytearray(_READ_SIZE)
        self._end = 0
        self._full = False
        # who must not be read until this connection has room again
        self._paused: list[_Connection] = []
        self._waits_for = 0

    # -- transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_HIGH_WATER)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._hub.connected(self)
        transport.write(packets.hello("golem-nb-hub", os.urandom(16)))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._hub.disconnected(self)
        self.resume_writing()
        for request, caller in self._pending.items():
            caller.send(packets.call_reply(request, b"connection lost", code=500))
        self._pending.clear()

    def abort(self) -> None:
        self._transport.abort()

    def send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        paused, self._paused = self._paused, []
        for connection in paused:
            connection._waits_for -= 1
            if not connection._waits_for and not connection._transport.is_closing():
                connection._transport.resume_reading()

    def _wait_for(self, destination: _Connection) -> None:
        if self not in destination._paused:
            destination._paused.append(self)
            self._waits_for += 1
            if self._waits_for == 1 and not self._transport.is_closing():
                self._transport.pause_reading()

    # -- reading ------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, count: int) -> None:
        if _QUICKACK is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        buffer = self._buffer
        end = self._end + count
        start = 0
        out: dict[_Connection, list[bytes]] = {}
        try:
            while end - start >= 4:
                size = 4 + int.from_bytes(buffer[start : start + 4], "big")
                if size - 4 > packets.MAX_FRAME:
                    raise packets.BusProtocolError(f"a packet of {size - 4} bytes announced")
                if end - start < size:
                    break
                self._packet(bytes(memoryview(buffer)[start : start + size]), out)
                start += size
        except packets.BusProtocolError as error:
            _log.warning("connection to the hub closed: %s", error)
            self._transport.abort()
            return
        finally:
            for destination, parts in out.items():
                destination.send(parts[0] if len(parts) == 1 else b"".join(parts))
                if destination._full and destination is not self:
                    self._wait_for(destination)
        self._keep(start, end)

    def _keep(self, start: int, end: int) -> None:
        """Move the beginning of an unfinished packet to the front, and make room for all of it."""
        buffer = self._buffer
        rest = end - start
        need = _READ_SIZE
        if rest >= 4:
            # by doubling: a length alone, which is the sender's word, does not make us set memory aside
            whole = 4 + int.from_bytes(buffer[start : start + 4], "big")
            need = max(need, min(whole, 2 * rest))
        if need > len(buffer) or (len(buffer) > _READ_SIZE and rest < 4):
            # grown as the packet arrives, given back after it
            fresh = bytearray(need)
            fresh[:rest] = memoryview(buffer)[start:end]
            self._buffer = fresh
        elif start and rest:
            buffer[:rest] = buffer[start:end]
        self._end = rest

    # -- packets ------------------------------------------------------------------------------------------

    def _packet(self, frame: bytes, out: dict[_Connection, list[bytes]]) -> None:
        packet = packets.parse(frame)
        kind: str | None = packet.WhichOneof("packet")
        if kind == "call_request":
            self._call(packet.call_request, frame, out)
        elif kind == "call_reply":
            self._reply(packet.call_reply, frame, out)
        elif kind == "broadcast_request":
            _put(out, self, packets.broadcast_reply())
            for connection in self._hub.subscribers(packet.broadcast_request.topic):
                _put(out, connection, frame)
        elif kind == "ping":
            _put(out, self, packets.pong())
        elif kind is not None:
            answer = self._administer(kind, packet)
            if answer is not None:
                _put(out, self, answer)

    def _call(self, call: Any, frame: bytes, out: dict[_Connection, list[bytes]]) -> None:
        address: str = call.address
        destination = self._hub.find(address)
        if destination is None:
            if not call.no_reply:
                text = f"No service registered under given address '{address[:300]}'"
                _put(out, self, packets.call_reply(call.request_id, text.encode(), code=400))
            return
        if not call.no_reply:
            if address.endswith("/raw") and "/vpn/" in address:
                _put(out, self, packets.call_reply(call.request_id, b""))
            else:
                pending = destination._pending
                if len(pending) >= _MAX_PENDING:  # never answered, all of them: the oldest is not waited for
                    del pending[next(iter(pending))]
                pending[call.request_id] = self
        _put(out, destination, frame)

    def _reply(self, reply: Any, frame: bytes, out: dict[_Connection, list[bytes]]) -> None:
        request: str = reply.request_id
        if reply.reply_type == packets.REPLY_PARTIAL and not reply.code:
            caller = self._pending.get(request)
        else:
            caller = self._pending.pop(request, None)
        if caller is not None:  # else: asked by nobody, or an answer to a frame that was answered here
            _put(out, caller, frame)

    def _administer(self, kind: str, packet: Any) -> bytes | None:
        hub = self._hub
        if kind == "register_request":
            if hub.register(self, packet.register_request.service_id):
                return packets.register_reply()
            return packets.register_reply(409, "already registered")
        if kind == "unregister_request":
            known = hub.unregister(self, packet.unregister_request.service_id)
            return packets.unregister_reply(0 if known else 404)
        if kind == "subscribe_request":
            if hub.subscribe(self, packet.subscribe_request.topic):
                return packets.subscribe_reply()
            return packets.subscribe_reply(400, "too many topics")
        if kind == "unsubscribe_request":
            hub.unsubscribe(self, packet.unsubscribe_request.topic)
            return packets.unsubscribe_reply()
        return None  # hello, pong: nothing to do


def _put(out: dict[_Connection, list[bytes]], connection: _Connection, data: bytes) -> None:
    parts = out.get(connection)
    if parts is None:
        out[connection] = [data]
    else:
        parts.append(data)
