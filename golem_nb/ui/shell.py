"""A shell on an instance of a service: over its VPN where it has one, line by line where it has not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import secrets
import struct
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from golem_nb.contrib.service.tunnel import Tunnel, TunnelClosedError
from golem_nb.engine.scripts import ScriptRunner
from golem_nb.exceptions import GolemError
from golem_nb.log import pluralize
from golem_nb.rest.errors import ApiError
from golem_nb.ui.instances import MARK
from golem_nb.ui.text import clean

if TYPE_CHECKING:
    from golem_nb.script import Script
    from golem_nb.services import Service

__all__ = ["InstanceShell", "ShellError"]

#: Connecting to the shell takes no longer, in seconds.
CONNECT = 15.0

#: A line's output beyond that many characters is left out.
MOST_OUTPUT = 200_000

_LINE = 'cd "$1" 2>/dev/null; eval "$2" 2>&1; code=$?; printf "\\036%s\\036%s" "$PWD" "$code"'

NO_INTERRUPT = (
    "A command that runs on this instance cannot be interrupted: it has no VPN, and only ending the instance "
    "(Stop, in the panel of its cluster) ends the command."
)


#: What it means for a shell that an instance is in one of these states.
_LOST = {
    "pending": "The instance has no provider at the moment.",
    "terminated": "The instance has ended.",
    "suspended": "The instance is suspended: when it is resumed, open a terminal on the new one.",
    "unresponsive": "The provider of the instance does not answer any more.",
}


class ShellError(GolemError):
    """There can be no shell on an instance."""


class InstanceShell:
    """A shell on a running instance.

    With a VPN and a Python on the instance it is a real one, on a pseudo-terminal: a small server is sent
    over and run, and keys travel through the VPN. Otherwise whole lines are executed one after the other,
    each as a command of the instance's activity.

    Parameters
    ----------
    service
        The instance.
    loop
        The engine's event loop.
    on_output
        Called with what is to be shown, in the engine's thread.
    on_end
        Called with the reason when the shell has ended, in the engine's thread.
    """

    def __init__(
        self,
        service: Service,
        loop: asyncio.AbstractEventLoop,
        on_output: Callable[[bytes], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._service = service
        self._loop = loop
        self._on_output = on_output
        self._on_end = on_end
        self._tunnel: Tunnel | None = None
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._size = (80, 24)
        self._folder = "/"
        # sent as text, never imported: it is for the instance's Linux, whatever this is
        self._server = Path(__file__).with_name("shell_server.py").read_text(encoding="utf-8")
        self._future: concurrent.futures.Future[None] | None = None
        #: ``"keys"`` or ``"lines"``; None before that is known.
        self.mode: Literal["keys", "lines"] | None = None
        #: Whether a line is being executed.
        self.busy = False

    @property
    def title(self) -> str:
        """Where it is."""
        node = self._service.network_node
        name = clean(self._service.provider_name or "a provider", 60)
        return name if node is None else f"{name} at {node.ip}"

    @property
    def lost(self) -> str | None:
        """Why there is no instance to work on any more, in words; None while there is one."""
        if self._service.is_available:
            return None
        state = self._service.state.value
        return _LOST.get(state, f"The instance is {state}.")

    def open(self) -> None:
        """Begin; from any thread."""
        self._future = self._start(self._run())

    def write(self, data: bytes) -> None:
        """Send keys, or a line; from any thread."""
        if self.mode == "keys":
            self._start(self._send(0, data))
        elif self.mode == "lines":
            for line in data.decode("utf-8", "replace").splitlines():
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the size of the text area, in characters; from any thread."""
        self._size = (max(2, min(columns, 1000)), max(2, min(rows, 500)))
        if self.mode == "keys":
            self._start(self._send(1, struct.pack("!HH", *self._size)))

    def close(self) -> None:
        """End the shell; from any thread."""
        if self._future is not None:
            self._future.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> concurrent.futures.Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # -- in the engine's thread ----------------------------------------------------------------------------

    async def _run(self) -> None:
        reason = "The shell has ended."
        try:
            self._tunnel = await self._connect()
            if self._tunnel is not None:
                self.mode = "keys"
                await self._pass_on(self._tunnel)
            else:
                self.mode = "lines"
                await self._execute_lines()
        except asyncio.CancelledError:
            reason = "The shell was closed."
            raise
        except Exception as error:
            reason = f"The shell has ended: {clean(error, 400)}"
        finally:
            tunnel, self._tunnel = self._tunnel, None
            if tunnel is not None:
                await tunnel.close()
            self._on_end(reason)

    async def _connect(self) -> Tunnel | None:
        """Start a shell server on the instance and connect to it; None where that cannot be."""
        node = self._service.network_node
        if node is None:
            self._say("This instance has no VPN: each line is executed as a command of its own.")
            return None
        secret, port = secrets.token_hex(16), 20_000 + secrets.randbelow(40_000)
        code = f'command -v python3 >/dev/null && python3 -c "$1" {port} {secret}'
        _, exit_code = await self._command(
            "/bin/sh", "-c", f"{code}; printf '\\036/\\036%s' $?", "sh", self._server
        )
        if exit_code != 0:
            self._say("There is no Python 3 on this instance: each line is executed as a command of its own.")
            return None
        tunnel = await Tunnel.open(node, port, CONNECT)
        await tunnel.send(secret.encode() + _frame(1, struct.pack("!HH", *self._size)))
        return tunnel

    async def _pass_on(self, tunnel: Tunnel) -> None:
        while data := await tunnel.receive():
            self._on_output(data)

    async def _send(self, kind: int, data: bytes) -> None:
        if self._tunnel is None:
            return
        frames = b"".join(_frame(kind, data[at : at + 0xFFFF]) for at in range(0, len(data), 0xFFFF))
        try:
            await self._tunnel.send(frames)
        except TunnelClosedError:
            # the receiving side notices as well, and tells
            return

    async def _execute_lines(self) -> None:
        self._prompt()
        while True:
            line = await self._lines.get()
            self.busy = True
            self._on_output(line.encode() + b"\r\n")
            try:
                output, code = await self._command("/bin/sh", "-c", _LINE, "sh", self._folder, line)
            except ApiError as error:
                raise ShellError(f"the instance does not answer: {error}") from error
            finally:
                self.busy = False
            if output:
                self._on_output(output.replace("\n", "\r\n").encode())
                if not output.endswith("\n"):
                    self._on_output(b"\r\n")
            if code:
                self._say(f"exit code {code}")
            self._prompt()

    async def _command(self, *arguments: str) -> tuple[str, int]:
        """Execute a command beside whatever the instance is doing; return its output and exit code."""
        results: list[Any] = []
        context = self._service._ctx

        async def scripts() -> AsyncGenerator[Script, Any]:
            script = context.new_script()
            executed = script.run(*arguments)
            yield script
            results.append(await executed)

        cluster = self._service.cluster
        instance = None if cluster is None else cluster._runner.find(self._service)
        if instance is None or instance.held is None:
            raise ShellError("The instance has no agreement any more")
        runner = ScriptRunner(context._activity, instance.held, context.emit, stream_output=False)
        await runner.run(scripts())
        text = results[0].stdout or ""
        output, _, tail = (text if isinstance(text, str) else text.decode("utf-8", "replace")).partition(MARK)
        folder, _, code = tail.partition(MARK)
        if folder.startswith("/"):
            self._folder = folder
        if len(output) > MOST_OUTPUT:
            output = f"{output[:MOST_OUTPUT]}\n… {pluralize(len(output) - MOST_OUTPUT, 'more character')}"
        return output, int(code) if code.isdecimal() else 0

    def _prompt(self) -> None:
        self._on_output(clean(self._folder, 200).encode() + b" $ ")

    def _say(self, text: str) -> None:
        self._on_output(f"\x1b[2m{text}\x1b[0m\r\n".encode())


def _frame(kind: int, data: bytes) -> bytes:
    return struct.pack("!BH", kind, len(data)) + data
