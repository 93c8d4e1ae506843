"""The process of the provider agents, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from golem_nb.localnet.errors import LocalNetworkError
from golem_nb.node.guard import die_with_parent

__all__ = ["AgentProcess"]

_log = logging.getLogger(__name__)

_MAX_LINE: Final = 16 << 20
_GRACE: Final = 4.0
_ANSWER_TIMEOUT: Final = 20.0


class AgentProcess:
    """All provider agents of one network, in one process.

    It is started before its configuration is known, to import meanwhile what it needs.

    Attributes
    ----------
    warnings : list of str
        What the agents want the user to know.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0

    @property
    def pid(self) -> int | None:
        """Process id; None when it is not running."""
        return None if self._process is None else self._process.pid

    async def launch(self, log: Path) -> None:
        """Start the process; what it complains of goes to a log file."""
        me = os.getpid()
        # mode 0600: tracebacks may show what is run
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "golem_nb.localnet.provider",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
                limit=_MAX_LINE,
                # the supervisor forks from its main thread, which lives as long as it does
                preexec_fn=lambda: die_with_parent(me),
            )
        finally:
            os.close(descriptor)
        self._ready = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(self._process))

    async def configure(self, configuration: Mapping[str, Any], timeout: float) -> None:
        """Send the configuration and wait until all offers are published.

        Raises
        ------
        LocalNetworkError
            An agent failed, or it took too long.
        """
        assert self._ready is not None
        self._send(dict(configuration))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._ready)
        except TimeoutError as error:
            raise LocalNetworkError(f"the provider agents were not ready within {timeout:g} s") from error

    async def command(self, command: str, **arguments: Any) -> Any:
        """Give the agents a command; return its result.

        Raises
        ------
        LocalNetworkError
            They refuse, or do not answer.
        """
        self._last_id += 1
        number = self._last_id
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"id": number, "command": command, **arguments})
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                return await answer
        except TimeoutError as error:
            raise LocalNetworkError(f"the provider agents do not answer to {command!r}") from error
        finally:
            self._answers.pop(number, None)

    async def ended(self) -> int:
        """Wait for the process's end; return its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """End the process: its stdin is closed, after 4 s it is killed."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_GRACE):
                await process.wait()
        except TimeoutError:
            _log.warning("the provider agents did not end within %g s", _GRACE)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reading is not None:
            await self._reading

    def _send(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            raise LocalNetworkError("the provider agents are not running")
        process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                try:
                    message = json.loads(line)
                except ValueError:
                    _log.warning("provider agents: unexpected output %r", line[:300])
                    continue
                self._take(message)
        finally:
            self._fail("the provider agents have ended")

    def _take(self, message: dict[str, Any]) -> None:
        assert self._ready is not None
        if "id" in message:
            answer = self._answers.get(message["id"])
            if answer is not None and not answer.done():
                if message.get("ok"):
                    answer.set_result(message.get("result"))
                else:
                    answer.set_exception(LocalNetworkError(str(message.get("error"))))
            return
        event = message.get("event")
        if event == "ready" and not self._ready.done():
            self._ready.set_result(None)
        elif event == "warning":
            self.warnings.append(str(message.get("text")))
            _log.warning("provider agents: %s", self.warnings[-1])
        elif event == "failed":
            _log.error("provider agents: %s", message.get("error"))
            self._fail(str(message.get("error")))
        else:
            _log.info("provider agents: %s", message)

    def _fail(self, reason: str) -> None:
        for future in (self._ready, *self._answers.values()):
            if future is not None and not future.done():
                future.set_exception(LocalNetworkError(reason))
                future.exception()  # somebody may be waiting, or nobody
