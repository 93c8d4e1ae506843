"""Lets one message after another through the daemon, in order, and no faster than it passes them on.

The daemon's websocket takes whatever it is given at once, and works on each message in a task of its own.
That has two consequences (both measured with yagna 0.17.6):

* What cannot be passed on yet waits in the memory of the daemon. Neither TCP nor the answers to pings tell:
  they come in 2 ms with 5 MiB waiting.
* Messages that wait at the same time overtake each other. Of 8 messages of 60 KiB sent at once, some arrived
  in another order in every second try, of 10 messages of 100 bytes likewise; even with a ping and its answer
  between them 4 of 128 tries went wrong on a machine with much to do.

So the next message follows when the one before has been passed on. That is seen by another connection to the
same node: its handshake waits behind the data that is under way. A connection to a port where nobody listens
is refused by the node within one round trip, 3 to 10 ms on a quiet network and 50 to 400 ms while data is
being passed on, and leaves nothing behind on either side. No message was overtaken that way in 95 tries. An
answer of the server is as good, and free.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import attrs

from golem_nb.rest.errors import ApiError, BadRequestError

if TYPE_CHECKING:
    from golem_nb.network import Network, Node

__all__ = ["Gate", "heard_within", "is_busy", "round_trip"]

#: Nobody listens on this port of a node: "TCP Port Service Multiplexer", which is not in use any more.
CLOSED_PORT = 1

#: A message of so many bytes is passed on at once; it needs one question and not quiet.
SMALL = 4 * 1024

#: Small messages that have had so much time were passed on, in seconds.
SETTLED = 0.25

#: A network is quiet if it answers within so many times what it takes at best, …
QUIET_FACTOR = 3.0

#: … and a little, in seconds.
QUIET_MARGIN = 0.015

#: Where others send as well it is never quiet. So many answers have waited behind our message long enough.
ANSWERS = 3

#: A node that has not refused a connection by then does not do so, in seconds. What is sent to it is paced
#: by …
ANSWER_LIMIT = 5.0

#: … this rate, bytes a second, …
BLIND_RATE = 256 * 1024

#: … and at least this pause after each message, in seconds.
BLIND_PAUSE = 0.05

#: So many large messages are on their way to a node at a time, those of other connections wait in order.
#: (A connection is opened behind all that waits, and the daemon gives it five seconds. Where much else runs a
#: network passes on 350 kB a second: with 8 messages to each of two nodes half of 100 requests failed.)
LARGE_AT_ONCE = 2

#: A network counts as busy for so long after a large message, in seconds.
BUSY = 3.0


class _Question:
    """Asks one node, once at a time, for all who want to know.

    A hundred who ask at once, each with a connection, are more than the daemon gets answered.
    """

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._began = 0.0
        self._took: float | None = None

    async def ask(self, node: Node) -> float | None:
        """Return the time of a round trip that has begun after this call."""
        loop = asyncio.get_running_loop()
        called = loop.time()
        async with self._asking:
            if self._began <= called:
                began = loop.time()
                self._took = await round_trip(node, ANSWER_LIMIT)
                self._began = began
            return self._took


class _Lane:
    """The large messages to one node."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(LARGE_AT_ONCE)
        #: Their sizes.
        self._under_way: dict[object, int] = {}
        self._looking: asyncio.Task[None] | None = None

    async def enter(self, node: Node, size: int) -> object:
        """Wait until a message of `size` bytes may be sent; return what stands for it."""
        if self._free.locked() and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look(node), name=f"messages to {node.ip}")
        await self._free.acquire()
        message = object()
        self._under_way[message] = size
        return message

    def leave(self, message: object) -> None:
        """Note that a message is not under way any more."""
        self._remove(message)
        if not self._under_way and self._looking is not None:
            self._looking.cancel()

    def _remove(self, message: object) -> None:
        if self._under_way.pop(message, None) is not None:
            self._free.release()

    async def _look(self, node: Node) -> None:
        """Find out which messages were passed on; those that were may wait long for their answers."""
        while self._free.locked():
            sent = dict(self._under_way)
            await _passed_on(node, sum(sent.values()))
            for message in sent:
                self._remove(message)


