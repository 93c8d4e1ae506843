"""Values as bytes and back, without pickle."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import pickle
import zlib
from collections import namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.ipc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.session.mapping import bounded_loads
from golem_nb.session.remote import codec


def there_and_back(value: Any) -> Any:
    return codec.decode(*codec.encode(value))


VALUES = [
    None,
    True,
    0,
    -(10**30),
    0.1,
    math.inf,
    "text ✓ \0",
    b"\x00\xff",
    [],
    [1, [2, (3, "x")]],
    (),
    {},
    {"a": 1, "b": [None]},
    {"$a": 1},
    {1: "one", (2, 3): "two"},
    {1, 2},
    frozenset("a"),  # one element: the order of more differs between processes
    1 + 2j,
    date(2026, 1, 2),
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    time(1, 2, 3),
    timedelta(days=-1, microseconds=5),
    Decimal("1.10"),
    {"nested": (b"bytes", {"deep": Decimal("0.1")})},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(json_data)
def test_all_data_comes_back(value: Any) -> None:
    assert there_and_back(value) == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.array([], dtype="float32"),
        np.array(3.5),
        np.array(["2026-01-02"], dtype="datetime64[D]"),
        np.asfortranarray(np.ones((3, 4))),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["text", "longer"]),
        np.zeros((0, 5)),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_come_back_as_they_were(array: np.ndarray[Any, Any]) -> None:
    encoding, data = codec.encode(array)
    assert encoding == "npy"
    back = codec.decode(encoding, data)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_numbers_of_numpy_keep_their_type() -> None:
    back = there_and_back({"mean": np.float32(1.5), "n": (np.int64(3), np.arange(2))})
    assert type(back["mean"]) is np.float32
    assert type(back["n"][0]) is np.int64
    assert back["n"][1].tolist() == [0, 1]


class Own:
    """Something that has no encoding."""


@pytest.mark.parametrize(
    "value",
    [Own(), [Own()], namedtuple("Point", "x y")(1, 2), np.array([Own()]), lambda: 0, Path("a")],
    ids=lambda value: type(value).__name__,
)
def test_what_would_have_to_be_pickled_is_refused_where_it_is_made(value: Any) -> None:
    with pytest.raises(codec.CodecError, match="neither"):
        codec.encode(value)


def test_what_is_trusted_is_pickled() -> None:
    encoding, data = codec.encode(Path("a"), trusted=True)
    assert encoding == "pickle"
    assert pickle.loads(data) == Path("a")
    assert codec.encode([1], trusted=True)[0] == "json"


def test_pickles_are_never_read() -> None:
    with pytest.raises(codec.CodecError, match="unknown encoding"):
        codec.decode("pickle", pickle.dumps([1]))


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    head = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + len(head).to_bytes(2, "little") + head + data


def pickled_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


#: Headers of messages of Arrow, as pyarrow 26 writes them, packed.
ARROW = {
    "plain": ("eJwTYYAAHgYxBjYGVgYOIIsHJMDMwiABpBSYoQoYuIB8HgYWoAouIM8GiAWAOIUBAZgYcAOEOQwMjGj6QAAAof0CIg=="),
    "zstd": (
        "eJwTYYAAHgYJBjYGVgYOIIsHJMDMwiADpBQYEICHQY5BgIEFriYAiFWAWAKIUxiQARtQDTuQBANGJgbcQBqJzYhhDgMDAO7aApM="
    ),
    "schema": (
        "eJwtjMENwDAIA92KNijKg0efHaardP8lciCMbDAyhBJTS7cuORM4DC+co9bKGj4wUCc/KhVUHZ3Z386q83/9WXDUn1x/yAZh/gHw"
    ),
    "dict plain": (
        "eJwTYYAAHgYRBjYGVgYOIIsHJMDEAhRhYHCAynMwcAFJFiDNwCAAFuFikACqZIHK+EDFGRkQgJkBN+BAo42Q5BjRzAEBAMnYAdA="
    ),
    "dict zstd": (
        "eJwTYYAAHgYJBjYGVgYOIIsHJMDEAhRhYHBgQAAOIGRgYAGTAmA9ckCaBa4nAYhVgBikj5EBGbAB1bADSTBgZGbADSShtAIa"
        "nwFqJqq5DAwAJi4CXA=="
    ),
}


@pytest.mark.parametrize("name", ARROW)
def test_compressed_tables_are_told_from_others(name: str) -> None:
    header = zlib.decompress(base64.b64decode(ARROW[name]))
    assert codec.compressed(header) == name.endswith("zstd")


def test_a_table_that_would_grow_beyond_memory_is_refused() -> None:
    table = pyarrow.table({"a": np.zeros(100_000), "b": ["x"] * 100_000})
    assert codec.decode(*codec.encode(table)) == table
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(
        buffer, table.schema, options=pyarrow.ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_table(table)
    with pytest.raises(codec.CodecError, match="compressed"):
        codec.decode("arrow", buffer.getvalue())


HOSTILE = {
    "huge array": ("npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }")),
    "negative array": ("npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }")),
    "code in a header": ("npy", header("__import__('os').abort()")),
    "open bracket in a header": ("npy", header("{'descr': (")),
    "bad type in a header": ("npy", header("{'descr': '<,f4', 'fortran_order': False, 'shape': (), }")),
    "array of objects": ("npy", pickled_array()),
    "short array": (
        "npy",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", b"\0" * 8),
    ),
    "no array": ("npy", b"nothing"),
    "unknown version": ("npy", header("{}", version=b"\x09\x00")),
    "deep JSON": ("json", b"[" * 100_000),
    "no JSON": ("json", b"\xff"),
    "unknown tag": ("json", b'{"$pickle": "gASV"}'),
    "unhashable": ("json", b'{"$set": [[1]]}'),
    "wrong type in a tag": ("json", b'{"$Decimal": [1, 2]}'),
    "no number": ("json", b'{"$complex": ["a", "b"]}'),
    "nothing in a tag": ("json", b'{"$complex": []}'),
    "array in JSON": ("json", json.dumps({"$npy": base64.b64encode(pickled_array()).decode()}).encode()),
    "no table": ("arrow", b"nothing"),
    "encoding of no kind": (["json"], b"1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_an_error_and_nothing_else(name: str) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(*HOSTILE[name], bounded_loads)


@given(st.sampled_from(["json", "npy", "arrow", "bytes", "x"]), st.binary(max_size=300))
def test_random_bytes_are_a_value_or_an_error(encoding: str, data: bytes) -> None:
    with contextlib.suppress(codec.CodecError):
        codec.decode(encoding, data)
