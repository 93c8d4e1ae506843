"""A `yagna` daemon as a process of ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from golem_nb.config import ApiConfig
from golem_nb.node import guard
from golem_nb.node.binary import YagnaBinary, find_yagna
from golem_nb.node.commands import Commands
from golem_nb.node.errors import DaemonStartError, NodeError, UnsupportedPlatformError
from golem_nb.node.lock import FolderLock
from golem_nb.node.ports import PortReservation
from golem_nb.node.sockets import socket_folder
from golem_nb.rest import Configuration, Identity
from golem_nb.rest.errors import ApiError
from golem_nb.rest.ids import NodeId

__all__ = ["Yagna", "process_end", "readable"]

# The daemon says so in its log when another process took the port between our look and its bind.
_PORT_TAKEN: Final = "Address already in use"
_PORT_TRIES: Final = 5
# One look at the port costs 0.1 ms; the daemon needs 300 ms and more to come up, and tells nobody.
_LOOK_EVERY: Final = 0.01
_LOG_TAIL: Final = 4096


class Yagna:
    """A `yagna` daemon on a data folder of its own, as an async context manager.

    It listens on loopback, sends no metrics, and has its application key from us. A guard process ends it
    when this process ends, in whatever way.

    Parameters
    ----------
    folder
        The data folder; made if it does not exist. Identities and payments live there: keep it for a real
        network.
    api_port
        The port of the HTTP API; any free one if not given.
    network
        The payment network whose account is made ready for sending at the start, such as "hoodi" or
        "polygon"; None for none.
    environment
        More environment variables of the daemon.
    bus
        Where the unix socket of its service bus is to be, at most 100 bytes long; in the data folder, or
        in a temporary folder where that has too long a path, if not given.
    log
        Its log file; `yagna.log` in the data folder if not given.
    remove
        Further files and empty folders that the guard removes when the daemon has ended.
    start_timeout
        Seconds that the daemon has to come up.

    Attributes
    ----------
    api_config : ApiConfig
        Address and key of the daemon's API.
    bus : Path
        The unix socket of its service bus.
    log : Path
        Its log file.

    Examples
    --------
    >>> async def main():
    ...     async with Yagna("/tmp/my-node", network="hoodi") as daemon:
    ...         return await daemon.commands.balance("hoodi")
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        api_port: int | None = None,
        network: str | None = None,
        environment: Mapping[str, str] | None = None,
        bus: Path | None = None,
        log: Path | None = None,
        remove: Sequence[Path] = (),
        start_timeout: float = 60.0,
    ) -> None:
        if os.name != "posix":
            raise UnsupportedPlatformError("a daemon can be run as a managed process on Linux and macOS only")
        self.folder = Path(folder).absolute()
        self.log = log or self.folder / "yagna.log"
        self._temporary: Path | None = None
        self.bus = bus or self.folder / "bus.sock"
        self._wanted_port = api_port
        self._network = network
        self._environment = dict(environment or {})
        self._remove = list(remove)
        self._start_timeout = start_timeout
        self._guard: subprocess.Popen[bytes] | None = None
        self._lock: FolderLock | None = None
        self._port: PortReservation | None = None
        self._log_start = 0
        self._binary: YagnaBinary | None = None
        self.node_id: NodeId | None = None
        self.api_config: ApiConfig | None = None
        self._commands: Commands | None = None

    def __repr__(self) -> str:
        return f"Yagna(folder={str(self.folder)!r}, node_id={self.node_id!r}, pid={self.pid})"

    @property
    def pid(self) -> int | None:
        """Process id of the guard that runs the daemon; None when it is not running."""
        return None if self._guard is None else self._guard.pid

    @property
    def commands(self) -> Commands:
        """What the daemon can be told: identities, keys, accounts, balance.

        Raises
        ------
        NodeError
            The daemon has not been started.
        """
        if self._commands is None:
            raise NodeError(
                f"the daemon of {self.folder} has not been started: use `async with` or `await start()`"
            )
        return self._commands

    async def __aenter__(self) -> Yagna:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the daemon and wait until its API answers.

        Raises
        ------
        FolderInUseError
            Another process has the data folder.
        YagnaNotFoundError, YagnaTooOldError
            There is no daemon to start.
        DaemonStartError
            It ended or did not answer in time.
        """
        for last in range(_PORT_TRIES, 0, -1):
            await self.launch()
            try:
                await self.ready()
                if self._network is not None:
                    await self.commands.payment_init(self._network, sender=True)
            except DaemonStartError:
                taken = _PORT_TAKEN in self._log_tail()
                await self.stop()
                if last > 1 and taken and self._wanted_port is None:
                    continue
                raise
            except BaseException:
                await self.stop()
                raise
            return

    async def launch(self) -> None:
        """Start the process only; `ready` waits until it answers. For who has to do something in between."""
        if self._guard is not None:
            raise NodeError(f"the daemon of {self.folder} is running already")
        if self._binary is None:
            self._binary = await asyncio.to_thread(find_yagna)
        self._lock = FolderLock(self.folder)
        try:
            self._spawn(self._binary.path, self._lock)
        except BaseException:
            self._release()
            raise

    def _spawn(self, program: Path, lock: FolderLock) -> None:
        try:
            self._port = PortReservation(self._wanted_port or 0)
        except OSError as error:
            raise DaemonStartError(
                f"port {self._wanted_port} is in use by another program", self.log
            ) from error
        if (sockets := socket_folder(self.bus.parent)) != self.bus.parent:
            self._temporary = sockets
            self.bus = sockets / "bus.sock"
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        key = self._app_key()
        url = f"http://127.0.0.1:{self._port.port}"
        self.api_config = ApiConfig(app_key=key, api_url=url)
        shared = {**os.environ, "YA_CONSENT_STATS": "deny", "RUST_LOG": "info", **self._environment}
        self._commands = Commands(program, self.bus, self.folder, shared)
        environment = {
            **shared,
            "YAGNA_DATADIR": str(self.folder),
            "GSB_URL": f"unix:{self.bus}",
            "YAGNA_API_URL": url,
            "YAGNA_AUTOCONF_APPKEY": key,
        }
        remove = [self.bus, *self._remove, *([self._temporary] if self._temporary else [])]
        self.bus.unlink(missing_ok=True)
        # by its path and without site-packages: 20 ms instead of 300
        command = [
            sys.executable, "-S", "-E", guard.__file__,
            str(os.getpid()), "10", str(self.log), str(lock.fileno()), ":".join(map(str, remove)), "--",
            str(program), "service", "run", "--disable-metrics-push", "--log-dir", "",
        ]  # fmt: skip
        # mode 0600: the log shows what is bought and from whom
        os.close(os.open(self.log, os.O_CREAT | os.O_APPEND, 0o600))
        self._guard = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )
        lock.note(self._guard.pid)

    def _app_key(self) -> str:
        file = self.folder / "app-key"
        try:
            return file.read_text().strip()
        except FileNotFoundError:
            key = secrets.token_hex(16)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as output:
                output.write(key)
            return key

    async def ready(self) -> None:
        """Wait until the API answers.

        Raises
        ------
        DaemonStartError
            The daemon ended or did not answer in time.
        """
        assert self._port is not None
        assert self.api_config is not None
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._listening(self._port.port)
                async with Configuration(self.api_config) as configuration:
                    me = await Identity(configuration.root()).me()
        except TimeoutError as error:
            raise DaemonStartError(f"it did not answer within {self._start_timeout:g} s", self.log) from error
        except ApiError as error:
            raise DaemonStartError(f"its API does not answer: {error}", self.log) from error
        self.node_id = me.identity
        self._port.release()

    async def _listening(self, port: int) -> None:
        assert self._guard is not None
        while True:
            if self._guard.poll() is not None:
                raise DaemonStartError(f"it ended at once: {self._complaint()}", self.log)
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(_LOOK_EVERY)
            else:
                writer.close()
                return

    def _log_tail(self) -> str:
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_start, size - _LOG_TAIL))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _complaint(self) -> str:
        lines = self._log_tail().strip().splitlines()
        bad = [line for line in lines if "ERROR" in line or line.startswith("Error")]
        return (bad or lines or ["it said nothing"])[-1][:500]

    async def stop(self) -> None:
        """End the daemon: SIGTERM, after 10 s SIGKILL. Returns when it has ended; idempotent."""
        process, self._guard = self._guard, None
        if process is None:
            self._release()
            return
        assert process.stdin is not None
        process.stdin.close()  # the guard takes it from here
        try:
            if self.node_id is None:
                # a daemon that waits for its network does not listen to SIGTERM, and has nothing to lose
                self._kill(process)
            await process_end(process)
        except BaseException:
            self._kill(process)  # whoever cancels does not want to wait
            raise
        finally:
            self.node_id = None
            self._release()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the guard, and with it the daemon. Only Linux knows how; elsewhere the guard does its work."""
        if sys.platform == "linux":
            process.kill()
            process.wait()

    def _release(self) -> None:
        self.bus.unlink(missing_ok=True)  # for a guard that was killed
        if self._port is not None:
            self._port.release()
        if self._lock is not None:
            self._lock.release()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.rmdir()

    async def wait(self) -> int:
        """Wait for the daemon's end, whatever the reason; return its exit code."""
        process = self._guard
        if process is None:
            raise NodeError(f"the daemon of {self.folder} is not running")
        return await process_end(process)


async def readable(descriptor: int) -> None:
    """Wait until something can be read from a file descriptor, or its end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


async def process_end(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process's end without a thread; return its exit code."""
    if process.poll() is not None:
        return process.returncode
    try:
        handle = os.pidfd_open(process.pid)  # type: ignore[attr-defined,unused-ignore]
    except (AttributeError, OSError):  # not Linux, or an old kernel
        return await asyncio.to_thread(process.wait)
    try:
        await readable(handle)
    finally:
        os.close(handle)
    return process.wait()
