"""Packets of the daemon's service bus.

On the wire a packet is a 4-byte big-endian length and a protocol-buffers message `Packet` with one of its
fields set. The daemon speaks it on its unix socket (`GSB_URL`), and between daemons through the hub of the
central net. The field numbers are those seen on the wire of yagna 0.17.6.

The message classes are made from descriptors in code, in a pool of their own: no generated module, no
compiler, no name that another package could have registered already; it costs well under a millisecond.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from golem_nb.exceptions import GolemError

__all__ = [
    "HELLO",
    "MAX_FRAME",
    "REPLY_FULL",
    "REPLY_PARTIAL",
    "BusProtocolError",
    "Frames",
    "Packet",
    "broadcast_reply",
    "broadcast_request",
    "call_reply",
    "call_request",
    "hello",
    "parse",
    "ping",
    "pong",
    "register_reply",
    "register_request",
    "subscribe_reply",
    "subscribe_request",
    "unregister_reply",
    "unregister_request",
    "unsubscribe_reply",
    "unsubscribe_request",
]

#: A longer packet is refused: nothing legitimate is that large, and the length is the sender's word.
MAX_FRAME: Final = 64 << 20

HELLO: Final = "hello"
REPLY_FULL: Final = 0
REPLY_PARTIAL: Final = 1

_STRING, _BYTES, _INT32, _BOOL = 9, 12, 5, 8
_MESSAGE = 11

# message -> [(field, number, type)]
_MESSAGES: Final[dict[str, list[tuple[str, int, int]]]] = {
    "Hello": [("name", 1, _STRING), ("version", 2, _STRING), ("instance_id", 3, _BYTES)],
    "RegisterRequest": [("service_id", 1, _STRING)],
    "RegisterReply": [("code", 1, _INT32), ("message", 2, _STRING)],
    "UnregisterRequest": [("service_id", 1, _STRING)],
    "UnregisterReply": [("code", 1, _INT32)],
    "CallRequest": [
        ("caller", 1, _STRING),
        ("address", 2, _STRING),
        ("request_id", 3, _STRING),
        ("data", 4, _BYTES),
        ("no_reply", 5, _BOOL),
    ],
    "CallReply": [
        ("request_id", 1, _STRING),
        ("code", 2, _INT32),
        ("reply_type", 3, _INT32),
        ("data", 4, _BYTES),
    ],
    "SubscribeRequest": [("topic", 1, _STRING)],
    "SubscribeReply": [("code", 1, _INT32), ("message", 2, _STRING)],
    "UnsubscribeRequest": [("topic", 1, _STRING)],
    "UnsubscribeReply": [("code", 1, _INT32), ("message", 2, _STRING)],
    "BroadcastRequest": [("caller", 1, _STRING), ("data", 2, _BYTES), ("topic", 3, _STRING)],
    "BroadcastReply": [("code", 1, _INT32), ("message", 2, _STRING)],
    "Ping": [],
    "Pong": [],
}
_PACKET: Final[list[tuple[str, int, str]]] = [
    ("hello", 1, "Hello"),
    ("register_request", 2, "RegisterRequest"),
    ("register_reply", 3, "RegisterReply"),
    ("unregister_request", 4, "UnregisterRequest"),
    ("unregister_reply", 5, "UnregisterReply"),
    ("call_request", 6, "CallRequest"),
    ("call_reply", 7, "CallReply"),
    ("subscribe_request", 8, "SubscribeRequest"),
    ("subscribe_reply", 9, "SubscribeReply"),
    ("unsubscribe_request", 10, "UnsubscribeRequest"),
    ("unsubscribe_reply", 11, "UnsubscribeReply"),
    ("broadcast_request", 12, "BroadcastRequest"),
    ("broadcast_reply", 13, "BroadcastReply"),
    ("ping", 14, "Ping"),
    ("pong", 15, "Pong"),
]


class BusProtocolError(GolemError):
    """The peer on the service bus sent something that is not a packet."""


def _packet_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="golem_nb/bus.proto", package="golem_nb", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            message.field.add(name=field, number=number, type=kind, label=1)
    packet = file.message_type.add(name="Packet")
    packet.oneof_decl.add(name="packet")
    for field, number, name in _PACKET:
        packet.field.add(
            name=field,
            number=number,
            type=_MESSAGE,
            label=1,
            type_name=f".golem_nb.{name}",
            oneof_index=0,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("golem_nb.Packet"))


#: The message class. `packet.WhichOneof("packet")` names the field that is set, such as "call_request".
Packet: Final[Any] = _packet_class()

_length = struct.Struct(">I")


def _frame(packet: Any) -> bytes:
    body: bytes = packet.SerializeToString()
    return _length.pack(len(body)) + body


def parse(frame: bytes) -> Any:
    """Read a frame (length prefix included, as `Frames.feed` gives it) into a `Packet`.

    Raises
    ------
    BusProtocolError
        The bytes are no packet.
    """
    packet = Packet()
    try:
        packet.ParseFromString(memoryview(frame)[4:])
    except Exception as error:  # protobuf's DecodeError is not the only thing that upb raises here
        raise BusProtocolError(f"not a packet of the service bus: {error}") from error
    return packet


class Frames:
    """Cuts a byte stream into frames.

    Examples
    --------
    >>> frames = Frames()
    >>> ping() == frames.feed(ping() + pong()[:3])[0]
    True
    >>> [parse(frame).WhichOneof("packet") for frame in frames.feed(pong()[3:])]
    ['pong']
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 4

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has been received; return the whole frames, each with its length prefix.

        Raises
        ------
        BusProtocolError
            A length is beyond `MAX_FRAME`.
        """
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:  # a large packet arrives in many pieces: joined once, not at each
                return []
            data = b"".join(self._parts)
            self._parts.clear()
        frames: list[bytes] = []
        position, end = 0, len(data)
        need = 4
        while end - position >= 4:
            need = 4 + int.from_bytes(data[position : position + 4], "big")
            if need - 4 > MAX_FRAME:
                raise BusProtocolError(
                    f"a packet of {need - 4} bytes announced on the service bus; the limit is {MAX_FRAME}"
                )
            if end - position < need:
                break
            frames.append(data[position : position + need])
            position += need
            need = 4
        if position < end:
            rest = data[position:] if position else data
            self._parts.append(rest)
            self._have, self._need = len(rest), need
        return frames


def hello(name: str, instance_id: bytes, version: str = "0.1.0") -> bytes:
    """Greeting that each side sends first; `instance_id` is 16 bytes of the sender's choice."""
    packet = Packet()
    field = packet.hello
    field.name, field.version, field.instance_id = name, version, instance_id
    return _frame(packet)


