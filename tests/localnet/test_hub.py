from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from golem_nb.localnet import hub as hub_module
from golem_nb.localnet.bus import packets
from golem_nb.localnet.hub import Hub


class Peer:
    """A daemon's end of a connection to the hub."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def receive(self) -> tuple[str, Any]:
        async with asyncio.timeout(5):
            head = await self.reader.readexactly(4)
            body = await self.reader.readexactly(int.from_bytes(head, "big"))
        packet = packets.parse(head + body)
        kind = packet.WhichOneof("packet")
        return kind, getattr(packet, kind)

    async def ask(self, frame: bytes) -> Any:
        self.send(frame)
        return (await self.receive())[1]

    async def closed(self) -> bool:
        async with asyncio.timeout(5):
            try:
                while await self.reader.read(1 << 16):
                    pass
            except ConnectionError:
                pass
        return True


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    hub = Hub()
    await hub.serve(listening)
    yield listening.getsockname()[1]
    await hub.close()


@pytest.fixture
async def connect(port: int) -> AsyncIterator[Callable[..., Any]]:
    peers: list[Peer] = []

    async def go(*services: str) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
        peers.append(peer)
        assert (await peer.receive())[0] == "hello"
        peer.send(packets.hello("test", bytes(16)))
        for service in services:
            assert (await peer.ask(packets.register_request(service))).code == 0
        return peer

    yield go
    for peer in peers:
        peer.writer.close()


async def test_a_call_and_its_answer(connect: Any) -> None:
    a, b = await connect("/net/0xa"), await connect("/net/0xb")
    a.send(packets.call_request("/net/0xa", "/net/0xb/market/Call", "7", b"question"))
    kind, call = await b.receive()
    assert (kind, call.caller, call.address, call.data) == (
        "call_request",
        "/net/0xa",
        "/net/0xb/market/Call",
        b"question",
    )
    b.send(packets.call_reply("7", b"answer"))
    kind, reply = await a.receive()
    assert (kind, reply.request_id, reply.data) == ("call_reply", "7", b"answer")


async def test_a_stream_ends_with_its_full_reply(connect: Any) -> None:
    a, b = await connect(), await connect("/net/0xb")
    a.send(packets.call_request("/net/0xa", "/net/0xb/Stream", "s", b""))
    await b.receive()
    for text in (b"1", b"2"):
        b.send(packets.call_reply("s", text, reply_type=packets.REPLY_PARTIAL))
        assert (await a.receive())[1].data == text
    b.send(packets.call_reply("s", b""), packets.call_reply("s", b"too much"), packets.ping())
    assert (await a.receive())[1].reply_type == packets.REPLY_FULL
    assert (await b.receive())[0] == "pong"
    assert (await a.ask(packets.ping())) is not None  # what came after the end was not passed on


async def test_the_longest_address_wins(connect: Any) -> None:
    a, node, unit = await connect(), await connect("/net/0xb"), await connect("/net/0xb/vpn/n1")
    a.send(packets.call_request("a", "/net/0xb/vpn/n1/VpnControl", "1", b""))
    assert (await unit.receive())[1].request_id == "1"
    a.send(packets.call_request("a", "/net/0xb/vpn/n10/VpnControl", "2", b""))
    assert (await node.receive())[1].request_id == "2"
    # the route is forgotten with the service
    assert (await unit.ask(packets.unregister_request("/net/0xb/vpn/n1"))).code == 0
    a.send(packets.call_request("a", "/net/0xb/vpn/n1/VpnControl", "3", b""))
    assert (await node.receive())[1].request_id == "3"


async def test_nobody_there(connect: Any) -> None:
    a = await connect()
    reply = await a.ask(packets.call_request("a", "/net/0xdead/x", "1", b""))
    assert (reply.request_id, reply.code) == ("1", 400)
    assert b"/net/0xdead/x" in reply.data
    a.send(packets.call_request("a", "/net/0xdead/x", "2", b"", no_reply=True), packets.ping())
    assert (await a.receive())[0] == "pong"


async def test_addresses_are_given_once(connect: Any) -> None:
    a, b = await connect("/net/0xa"), await connect()
    assert (await b.ask(packets.register_request("/net/0xa"))).code == 409
    assert (await b.ask(packets.unregister_request("/net/0xa"))).code == 404
    assert (await a.ask(packets.unregister_request("/net/0xa"))).code == 0
    assert (await b.ask(packets.register_request("/net/0xa"))).code == 0


async def test_a_lost_connection_frees_its_addresses_and_fails_its_calls(connect: Any) -> None:
    a, b = await connect(), await connect("/net/0xb")
    a.send(packets.call_request("a", "/net/0xb/x", "1", b""))
    await b.receive()
    b.writer.close()
    assert (await a.receive())[1].code == 500
    assert (await (await connect()).ask(packets.register_request("/net/0xb"))).code == 0


async def test_frames_of_a_private_network_are_acknowledged_by_the_hub(connect: Any) -> None:
    a, b = await connect(), await connect("/net/0xb")
    address = "/udp/net/0xb/vpn/n1/raw"
    assert (await b.ask(packets.register_request("/udp/net/0xb"))).code == 0
    reply = await a.ask(packets.call_request("a", address, "f", b"frame"))
    assert (reply.request_id, reply.code) == ("f", 0)
    assert (await b.receive())[1].data == b"frame"
    b.send(packets.call_reply("f", b""))  # a faithful node answers, too: once is enough
    assert (await a.ask(packets.ping())) is not None


async def test_broadcasts(connect: Any) -> None:
    a, b, c = await connect(), await connect(), await connect()
    for peer in (b, c):
        assert (await peer.ask(packets.subscribe_request("offers"))).code == 0
    assert (await c.ask(packets.unsubscribe_request("offers"))).code == 0
    assert (await a.ask(packets.broadcast_request("a", "offers", b"news"))).code == 0
    kind, message = await b.receive()
    assert (kind, message.topic, message.data) == ("broadcast_request", "offers", b"news")
    assert (await c.ask(packets.ping())) is not None


async def test_large_packets_in_small_pieces(connect: Any) -> None:
    a, b = await connect(), await connect("/net/0xb")
    data = bytes(range(256)) * 12_000  # 3 MiB
    frame = packets.call_request("a", "/net/0xb/x", "1", data)
    for start in range(0, len(frame), 100_000):
        a.send(frame[start : start + 100_000])
        await a.writer.drain()
        await asyncio.sleep(0)
    assert (await b.receive())[1].data == data
    a.send(packets.call_request("a", "/net/0xb/x", "2", b"small again"))
    assert (await b.receive())[1].data == b"small again"


async def test_who_sends_faster_than_the_other_reads_is_held_back(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_HIGH_WATER", 1 << 20)
    a, b, c = await connect(), await connect("/net/0xb"), await connect()
    chunk = packets.call_request("a", "/net/0xb/x", "1", bytes(1 << 20), no_reply=True)
    sent = 0

    async def pour() -> None:
        nonlocal sent
        for _ in range(100):
            a.send(chunk)
            await a.writer.drain()
            sent += 1

    pouring = asyncio.create_task(pour())
    assert not (await asyncio.wait([pouring], timeout=1))[0]
    assert sent < 60  # the rest waits at its sender
    assert (await c.ask(packets.ping())) is not None  # others go on
    async with asyncio.timeout(20):
        for _ in range(100):
            assert (await b.receive())[1].request_id == "1"
        await pouring
    assert (await a.ask(packets.ping())) is not None


@pytest.mark.parametrize(
    "rubbish",
    [b"\xff\xff\xff\xff", (packets.MAX_FRAME + 1).to_bytes(4, "big"), b"\x00\x00\x00\x03\xff\xff\xff"],
)
async def test_rubbish_costs_the_sender_its_connection_and_nobody_else(connect: Any, rubbish: bytes) -> None:
    a, bad = await connect("/net/0xa"), await connect("/net/0xbad")
    bad.send(packets.ping(), rubbish)
    assert await bad.closed()
    assert (await a.ask(packets.ping())) is not None
    assert (await a.ask(packets.register_request("/net/0xbad"))).code == 0


async def test_connections_are_bounded(port: int, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_MAX_CONNECTIONS", 3)
    a, _, _ = await connect(), await connect(), await connect()
    one_more = Peer(*await asyncio.open_connection("127.0.0.1", port))
    assert await one_more.closed()
    one_more.writer.close()
    assert (await a.ask(packets.ping())) is not None


async def test_calls_that_are_never_answered_are_bounded(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_MAX_PENDING", 2)
    a, b = await connect(), await connect("/net/0xb")
    for number in ("1", "2", "3"):
        a.send(packets.call_request("a", "/net/0xb/x", number, b""))
        await b.receive()
    b.send(packets.call_reply("1", b"forgotten"), packets.call_reply("3", b"known"))
    assert (await a.receive())[1].data == b"known"
