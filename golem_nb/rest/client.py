"""Requests to the daemon: one pool of connections, one place where answers become values or errors."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from golem_nb import foreign_json
from golem_nb.config import START_IT
from golem_nb.rest import problems
from golem_nb.rest.errors import (
    ApiError,
    ConnectionDroppedError,
    DaemonSilentError,
    DaemonUnreachableError,
    MalformedAnswerError,
    RequestTimeoutError,
    is_intermittent,
)
from golem_nb.rest.fields import MalformedField
from golem_nb.rest.patience import Patience
from golem_nb.rest.pool import MAX_ANSWER, Pool, TooLargeError, read_limited
from golem_nb.rest.sse import EventParser, ServerSentEvent

__all__ = ["DEFAULT_TIMEOUT", "LONG_POLL_MARGIN", "RestClient", "carried_through", "ignore", "retried"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_TIMEOUT = 60.0
"""Seconds that a request without a time limit of its own may take."""

LONG_POLL_MARGIN = 10.0
"""Seconds that the daemon gets beyond the time that a long poll asked it to wait."""

LOGGED = 2000
"""Bytes of an answer that are logged."""

# between two events of a stream comes a ping every 15 s: after three missed ones nobody is there any more
_STREAM_SILENCE = 50.0

# without it the second of the daemon's small writes waits for an acknowledgement that the kernel delays by
# 40 ms
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


# made once: json.dumps would build one for each call that has an option
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


async def retried(
    call: Callable[[], Awaitable[T]],
    tries: int = 5,
    first_pause: float = 0.25,
    longest_pause: float = 4.0,
    *,
    worth: Callable[[ApiError], bool] = is_intermittent,
) -> T:
    """Call until it succeeds or fails for good.

    Only for what may be done twice: reading, or ending something.

    Parameters
    ----------
    call : callable
        Makes the request.
    tries : int
        Calls at most.
    first_pause, longest_pause : float
        Seconds before the second call, which double for each further one, and their limit.
    worth : callable
        Whether to call again after an error; by default after an intermittent one.
    """
    pause = first_pause
    for _ in range(tries - 1):
        try:
            return await call()
        except ApiError as error:
            if not worth(error):
                raise
            logger.debug("%s; trying again in %.2f s", error, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest_pause)
    return await call()


async def carried_through(call: Coroutine[Any, Any, T], limit: float = 1.0) -> T:
    """Wait for the answer to what must not be cut off, also when nobody wants it any more.

    The daemon drops what it is doing when its client leaves. What concerns another node as well is then done
    there and not here, and cannot be done again.

    Parameters
    ----------
    call : coroutine
        Makes the request.
    limit : float
        Who cancels this waits so many seconds more at most. (On one machine it takes 10 to 60 ms.)
    """
    calling = asyncio.create_task(call, name="request that is carried through")
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait({calling}, timeout=limit)
        raise
    finally:
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)


class RestClient:
    """Requests to one part of the daemon's API.

    Comes from a `Configuration`; usable as ``async with``, which closes the pool of connections after the
    last user.

    Parameters
    ----------
    pool : Pool
        The connections, shared with the other parts of the API.
    base_url : str
        What all addresses of this part begin with.
    part : str
        Name of the part; requests are logged at DEBUG to the logger ``golem_nb.rest.`` + `part`.
    remedy : str
        What to do when the daemon cannot be reached.
    patience : Patience, optional
        Shared with the other parts of the API.
    """

    def __init__(
        self,
        pool: Pool,
        base_url: str,
        part: str = "client",
        remedy: str = START_IT,
        patience: Patience | None = None,
    ) -> None:
        self._pool = pool
        self._patience = patience or Patience()
        self._remedy = remedy
        self._log = logging.getLogger(f"golem_nb.rest.{part}")
        self.base_url = base_url
        parts = urlsplit(base_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path

    def __repr__(self) -> str:
        return f"RestClient({self.base_url!r})"

    async def __aenter__(self) -> RestClient:
        self._pool.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.release()

    async def get(
        self,
        path: str,
        operation: str,
        parse: Callable[[Any], T],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Read something; tried again when the connection breaks.

        Parameters
        ----------
        path : str
            What comes after the base address, query included.
        operation : str
            What is asked, for the error text.
        parse : callable
            Makes the value from the parsed JSON.
        timeout : float
            Seconds for each try.
        headers : mapping, optional
            Additional headers.
        """
        return await retried(
            lambda: self.request("GET", path, operation, parse, timeout=timeout, headers=headers), tries=3
        )

    async def poll(
        self,
        path: str,
        operation: str,
        parse: Callable[[Any], T],
        *,
        wait: float,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Read something that the daemon may hold back for `wait` seconds; never tried again by itself."""
        return await self.request(
            "GET", path, operation, parse, timeout=wait + LONG_POLL_MARGIN, headers=headers
        )

    async def post(
        self,
        path: str,
        operation: str,
        parse: Callable[[Any], T],
        body: Any,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> T:
        """Send something, once."""
        return await self.request("POST", path, operation, parse, _encode(body).encode(), timeout=timeout)

    async def put(
        self,
        path: str,
        operation: str,
        parse: Callable[[Any], T],
        body: Any,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> T:
        """Change something; tried again when the connection breaks, since twice is the same as once."""
        data = _encode(body).encode()
        return await retried(lambda: self.request("PUT", path, operation, parse, data, timeout=timeout))

    async def delete(self, path: str, operation: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """End something; tried again when the connection breaks, since twice is the same as once."""
        await retried(lambda: self.request("DELETE", path, operation, ignore, timeout=timeout))

    async def request(
        self,
        method: str,
        path: str,
        operation: str,
        parse: Callable[[Any], T],
        data: bytes | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send one request and give what the answer says.

        Cancelling the waiting task closes the connection at once.

        Raises
        ------
        ApiError
            One of its subclasses, by the answer's status or what broke.
        """
        problem: ApiError
        cause: OSError | None = None
        if self._patience.lost:
            raise self._silent(operation, method, path)
        try:
            async with asyncio.timeout(timeout) as scope:
                self._patience.watch(scope)
                try:
                    status, body = await self._pool.exchange(
                        self._origin, method, self._path + path, data, headers
                    )
                finally:
                    self._patience.unwatch(scope)
        except TooLargeError as error:
            problem = self._error(MalformedAnswerError, operation, method, path, str(error))
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:  # TimeoutError is an OSError
            problem, cause = self._broken(error, operation, method, path, timeout)
        else:
            if self._log.isEnabledFor(logging.DEBUG):
                # as bytes: what providers say must not reach a terminal unescaped
                self._log.debug("%s %s %r -> %d %r", method, path, data, status, body[:LOGGED])
            if 200 <= status < 300:
                try:
                    return parse(foreign_json.loads(body.decode()) if body else None)
                except MalformedField as error:
                    reason = str(error)
                except ValueError as error:
                    reason = f"it is not JSON ({type(error).__name__})"
                if body.lstrip()[:1] == b"<":
                    problem = self._refusal(operation, method, path, status, body)
                else:
                    problem = self._error(
                        MalformedAnswerError,
                        operation,
                        method,
                        path,
                        f"the answer makes no sense: {reason}",
                        status,
                    )
            else:
                problem = self._refusal(operation, method, path, status, body)
        # raised here and not where it was caught: what aiohttp raises can carry the request with the key in
        # it, and the context of an exception is printed by many tools
        raise problem from cause

    def _error(
        self,
        kind: type[ApiError],
        operation: str,
        method: str,
        path: str,
        message: str,
        status: int | None = None,
        remedy: str | None = None,
    ) -> ApiError:
        return kind(operation, message, method, self._path + path.partition("?")[0], status, remedy)

    def _silent(self, operation: str, method: str, path: str) -> ApiError:
        return self._error(
            DaemonSilentError,
            operation,
            method,
            path,
            f"the daemon at {self._origin} has been given up, it does not answer",
            remedy="Look at the daemon's log and restart it.",
        )

    def _refusal(self, operation: str, method: str, path: str, status: int, body: bytes) -> ApiError:
        begin = body.lstrip()[:1]
        if begin == b"<":
            return self._stranger(operation, method, path, "answers with a web page", status)
        if status == 404 and begin not in (b"", b"{"):
            # a daemon tells in JSON what it cannot find, and says nothing where it has no such route
            return self._stranger(operation, method, path, "answers as a daemon never does", status)
        kind, message, remedy = problems.explain(status, body)
        return self._error(kind, operation, method, path, message, status, remedy)

    def _stranger(
        self, operation: str, method: str, path: str, does: str, status: int | None = None
    ) -> ApiError:
        return self._error(
            MalformedAnswerError,
            operation,
            method,
            path,
            f"what listens at {self._origin} {does}, and is no Golem daemon",
            status,
            remedy="Set YAGNA_API_URL to the address where the daemon listens.",
        )

    def _broken(
        self, error: Exception, operation: str, method: str, path: str, timeout: float
    ) -> tuple[ApiError, OSError | None]:
        """Make our error of what broke on the way, and find a cause that is safe to show."""
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
            because = f" ({cause.strerror or type(cause).__name__})" if cause else " in time"
            return self._error(
                DaemonUnreachableError,
                operation,
                method,
                path,
                f"no Golem daemon can be reached at {self._origin}{because}",
                remedy=self._remedy,
            ), cause
        if isinstance(error, TimeoutError) and self._patience.lost:
            return self._silent(operation, method, path), None
        if isinstance(error, TimeoutError):
            return self._error(
                RequestTimeoutError,
                operation,
                method,
                path,
                f"no answer from {self._origin} within {timeout:g} s",
                remedy="Try again; if it stays so, look at the daemon's log and restart it.",
            ), None
        if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
            return self._stranger(operation, method, path, "speaks no clean HTTP"), None
        return self._error(
            ConnectionDroppedError,
            operation,
            method,
            path,
            f"the connection to {self._origin} broke before the answer was complete ({type(error).__name__})",
            remedy="See whether the daemon still runs; it may have done what it was asked to.",
        ), None

    async def stream(self, path: str, operation: str) -> AsyncGenerator[ServerSentEvent, None]:
        """Subscribe to a stream of server-sent events.

        The connection is closed when the generator is.

        Raises
        ------
        ApiError
            The daemon refused, or was silent for 50 s (it sends a sign of life every 15 s), or hung up.
        """
        session = self._pool.session()
        parser = EventParser()
        problem: ApiError
        cause: OSError | None = None
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(_STREAM_SILENCE):
                response = await session.request(
                    "GET",
                    URL(self.base_url + path, encoded=True),
                    headers={"Accept": "text/event-stream"},
                    allow_redirects=False,
                )
            if response.status == 200:
                connection = response.connection
                transport = connection.transport if connection is not None else None
                connected = transport.get_extra_info("socket") if transport is not None else None
                acknowledge_at_once(connected)
                while True:
                    async with asyncio.timeout(_STREAM_SILENCE):
                        chunk = await response.content.readany()
                    acknowledge_at_once(connected)
                    if not chunk:
                        break
                    for event in parser.feed(chunk):
                        yield event
                problem = self._error(
                    ConnectionDroppedError, operation, "GET", path, "the daemon ended the stream of events"
                )
            else:
                async with asyncio.timeout(DEFAULT_TIMEOUT):
                    body = await read_limited(response.content)
                problem = self._refusal(operation, "GET", path, response.status, body)
        except (MalformedField, TooLargeError) as error:
            problem = self._error(
                MalformedAnswerError, operation, "GET", path, f"the stream makes no sense: {error}"
            )
        except (aiohttp.ClientError, OSError) as error:
            problem, cause = self._broken(error, operation, "GET", path, _STREAM_SILENCE)
        finally:
            if response is not None:
                response.close()
        raise problem from cause

    async def parsed_stream(
        self, path: str, operation: str, event_name: str, parse: Callable[[Any], T | None]
    ) -> AsyncGenerator[T, None]:
        """Subscribe to a stream whose events carry JSON; other events, and those that `parse` gives None
        for, are skipped.

        Raises
        ------
        ApiError
            As `stream`, and `MalformedAnswerError` for an event that makes no sense.
        """
        async with aclosing(self.stream(path, operation)) as stream:
            async for event in stream:
                if event.event != event_name:
                    continue
                try:
                    value = parse(foreign_json.loads(event.data))
                except MalformedField as error:
                    reason = str(error)
                except ValueError as error:
                    reason = f"it is not JSON ({type(error).__name__})"
                else:
                    if value is not None:
                        yield value
                    continue
                raise self._error(
                    MalformedAnswerError, operation, "GET", path, f"an event makes no sense: {reason}"
                )

    def websocket_uri(self, path: str) -> str:
        """Write the address of a websocket; the key is not part of it."""
        return "ws" + (self.base_url + path).removeprefix("http")

    async def websocket(
        self, path: str, operation: str, *, protocols: Sequence[str] = (), max_message: int = MAX_ANSWER
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a websocket.

        Parameters
        ----------
        protocols : sequence of str
            The sub-protocols to offer.
        max_message : int
            Bytes of a message at most.

        Raises
        ------
        ApiError
            The daemon refused, by the status of its answer.
        """
        problem: ApiError
        cause: OSError | None = None
        try:
            async with asyncio.timeout(DEFAULT_TIMEOUT):
                return await self._pool.session().ws_connect(
                    URL(self.websocket_uri(path), encoded=True),
                    protocols=protocols,
                    max_msg_size=max_message,
                    autoclose=True,
                )
        except aiohttp.WSServerHandshakeError as error:
            problem = self._refusal(operation, "GET", path, error.status, b"")
        except (aiohttp.ClientError, OSError) as error:
            problem, cause = self._broken(error, operation, "GET", path, DEFAULT_TIMEOUT)
        raise problem from cause


def ignore(value: Any) -> None:
    """Parse an answer that says nothing of interest."""


def acknowledge_at_once(connected: Any) -> None:
    # the option holds only until the kernel changes its mind: it is set again after each read
    if _QUICKACK is not None and connected is not None:
        connected.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
