"""Sends no faster than the daemon passes on.

The daemon's websocket takes whatever it is given at once and keeps what it cannot pass on yet in its
memory: neither TCP nor the answers to pings tell how much that is (measured with yagna 0.17.6: pings are
answered in 2 ms with 5 MiB waiting). What does tell is another connection to the same node: its handshake
waits behind the data that is under way. A connection to a port where nobody listens is refused by the node
within one round trip, 3 to 10 ms on a quiet network and 50 to 400 ms while data is being passed on, and leaves
nothing behind on either side. So data is sent in bursts, and the next burst follows when the network has
become quiet.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from golem_nb.rest.errors import ApiError, BadRequestError

if TYPE_CHECKING:
    from golem_nb.network import Node

__all__ = ["Pacer", "round_trip"]

#: Nobody listens on this port of a node: "TCP Port Service Multiplexer", which is not in use any more.
CLOSED_PORT = 1

#: So much is sent without asking, bytes: most requests are smaller, and the daemon holds that easily.
FIRST_BURST = 512 * 1024

#: A burst is what the network passes on in so many seconds, by what the last one took …
BURST_SECONDS = 2.0

#: … but not more than this, bytes. Not much more is ever waiting in the daemon.
MAX_BURST = 4 * 1024 * 1024

MIN_BURST = 128 * 1024

#: A network is quiet if it answers within so many times what it takes at best, …
QUIET_FACTOR = 3.0

#: … and a little, in seconds.
QUIET_MARGIN = 0.015

#: A node that has not refused a connection by then does not do so, in seconds. What is sent to it is paced
#: by …
ANSWER_LIMIT = 5.0

#: … this rate, bytes a second: less than what was measured on one machine (1 to 3 MiB/s).
BLIND_RATE = 512 * 1024


async def round_trip(node: Node, limit: float) -> float | None:
    """Measure how long a node takes to answer; None if it does not within `limit` seconds.

    Parameters
    ----------
    node
        The node.
    limit
        Seconds.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        async with asyncio.timeout(limit):
            connection = await node.network.connect(node.ip, CLOSED_PORT)
        await connection.close()
    except BadRequestError:
        pass  # refused, as it should be
    except (ApiError, TimeoutError):
        return None
    return loop.time() - start


class Pacer:
    """Paces what is sent over one connection.

    Parameters
    ----------
    node
        Where it goes.
    best
        What a round trip to the node takes when nothing is under way, as far as known, in seconds.
    """

    def __init__(self, node: Node, best: float) -> None:
        self._node = node
        self._best = best
        self._burst = FIRST_BURST
        self._sent = 0
        self._started = 0.0

    async def before(self, size: int) -> None:
        """Wait until `size` more bytes may be sent."""
        loop = asyncio.get_running_loop()
        if not self._sent:
            self._started = loop.time()
        elif self._sent + size > self._burst:
            await self._drained()
            took = max(loop.time() - self._started, 0.001)
            rate = self._sent / took
            self._burst = int(min(max(rate * BURST_SECONDS, MIN_BURST), MAX_BURST))
            self._sent = 0
            self._started = loop.time()
        self._sent += size

    def restart(self) -> None:
        """Note that everything sent so far has arrived: the other end has answered."""
        self._sent = 0

    async def _drained(self) -> None:
        """Wait until what was sent has been passed on."""
        loop = asyncio.get_running_loop()
        while True:
            answered = await round_trip(self._node, ANSWER_LIMIT)
            if answered is None:
                pause = self._sent / BLIND_RATE - (loop.time() - self._started)
                await asyncio.sleep(max(pause, 0.0))
                return
            self._best = min(self._best, answered)
            if answered <= QUIET_FACTOR * self._best + QUIET_MARGIN:
                return
            # it has waited behind what was sent before it, so what is left is about as much again at most
            await asyncio.sleep(min(answered / 4, 0.05))
