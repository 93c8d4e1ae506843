"""Packets and payloads of the service bus."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.localnet.bus import packets, payloads


def test_bytes_on_the_wire() -> None:
    # field numbers and lengths as the daemon sends them
    assert packets.ping() == b"\0\0\0\2r\0"
    assert packets.pong() == b"\0\0\0\2z\0"
    assert packets.call_request("me", "/public/x", "1", b"abc", no_reply=True) == (
        b'\0\0\0\x1b2\x19\n\x02me\x12\t/public/x\x1a\x011"\x03abc(\x01'
    )
    assert packets.register_reply() == b"\0\0\0\2\x1a\0"
    assert packets.call_reply("7", b"", 400)[4:] == b":\x06\n\x017\x10\x90\x03"


@pytest.mark.parametrize(
    ("frame", "kind", "fields"),
    [
        (packets.hello("n", b"x" * 16), "hello", {"name": "n", "version": "0.1.0", "instance_id": b"x" * 16}),
        (packets.register_request("/a"), "register_request", {"service_id": "/a"}),
        (packets.register_reply(409, "taken"), "register_reply", {"code": 409, "message": "taken"}),
        (packets.unregister_request("/a"), "unregister_request", {"service_id": "/a"}),
        (packets.unregister_reply(404), "unregister_reply", {"code": 404}),
        (packets.subscribe_request("t"), "subscribe_request", {"topic": "t"}),
        (packets.subscribe_reply(), "subscribe_reply", {"code": 0}),
        (packets.unsubscribe_request("t"), "unsubscribe_request", {"topic": "t"}),
        (packets.unsubscribe_reply(), "unsubscribe_reply", {"code": 0}),
        (
            packets.broadcast_request("c", "t", b"d"),
            "broadcast_request",
            {"caller": "c", "topic": "t", "data": b"d"},
        ),
        (packets.broadcast_reply(), "broadcast_reply", {"code": 0}),
        (
            packets.call_reply("1", b"p", 0, packets.REPLY_PARTIAL),
            "call_reply",
            {"reply_type": 1, "data": b"p"},
        ),
    ],
)
def test_each_packet_is_read_back(frame: bytes, kind: str, fields: dict) -> None:
    packet = packets.parse(frame)
    assert packet.WhichOneof("packet") == kind
    for name, value in fields.items():
        assert getattr(getattr(packet, kind), name) == value


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 40))
def test_frames_are_cut_wherever_the_stream_is(bodies: list[bytes], step: int) -> None:
    sent = [packets.call_reply(str(i), body) for i, body in enumerate(bodies)]
    stream = b"".join(sent)
    frames = packets.Frames()
    got = [frame for i in range(0, len(stream), step) for frame in frames.feed(stream[i : i + step])]
    assert got == sent


def test_an_absurd_length_is_refused() -> None:
    with pytest.raises(packets.BusProtocolError, match="4294967295 bytes announced"):
        packets.Frames().feed(b"\xff\xff\xff\xff")


def test_garbage_is_no_packet() -> None:
    with pytest.raises(packets.BusProtocolError, match="not a packet"):
        packets.parse(b"\0\0\0\3\xff\xff\xff")


def test_payloads_compressed_and_not() -> None:
    value = {"Ok": {"content": b"\0\1", "offset": 5, "text": "ü"}}
    plain = payloads.dumps(value)
    assert payloads.loads(plain) == value
    assert payloads.loads(zlib.compress(plain)) == value
    assert payloads.loads(payloads.dumps("xx")) == "xx"  # begins like compressed data


def test_a_bomb_is_not_inflated() -> None:
    bomb = zlib.compressobj(9)
    data = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(300)) + bomb.flush()
    with pytest.raises(packets.BusProtocolError, match="grows beyond"):
        payloads.loads(data)


@given(st.binary(max_size=200))
def test_garbage_is_no_payload(data: bytes) -> None:
    with contextlib.suppress(packets.BusProtocolError):
        payloads.loads(data)