@attrs.define
class _Traffic:
    """What is known of the traffic in one network."""

    best: dict[str, float] = attrs.field(factory=dict)
    heard: dict[str, float] = attrs.field(factory=dict)
    silent: set[str] = attrs.field(factory=set)
    questions: defaultdict[str, _Question] = attrs.field(factory=lambda: defaultdict(_Question))
    lanes: defaultdict[str, _Lane] = attrs.field(factory=lambda: defaultdict(_Lane))
    busy_until: float = 0.0


_traffic: WeakKeyDictionary[Network, _Traffic] = WeakKeyDictionary()


def _of(network: Network) -> _Traffic:
    found = _traffic.get(network)
    if found is None:
        found = _traffic[network] = _Traffic()
    return found


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
    took = loop.time() - start
    _heard(node)
    best = _of(node.network).best
    best[node.ip] = min(best.get(node.ip, took), took)
    return took


def _heard(node: Node) -> None:
    _of(node.network).heard[node.ip] = asyncio.get_running_loop().time()


def heard_within(node: Node, seconds: float) -> bool:
    """Whether anything has come from a node in the last `seconds`."""
    last = _of(node.network).heard.get(node.ip)
    return last is not None and asyncio.get_running_loop().time() - last <= seconds


def is_busy(network: Network) -> bool:
    """Whether so much is being sent that answers are late."""
    return _of(network).busy_until > asyncio.get_running_loop().time()


async def _passed_on(node: Node, size: int) -> None:
    """Wait until the `size` bytes that were sent to a node so far were passed on."""
    traffic, ip = _of(node.network), node.ip
    if ip not in traffic.silent:
        for _ in range(ANSWERS):
            took = await traffic.questions[ip].ask(node)
            if took is None:
                if ip not in traffic.best:
                    traffic.silent.add(ip)
                break
            if size <= SMALL or took <= QUIET_FACTOR * traffic.best[ip] + QUIET_MARGIN:
                return
        else:
            return
    await asyncio.sleep(max(size / BLIND_RATE, BLIND_PAUSE))


class Gate:
    """Keeps messages on one connection apart.

    Parameters
    ----------
    node
        Where they go.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._under_way = 0
        self._sent_at = 0.0
        #: Stands for a large message.
        self._large: object = None

    async def enter(self, size: int) -> None:
        """Wait until a message of `size` bytes has its turn among those to the node."""
        if size > SMALL:
            self._large = await _of(self._node.network).lanes[self._node.ip].enter(self._node, size)

    def leave(self) -> None:
        """Let others have their turn."""
        if self._large is not None:
            message, self._large = self._large, None
            _of(self._node.network).lanes[self._node.ip].leave(message)

    def sent(self, size: int) -> None:
        """Note that a message of `size` bytes was handed to the daemon."""
        self._under_way += size
        self._sent_at = asyncio.get_running_loop().time()
        if size > SMALL:
            _of(self._node.network).busy_until = self._sent_at + BUSY

    def received(self) -> None:
        """Note that something has come back."""
        _heard(self._node)
        if self._under_way <= SMALL:
            self._under_way = 0
        else:
            self.leave()

    def answered(self) -> None:
        """Note that the other end has answered everything that was sent."""
        self._under_way = 0
        self.leave()

    async def ready(self) -> None:
        """Wait until the next message may be sent."""
        if not self._under_way:
            return
        small = self._under_way <= SMALL
        now = asyncio.get_running_loop().time()
        if not (small and now - self._sent_at > SETTLED):
            await _passed_on(self._node, self._under_way)
        self._under_way = 0
        self.leave()
