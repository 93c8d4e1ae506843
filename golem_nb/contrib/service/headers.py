"""What of a message's head goes through the proxy, and what does not."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["is_jupyter_cookie", "request_headers", "response_headers"]

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

#: These say where a message goes and where it ends, whatever a client says of the connection.
END_TO_END = frozenset((b"content-length", b"host"))

#: Cookies know no ports: those of a Jupyter server on the same host would be sent to every service, and a
#: service could replace them.
_JUPYTER = re.compile(r"(_xsrf|username-.*|jupyter.*|_jupyter.*)", re.IGNORECASE | re.DOTALL)


def is_jupyter_cookie(name: str) -> bool:
    """Whether a cookie of that name is one by which Jupyter knows its user."""
    return _JUPYTER.fullmatch(name.strip()) is not None


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes, bytes]]:
    """Return the headers without those that speak of the connection, each with its name in lower case."""
    lowered = [(name.lower(), name, value) for name, value in headers]
    kept_back = HOP_BY_HOP
    for lower, _, value in lowered:
        if lower == b"connection":
            kept_back |= {option.strip().lower() for option in value.split(b",")} - END_TO_END
    return [header for header in lowered if header[0] not in kept_back]


def request_headers(headers: Iterable[tuple[bytes, bytes]], host: str | None, address: str) -> RawHeaders:
    """Return what a service gets of a request's headers.

    Parameters
    ----------
    headers
        The request's.
    host
        Takes the place of the Host header.
    address
        Stands there if there is none, as in HTTP/1.0, and no `host` either.
    """
    found: RawHeaders = []
    has_host = False
    for lower, name, value in _forwarded(headers):
        if lower == b"host":
            has_host = True
            found.append((name, value if host is None else host.encode()))
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
    if not has_host:
        found.insert(0, (b"Host", (host or address).encode()))
    return found


def response_headers(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return what a client gets of a response's headers."""
    return [
        (name, value)
        for lower, name, value in _forwarded(headers)
        if lower != b"set-cookie" or not is_jupyter_cookie(value.partition(b"=")[0].decode("latin-1"))
    ]
