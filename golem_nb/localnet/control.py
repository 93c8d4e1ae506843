"""How others speak to a network's supervisor: a line of JSON each way over a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from golem_nb.exceptions import GolemError
from golem_nb.localnet.errors import LocalNetworkError, NetworkNotRunningError

__all__ = ["Control", "ControlServer"]

_MAX_LINE: Final = 16 << 20
_TIMEOUT: Final = 30.0


class Control:
    """Client of a supervisor. It keeps no connection, so that any thread and any event loop may use it.

    Parameters
    ----------
    path
        The supervisor's socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self, command: str, **arguments: Any) -> Any:
        """Give a command; return its result.

        Raises
        ------
        NetworkNotRunningError
            The supervisor does not answer.
        LocalNetworkError
            It refuses; the text is its reason.
        """
        try:
            async with asyncio.timeout(_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=_MAX_LINE)
                try:
                    writer.write(_line({"command": command, **arguments}))
                    answer = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise self._gone(command, error) from error
        return self._result(command, answer)

    def wait(self, command: str, **arguments: Any) -> Any:
        """Do the same, blocking."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_TIMEOUT)
                connection.connect(str(self._path))
                connection.sendall(_line({"command": command, **arguments}))
                with connection.makefile("rb") as answers:
                    answer = answers.readline(_MAX_LINE)
        except OSError as error:
            raise self._gone(command, error) from error
        return self._result(command, answer)

    def _gone(self, command: str, error: Exception) -> NetworkNotRunningError:
        return NetworkNotRunningError(
            f"the local Golem network does not answer to {command!r} at {self._path} ({error!r}). "
            "Start one: golem-nb up"
        )

    def _result(self, command: str, line: bytes) -> Any:
        if not line:
            raise NetworkNotRunningError(f"the local Golem network ended during {command!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise LocalNetworkError(str(answer["error"]))
        return answer.get("result")


class ControlServer:
    """The supervisor's end.

    Parameters
    ----------
    handler
        Called with a command's name and arguments; what it returns is the result, a `GolemError` it raises
        the refusal.
    """

    def __init__(self, handler: Callable[[str, dict[str, Any]], Awaitable[Any]]) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    async def start(self, path: Path) -> None:
        """Begin to listen; the socket is for its owner only."""
        listening = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - a local file
            listening.bind(str(path))
            os.chmod(path, 0o600)  # noqa: PTH101 - the folder is private, too
            self._server = await asyncio.start_unix_server(self._visit, sock=listening, limit=_MAX_LINE)
        except BaseException:
            listening.close()
            raise

    async def close(self) -> None:
        """Stop listening, once the answers that are being made have been given."""
        if self._server is not None:
            self._server.close()
        if self._visits:
            _, late = await asyncio.wait(self._visits, timeout=1)
            for visit in late:
                visit.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                request = json.loads(await reader.readline())
                writer.write(_line(await self._answer(request)))
                await writer.drain()
        finally:
            self._visits.discard(task)
            writer.close()

    async def _answer(self, request: Any) -> dict[str, Any]:
        try:
            command = request.pop("command")
            return {"result": await self._handler(command, request)}
        except GolemError as error:
            return {"error": str(error)}
        except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            return {"error": f"not a command that the network understands: {error!r}"}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
