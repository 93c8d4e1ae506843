"""FlexBuffers: against the library of the format's own project, and against bytes that are none."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from typing import Any

import pytest
from flatbuffers import flexbuffers as reference
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golem_nb.rest.flexbuffers import MalformedBuffer, decode, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
# the reference knows no other keys
ASCII_KEYS = st.text(st.characters(max_codepoint=127, exclude_characters="\0"), max_size=20)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(max_size=600),
)


def nested(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.lists(inner, max_size=8), st.dictionaries(keys, inner, max_size=8)),
        max_leaves=40,
    )


VALUES = nested(KEYS)


@given(VALUES)
@example({"id": "1", "payload": {"content": b"x" * 70000, "offset": 2**40}})
@example([[], {}, [[]], [{}], b"", ""])
def test_what_is_encoded_is_decoded(value: Any) -> None:
    assert decode(encode(value)) == value


@given(nested(ASCII_KEYS))
@example([1.5, 2**63, -1, [b"a" * 300], {"a" * 300: None}])
def test_the_reference_reads_what_is_encoded(value: Any) -> None:
    assert reference.Loads(encode(value)) == value


@given(
    st.dictionaries(
        ASCII_KEYS,
        st.one_of(
            # the reference fails to write the largest numbers
            SCALARS.filter(lambda found: not isinstance(found, int | float) or abs(found) < 2**63),
            st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1).filter(lambda found: min(found) < 0),
            st.lists(st.floats(-1e38, 1e38), min_size=1),
            st.lists(TEXTS, min_size=1),
        ),
    )
)
def test_what_the_reference_encodes_is_decoded(value: dict[str, Any]) -> None:
    assert decode(bytes(reference.Dumps(value))) == value


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 1 << 20])
def test_runs_of_bytes(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    message = {"id": "4d6", "payload": {"content": content, "offset": size}}
    for given_content in (content, bytearray(content), memoryview(content)):
        encoded = encode({"id": "4d6", "payload": {"content": given_content, "offset": size}})
        assert reference.Loads(encoded) == message
        assert decode(encoded) == message


def test_a_memoryview_of_other_than_bytes_is_its_bytes() -> None:
    numbers = memoryview(struct.pack("<2i", 1, -1)).cast("i")
    assert decode(encode(numbers)) == struct.pack("<2i", 1, -1)


def test_a_vector_of_8_bit_numbers_is_bytes() -> None:
    # a Rust program that does not ask for a blob sends a run of bytes as a vector
    content = bytes(range(256)) * 160
    builder = reference.Builder()
    with builder.Map():
        builder.Key("typed")
        builder.TypedVectorFromElements(list(content), reference.Type.UINT)
        builder.Key("untyped")
        with builder.Vector():
            for number in content:
                builder.UInt(number)
        builder.Key("larger")
        builder.TypedVectorFromElements([1, 256], reference.Type.UINT)
        builder.Key("signed")
        with builder.Vector():
            for number in (1, -2, 3):
                builder.Int(number)
    found = decode(bytes(builder.Finish()))
    assert found["typed"] == content
    # its elements are as wide as its length and the place of its types: more than one byte
    assert found["untyped"] == content
    assert found["larger"] == [1, 256]
    assert found["signed"] == [1, -2, 3]
    of_single_bytes = b"\x03" + b"\x07\x08\x09" + bytes([2 << 2] * 3) + b"\x06" + bytes([10 << 2, 1])
    assert decode(of_single_bytes) == b"\x07\x08\x09"


def test_tuples_indirect_numbers_and_keys() -> None:
    # three floats, four signed numbers and two unsigned, without a size before them
    triple = struct.pack("<3f", 1.5, -2.0, 0.25) + b"\x0c" + bytes([21 << 2 | 2, 1])
    assert decode(triple) == [1.5, -2.0, 0.25]
    assert decode(bytes([1, 0xFF, 3, 4, 4]) + bytes([22 << 2, 1])) == [1, -1, 3, 4]
    assert decode(bytes([5, 200, 2]) + bytes([17 << 2, 1])) == b"\x05\xc8"
    # an indirect number, and a key as a value
    assert decode(struct.pack("<q", -5) + b"\x08" + bytes([6 << 2 | 3, 1])) == -5
    assert decode(struct.pack("<d", 2.5) + b"\x08" + bytes([8 << 2 | 3, 1])) == 2.5
    assert decode(b"name\0\x05" + bytes([4 << 2, 1])) == "name"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (object(), TypeError),
        ({1: 2}, TypeError),
        ({"a": {1, 2}}, TypeError),
        ({"a\0b": 1}, ValueError),
        (2**64, OverflowError),
        (-(2**63) - 1, OverflowError),
    ],
)
def test_what_cannot_be_encoded_is_an_error(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(value)


@given(st.binary(max_size=200))
@settings(max_examples=400)
def test_no_bytes_do_more_harm_than_an_error(data: bytes) -> None:
    with suppress(MalformedBuffer):
        decode(data)


@given(VALUES, st.data())
@settings(max_examples=400)
def test_a_damaged_message_does_no_more_harm_than_an_error(value: Any, data: st.DataObject) -> None:
    damaged = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedBuffer):
        decode(bytes(damaged))


def test_a_message_that_contains_itself() -> None:
    # a vector of one element, which is the vector
    with pytest.raises(MalformedBuffer, match="nested deeper"):
        decode(b"\x01\x00" + bytes([10 << 2]) + b"\x02" + bytes([10 << 2, 1]))


def test_a_small_message_that_is_enormous() -> None:
    # each level is a vector of eight times the level below: 8^12 values in some 200 bytes
    data = bytearray(b"\x08" + bytes(range(1, 9)) + bytes([1 << 2] * 8))
    below = 1
    for _ in range(12):
        data.append(8)
        at = len(data)
        data += bytes(at + i - below for i in range(8)) + bytes([10 << 2] * 8)
        below = at
    data += bytes([len(data) - below, 10 << 2, 1])
    started = time.perf_counter()
    with pytest.raises(MalformedBuffer, match="more than 200000 values"):
        decode(bytes(data))
    assert time.perf_counter() - started < 5


def test_the_length_of_a_run_is_not_believed() -> None:
    with pytest.raises(MalformedBuffer, match="beyond the buffer"):
        decode(b"\xff\xff\xff\x7fab\x02" + bytes([25 << 2 | 2, 1]))


def test_large_replies_are_cheap() -> None:
    message = {"id": "4d6", "payload": {"content": bytes(1 << 20), "offset": 0}}
    best = min(_seconds(lambda: encode(message)) for _ in range(20))
    assert best < 0.001
    encoded = encode(message)
    assert min(_seconds(lambda: decode(encoded)) for _ in range(20)) < 0.001


def _seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
