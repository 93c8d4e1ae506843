"""The client of the service bus, through a real hub: the daemon's bus speaks the same protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from golem_nb.localnet.bus.client import (
    Bus,
    BusCallError,
    BusConnectionError,
    Call,
    ErrorReply,
    ServiceError,
)
from golem_nb.localnet.hub import Hub


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    hub = Hub()
    listening = socket.create_server(("127.0.0.1", 0))
    await hub.serve(listening)
    yield f"tcp:127.0.0.1:{listening.getsockname()[1]}"
    await hub.close()


async def _answer(call: Call) -> object:
    match call.component:
        case "Echo":
            return {"caller": call.caller, "payload": call.payload}
        case "Refuse":
            return ErrorReply({"badRequest": "no"})
        case "Break":
            raise RuntimeError("a bug")
        case "Slow":
            await asyncio.sleep(30)
            return None
        case _:
            raise BusCallError("", 400, f"no method {call.component}")


async def test_calls_answers_and_errors(url: str) -> None:
    async with await Bus.connect(url, "server") as server, await Bus.connect(url, "client") as client:
        await server.bind("/net/a", _answer)
        big = bytes(range(256)) * 8000
        result = await client.call("/net/a/Echo", {"blob": big, "none": None}, caller="me")
        assert result == {"caller": "me", "payload": {"blob": big, "none": None}}
        results = await asyncio.gather(*(client.call("/net/a/Echo", i) for i in range(200)))
        assert [r["payload"] for r in results] == list(range(200))
        with pytest.raises(ServiceError) as refused:
            await client.call("/net/a/Refuse", None)
        assert refused.value.value == {"badRequest": "no"}
        with pytest.raises(BusCallError, match=r"RuntimeError: a bug") as broken:
            await client.call("/net/a/Break", None)
        assert broken.value.code == 500
        with pytest.raises(BusCallError, match="no method Nothing"):
            await client.call("/net/a/Nothing", None)
        with pytest.raises(BusCallError, match="/net/b/Echo: 400"):
            await client.call("/net/b/Echo", None)
        with pytest.raises(TimeoutError, match=r"no answer from /net/a/Slow within 0.1 s"):
            await client.call("/net/a/Slow", None, timeout=0.1)


async def test_an_address_is_bound_once(url: str) -> None:
    async with await Bus.connect(url, "one") as one, await Bus.connect(url, "two") as two:
        await one.bind("/net/a", _answer)
        with pytest.raises(BusCallError) as taken:
            await two.bind("/net/a", _answer)
        assert taken.value.code == 409
        await one.unbind("/net/a")
        await two.bind("/net/a", _answer)


async def test_raw_messages_go_past_the_payloads(url: str) -> None:
    async with await Bus.connect(url, "one") as one, await Bus.connect(url, "two") as two:
        got: list[tuple[str, bytes]] = []
        came = asyncio.Event()

        def take(caller: str, data: bytes) -> None:
            got.append((caller, data))
            came.set()

        await one.bind("/net/a/vpn/n", _answer)
        one.on_raw("/net/a/vpn/n/raw", take)
        two.push("/net/a/vpn/n/raw", b"frame", caller="0x1")
        await asyncio.wait_for(came.wait(), 5)
        assert got == [("0x1", b"frame")]


async def test_the_end_of_the_connection_is_told_to_all_who_wait(url: str) -> None:
    server = await Bus.connect(url, "server")
    await server.bind("/net/a", _answer)
    client = await Bus.connect(url, "client")
    waiting = asyncio.create_task(client.call("/net/a/Slow", None))
    await asyncio.sleep(0.1)
    client.abort()
    with pytest.raises(BusConnectionError):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(BusConnectionError):
        await client.call("/net/a/Echo", None)
    assert client.closed.done()
    await client.close()
    await server.close()


async def test_nobody_there() -> None:
    with pytest.raises(BusConnectionError, match="is the daemon running"):
        await Bus.connect("unix:/nowhere/bus.sock", "x")
