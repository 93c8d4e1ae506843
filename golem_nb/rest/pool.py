"""The connections to one daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

__all__ = ["MAX_ANSWER", "Pool", "TooLargeError"]

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer at most: the output of commands comes in answers, and providers have no limit on it."""

# The daemon (yagna 0.17.6) closes a connection that has been idle for 60 s. A request sent just then is lost,
# and one that makes something cannot be repeated, so the pool drops its idle connections a little earlier.
_KEEP_ALIVE = 50.0

# limits of time are set where a request is made: a total here would arm a timer for each
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0)


class TooLargeError(Exception):
    """An answer grew beyond the limit."""


class _Target:
    """One address: what the pool of connections goes by, and what each request to it says."""

    def __init__(self, origin: str, app_key: str, loop: asyncio.AbstractEventLoop) -> None:
        url = URL(origin)
        self.request = aiohttp.ClientRequest("GET", url, loop=loop, response_class=aiohttp.ClientResponse)
        self.head = f" HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\nAuthorization: Bearer {app_key}\r\n"


class Pool:
    """The connections to one daemon, opened with the first request and closed when the last user leaves.

    Parameters
    ----------
    app_key : str
        The key that each request carries.
    """

    def __init__(self, app_key: str) -> None:
        self._app_key = app_key
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._targets: dict[str, _Target] = {}
        self._users = 0
        self._closed = False

    def session(self) -> aiohttp.ClientSession:
        """The one HTTP session, made when it is first needed.

        Raises
        ------
        RuntimeError
            It has been closed, or it belongs to another event loop that still runs.
        """
        session = self._session
        if session is not None and self._loop is asyncio.get_running_loop():
            return session
        return self._open()

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("The connections to the daemon are closed: make a new Configuration")
        if self._session is not None and self._loop is not None and not self._loop.is_closed():
            raise RuntimeError(
                "The connections to the daemon belong to another event loop: make a Configuration in each"
            )
        self._loop = loop
        self._targets = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
            headers={"Authorization": f"Bearer {self._app_key}"},
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            auto_decompress=False,
        )
        return self._session

    async def exchange(
        self, origin: str, method: str, path: str, data: bytes | None, headers: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        """Send one request and read the status and the body of its answer.

        This goes below aiohttp's session, to its pool and its parser of HTTP: what the session adds (cookies,
        redirects, proxies, forms, compression) is of no use here, and costs more than the rest of a request.
         There are two requests for each task.

        Raises
        ------
        TooLargeError
            The body is larger than 64 MiB.
        aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError
            The connection could not be made, or broke, or does not speak HTTP.
        """
        connector = self.session().connector
        assert connector is not None
        target = self._targets.get(origin)
        if target is None:
            assert self._loop is not None
            target = self._targets[origin] = _Target(origin, self._app_key, self._loop)
        request = _head(method, path, target.head, data, headers)
        # The daemon may be closing the connection that the pool gives, for having been idle. What reads or
        # ends something can be sent again then, and what makes something cannot.
        repeatable = method != "POST"
        while True:
            connection = await connector.connect(target.request, [], _TIMEOUT)
            try:
                protocol, transport = connection.protocol, connection.transport
                if protocol is None or transport is None:
                    raise aiohttp.ServerDisconnectedError
                protocol.set_response_params(auto_decompress=False, read_until_eof=True)
                transport.write(request)
                message, payload = await protocol.read()
                while message.code < 200:  # "100 Continue" and its kind announce an answer
                    message, payload = await protocol.read()
                length = message.headers.get("Content-Length")
                if length is not None and int(length) <= MAX_ANSWER:
                    body = await payload.read()
                else:
                    body = await read_limited(payload)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                connection.close()
                if not repeatable:
                    raise
                repeatable = False
            except BaseException:
                # the task was cancelled, or its time is over: the daemon shall see at once that nobody waits
                connection.close()
                raise
            else:
                if transport.get_write_buffer_size():
                    # an answer before the end of the request, which was too long: the rest must not be taken
                    # for the beginning of the next one
                    connection.close()
                else:
                    connection.release()
                return message.code, body

    def acquire(self) -> None:
        """Count one more user."""
        self._users += 1
        self._closed = False

    async def release(self) -> None:
        """Count one user less, and close the connections after the last."""
        self._users -= 1
        if self._users <= 0:
            await self.close()

    async def close(self) -> None:
        """Close all connections."""
        self._users = 0
        self._closed = True
        session, self._session, self._loop = self._session, None, None
        if session is not None:
            await session.close()


def _head(
    method: str, path: str, common: str, data: bytes | None, headers: Mapping[str, str] | None
) -> bytes:
    """Write a request."""
    head = f"{method} {path}{common}"
    if data is not None:
        head = f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    if headers:
        lines = [f"{name}: {value}" for name, value in headers.items()]
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise ValueError("A header of a request holds characters that would end it")
        head += "".join(f"{line}\r\n" for line in lines)
    if " " in path or not path.isascii() or not path.isprintable():
        raise ValueError(f"Not an address: {path!r}")
    start = f"{head}\r\n".encode("ascii")
    return start if data is None else start + data


async def read_limited(payload: Any) -> bytes:
    """Read a body whose length was not announced, or is out of all proportion."""
    chunks = []
    size = 0
    async for chunk in payload.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER:
            raise TooLargeError(f"the answer is larger than {MAX_ANSWER} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
