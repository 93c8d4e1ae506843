"""Values as bytes and back, without pickle: reading them runs nothing that the sender has chosen.

JSON is extended by objects of one key that begins with ``$``, so that what comes out has the types of what
went in: tuples, bytes, arrays, dates and a few more. Whatever else is refused where it is encoded.

This file runs on both sides. It imports numpy and pyarrow only for values of theirs.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

__all__ = ["CodecError", "decode", "encode"]

PLAIN = (bool, int, float, str, type(None))

# older ones let a received schema name Python classes that are unpickled
ARROW_FROM = (14, 0, 1)

# kinds of messages in a stream of Arrow
DICTIONARY, RECORD_BATCH = 2, 3


class CodecError(Exception):
    """A value cannot be encoded, or bytes are not what they are said to be."""


def encode(value: Any, trusted: bool = False) -> tuple[str, bytes]:
    """Return the name of an encoding and the bytes of a value.

    Parameters
    ----------
    value
        What a function has returned.
    trusted
        Whether the reader unpickles: then everything that can be pickled is encoded.

    Raises
    ------
    CodecError
        There is no encoding for it.
    """
    if type(value) in (bytes, bytearray):
        return "bytes", bytes(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        return "npy", _npy(numpy, value)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(value, pyarrow.Table):
        return "arrow", _arrow(pyarrow, value)
    try:
        return "json", json.dumps(_to_json(value), separators=(",", ":")).encode()
    except (CodecError, ValueError, RecursionError) as error:
        if not trusted:
            raise CodecError(str(error) or type(error).__name__) from error
    import cloudpickle

    return "pickle", cloudpickle.dumps(value)


def decode(encoding: Any, data: bytes, loads: Callable[[bytes], Any] = json.loads) -> Any:
    """Return the value of bytes that `encode` has made; ``"pickle"`` is not read here.

    Parameters
    ----------
    encoding, data
        What has come.
    loads
        Reads JSON.

    Raises
    ------
    CodecError
        The bytes are not what they are said to be.
    """
    try:
        if encoding == "bytes":
            return data
        if encoding == "npy":
            return _from_npy(data)
        if encoding == "arrow":
            return _from_arrow(data)
        if encoding == "json":
            return _from_json(loads(data))
    except CodecError:
        raise
    except Exception as error:  # whatever the readers make of bytes that a stranger has chosen
        raise CodecError(f"not valid {encoding}: {str(error)[:200] or type(error).__name__}") from error
    raise CodecError(f"unknown encoding {str(encoding)[:40]!r}")


def _to_json(value: Any) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list:
        return [_to_json(entry) for entry in value]
    if kind is dict:
        if all(type(key) is str for key in value) and not (len(value) == 1 and next(iter(value))[:1] == "$"):
            return {key: _to_json(entry) for key, entry in value.items()}
        return {"$dict": [[_to_json(key), _to_json(entry)] for key, entry in value.items()]}
    if kind is tuple:
        return {"$tuple": [_to_json(entry) for entry in value]}
    if kind in (set, frozenset):
        return {f"${kind.__name__}": [_to_json(entry) for entry in value]}
    if kind in (bytes, bytearray):
        return {"$bytes": base64.b64encode(value).decode()}
    if kind is complex:
        return {"$complex": [value.real, value.imag]}
    if kind in (date, datetime, time):
        return {f"${kind.__name__}": value.isoformat()}
    if kind is timedelta:
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if kind is Decimal:
        return {"$Decimal": str(value)}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.generic) and not value.dtype.hasobject:
            return {"$scalar": base64.b64encode(_npy(numpy, numpy.asarray(value))).decode()}
        if kind is numpy.ndarray and not value.dtype.hasobject:
            return {"$npy": base64.b64encode(_npy(numpy, value)).decode()}
    name = f"{kind.__module__}.{kind.__qualname__}"
    raise CodecError(f"a {name} is neither JSON data, bytes nor an array of numbers")


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, inner),) = value.items()
        if name[:1] == "$":
            reader = _READERS.get(name)
            if reader is None:
                raise CodecError(f"unknown kind of value {name[:40]!r}")
            return reader(inner)
    return {key: _from_json(entry) for key, entry in value.items()}


_READERS: dict[str, Any] = {
    "$dict": lambda inner: {_from_json(key): _from_json(entry) for key, entry in inner},
    "$tuple": lambda inner: tuple(_from_json(entry) for entry in inner),
    "$set": lambda inner: {_from_json(entry) for entry in inner},
    "$frozenset": lambda inner: frozenset(_from_json(entry) for entry in inner),
    "$bytes": lambda inner: base64.b64decode(inner, validate=True),
    "$complex": lambda inner: complex(float(inner[0]), float(inner[1])),
    "$date": date.fromisoformat,
    "$datetime": datetime.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda inner: timedelta(*inner),
    "$Decimal": Decimal,
    "$npy": lambda inner: _from_npy(base64.b64decode(inner, validate=True)),
    "$scalar": lambda inner: _from_npy(base64.b64decode(inner, validate=True))[()],
}


def _npy(numpy: ModuleType, value: Any) -> bytes:
    buffer = io.BytesIO()
    numpy.save(buffer, value, allow_pickle=False)
    return buffer.getvalue()


def _from_npy(data: bytes) -> Any:
    import numpy

    buffer = io.BytesIO(data)
    version = numpy.lib.format.read_magic(buffer)
    read_header = {
        (1, 0): numpy.lib.format.read_array_header_1_0,
        (2, 0): numpy.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise CodecError("an array in an unknown version of the npy format")
    shape, _, dtype = read_header(buffer)
    if dtype.hasobject:
        raise CodecError("an array of Python objects")
    expected = dtype.itemsize
    for length in shape:
        expected *= length
    # before anything of that size is allocated
    if min(shape, default=0) < 0 or expected != len(data) - buffer.tell():
        raise CodecError("an array whose size is not the one that it claims")
    buffer.seek(0)
    return numpy.load(buffer, allow_pickle=False)


def _arrow(pyarrow: ModuleType, table: Any) -> bytes:
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def _from_arrow(data: bytes) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise CodecError("an Arrow table, and pyarrow is not installed here") from error
    if tuple(int(part) for part in pyarrow.__version__.split(".")[:3]) < ARROW_FROM:
        raise CodecError("an Arrow table, and pyarrow here is too old to read what strangers send")
    # `encode` compresses nothing, and what a few bytes would grow to is not known before they have
    messages = pyarrow.ipc.MessageReader.open_stream(data)
    if any(compressed(message.metadata.to_pybytes()) for message in messages):
        raise CodecError("a compressed Arrow table, which may be larger than memory")
    with pyarrow.ipc.open_stream(data) as reader:
        return reader.read_all()


def compressed(message: bytes) -> bool:
    """Return whether the buffers of an Arrow message are compressed, from its header.

    pyarrow does not tell, so that the header, a FlatBuffers table, is read here.
    """
    whole = _follow(message, 0)
    kind = message[_field(message, whole, 1)]
    header = _follow(message, _field(message, whole, 2))
    if kind == DICTIONARY:
        header = _follow(message, _field(message, header, 1))
    elif kind != RECORD_BATCH:
        return False
    return _field(message, header, 3) != 0


def _field(data: bytes, table: int, number: int) -> int:
    """Return where a field of a FlatBuffers table is; 0 if it has none."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", data, table - back + 4 + 2 * number)
    return table + offset if offset else 0


def _follow(data: bytes, place: int) -> int:
    """Return where the table is that a field of another one leads to."""
    (offset,) = struct.unpack_from("<I", data, place)
    return place + int(offset)
