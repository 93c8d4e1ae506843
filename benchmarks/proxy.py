"""``python -m benchmarks.proxy [--rounds N] [--large]``: both proxies, beside bare websockets and yapapi's.

Instances of `clients/server.py` on providers of a local network are asked through golem_nb's proxies, through
yapapi's, and through the daemon's websockets to the same ports without anything around them. The bare
websockets are also reached through a relay that passes bytes on and understands none of them: what a process
in between costs in any case. All are there at the same time and asked in short turns, so that what else runs
on the machine meets all of them. The client is the same everywhere: HTTP/1.1 over a stream of bytes, in this
process. What fails counts as no speed at all. Prints a line of JSON.

With ``--large``, golem_nb's HTTP proxy also passes 100 MiB down, and 20 MiB up while the daemon is watched:
that takes minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import psutil

from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.report import Aim
from benchmarks.run import Clients, Values
from golem_nb.localnet import LocalNetwork

MIB = 1 << 20

SIDES = ("golem_nb", "yapapi", "bare", "relay")

#: The relay goes to the instance of the bare websockets.
INSTANCES = SIDES[:3]

#: Requests one after another, after some that do not count, and how many bytes each gets.
REQUESTS, WARM_UP, SMALL = 200, 20, 100

#: What counts as the time of a request that is never answered, milliseconds.
NO_ANSWER = 60_000.0

#: Connections that are busy at the same time, for how many seconds, and how often.
CONNECTIONS, SECONDS, WINDOWS = 8, 1.0, 5

#: Bytes that are sent each way to measure throughput, and how often; and by ``--large``, down and up.
BULK, TURNS, LARGE_DOWN, LARGE_UP = 2 * MIB, 2, 100 * MIB, 20 * MIB

#: Bytes of a websocket message: the daemon takes 64 KiB.
MESSAGE = 60 * 1024


class Stream:
    """Bytes to a server and back: a connection to a proxy, or a websocket of the daemon.

    Parameters
    ----------
    send
        Sends bytes.
    receive
        Gives the next bytes; none at the end.
    """

    def __init__(
        self, send: Callable[[bytes], Awaitable[None]], receive: Callable[[], Awaitable[bytes]]
    ) -> None:
        self.send = send
        self._receive = receive
        self._buffer = bytearray()

    async def head(self) -> dict[str, str]:
        """Read the head of an answer; give its headers, and the status."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            await self._more()
        lines = self._buffer[:end].decode().split("\r\n")
        del self._buffer[: end + 4]
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return headers | {"status": lines[0].split()[1]}

    async def take(self, size: int) -> bytes:
        """Read so many bytes; give the last of them, 64 at most."""
        last = b""
        while size > 0:
            if not self._buffer:
                await self._more()
            taken = bytes(self._buffer[:size])
            del self._buffer[:size]
            size -= len(taken)
            last = (last + taken)[-64:]
        return last

    async def _more(self) -> None:
        data = await self._receive()
        if not data:
            raise ConnectionError("the connection was closed")
        self._buffer += data

    async def get(self, size: int) -> None:
        """Ask for bytes by HTTP."""
        await self.send(b"GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % size)
        head = await self.head()
        if head["status"] != "200":
            raise ConnectionError(f"status {head['status']}")
        await self.take(int(head["content-length"]))

    async def post(self, data: bytes) -> bool:
        """Send bytes by HTTP; give whether they have arrived as they were."""
        await self.send(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(data))
        for start in range(0, len(data), MESSAGE):
            await self.send(data[start : start + MESSAGE])
        head = await self.head()
        if head["status"] != "200":
            raise ConnectionError(f"status {head['status']}")
        answer = await self.take(int(head["content-length"]))
        return answer.decode() == hashlib.sha256(data).hexdigest()


class Way:
    """Opens streams to the server.

    Parameters
    ----------
    session
        For websockets; None where the addresses are local ports.
    address
        The port, or the address of the websocket.
    """

    def __init__(self, session: aiohttp.ClientSession | None, address: Any) -> None:
        self._session = session
        self._address = address

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Stream]:
        """Connect."""
        if self._session is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._address)

            async def send(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            yield Stream(send, lambda: reader.read(1 << 16))
            writer.close()
        else:
            async with self._session.ws_connect(self._address, max_msg_size=0, autoping=True) as socket:

                async def receive() -> bytes:
                    message = await socket.receive()
                    return message.data if isinstance(message.data, bytes) else b""

                yield Stream(socket.send_bytes, receive)


FAILURES = (ConnectionError, aiohttp.ClientError)

Sides = Mapping[str, Way]


async def latency(ways: Sides, ask: Callable[[Stream], Awaitable[None]]) -> Values:
    """Ask all sides in turn, on one connection each; give each side's median, milliseconds."""
    took: dict[str, list[float]] = {side: [] for side in ways}
    async with contextlib.AsyncExitStack() as stack:
        streams = {side: await stack.enter_async_context(way.open()) for side, way in ways.items()}
        for number in range(WARM_UP + REQUESTS):
            for side, way in ways.items():
                began = time.perf_counter()
                try:
                    await ask(streams[side])
                except FAILURES:
                    streams[side] = await stack.enter_async_context(way.open())
                    continue
                if number >= WARM_UP:
                    took[side].append(1000 * (time.perf_counter() - began))
    return {side: statistics.median(values) if values else NO_ANSWER for side, values in took.items()}


async def rate(way: Way) -> tuple[int, int]:
    """Send requests on several connections for `SECONDS`; give how many were answered, and the failures."""
    end = time.perf_counter() + SECONDS
    answered = failed = 0

    async def ask() -> None:
        nonlocal answered, failed
        while time.perf_counter() < end:
            try:
                async with way.open() as stream:
                    while time.perf_counter() < end:
                        await stream.get(SMALL)
                        answered += 1
            except FAILURES:
                failed += 1

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return answered, failed


async def rates(ways: Sides) -> tuple[Values, Values]:
    """Let all sides work in turn, `WINDOWS` times; give requests a second, and failures."""
    answered, failed = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    for _ in range(WINDOWS):
        for side, way in ways.items():
            good, bad = await rate(way)
            answered[side] += good / SECONDS / WINDOWS
            failed[side] += bad
    return answered, failed


async def speeds(ways: Sides, action: Callable[[Stream], Awaitable[bool]]) -> tuple[Values, Values]:
    """Pass `BULK` bytes by each side in turn; give MiB/s, 0 for a failure, and whether all has arrived."""
    seconds, intact = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 1.0)
    for _ in range(TURNS):
        for side, way in ways.items():
            began = time.perf_counter()
            try:
                async with way.open() as stream:
                    intact[side] = min(intact[side], float(await action(stream)))
            except FAILURES:
                seconds[side] = float("inf")
                intact[side] = 0.0
            seconds[side] += time.perf_counter() - began
    return {side: TURNS * BULK / MIB / total for side, total in seconds.items()}, intact


