"""FlexBuffers, the encoding of messages on the daemon's service bus.

The format is described at https://flatbuffers.dev/internals/#flexbuffers.  Written for messages that are
mostly one large run of bytes: that run is copied once when encoded, and sliced out when decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MalformedBuffer", "decode", "encode"]

_NULL, _INT, _UINT, _FLOAT, _KEY, _STRING = 0, 1, 2, 3, 4, 5
_INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT, _MAP, _VECTOR = 6, 7, 8, 9, 10
_VECTOR_INT, _VECTOR_UINT, _VECTOR_FLOAT, _VECTOR_KEY, _VECTOR_STRING = 11, 12, 13, 14, 15
_VECTOR_INT2, _VECTOR_FLOAT4, _BLOB, _BOOL, _VECTOR_BOOL = 16, 24, 25, 26, 36

_FLOATS = {4: struct.Struct("<f"), 8: struct.Struct("<d")}
_SCALAR_OF = {
    _VECTOR_INT: _INT,
    _VECTOR_UINT: _UINT,
    _VECTOR_FLOAT: _FLOAT,
    _VECTOR_KEY: _KEY,
    _VECTOR_STRING: _STRING,
    _VECTOR_BOOL: _BOOL,
}

_MAX_DEPTH = 64
# Values may be shared, so a small buffer can describe an enormous one. Runs of bytes do not count.
_MAX_VALUES = 200_000


class MalformedBuffer(ValueError):
    """The bytes are not a FlexBuffer, or one that is out of all proportion."""


def decode(data: bytes) -> Any:
    """Read a message.

    Parameters
    ----------
    data : bytes
        The message.

    Returns
    -------
    None, bool, int, float, str, bytes, list or dict
        A vector of unsigned numbers below 256 comes as `bytes`, as a blob does: programs written in Rust send
        either for a run of bytes.

    Raises
    ------
    MalformedBuffer
        It is not a FlexBuffer, is nested deeper than 64 levels or holds more than 200 000 values.

    Examples
    --------
    >>> decode(encode({"id": "1", "payload": {"offset": 0, "content": b"abc"}}))
    {'id': '1', 'payload': {'content': b'abc', 'offset': 0}}
    """
    if len(data) < 3:
        raise MalformedBuffer("a FlexBuffer has at least three bytes")
    width = data[-1]
    if width not in (1, 2, 4, 8):
        raise MalformedBuffer("the width of the root is none of 1, 2, 4, 8")
    reader = _Reader(bytes(data))
    try:
        return reader.value(len(data) - 2 - width, width, data[-2], 0)
    except (struct.error, UnicodeDecodeError) as error:
        raise MalformedBuffer(str(error)) from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.values = 0

    def unsigned(self, at: int, width: int) -> int:
        if at < 0 or at + width > len(self.data):
            raise MalformedBuffer("a value lies outside of the buffer")
        return int.from_bytes(self.data[at : at + width], "little")

    def target(self, at: int, width: int) -> int:
        found = at - self.unsigned(at, width)
        if found < 0:
            raise MalformedBuffer("an offset points outside of the buffer")
        return found

    def scalar(self, at: int, width: int, kind: int) -> Any:
        if at < 0 or at + width > len(self.data):
            raise MalformedBuffer("a value lies outside of the buffer")
        raw = self.data[at : at + width]
        if kind == _UINT:
            return int.from_bytes(raw, "little")
        if kind == _INT:
            return int.from_bytes(raw, "little", signed=True)
        if kind == _BOOL:
            return any(raw)
        if kind == _FLOAT:
            if width not in _FLOATS:
                raise MalformedBuffer(f"a float of {width} bytes")
            return _FLOATS[width].unpack(raw)[0]
        return None

    def key(self, at: int) -> str:
        end = self.data.find(b"\0", at)
        if end < 0:
            raise MalformedBuffer("a key without an end")
        return self.data[at:end].decode()

    def run(self, at: int, width: int) -> bytes:
        size = self.unsigned(at - width, width)
        if at + size > len(self.data):
            raise MalformedBuffer("a run of bytes reaches beyond the buffer")
        return self.data[at : at + size]

    def count(self, values: int) -> None:
        self.values += values
        if self.values > _MAX_VALUES:
            raise MalformedBuffer(f"more than {_MAX_VALUES} values")

    def value(self, at: int, parent_width: int, packed: int, depth: int) -> Any:
        kind = packed >> 2
        if kind <= _FLOAT or kind == _BOOL:
            return self.scalar(at, parent_width, kind)
        if depth > _MAX_DEPTH:
            raise MalformedBuffer(f"nested deeper than {_MAX_DEPTH} levels")
        at = self.target(at, parent_width)
        width = 1 << (packed & 3)
        if kind == _STRING:
            return self.run(at, width).decode()
        if kind == _BLOB:
            return self.run(at, width)
        if kind == _KEY:
            return self.key(at)
        if kind == _MAP:
            return self.map(at, width, depth)
        if kind == _VECTOR:
            return self.vector(at, width, depth)
        if kind in _SCALAR_OF:
            return self.typed(at, width, _SCALAR_OF[kind], self.unsigned(at - width, width))
        if _INDIRECT_INT <= kind <= _INDIRECT_FLOAT:
            return self.scalar(at, width, kind - _INDIRECT_INT + _INT)
        if _VECTOR_INT2 <= kind <= _VECTOR_FLOAT4:
            # tuples: two, three or four each of signed, unsigned, float
            size, scalar = divmod(kind - _VECTOR_INT2, 3)
            return self.typed(at, width, scalar + _INT, size + 2)
        raise MalformedBuffer(f"unknown type {kind}")

    def typed(self, at: int, width: int, kind: int, size: int) -> Any:
        if at + size * width > len(self.data):
            raise MalformedBuffer("a vector reaches beyond the buffer")
        if kind == _UINT and (run := self.byte_run(at, width, size)) is not None:
            return run
        self.count(size)
        if kind == _KEY:
            return [self.key(self.target(at + i * width, width)) for i in range(size)]
        if kind == _STRING:
            # a deprecated type whose strings have lengths of one byte
            return [self.run(self.target(at + i * width, width), 1).decode() for i in range(size)]
        return [self.scalar(at + i * width, width, kind) for i in range(size)]

    def byte_run(self, at: int, width: int, size: int) -> bytes | None:
        """Read a vector of unsigned numbers as bytes, if all of them are below 256.

        A vector's elements are as wide as its length needs: those of 256 or more are not of one byte.
        """
        end = at + size * width
        if any(self.data[at + i : end : width].count(0) != size for i in range(1, width)):
            return None
        return self.data[at:end:width]

    def vector(self, at: int, width: int, depth: int) -> Any:
        size = self.unsigned(at - width, width)
        types_at = at + size * width
        if types_at + size > len(self.data):
            raise MalformedBuffer("a vector reaches beyond the buffer")
        types = self.data[types_at : types_at + size]
        if size and types[0] >> 2 == _UINT and types.count(types[0]) == size:
            return self.typed(at, width, _UINT, size)
        self.count(size)
        value = self.value
        return [value(at + i * width, width, types[i], depth + 1) for i in range(size)]

    def map(self, at: int, width: int, depth: int) -> dict[str, Any]:
        size = self.unsigned(at - width, width)
        key_width = self.unsigned(at - 2 * width, width)
        if key_width not in (1, 2, 4, 8):
            raise MalformedBuffer("the width of a map's keys is none of 1, 2, 4, 8")
        keys_at = self.target(at - 3 * width, width)
        types_at = at + size * width
        if types_at + size > len(self.data) or keys_at + size * key_width > len(self.data):
            raise MalformedBuffer("a map reaches beyond the buffer")
        self.count(size)
        found: dict[str, Any] = {}
        for i in range(size):
            key = self.key(self.target(keys_at + i * key_width, key_width))
            found[key] = self.value(at + i * width, width, self.data[types_at + i], depth + 1)
        return found


def encode(value: Any) -> bytes:
    """Write a message.

    Parameters
    ----------
    value : None, bool, int, float, str, bytes-like, sequence or mapping with text keys
        The message; a bytes-like object becomes a blob.

    Raises
    ------
    TypeError
        Something in it has no place in a FlexBuffer.
    OverflowError
        A number does not fit into 64 bits.
    ValueError
        A key contains a zero character.
    """
    writer = _Writer()
    kind, bits, inline, content = writer.value(value)
    if inline:
        width = 1 << bits
        writer.put(content)
    else:
        width = writer.width([(kind, bits, False, content)], 0, 1)
        writer.align(width)
        writer.put((writer.at - content).to_bytes(width, "little"))
    writer.put(bytes((kind << 2 | bits, width)))
    return b"".join(writer.parts)


# type, log2 of the width that it needs or has, whether it stands in its parent's slot, and what it is there:
# its bytes, or where it begins
_Written = tuple[int, int, bool, Any]


def _key_bytes(key: Any) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"a key must be text, not {type(key).__name__}")
    return key.encode()


class _Writer:
    """Writes children before parents, as the format wants it."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self.at = 0
        self.keys: dict[str, int] = {}

    def put(self, data: bytes | memoryview) -> None:
        self.parts.append(data)
        self.at += len(data)

    def align(self, width: int) -> None:
        gap = -self.at % width
        if gap:
            self.put(b"\0" * gap)

    def run(self, data: bytes | memoryview, end: bytes) -> tuple[int, int]:
        """Write a length and as many bytes, and give the log2 of the length's width and where the bytes
        begin.
        """
        size = len(data)
        bits = 0 if size < 1 << 8 else 1 if size < 1 << 16 else 2 if size < 1 << 32 else 3
        self.align(1 << bits)
        self.put(size.to_bytes(1 << bits, "little"))
        start = self.at
        self.put(data)
        if end:
            self.put(end)
        return bits, start

    def key(self, key: str) -> int:
        start = self.keys.get(key)
        if start is None:
            if "\0" in key:
                raise ValueError(f"a key cannot contain a zero character: {key!r}")
            start = self.keys[key] = self.at
            self.put(key.encode() + b"\0")
        return start

    def value(self, value: Any) -> _Written:
        if value is None:
            return _NULL, 0, True, b"\0"
        if isinstance(value, bool):
            return _BOOL, 0, True, b"\1" if value else b"\0"
        if isinstance(value, int):
            return self.number(value)
        if isinstance(value, float):
            return _FLOAT, 3, True, _FLOATS[8].pack(value)
        if isinstance(value, str):
            bits, start = self.run(value.encode(), b"\0")
            return _STRING, bits, False, start
        if isinstance(value, bytes | bytearray | memoryview):
            bits, start = self.run(value if isinstance(value, bytes) else memoryview(value).cast("B"), b"")
            return _BLOB, bits, False, start
        if isinstance(value, Mapping):
            return self.map(value)
        if isinstance(value, Sequence):
            return self.collection([self.value(item) for item in value], None)
        raise TypeError(f"{type(value).__name__} has no place in a FlexBuffer")

    @staticmethod
    def number(value: int) -> _Written:
        for bits in range(4):
            width = 1 << bits
            if -(1 << 8 * width - 1) <= value < 1 << 8 * width - 1:
                return _INT, bits, True, value.to_bytes(width, "little", signed=True)
        if 0 <= value < 1 << 64:
            return _UINT, 3, True, value.to_bytes(8, "little")
        raise OverflowError(f"{value} does not fit into 64 bits")

    def map(self, value: Mapping[str, Any]) -> _Written:
        # readers search by bisection over the bytes of the keys
        names = sorted(value, key=_key_bytes)
        starts = [self.key(name) for name in names]
        items = [self.value(value[name]) for name in names]
        width = self.width([(_KEY, 0, False, start) for start in starts], len(starts), 1)
        self.align(width)
        self.put(len(starts).to_bytes(width, "little"))
        keys_at = self.at
        for start in starts:
            self.put((self.at - start).to_bytes(width, "little"))
        return self.collection(items, (keys_at, width))

    def width(self, items: Sequence[_Written], size: int, before: int) -> int:
        """Find the smallest width of a slot in which all items, the size and the offsets fit."""
        for bits in range(4):
            width = 1 << bits
            limit = 1 << 8 * width
            if size >= limit:
                continue
            at = self.at + (-self.at % width) + before * width
            for index, (_, needed, inline, start) in enumerate(items):
                if needed > bits if inline else at + index * width - start >= limit:
                    break
            else:
                return width
        raise OverflowError("the message is too large")

    def collection(self, items: Sequence[_Written], keys: tuple[int, int] | None) -> _Written:
        # before the elements stand the size and, of a map, where its keys are and how wide
        if keys is None:
            width = self.width(items, len(items), 1)
        else:
            # the first slot holds the offset to the keys, the second and third are always small
            width = self.width(
                [(_KEY, 0, False, keys[0]), *[(_NULL, 0, True, b"")] * 2, *items], len(items), 0
            )
        self.align(width)
        if keys is not None:
            self.put((self.at - keys[0]).to_bytes(width, "little"))
            self.put(keys[1].to_bytes(width, "little"))
        self.put(len(items).to_bytes(width, "little"))
        start = self.at
        types = bytearray()
        slot_bits = width.bit_length() - 1
        for kind, bits, inline, content in items:
            if not inline:
                self.put((self.at - content).to_bytes(width, "little"))
            elif kind == _FLOAT:
                bits = slot_bits
                self.put(content)
            else:
                sign = b"\xff" if kind == _INT and content[-1] & 0x80 else b"\0"
                bits = slot_bits
                self.put(content + sign * (width - len(content)))
            types.append(kind << 2 | bits)
        self.put(bytes(types))
        return (_VECTOR if keys is None else _MAP), slot_bits, False, start
