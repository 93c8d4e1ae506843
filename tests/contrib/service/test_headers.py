"""Which headers pass the proxy, and how data is cut."""

from __future__ import annotations

import pytest

from golem_nb.contrib.service.chunk import chunks
from golem_nb.contrib.service.headers import is_jupyter_cookie, request_headers, response_headers

NODE = "192.168.0.2:80"


def test_what_speaks_of_the_connection_stays() -> None:
    headers = [
        (b"Host", b"here"), (b"Connection", b"keep-alive, X-Mine"), (b"X-Mine", b"1"), (b"Keep-Alive", b"5"),
        (b"TE", b"trailers"), (b"Transfer-Encoding", b"chunked"), (b"Upgrade", b"h2c"),
        (b"Proxy-Authorization", b"secret"), (b"Expect", b"100-continue"), (b"X-Other", b"2"),
        (b"X-Other", b"3"),
    ]  # fmt: skip
    assert request_headers(headers, None, NODE) == [
        (b"Host", b"here"),
        (b"X-Other", b"2"),
        (b"X-Other", b"3"),
    ]
    assert request_headers(headers[:1], "there", NODE) == [(b"Host", b"there")]


def test_a_client_cannot_take_away_what_says_where_a_message_ends() -> None:
    headers = [(b"Host", b"here"), (b"Connection", b"close, Content-Length, HOST"), (b"Content-Length", b"5")]
    assert request_headers(headers, None, NODE) == [headers[0], headers[2]]


def test_a_request_without_a_host_gets_one() -> None:
    assert request_headers([(b"A", b"1")], None, NODE) == [(b"Host", NODE.encode()), (b"A", b"1")]
    assert request_headers([(b"A", b"1")], "there", NODE) == [(b"Host", b"there"), (b"A", b"1")]


@pytest.mark.contract("X01")
@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("_xsrf", True), ("username-localhost-8888", True), ("jupyterhub-session-id", True),
        ("jupyterhub-user-me", True), ("_jupyter_user", True), (" _xsrf ", True), ("USERNAME-x", True),
        ("session", False), ("csrftoken", False), ("username", False), ("my_xsrf", False),
    ],
)  # fmt: skip
def test_cookies_of_jupyter_stay_in_both_directions(name: str, dropped: bool) -> None:
    assert is_jupyter_cookie(name) is dropped
    cookie = f"{name}=value".encode()
    host = (b"Host", b"here")
    sent = request_headers([host, (b"Cookie", b"a=1; " + cookie + b"; b=2")], None, NODE)
    assert sent == [host, (b"Cookie", b"a=1; b=2" if dropped else b"a=1; " + cookie + b"; b=2")]
    alone = request_headers([host, (b"cookie", cookie)], None, NODE)
    assert alone == ([host] if dropped else [host, (b"cookie", cookie.strip())])
    answer = [(b"Set-Cookie", cookie + b"; Path=/"), (b"Set-Cookie", b"mine=1")]
    assert response_headers(answer) == (answer[1:] if dropped else answer)


@pytest.mark.contract("I07")
def test_chunks() -> None:
    data = bytes(range(10))
    assert [bytes(piece) for piece in chunks(data, 4)] == [data[:4], data[4:8], data[8:]]
    assert list(chunks(b"", 4)) == []
    assert b"".join(chunks(bytearray(data), 3)) == data
    with pytest.raises(ValueError, match="at least 1"):
        list(chunks(data, 0))