async def drive(http: Sides, sockets: Sides) -> dict[str, Values]:
    """Ask through all sides, in turns so short that what else runs on the machine meets them alike."""

    async def echo(stream: Stream) -> None:
        await stream.send(bytes(64))
        await stream.take(64)

    async def load(stream: Stream) -> bool:
        await stream.get(BULK)
        return True

    async def load_socket(stream: Stream) -> bool:
        await stream.send(b"down %d" % BULK)
        await stream.take(BULK)
        return True

    figures = {"http_ms": await latency(http, lambda stream: stream.get(SMALL))}
    figures["http_requests_per_s"], figures["http_failed"] = await rates(http)
    figures["http_down_mib_s"], _ = await speeds(http, load)
    data = os.urandom(BULK)
    figures["http_up_mib_s"], figures["http_up_intact"] = await speeds(http, lambda stream: stream.post(data))
    figures["socket_ms"] = await latency(sockets, echo)
    figures["socket_down_mib_s"], _ = await speeds(sockets, load_socket)
    return {side: {figure: values[side] for figure, values in figures.items()} for side in http}


async def drive_large(http: Way, client: psutil.Process, daemon: psutil.Process) -> Values:
    """Pass much through golem_nb's HTTP proxy; give what memory that takes, MiB."""
    values: dict[str, float] = {}
    for name, process in (("proxy", client), ("daemon", daemon)):
        values[f"{name}_memory_mib"] = process.memory_info().rss / MIB
    peaks = {"proxy": 0.0, "daemon": 0.0}

    async def watch() -> None:
        while True:
            for name, process in (("proxy", client), ("daemon", daemon)):
                grown = process.memory_info().rss / MIB - values[f"{name}_memory_mib"]
                peaks[name] = max(peaks[name], grown)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    try:
        async with http.open() as stream:
            began = time.perf_counter()
            intact = await stream.post(os.urandom(LARGE_UP))
            values["large_up_mib_s"] = LARGE_UP / MIB / (time.perf_counter() - began)
        values["large_up_intact"] = float(intact)
        values["large_up_daemon_growth_mib"] = peaks["daemon"]
        async with http.open() as stream:
            began = time.perf_counter()
            await stream.get(LARGE_DOWN)
            values["large_down_mib_s"] = LARGE_DOWN / MIB / (time.perf_counter() - began)
        values["large_proxy_growth_mib"] = peaks["proxy"]
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return values


