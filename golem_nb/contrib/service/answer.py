"""What a server answers to one request, as it comes."""

from __future__ import annotations

import attrs
import httptools

from golem_nb.contrib.service.headers import RawHeaders
from golem_nb.exceptions import GolemError

__all__ = ["Answer", "Head", "MalformedAnswerError"]

#: The head of a response is not larger than this, bytes.
MAX_HEAD = 64 * 1024

SWITCHING_PROTOCOLS, NO_CONTENT, NOT_MODIFIED = 101, 204, 304


class MalformedAnswerError(GolemError):
    """What a server has sent is no HTTP, or ends too early."""


@attrs.frozen
class Head:
    """The head of a response.

    Parameters
    ----------
    status
        Its status.
    reason
        The words beside it.
    headers
        Its headers, as they came.
    """

    status: int
    reason: bytes
    headers: RawHeaders


class Answer:
    r"""Takes the bytes that come after a request, and gives the response.

    Parameters
    ----------
    method
        The request's: the answer to HEAD has no body.
    upgrade
        Whether the request asks for another protocol.

    Examples
    --------
    >>> answer = Answer("GET")
    >>> answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    >>> answer.head.status, answer.take(), answer.complete
    (200, b'hel', False)
    >>> answer.feed(b"lo")
    >>> answer.take(), answer.complete, answer.reusable
    (b'lo', True, True)
    """

    def __init__(self, method: str, *, upgrade: bool = False) -> None:
        #: None until all of it is there. Those that only announce another one are left out.
        self.head: Head | None = None
        #: Whether the end of the response has come.
        self.complete = False
        #: Whether the response itself says where it ends: otherwise it ends with the connection.
        self.delimited = True
        #: What came after the head that ended HTTP on this connection.
        self.rest = b""
        self._bodiless = method == "HEAD"
        self._upgrade = upgrade
        self._kept_alive = False
        self._unasked = False
        self._size = 0
        self._reason = b""
        self._headers: RawHeaders = []
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        # an answer is written anew for the client, so that nothing depends on how its lines end
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on the same connection: all has come, and nothing else."""
        return self.complete and self._kept_alive and not self._unasked

    def feed(self, data: bytes) -> None:
        """Take what has come.

        Raises
        ------
        MalformedAnswerError
            It is no HTTP, or its head is too large.
        """
        if self._switches:
            self.rest += data
        elif self.complete:
            # what nobody has asked for would be taken for the answer to the next request
            self._unasked = True
        elif self.head is not None:
            self._parse(data)
        elif self._size == MAX_HEAD:
            raise MalformedAnswerError(f"the head of its answer is larger than {MAX_HEAD} bytes")
        else:
            # no more is looked at than a head may have
            data, later = data[: MAX_HEAD - self._size], data[MAX_HEAD - self._size :]
            self._size += len(data)
            self._parse(data)
            if later:
                self.feed(later)

    @property
    def _switches(self) -> bool:
        return self.head is not None and self.head.status == SWITCHING_PROTOCOLS

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if not self.complete:
                raise MalformedAnswerError(str(error)) from None
            self._unasked = True
        if self._switches and not (self._upgrade and self._parser.should_upgrade()):
            raise MalformedAnswerError("it switches to another protocol, and nobody has asked for that")

    def end(self) -> None:
        """Take the end of the connection.

        Raises
        ------
        MalformedAnswerError
            The response had not come to its end.
        """
        if not self.complete:
            if self.head is None or self.delimited:
                raise MalformedAnswerError("its answer ends too early")
            self.complete = True
            self._kept_alive = False

    def take(self) -> bytes:
        """Give what has come of the body since the last time."""
        body = self._body
        if not body:
            return b""
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        return data

    # -- what the parser calls ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A head begins: the answer's, or that of one which nobody has asked for."""
        if self.complete:
            self._unasked = True
        self._reason, self._headers = b"", []

    def on_status(self, status: bytes) -> None:
        """Some of the words beside the status have come."""
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come."""
        if self.head is None:  # those at the end of a body that comes in pieces are left out
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A head has come to its end."""
        status = self._parser.get_status_code()
        if self.complete or (status < 200 and status != SWITCHING_PROTOCOLS):
            return
        options = b""
        self.delimited = self._bodiless or status in (NO_CONTENT, NOT_MODIFIED, SWITCHING_PROTOCOLS)
        for name, value in self._headers:
            lower = name.lower()
            if lower in (b"content-length", b"transfer-encoding"):
                self.delimited = True
            elif lower == b"connection":
                options += value.lower() + b","
        if status != SWITCHING_PROTOCOLS and self.delimited:
            old = self._parser.get_http_version() == "1.0"
            self._kept_alive = b"keep-alive" in options if old else b"close" not in options
        self.head = Head(status, self._reason, self._headers)
        self.complete = self._bodiless

    def on_body(self, data: bytes) -> None:
        """Some of a body has come."""
        if self.complete:
            self._unasked = True
        elif data:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """An answer has come to its end; or what only announces one, which is no end."""
        self.complete = self.head is not None
