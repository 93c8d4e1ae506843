"""How bytes come out of a tunnel. At its other end is a websocket server of this test: the daemon cannot be
told in what pieces, and when, to pass on what it gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from golem_nb.contrib.service.tunnel import BUFFER, BULK, GATHER, Tunnel, TunnelClosedError

PIECE = 1300

Script = Callable[[web.WebSocketResponse], Awaitable[None]]
Open = Callable[[Script], AbstractAsyncContextManager[Tunnel]]


class Network:
    """A network, as far as a tunnel looks at it."""


@pytest.fixture
def tunnel() -> Open:
    """Opens a tunnel to a server that does what it is told."""

    @asynccontextmanager
    async def opened(script: Script) -> AsyncIterator[Tunnel]:
        async def serve(request: web.BaseRequest) -> web.WebSocketResponse:
            websocket = web.WebSocketResponse()
            await websocket.prepare(request)
            await script(websocket)
            async for _ in websocket:
                pass
            return websocket

        runner = web.ServerRunner(web.Server(serve))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        node: Any = SimpleNamespace(ip="192.168.0.2", network=Network())
        try:
            async with aiohttp.ClientSession() as session:
                socket = await session.ws_connect(f"http://127.0.0.1:{runner.addresses[0][1]}/")
                found = Tunnel(socket, node, 80)
                try:
                    yield found
                finally:
                    await found.close()
        finally:
            await runner.cleanup()

    return opened


async def test_pieces_of_much_are_given_together(tunnel: Open) -> None:
    data = bytes(range(250)) * 1300

    async def send(websocket: web.WebSocketResponse) -> None:
        for start in range(0, len(data), PIECE):
            await websocket.send_bytes(data[start : start + PIECE])
            await asyncio.sleep(GATHER / 20)  # the next one is not there yet when this one has come

    received = []
    async with tunnel(send) as opened, asyncio.timeout(30):
        while sum(map(len, received)) < len(data):
            received.append(await opened.receive())
    assert b"".join(received) == data
    at_first, later = BULK // PIECE + 1, len(data) // PIECE - BULK // PIECE
    assert len(received) < at_first + later / 2, "each piece was passed on by itself"


async def test_what_is_said_in_turns_does_not_wait(tunnel: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much has gone to and fro: only what comes in one run is much."""
    monkeypatch.setattr("golem_nb.contrib.service.tunnel.GATHER", 3600.0)

    async def echo(websocket: web.WebSocketResponse) -> None:
        async for message in websocket:
            await websocket.send_bytes(message.data)

    async with tunnel(echo) as opened, asyncio.timeout(30):
        for _ in range(3 * BULK // PIECE):
            await opened.send(bytes(PIECE))
            assert await opened.receive() == bytes(PIECE)
            opened.answered()


async def test_a_wait_has_an_end(tunnel: Open) -> None:
    go = asyncio.Event()

    async def send(websocket: web.WebSocketResponse) -> None:
        await go.wait()
        await websocket.send_bytes(b"late")
        await websocket.close()

    loop = asyncio.get_running_loop()
    async with tunnel(send) as opened, asyncio.timeout(30):
        began = loop.time()
        with pytest.raises(TimeoutError):
            await opened.receive(began + 0.1)
        assert 0.1 <= loop.time() - began < 5
        go.set()
        assert await opened.receive(loop.time() + 20) == b"late"
        assert await opened.receive(loop.time() + 20) == b""
        assert opened.ended


async def test_the_daemon_does_not_wait_for_a_slow_reader(tunnel: Open) -> None:
    """It would let all other connections wait as well."""
    # more than the system's buffers of a connection take
    data = bytes(range(256)) * 256
    rounds = 600
    sent = asyncio.Event()

    async def send(websocket: web.WebSocketResponse) -> None:
        for _ in range(rounds):
            await websocket.send_bytes(data)
        sent.set()
        await websocket.receive()
        await websocket.send_bytes(b"more")
        await websocket.close()

    async with tunnel(send) as opened, asyncio.timeout(60):
        first = await opened.receive()
        await sent.wait()
        await opened.send(b"go on")
        received = bytearray(first)
        while piece := await opened.receive():
            assert len(piece) <= BUFFER + 2 * len(data), "all of it was held in memory"
            received += piece
    assert received == data * rounds + b"more"


async def test_what_nobody_reads_has_a_limit(
    tunnel: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("golem_nb.contrib.service.tunnel.SPOOL_LIMIT", 2 * 1024 * 1024)
    ended = asyncio.Event()

    async def send(websocket: web.WebSocketResponse) -> None:
        try:
            while True:
                await websocket.send_bytes(bytes(60_000))
        finally:
            ended.set()

    async with tunnel(send) as opened, asyncio.timeout(60):
        # nobody receives
        await ended.wait()
        received = 0

        async def receive_all() -> None:
            nonlocal received
            while data := await opened.receive():
                received += len(data)

        with pytest.raises(TunnelClosedError, match=r"192.168.0.2:80 was ended, since 2 MiB wait"):
            await receive_all()
    assert 2 * 1024 * 1024 < received < 3 * 1024 * 1024
    assert caplog.text.count("2 MiB wait for a reader that is too slow") == 1