class Measurement:
    """Measures all sides of a round at the same time, and hands their figures out.

    Parameters
    ----------
    network
        The network.
    large
        Whether golem_nb passes much.
    """

    def __init__(self, network: LocalNetwork, large: bool) -> None:
        self._network = network
        self._large = large
        self._daemon = _requestor(network)
        self._measured: dict[str, Values] = {}

    async def __call__(self, clients: Clients, side: str) -> Values:
        """Give what one side has measured in this round."""
        if not self._measured:
            self._measured = await self._measure(clients)
        return self._measured.pop(side)

    async def _measure(self, clients: Clients) -> dict[str, Values]:
        loop = asyncio.get_running_loop()
        ready: dict[str, asyncio.Future[dict[str, Any]]] = {side: loop.create_future() for side in SIDES}
        over = asyncio.Event()

        async def on_ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ways = json.loads(await reader.readline())
            ready[ways["side"]].set_result(ways)
            await over.wait()
            writer.close()

        async with await asyncio.start_server(on_ready, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with asyncio.TaskGroup() as group:
                running = {
                    side: group.create_task(
                        clients.run(side, "bare_proxy", port)
                        if side == "bare"
                        else clients.run(side, "proxy", side, port)
                    )
                    for side in INSTANCES
                }
                try:
                    bare = await ready["bare"]
                    running["relay"] = group.create_task(
                        clients.run("relay", "relay", bare["http"], bare["socket"], port)
                    )
                    measured = await self._drive({side: await ready[side] for side in SIDES})
                finally:
                    over.set()
        return {
            side: values | {"memory_mib": running[side].result()["memory_mib"]}
            for side, values in measured.items()
        }

    async def _drive(self, found: Mapping[str, dict[str, Any]]) -> dict[str, Values]:
        headers = {"Authorization": f"Bearer {self._network.env['YAGNA_APPKEY']}"}
        async with aiohttp.ClientSession(headers=headers) as session:

            def ways(kind: str) -> Sides:
                return {
                    side: Way(session if side == "bare" else None, addresses[kind])
                    for side, addresses in found.items()
                }

            http = ways("http")
            measured = await drive(http, ways("socket"))
            if self._large:
                client = psutil.Process(found["golem_nb"]["pid"])
                measured["golem_nb"] |= await drive_large(http["golem_nb"], client, self._daemon)
            return measured


def _requestor(network: LocalNetwork) -> psutil.Process:
    """The requestor's daemon."""
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "yagna":
            with contextlib.suppress(psutil.Error):
                if process.environ().get("YAGNA_DATADIR") == network.env["YAGNA_DATADIR"]:
                    return process
    raise RuntimeError("the requestor's daemon is not to be found")


_FAST = 0.9
AIMS = (
    Aim("http_requests_per_s", ">=", 5.0, "yapapi"),
    Aim("http_requests_per_s", ">=", _FAST, "bare"),
    Aim("http_ms", "<=", 1 / _FAST, "bare"),
    Aim("http_down_mib_s", ">=", _FAST, "bare"),
    Aim("http_up_mib_s", ">=", _FAST, "bare"),
    Aim("http_up_intact", ">=", 1.0),
    Aim("http_failed", "<=", 0.0),
    Aim("socket_ms", "<=", 1 / _FAST, "bare"),
    Aim("socket_down_mib_s", ">=", _FAST, "bare"),
)
LARGE_AIMS = (
    Aim("large_up_intact", ">=", 1.0),
    Aim("large_up_daemon_growth_mib", "<=", 64.0),
    Aim("large_proxy_growth_mib", "<=", 16.0),
)


async def run(rounds: int, large: bool) -> None:
    """Measure and print."""
    from benchmarks.__main__ import measure, show

    yapapi = await asyncio.to_thread(peers.yapapi)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    async with LocalNetwork(providers=len(INSTANCES)) as network:
        case = Case(
            "proxy",
            "servers through both proxies",
            SIDES,
            Measurement(network, large),
            (*AIMS, *(LARGE_AIMS if large else ())),
        )
        result = await measure(case, Clients(network.env, yapapi), rounds)
    show(result)
    print(json.dumps(result | {"machine": machine}), flush=True)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (3)")
    parser.add_argument("--large", action="store_true", help="also pass 100 MiB down and 20 MiB up")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.rounds, arguments.large))
    return 0


if __name__ == "__main__":
    sys.exit(main())
