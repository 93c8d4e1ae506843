"""FlexBuffers, the encoding of the payloads on the service bus.

The format is that of https://flatbuffers.dev/internals/ ("FlexBuffers"). This codec reads and writes what
JSON knows, and bytes. It is here beside the `flatbuffers` package's because a provider agent decodes and
encodes several messages a task: this one takes a fifth of the time, and copies a blob once.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

from golem_nb.localnet.bus.packets import BusProtocolError

__all__ = ["dumps", "loads"]

# types of the format
_NULL, _INT, _UINT, _FLOAT, _KEY, _STRING, _IND_INT, _IND_UINT, _IND_FLOAT = range(9)
_MAP, _VECTOR, _VEC_INT, _VEC_UINT, _VEC_FLOAT, _VEC_KEY, _VEC_STRING = range(9, 16)
_BLOB, _BOOL, _VEC_BOOL = 25, 26, 36
_FIXED: Final = {
    16: (1, 2),
    17: (2, 2),
    18: (3, 2),
    19: (1, 3),
    20: (2, 3),
    21: (3, 3),
    22: (1, 4),
    23: (2, 4),
    24: (3, 4),
}
_TYPED: Final = {
    _VEC_INT: _INT,
    _VEC_UINT: _UINT,
    _VEC_FLOAT: _FLOAT,
    _VEC_KEY: _KEY,
    _VEC_STRING: _STRING,
    _VEC_BOOL: _BOOL,
}

_DEPTH: Final = 64
#: What a compressed payload may grow to: the sizes in it are the sender's word.
_MAX_PAYLOAD: Final = 256 << 20

_f8 = struct.Struct("<d")
_f4 = struct.Struct("<f")


def loads(data: bytes) -> Any:
    """Read a payload, zlib-compressed (as the daemon sends them) or not.

    Raises
    ------
    BusProtocolError
        The bytes are no FlexBuffers.
    """
    if data[:1] == b"\x78":
        inflate = zlib.decompressobj()
        try:
            plain = inflate.decompress(data, _MAX_PAYLOAD)
        except zlib.error:
            pass  # a plain payload may begin so, too
        else:
            if inflate.unconsumed_tail:
                raise BusProtocolError(f"a compressed payload grows beyond {_MAX_PAYLOAD} bytes")
            if inflate.eof:
                data = plain
    if len(data) < 3:
        raise BusProtocolError("a payload of the service bus is too short to be FlexBuffers")
    width = data[-1]
    if width not in (1, 2, 4, 8):
        raise BusProtocolError("a payload of the service bus is no FlexBuffers")
    try:
        return _read(data, len(data) - 2 - width, width, data[-2], 0)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BusProtocolError(f"a payload of the service bus is broken: {error}") from error


def _read(data: bytes, at: int, width: int, packed: int, depth: int) -> Any:
    kind = packed >> 2
    if kind == _NULL:
        return None
    if kind == _INT:
        return int.from_bytes(data[at : at + width], "little", signed=True)
    if kind == _UINT:
        return int.from_bytes(data[at : at + width], "little")
    if kind == _BOOL:
        return data[at] != 0
    if kind == _FLOAT:
        return _float(data, at, width)
    if depth > _DEPTH:
        raise ValueError("nested too deeply")
    at -= int.from_bytes(data[at : at + width], "little")
    if at < 0:
        raise ValueError("an offset points before the start")
    width = 1 << (packed & 3)
    if kind == _STRING:
        size = int.from_bytes(data[at - width : at], "little")
        return _slice(data, at, size).decode()
    if kind == _MAP:
        size = int.from_bytes(data[at - width : at], "little")
        keys_width = int.from_bytes(data[at - 2 * width : at - width], "little")
        keys_slot = at - 3 * width
        keys = keys_slot - int.from_bytes(data[keys_slot : keys_slot + width], "little")
        types = at + size * width
        if types + size > len(data) or keys < 0:
            raise ValueError("a map reaches beyond the end")
        result: dict[str, Any] = {}
        for i in range(size):
            slot = keys + i * keys_width
            key = slot - int.from_bytes(data[slot : slot + keys_width], "little")
            end = data.index(0, key)
            result[data[key:end].decode()] = _read(data, at + i * width, width, data[types + i], depth + 1)
        return result
    if kind == _VECTOR:
        size = int.from_bytes(data[at - width : at], "little")
        types = at + size * width
        if types + size > len(data):
            raise ValueError("a vector reaches beyond the end")
        return [_read(data, at + i * width, width, data[types + i], depth + 1) for i in range(size)]
    if kind == _BLOB:
        return _slice(data, at, int.from_bytes(data[at - width : at], "little"))
    if kind == _KEY:
        return data[at : data.index(0, at)].decode()
    if kind in (_IND_INT, _IND_UINT):
        return int.from_bytes(data[at : at + width], "little", signed=kind == _IND_INT)
    if kind == _IND_FLOAT:
        return _float(data, at, width)
    if kind in _TYPED:
        item = _TYPED[kind]
        size = int.from_bytes(data[at - width : at], "little")
        if kind == _VEC_UINT and width == 1:
            return list(_slice(data, at, size))
    elif kind in _FIXED:
        item, size = _FIXED[kind]
    else:
        raise ValueError(f"unknown type {kind}")
    if at + size * width > len(data):
        raise ValueError("a vector reaches beyond the end")
    # elements of a typed vector are inline or, for strings and keys, offsets to width-1 items
    return [_read(data, at + i * width, width, item << 2, depth + 1) for i in range(size)]


def _slice(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise ValueError("a string or blob reaches beyond the end")
    return data[at : at + size]


def _float(data: bytes, at: int, width: int) -> float:
    if width == 8:
        return float(_f8.unpack_from(data, at)[0])
    return float(_f4.unpack_from(data, at)[0])


def dumps(value: Any) -> bytes:
    """Write a payload: None, bool, int, float, str, bytes, lists and maps with text keys.

    Raises
    ------
    TypeError
        A value is of no such type.
    """
    buffer = bytearray()
    packed, argument, inline = _put(buffer, value, {})
    if inline:
        width = _int_width(argument)
        buffer += argument.to_bytes(width, "little", signed=packed == _INT << 2)
    else:
        width = _offset_width(len(buffer) - argument + 8)
        buffer += b"\0" * (-len(buffer) % width)
        buffer += (len(buffer) - argument).to_bytes(width, "little")
    buffer.append(packed | (_CODE[width] if inline else 0))
    buffer.append(width)
    return bytes(buffer)


_CODE: Final = {1: 0, 2: 1, 4: 2, 8: 3}


def _int_width(value: int) -> int:
    if -128 <= value < 128:
        return 1
    if -32768 <= value < 32768:
        return 2
    return 4 if -(1 << 31) <= value < 1 << 31 else 8


def _offset_width(value: int) -> int:
    if value < 1 << 8:
        return 1
    if value < 1 << 16:
        return 2
    return 4 if value < 1 << 32 else 8


def _put(buffer: bytearray, value: Any, keys: dict[str, int]) -> tuple[int, int, bool]:
    """Append what a value needs; return (packed type, number or position, whether it is inline)."""
    if value is None:
        return _NULL << 2, 0, True
    if value is True or value is False:
        return _BOOL << 2, int(value), True
    kind = type(value)
    if kind is str:
        return _sized(buffer, value.encode(), _STRING, b"\0")
    if kind is int:
        if value >= 1 << 63:
            buffer += b"\0" * (-len(buffer) % 8) + value.to_bytes(8, "little")
            return _IND_UINT << 2 | 3, len(buffer) - 8, False
        return _INT << 2, value, True
    if kind is float:
        buffer += b"\0" * (-len(buffer) % 8) + _f8.pack(value)
        return _IND_FLOAT << 2 | 3, len(buffer) - 8, False
    if isinstance(value, Mapping):
        return _put_map(buffer, value, keys)
    if isinstance(value, list | tuple):
        items = [_put(buffer, item, keys) for item in value]
        width = _pad(buffer, items, 1)
        buffer += len(items).to_bytes(width, "little")
        return _VECTOR << 2 | _CODE[width], _put_items(buffer, items, width), False
    if isinstance(value, bytes | bytearray | memoryview):
        return _sized(buffer, value, _BLOB, b"")
    raise TypeError(f"the service bus carries no {kind.__name__}")


def _sized(
    buffer: bytearray, data: bytes | bytearray | memoryview, kind: int, end: bytes
) -> tuple[int, int, bool]:
    width = _offset_width(len(data))
    buffer += b"\0" * (-len(buffer) % width) + len(data).to_bytes(width, "little")
    position = len(buffer)
    buffer += data
    buffer += end
    return kind << 2 | _CODE[width], position, False


def _put_map(buffer: bytearray, value: Mapping[str, Any], keys: dict[str, int]) -> tuple[int, int, bool]:
    # readers look keys up by bisection: they are sorted by their bytes
    names = sorted(value, key=str.encode) if len(value) > 1 else list(value)
    items = [_put(buffer, value[name], keys) for name in names]
    places = []
    for name in names:
        place = keys.get(name)
        if place is None:
            place = keys[name] = len(buffer)
            buffer += name.encode() + b"\0"
        places.append((0, place, False))
    keys_width = _pad(buffer, places, 1)
    buffer += len(names).to_bytes(keys_width, "little")
    keys_at = len(buffer)
    for _, place, _ in places:
        buffer += (len(buffer) - place).to_bytes(keys_width, "little")
    width = _pad(buffer, [*items, (0, keys_at, False)], 3)
    buffer += (len(buffer) - keys_at).to_bytes(width, "little")
    buffer += keys_width.to_bytes(width, "little")
    buffer += len(names).to_bytes(width, "little")
    return _MAP << 2 | _CODE[width], _put_items(buffer, items, width), False


def _pad(buffer: bytearray, items: list[tuple[int, int, bool]], head: int) -> int:
    """Choose the width that all items fit in, and align the buffer to it."""
    width = _offset_width(len(items))
    # the last slot is the farthest from what it points to
    end = len(buffer) + 8 + (len(items) + head) * 8
    for _, argument, inline in items:
        need = _int_width(argument) if inline else _offset_width(end - argument)
        width = max(width, need)
    buffer += b"\0" * (-len(buffer) % width)
    return width


def _put_items(buffer: bytearray, items: list[tuple[int, int, bool]], width: int) -> int:
    position = len(buffer)
    code = _CODE[width]
    types = bytearray()
    for packed, argument, inline in items:
        if inline:
            buffer += argument.to_bytes(width, "little", signed=True)
            types.append(packed | code)
        else:
            buffer += (len(buffer) - argument).to_bytes(width, "little")
            types.append(packed)
    buffer += types
    return position