def call_request(caller: str, address: str, request_id: str, data: bytes, no_reply: bool = False) -> bytes:
    """Call of a service; `no_reply` pushes without wanting an answer."""
    packet = Packet()
    call = packet.call_request
    call.caller, call.address, call.request_id, call.data = caller, address, request_id, data
    if no_reply:
        call.no_reply = True
    return _frame(packet)


def call_reply(request_id: str, data: bytes, code: int = 0, reply_type: int = REPLY_FULL) -> bytes:
    """Answer of a service; code 0 is success, 400 a bad request (`data` is text then), 500 a failure."""
    packet = Packet()
    reply = packet.call_reply
    reply.request_id, reply.data = request_id, data
    if code:
        reply.code = code
    if reply_type:
        reply.reply_type = reply_type
    return _frame(packet)


def register_request(service_id: str) -> bytes:
    """Wish to serve all addresses under `service_id`."""
    packet = Packet()
    packet.register_request.service_id = service_id
    return _frame(packet)


def register_reply(code: int = 0, message: str = "") -> bytes:
    """Answer to `register_request`; 409 when the address is taken."""
    return _status("register_reply", code, message)


def unregister_request(service_id: str) -> bytes:
    """End of the service at `service_id`."""
    packet = Packet()
    packet.unregister_request.service_id = service_id
    return _frame(packet)


def unregister_reply(code: int = 0) -> bytes:
    """Answer to `unregister_request`; 404 when it was not registered."""
    packet = Packet()
    packet.unregister_reply.SetInParent()
    packet.unregister_reply.code = code
    return _frame(packet)


def subscribe_request(topic: str) -> bytes:
    """Wish to get the broadcasts of a topic."""
    packet = Packet()
    packet.subscribe_request.topic = topic
    return _frame(packet)


def subscribe_reply(code: int = 0, message: str = "") -> bytes:
    """Answer to `subscribe_request`."""
    return _status("subscribe_reply", code, message)


def unsubscribe_request(topic: str) -> bytes:
    """End of a subscription."""
    packet = Packet()
    packet.unsubscribe_request.topic = topic
    return _frame(packet)


def unsubscribe_reply(code: int = 0, message: str = "") -> bytes:
    """Answer to `unsubscribe_request`."""
    return _status("unsubscribe_reply", code, message)


def broadcast_request(caller: str, topic: str, data: bytes) -> bytes:
    """Message to all subscribers of a topic."""
    packet = Packet()
    field = packet.broadcast_request
    field.caller, field.topic, field.data = caller, topic, data
    return _frame(packet)


def broadcast_reply(code: int = 0, message: str = "") -> bytes:
    """Answer to `broadcast_request`."""
    return _status("broadcast_reply", code, message)


def ping() -> bytes:
    """Question whether the peer is there."""
    return _PING


def pong() -> bytes:
    """Answer to `ping`."""
    return _PONG


def _status(field: str, code: int, message: str) -> bytes:
    packet = Packet()
    reply = getattr(packet, field)
    reply.SetInParent()  # an all-default reply must still be on the wire
    reply.code, reply.message = code, message
    return _frame(packet)


def _empty(field: str) -> bytes:
    packet = Packet()
    getattr(packet, field).SetInParent()
    return _frame(packet)


_PING: Final = _empty("ping")
_PONG: Final = _empty("pong")
