"""What a server answers, whatever it sends and however that is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.contrib.service.answer import MAX_HEAD, Answer, MalformedAnswerError

OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n"


def fed(*pieces: bytes, method: str = "GET", upgrade: bool = False) -> Answer:
    answer = Answer(method, upgrade=upgrade)
    for piece in pieces:
        answer.feed(piece)
    return answer


@pytest.mark.parametrize("response", [PLAIN, CHUNKED], ids=["with a length", "chunked"])
@given(data=st.data())
def test_how_it_is_cut_makes_no_difference(response: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(response) - 1), max_size=8)))
    pieces = [response[a:b] for a, b in zip([0, *cuts], [*cuts, len(response)], strict=True)]
    answer = Answer("GET")
    body = b""
    for number, piece in enumerate(pieces):
        assert not answer.complete, f"complete before piece {number}"
        answer.feed(piece)
        body += answer.take()
    assert answer.head is not None
    assert (answer.head.status, answer.head.reason, len(answer.head.headers)) == (200, b"OK", 1)
    assert (body, answer.complete, answer.reusable, answer.delimited) == (b"hello", True, True, True)


@pytest.mark.parametrize(
    ("response", "method", "reusable"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", "GET", True),
        (OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n", "GET", False),
        (OK + b"Content-Length: 0\r\nConnection: x, CLOSE\r\n\r\n", "GET", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", "GET", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", True),
        (OK + b"Content-Length: 5\r\n\r\n", "HEAD", True),
        (OK + b"\r\n", "HEAD", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", "HEAD", True),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "GET", True),
    ],
)
def test_what_has_no_body(response: bytes, method: str, reusable: bool) -> None:
    answer = fed(response, method=method)
    assert answer.complete
    assert (answer.take(), answer.reusable) == (b"", reusable)


def test_what_only_announces_an_answer_is_none() -> None:
    answer = Answer("GET")
    for piece in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"):
        answer.feed(piece)
        assert (answer.head, answer.complete) == (None, False)
    answer.feed(PLAIN)
    assert answer.head is not None
    assert (answer.head.status, answer.head.headers) == (200, [(b"Content-Length", b"5")])
    assert (answer.take(), answer.reusable) == (b"hello", True)


@pytest.mark.parametrize(
    ("method", "sent"),
    [("GET", PLAIN + PLAIN), ("GET", PLAIN + b"GARBAGE"), ("GET", CHUNKED + b"\x00"),
     ("HEAD", OK + b"Content-Length: 5\r\n\r\nhello"), ("GET", PLAIN + OK[:3])],
)  # fmt: skip
@pytest.mark.parametrize("apart", [False, True])
def test_what_nobody_has_asked_for_ends_the_use_of_the_connection(
    method: str, sent: bytes, apart: bool
) -> None:
    pieces = [sent[i : i + 1] for i in range(len(sent))] if apart else [sent]
    answer = fed(*pieces, method=method)
    assert (answer.complete, answer.reusable) == (True, False)
    assert answer.take() == (b"" if method == "HEAD" else b"hello")


def test_a_body_that_ends_with_the_connection() -> None:
    answer = fed(b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo")
    assert (answer.delimited, answer.complete) == (False, False)
    answer.end()
    assert (answer.take(), answer.complete, answer.reusable) == (b"hello", True, False)


@pytest.mark.parametrize("sent", [b"", OK, PLAIN[:-1], CHUNKED[:-8], OK + b"Content-Length: 1\r\n\r\n"])
def test_what_ends_too_early(sent: bytes) -> None:
    answer = fed(sent)
    with pytest.raises(MalformedAnswerError, match="too early"):
        answer.end()


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 20, b"HTTP/1.1 xyz\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", OK + b"Content-Length: -1\r\n\r\n",
        OK + b"X: \x00\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http(sent: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        fed(sent)


@pytest.mark.parametrize("piece", [1000, MAX_HEAD, 1 << 20])
def test_a_head_without_end(piece: int) -> None:
    head = OK + b"X: " + b"a" * (2 * MAX_HEAD)
    with pytest.raises(MalformedAnswerError, match="larger than 65536 bytes"):
        fed(*(head[i : i + piece] for i in range(0, len(head), piece)))


def test_a_large_body_may_come_with_its_head() -> None:
    body = b"a" * (3 * MAX_HEAD)
    answer = fed(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert (answer.take(), answer.reusable) == (body, True)


SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


def test_another_protocol() -> None:
    answer = fed(SWITCH + b"\x81\x00", b"more", upgrade=True)
    assert answer.head is not None
    assert (answer.head.status, answer.rest, answer.reusable) == (101, b"\x81\x00more", False)
    large = b"\x00" * (2 * MAX_HEAD)
    assert fed(SWITCH + large, upgrade=True).rest == large


@pytest.mark.parametrize("upgrade", [False, True])
def test_another_protocol_that_nobody_has_asked_for(upgrade: bool) -> None:
    with pytest.raises(MalformedAnswerError, match="another protocol"):
        fed(b"HTTP/1.1 101 Switching\r\n\r\n" if upgrade else SWITCH, upgrade=upgrade)
