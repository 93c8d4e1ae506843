"""Server-sent events cut out of a stream of bytes."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.rest import sse
from golem_nb.rest.fields import MalformedField
from golem_nb.rest.sse import EventParser, ServerSentEvent

STREAM = (
    ':ping\nevent: runtime\ndata: {"a":1}\nid: 0\n\n:ping\ndata: one\r\ndata: two\r\n\r\n'
    ":ping\n\nevent: left without data\n\nevent:tight\ndata:é\ndata\nretry: 5\n\n"
).encode()
EVENTS = [
    ServerSentEvent("runtime", '{"a":1}'),
    ServerSentEvent("message", "one\ntwo"),
    ServerSentEvent("tight", "é\n"),
]


def test_whole() -> None:
    assert list(EventParser().feed(STREAM)) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_in_any_pieces(cuts: list[int]) -> None:
    parser = EventParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = []
    for start, end in pairwise(edges):
        found += list(parser.feed(STREAM[start:end]))
    assert found == EVENTS


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    list(EventParser().feed(data))


@pytest.mark.parametrize("piece", [b"x" * 500, b"data: " + b"x" * 500 + b"\n"])
def test_an_event_without_an_end(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT", 10_000)
    parser = EventParser()

    def feed() -> None:
        for _ in range(30):
            list(parser.feed(piece))

    with pytest.raises(MalformedField, match="larger than 10000 bytes"):
        feed()


def test_a_long_line_in_small_pieces_is_not_searched_again_and_again() -> None:
    parser = EventParser()
    started = time.perf_counter()
    for _ in range(20_000):
        list(parser.feed(b"x" * 100))
    assert time.perf_counter() - started < 2
