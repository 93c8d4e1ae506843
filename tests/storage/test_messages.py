from __future__ import annotations

from typing import Any

import pytest

from golem_nb.storage.messages import MAX_CHUNK, RefusedError, chunk_of, hash_of, range_of


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        ({"offset": 0, "size": 100}, (0, 100)),
        ({"offset": 90, "size": 100}, (90, 100)),
        ({"offset": 100, "size": 40}, (100, 100)),
        ({"offset": 0, "size": 0}, (0, 0)),
        ({"offset": 3, "size": MAX_CHUNK}, (3, 100)),
    ],
)
def test_what_may_be_asked_for(payload: Any, wanted: tuple[int, int]) -> None:
    assert range_of(payload, 100) == wanted


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"offset": 101, "size": 1}, "beyond the end of the data, which has 100 bytes"),
        ({"offset": 0, "size": MAX_CHUNK + 1}, "too large: ask for at most 65000"),
        ({"offset": -1, "size": 1}, "offset must be a whole number"),
        ({"offset": 0, "size": -1}, "size must be a whole number"),
        ({"offset": 1 << 64, "size": 1}, "offset must be"),
        ({"offset": "0", "size": 1}, "offset must be"),
        ({"offset": 0.5, "size": 1}, "offset must be"),
        ({"offset": True, "size": 1}, "offset must be"),
        ({"size": 1}, "offset must be"),
        ([0, 1], "offset must be"),
        (None, "offset must be"),
    ],
)
def test_what_may_not_be_asked_for(payload: Any, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        range_of(payload, 100)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"chunk": None},
        {"chunk": [0, b""]},
        {"chunk": {"offset": 0}},
        {"chunk": {"content": b""}},
        {"chunk": {"offset": 0, "content": "text"}},
        {"chunk": {"offset": -5, "content": b""}},
        {"chunk": {"offset": 0, "content": 1 << 40}},
    ],
)
def test_what_may_not_be_sent(payload: Any) -> None:
    with pytest.raises(RefusedError):
        chunk_of(payload)


def test_what_may_be_sent() -> None:
    for content in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert chunk_of({"chunk": {"offset": 7, "content": content, "more": 1}}) == (7, b"abc")


def test_checksums() -> None:
    assert hash_of({"hash": "AB" * 32}) == "ab" * 32
    assert hash_of({"hash": None}) is hash_of({}) is hash_of(None) is None
    for bad in ("", "abc", 7, b"a" * 64):
        with pytest.raises(RefusedError, match="SHA3-256"):
            hash_of({"hash": bad})
