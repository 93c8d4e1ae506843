"""The connections to one instance of a service: kept for the next request, opened when there are too few."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from golem_nb.contrib.service.errors import UpstreamError
from golem_nb.contrib.service.pacing import heard_within, round_trip
from golem_nb.contrib.service.tunnel import Tunnel
from golem_nb.contrib.service.upstream import Upstream
from golem_nb.rest.errors import ApiError, RequestTimeoutError

if TYPE_CHECKING:
    from golem_nb.network import Node

__all__ = ["UpstreamPool"]

#: Servers close idle connections after five seconds and more, and the daemon does not tell; ours are given up
#: before that, in seconds.
IDLE_LIMIT = 4.0

#: What must not be sent twice goes over a connection that was used so recently, or over a new one, in
#: seconds.
FRESH = 0.5

#: So many connections to a node are opened at the same time; who comes later waits until one of all is free.
#: (A hundred at once are more than the daemon opens within its own limit of five seconds.)
OPENING = 8

#: A node that was heard of so recently is there, in seconds. (Less than a request waits before it asks, so
#: that what is sent to a node that has vanished notices it at the first look.)
RECENT = 0.2

#: How long a node has to show that it refuses connections to a closed port, in seconds.
PROBE_LIMIT = 5.0


class UpstreamPool:
    """The connections to one node.

    Parameters
    ----------
    node
        The node.
    port
        TCP port of the server there.
    """

    def __init__(self, node: Node, port: int) -> None:
        self.node = node
        self._port = port
        #: The last one was used last. One timer looks after all of them.
        self._idle: list[Upstream] = []
        self._expiry: asyncio.TimerHandle | None = None
        #: Whether there was ever a connection: the first one to a node can take a second, since the daemon
        #: asks for the address of one node a second.
        self.ready = False
        #: Whether the node was seen to refuse a connection to a closed port, as most do.
        self._refuses = False
        self._probing: asyncio.Task[float | None] | None = None
        self._looking: asyncio.Task[bool] | None = None
        #: Requests that are on their way to the node, or wait for a connection.
        self.under_way = 0
        self._opening = 0
        #: Who waits for a connection, in order, and how long a new one may take.
        self._waiters: dict[asyncio.Future[None], float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where the server is."""
        return f"{self.node.ip}:{self._port}"

    async def acquire(self, *, repeatable: bool, timeout: float) -> Upstream:
        """Return a connection that nobody uses: one that is there, or a new one, whichever comes first.

        Parameters
        ----------
        repeatable
            Whether the request may be sent again if the server has just closed the connection.
        timeout
            Seconds that a new connection may take.

        Raises
        ------
        UpstreamError
            There is no connection to be had.
        """
        while True:
            upstream = self._take_idle(repeatable)
            if upstream is not None:
                return upstream
            # a node that was never reached is asked for its address first, once
            if self._opening < (OPENING if self.ready else 1):
                return await self._open(timeout)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = timeout
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # it was our turn: somebody else's now
                raise
            finally:
                self._waiters.pop(waiter, None)

    def _take_idle(self, repeatable: bool) -> Upstream | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            upstream = self._idle.pop()
            if upstream.reusable and (repeatable or now - upstream.idle_since < FRESH):
                return upstream
            self.discard(upstream)
        return None

    async def _open(self, timeout: float) -> Upstream:
        self._opening += 1
        try:
            upstream = Upstream(await Tunnel.open(self.node, self._port, timeout))
        except (TimeoutError, ApiError) as error:
            # those that wait for their turn, and have no more time, would only fail one after another
            hasty = [waiter for waiter, limit in self._waiters.items() if limit <= timeout]
            for waiter in hasty if not self.is_talking else ():
                del self._waiters[waiter]
                if not waiter.done():
                    waiter.set_exception(self._failure(error, timeout))
            raise self._failure(error, timeout) from error
        finally:
            self._opening -= 1
            self._wake()
        if not self.ready:
            self.ready = True
            for _ in range(OPENING - 1):
                self._wake()
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe(PROBE_LIMIT), name="first probe")
        return upstream

    def _failure(self, error: TimeoutError | ApiError, timeout: float) -> UpstreamError:
        where = f"port {self._port} of {self.node.ip}"
        lost = isinstance(error, TimeoutError | RequestTimeoutError) and not self.is_talking
        if isinstance(error, ApiError):
            return UpstreamError(502, f"No connection to {where}: {error.message}", sent=False, lost=lost)
        return UpstreamError(504, f"No connection to {where} in {timeout:g} s", sent=False, lost=lost)

    def _wake(self) -> None:
        """Let the next one look for a connection."""
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if not waiter.done():
                waiter.set_result(None)
                return

    @property
    def is_talking(self) -> bool:
        """Whether the node was heard of a moment ago, by whichever connection."""
        return heard_within(self.node, RECENT)

    async def is_alive(self, limit: float) -> bool:
        """Whether the node is heard of, or can be reached within `limit` seconds."""
        if self.is_talking:
            return True
        # one look for all who want to know
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="probe")
        await asyncio.wait({self._looking}, timeout=limit)
        return self._looking.done() and self._looking.result()

    async def _look(self) -> bool:
        if self._refuses:
            return await self._probe(PROBE_LIMIT) is not None
        # it may be one that keeps silent; it is there if the server accepts a connection
        probing = asyncio.create_task(self._probe(PROBE_LIMIT), name="probe of the node")
        try:
            upstream = Upstream(await Tunnel.open(self.node, self._port, PROBE_LIMIT))
        except (ApiError, TimeoutError):
            return await probing is not None
        else:
            self.release(upstream)
            return True
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    async def _probe(self, limit: float) -> float | None:
        took = await round_trip(self.node, limit)
        self._refuses = self._refuses or took is not None
        return took

    def release(self, upstream: Upstream) -> None:
        """Give a connection back after a complete exchange."""
        upstream.finish()
        if upstream.reusable:
            self._idle.append(upstream)
            if self._expiry is None:
                self._expiry = asyncio.get_running_loop().call_later(IDLE_LIMIT, self._expire)
            self._wake()
        else:
            self.discard(upstream)

    def discard(self, upstream: Upstream) -> None:
        """Close a connection in the background."""
        task = asyncio.create_task(upstream.close(), name="close upstream")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _expire(self) -> None:
        """Close the connections that nobody has used for long."""
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0].idle_since + IDLE_LIMIT <= loop.time():
            self.discard(self._idle.pop(0))
        self._expiry = None
        if self._idle:
            self._expiry = loop.call_at(self._idle[0].idle_since + IDLE_LIMIT, self._expire)

    async def close(self) -> None:
        """Close all connections that nobody uses."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        while self._idle:
            self.discard(self._idle.pop())
        for task in (self._probing, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._closing:
            await asyncio.wait(set(self._closing))
