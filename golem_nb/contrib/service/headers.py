"""What of a message's head goes through the proxy, and what does not."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["forwarded", "is_jupyter_cookie", "request_headers", "response_headers"]

RawHeaders = list[tuple[bytes, bytes]]

#: These speak of one connection, not of the message.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

#: Cookies know no ports: those of a Jupyter server on the same host would be sent to every service, and a
#: service could replace them.
_JUPYTER = re.compile(r"(_xsrf|username-.*|jupyter.*|_jupyter.*)", re.IGNORECASE | re.DOTALL)


def is_jupyter_cookie(name: str) -> bool:
    """Whether a cookie of that name is one by which Jupyter knows its user."""
    return _JUPYTER.fullmatch(name.strip()) is not None


def forwarded(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers without those that speak of the connection."""
    headers = list(headers)
    named = {
        option.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    return [
        (name, value)
        for name, value in headers
        if (lower := name.lower()) not in HOP_BY_HOP and lower not in named
    ]


def request_headers(headers: Iterable[tuple[bytes, bytes]], host: str | None) -> RawHeaders:
    """Return what a service gets of a request's headers.

    Parameters
    ----------
    headers
        The request's.
    host
        Takes the place of the Host header.
    """
    found: RawHeaders = []
    for name, value in forwarded(headers):
        lower = name.lower()
        if lower == b"host" and host is not None:
            found.append((name, host.encode()))
        elif lower == b"cookie":
            cookies = [
                cookie
                for cookie in value.split(b";")
                if not is_jupyter_cookie(cookie.partition(b"=")[0].decode("latin-1"))
            ]
            if cookies:
                found.append((name, b";".join(cookies).strip()))
        else:
            found.append((name, value))
    return found


def response_headers(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return what a client gets of a response's headers."""
    return [
        (name, value)
        for name, value in forwarded(headers)
        if name.lower() != b"set-cookie" or not is_jupyter_cookie(value.partition(b"=")[0].decode("latin-1"))
    ]
