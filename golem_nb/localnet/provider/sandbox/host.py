"""The provider agent's side of the sandboxes: it asks for them, runs commands and opens files in them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from golem_nb.exceptions import GolemError
from golem_nb.localnet.provider.sandbox import first
from golem_nb.localnet.provider.sandbox.cgroup import Group, Groups
from golem_nb.localnet.provider.sandbox.layout import FOLDERS, Layout, make_layout, sandbox_user
from golem_nb.localnet.provider.sandbox.zygote import bootstrap
from golem_nb.localnet.spec import Image

__all__ = ["Limits", "Process", "Sandbox", "SandboxError", "SandboxHost", "remove_folder"]

logger = logging.getLogger(__name__)

_ANSWER_TIMEOUT: Final = 30.0
_READ: Final = 256 << 10
_MAX_PROCESSES: Final = 2048


class SandboxError(GolemError):
    """A sandbox could not do what it was asked for; the text is that of the system."""


@attrs.frozen(kw_only=True)
class Limits:
    """What a sandbox may use.

    Parameters
    ----------
    memory
        Bytes of all its processes together; beyond it everything in it is killed.
    storage
        Bytes of one file (the sum is the caller's to watch).
    """

    memory: int = 4 << 30
    storage: int = 20 << 30


class _Channel:
    """Numbered requests over a SOCK_SEQPACKET socket, in the event loop."""

    def __init__(self, sock: socket.socket, on_message: Callable[[dict[str, Any]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock, self._on_message = sock, on_message
        self._number = 0
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._unsent: deque[tuple[dict[str, Any], list[int]]] = deque()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(64):
            try:
                message, descriptors = first.receive(self._sock)
            except BlockingIOError:
                return
            except (OSError, ValueError) as error:
                logger.debug("sandbox channel: %s", error)
                message, descriptors = None, []
            if message is None:
                self.close()
                return
            waiting = self._waiting.pop(message.get("n", -1), None)
            if waiting is not None and not waiting.done():
                waiting.set_result((message, descriptors))
                continue
            for descriptor in descriptors:  # whoever asked has gone
                os.close(descriptor)
            if waiting is None and "n" not in message:
                self._on_message(message)

    def _send(self, message: dict[str, Any], descriptors: list[int]) -> None:
        if self._unsent:
            raise BlockingIOError
        if len(str(message)) < first.PACKET // 2:  # JSON escapes may double the length
            first.send(self._sock, message, descriptors)
            return
        memory = os.memfd_create("request", os.MFD_CLOEXEC)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(json.dumps(message).encode())
            first.send(self._sock, {"n": message["n"], "op": "long"}, [*descriptors, memory])
        finally:
            os.close(memory)

    def _writable(self) -> None:
        while self._unsent:
            message, descriptors = self._unsent.popleft()
            try:
                if message["n"] in self._waiting:
                    first.send(self._sock, message, descriptors)
            except BlockingIOError:
                self._unsent.appendleft((message, descriptors))
                return
            except OSError:
                self.close()
                return
            for descriptor in descriptors:
                os.close(descriptor)
        self._loop.remove_writer(self._sock.fileno())

    async def ask(
        self, message: dict[str, Any], descriptors: list[int] | None = None
    ) -> tuple[dict[str, Any], list[int]]:
        """Send a request and wait for its answer."""
        if self.closed.done():
            raise SandboxError("the sandbox has ended")
        self._number += 1
        number = message["n"] = self._number
        waiting = self._waiting[number] = self._loop.create_future()
        try:
            try:
                self._send(message, descriptors or [])
            except BlockingIOError:
                if not self._unsent:
                    self._loop.add_writer(self._sock.fileno(), self._writable)
                self._unsent.append((message, [os.dup(d) for d in descriptors or []]))
            except OSError as error:
                raise SandboxError(f"the sandbox has ended: {error}") from error
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                answer, given = await waiting
        except TimeoutError as error:
            raise SandboxError(f"the sandbox has not answered within {_ANSWER_TIMEOUT:g} s") from error
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise SandboxError(answer["error"])
        return answer, given

    def tell(self, message: dict[str, Any]) -> None:
        """Send a request whose answer nobody waits for; it is dropped when the other side is behind."""
        self._number += 1
        with contextlib.suppress(OSError):
            self._send({"n": self._number, **message}, [])

    def close(self) -> None:
        if self.closed.done():
            return
        self.closed.set_result(None)
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for _, descriptors in self._unsent:
            for descriptor in descriptors:
                os.close(descriptor)
        self._unsent.clear()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(SandboxError("the sandbox has ended"))
                waiting.exception()


class Process:
    """A command that runs in a sandbox.

    `exited` gives its exit code (negative: the signal that killed it); by then both outputs have been handed
    over.
    """

    def __init__(
        self, out: tuple[int, int], sinks: tuple[Callable[[bytes], None], Callable[[bytes], None]]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, Callable[[bytes], None]] = {}
        self.exited: asyncio.Future[int] = self._loop.create_future()
        for descriptor, sink in zip(out, sinks, strict=True):
            os.set_blocking(descriptor, False)
            self._open[descriptor] = sink
            self._loop.add_reader(descriptor, self._readable, descriptor)

    def _readable(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, _READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._open[descriptor](data)
            return True
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        del self._open[descriptor]
        return False

    def ended(self, code: int) -> None:
        """Hand over what is left of the output, then resolve `exited`."""
        if self.exited.done():
            return
        for descriptor in list(self._open):
            for _ in range(4096):  # a child that goes on writing must not hold the result back
                if not self._readable(descriptor):
                    break
        # what was left running in the background still has the pipe: read on, or SIGPIPE would kill it
        for descriptor in self._open:
            self._open[descriptor] = _ignore
        self.exited.set_result(code)

    def close(self) -> None:
        """Forget the outputs."""
        for descriptor in self._open:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._open.clear()
        if not self.exited.done():
            self.exited.set_result(-9)


def _ignore(_: bytes) -> None:
    pass


class Sandbox:
    """One sandbox, made by `SandboxHost.create`."""

    def __init__(
        self, folder: Path, layout: Layout, sock: socket.socket, isolated: bool, group: Group | None
    ) -> None:
        self.folder, self.layout, self.isolated, self._group = folder, layout, isolated, group
        self._loop = asyncio.get_running_loop()
        self._processes: dict[int, Process] = {}
        self._early: dict[int, int] = {}
        self._background: set[Process] = set()
        self._cpu = 0.0
        self._idle = True
        self._starting = 0
        self.ready: asyncio.Future[list[str]] = self._loop.create_future()
        #: Called once, with the bytes used, when the memory limit has been exceeded and everything is killed.
        self.on_exceeded: Callable[[int], None] | None = None
        if group is not None:
            group.on_killed = self._out_of_memory
        self._channel = _Channel(sock, self._message)
        self._channel.closed.add_done_callback(lambda _: self._lost())

    def _message(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            pid = message["exit"]
            self._cpu, self._idle = message["cpu"], message["idle"]
            if message["code"] and self._group is not None:
                self._group.check()  # first, so that who waits for the process learns why it ended
            process = self._processes.pop(pid, None)
            if process is None:
                if self._starting:
                    self._early[pid] = message["code"]
                return
            self._finish(process, message["code"])
        elif "ready" in message and not self.ready.done():
            self.ready.set_result(message["soft"])
        elif "fatal" in message and not self.ready.done():
            self.ready.set_exception(SandboxError(message["fatal"]))
        elif "exceeded" in message:
            self._exceeded(message["exceeded"])

    def _exceeded(self, used: int) -> None:
        tell, self.on_exceeded = self.on_exceeded, None
        if tell is not None:
            tell(used)

    def _out_of_memory(self) -> None:
        assert self._group is not None
        self._exceeded(self._group.memory)
        self._channel.tell({"op": "kill"})  # the kernel has killed one process only

    def _finish(self, process: Process, code: int) -> None:
        process.ended(code)
        if process._open:
            self._background.add(process)

    def _lost(self) -> None:
        if not self.ready.done():
            self.ready.set_exception(SandboxError("the sandbox's first process has ended at once"))
            self.ready.exception()
        for process in (*self._processes.values(), *self._background):
            process.close()
        self._processes.clear()
        self._background.clear()
        if self._group is not None:
            self._group.check()
            self._group.end()

    @property
    def closed(self) -> asyncio.Future[None]:
        """Done when the sandbox has ended."""
        return self._channel.closed

    def inside(self, path: str) -> str:
        """Translate a path for a plain process, which sees the machine's own root."""
        if self.isolated:
            return path
        if path == "/golem" or path.startswith("/golem/"):
            return f"{self.folder}/root{path}"
        return path

    async def run(
        self,
        argv: list[str],
        environment: dict[str, str],
        stdout: Callable[[bytes], None],
        stderr: Callable[[bytes], None],
    ) -> Process:
        """Start a command; its output goes to the callbacks as it comes.

        Raises
        ------
        SandboxError
            It cannot be started ("No such file or directory: /bin/nothing"), or the sandbox has ended.
        """
        env = {**self.layout.environment, **environment}
        if not self.isolated:
            golem = _plain_golem(self.folder)
            argv = [a.replace("/golem/", f"{golem}/") for a in argv]
            env["HOME"] = str(golem / "work")
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        process = Process((out_read, err_read), (stdout, stderr))
        self._starting += 1
        self._idle = False
        try:
            answer, _ = await self._channel.ask(
                {"op": "run", "argv": argv, "env": env}, [out_write, err_write]
            )
        except BaseException:
            process.close()
            raise
        finally:
            self._starting -= 1
            os.close(out_write)
            os.close(err_write)
        pid = answer["pid"]
        if pid in self._early:
            self._finish(process, self._early.pop(pid))
        else:
            self._processes[pid] = process
        return process

    async def open(self, path: str, *, write: bool = False) -> int:
        """Open a regular file as the sandbox's user, in the sandbox's view of files; return its descriptor.

        Raises
        ------
        SandboxError
            The file cannot be opened, or it is no regular file.
        """
        _, given = await self._channel.ask({"op": "open", "path": self.inside(path), "write": write})
        return given[0]

    async def cpu(self) -> float:
        """Return the processor seconds of all that ran and runs in here."""
        if not self._idle and not self.closed.done():
            with contextlib.suppress(SandboxError):
                answer, _ = await self._channel.ask({"op": "usage"})
                self._cpu, self._idle = max(self._cpu, answer["cpu"]), answer["idle"]
        return self._cpu

    @property
    def idle(self) -> bool:
        """Whether nothing runs in here, as far as is known."""
        return self._idle

    async def tap(self, name: str, *, ip: str, mask: str, mtu: int, mac: bytes) -> int:
        """Make a TAP device in the sandbox's network; return its descriptor, which carries Ethernet frames.

        Raises
        ------
        SandboxError
            The sandbox was created without enough `taps`, or the system refuses.
        """
        request = {"op": "tap", "name": name, "ip": ip, "mask": mask, "mtu": mtu, "mac": list(mac)}
        _, given = await self._channel.ask(request)
        return given[0]

    async def kill(self) -> None:
        """Kill everything that runs in here; the sandbox stays."""
        if not self.closed.done():
            with contextlib.suppress(SandboxError):
                answer, _ = await self._channel.ask({"op": "kill"})
                self._cpu, self._idle = max(self._cpu, answer["cpu"]), True

    async def close(self) -> None:
        """Kill everything and end the sandbox; its folder stays, see `remove_folder`."""
        await self.kill()
        self._channel.close()

    def abort(self) -> None:
        """End the sandbox at once, without asking for its last usage; the folder stays."""
        self._channel.close()


class SandboxHost:
    """Makes sandboxes, in the best way that this system allows.

    `start` finds out whether there are namespaces and TAP devices; where there are no namespaces, commands
    run as plain processes with this machine's files in sight, and `warnings` says so.

    Parameters
    ----------
    folder
        Where the sandboxes' folders are made.
    isolate
        False: plain processes even where there are namespaces.
    """

    def __init__(self, folder: Path, *, isolate: bool = True) -> None:
        self.folder = folder
        self.isolated = isolate
        self.tap = False
        self.warnings: list[str] = []
        self.uid, self.uid_count = sandbox_user()
        self._layouts: dict[Image, asyncio.Task[Layout]] = {}
        self._channel: _Channel | None = None
        self._zygote: subprocess.Popen[bytes] | None = None
        self._public: Path | None = None
        self._groups: Groups | None = None

    async def start(self) -> None:
        """Start the zygote and find out what works.

        Raises
        ------
        SandboxError
            Not even plain processes can be made.
        """
        if sys.platform != "linux":
            raise SandboxError(
                "the providers of the local network need Linux (namespaces, SOCK_SEQPACKET); "
                "on other systems use a network that runs elsewhere: set YAGNA_API_URL and YAGNA_APPKEY"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._groups = Groups.open()  # may move this process: before others are made
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # its death signal follows the thread that forks it: that must be the one that lives longest
        self._zygote = subprocess.Popen(  # noqa: ASYNC220 - a few ms, once
            [sys.executable, "-I", "-S", "-c", bootstrap(), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._channel = _Channel(ours, self._message)
        await self._probe()

    def _message(self, message: dict[str, Any]) -> None:
        logger.debug("zygote: %s", message)

    async def _probe(self) -> None:
        problem = ""
        if self.isolated:
            for taps in (1, 0):
                try:
                    await self._try(taps)
                except SandboxError as error:
                    problem = str(error)
                    continue
                self.tap = taps > 0
                if not self.tap:
                    self.warnings.append(f"no TAP devices here, so no VPN is offered: {problem}")
                return
            self.isolated = False
            self.warnings.append(
                f"THIS SYSTEM ALLOWS NO NAMESPACES ({problem}): commands of activities run as plain "
                "processes that see this machine's files and network. Run nothing that you would not run "
                "yourself. "
                "Remedies: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces, "
                "kernel.apparmor_restrict_unprivileged_userns=0, or a container with fewer restrictions."
            )
        else:
            self.warnings.append("sandboxes are switched off: commands see this machine's files and network")
        if self.uid is not None:  # the user that commands run as must reach their folders
            self.folder = self._public = Path(await asyncio.to_thread(tempfile.mkdtemp, "", "golem-nb-"))
            self._public.chmod(0o711)
        await self._try(0)

    async def _try(self, taps: int) -> None:
        folder = Path(tempfile.mkdtemp(prefix="probe-", dir=self.folder))
        try:
            sandbox = await self.create(folder.name, Image(sha3="0"), Limits(), taps=taps)
        except SandboxError:
            await asyncio.to_thread(remove_folder, folder)
            raise
        try:
            if taps:
                os.close(
                    await sandbox.tap(
                        "probe",
                        ip="10.9.8.7",
                        mask="255.255.255.0",
                        mtu=1220,
                        mac=b"\x90\x13\x0a\x09\x08\x07",
                    )
                )
            process = await sandbox.run(["/bin/sh", "-c", ":"], {}, _ignore, _ignore)
            if await process.exited != 0:
                raise SandboxError(f"a shell ends with {process.exited.result()} in the sandbox")
        finally:
            await sandbox.close()
            await asyncio.to_thread(remove_folder, folder)

    async def layout(self, image: Image) -> Layout:
        """Return the layout of an image's sandboxes, made once."""
        task = self._layouts.get(image)
        if task is None:
            task = self._layouts[image] = asyncio.ensure_future(asyncio.to_thread(make_layout, image))
        try:
            return await asyncio.shield(task)
        except BaseException:
            if task.done() and not task.cancelled() and task.exception() is not None:
                self._layouts.pop(image, None)
            raise

    async def create(
        self,
        name: str,
        image: Image,
        limits: Limits,
        *,
        taps: int = 0,
        folders: Sequence[str] = (),
        hosts: Mapping[str, str] | None = None,
        hostname: str | None = None,
    ) -> Sandbox:
        """Make a sandbox.

        Parameters
        ----------
        name
            Of its folder.
        image
            What its file system consists of.
        limits
            What it may use.
        taps
            How many TAP devices it will be asked for.
        folders
            Volumes: absolute paths that exist, are empty and can be written to.
        hosts
            Names and addresses for /etc/hosts.
        hostname
            The sandbox's name for itself.

        Raises
        ------
        SandboxError
            The system refuses.
        ImageError
            The image cannot be used.
        """
        assert self._channel is not None
        layout = await self.layout(image)
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        if not self.isolated:
            return await self._create_plain(folder, layout, limits)
        if folders:
            layout = await asyncio.to_thread(layout.with_volumes, folders)
        files = dict(layout.files)
        if hosts and "/etc/hosts" in files:
            files["/etc/hosts"] += "".join(f"{address} {name}\n" for name, address in hosts.items())
        spec = {
            "isolate": True,
            "root": f"{folder}/root",
            "dirs": layout.dirs,
            "links": layout.links,
            "files": files,
            "hostname": hostname,
            "modes": layout.modes,
            "owned": [*layout.dirs, *files, *(path for _, path in layout.links)],
            "binds": layout.binds,
            "devices": layout.devices,
            "uid": self.uid,
            "uid_count": self.uid_count,
            "taps": taps,
            "shm": limits.memory // 2,
        }
        return await self._spawn(folder, layout, limits, spec)

    async def _create_plain(self, folder: Path, layout: Layout, limits: Limits) -> Sandbox:
        await asyncio.to_thread(_make_plain_folders, folder, self.uid)
        spec = {"isolate": False, "cwd": str(_plain_golem(folder) / "work"), "uid": self.uid}
        return await self._spawn(folder, layout, limits, spec)

    async def _spawn(self, folder: Path, layout: Layout, limits: Limits, spec: dict[str, Any]) -> Sandbox:
        assert self._channel is not None
        spec["memory"], spec["path"] = limits.memory, layout.path
        spec["limits"] = {
            "RLIMIT_CORE": 0,
            "RLIMIT_FSIZE": limits.storage,
            "RLIMIT_NPROC": _MAX_PROCESSES,
            # the watcher looks now and then: one process that allocates faster than that meets this first
            "RLIMIT_DATA": 2 * limits.memory,
        }
        if not spec["isolate"] and self.uid is None:
            del spec["limits"]["RLIMIT_NPROC"]  # it counts all the processes of the user that we are
        group = None
        if self._groups is not None:
            group = self._groups.make(folder.name, limits.memory, _MAX_PROCESSES)
        spec["cgroup"] = None if group is None else str(group.folder)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sandbox = Sandbox(folder, layout, ours, spec["isolate"], group)
        try:
            await self._channel.ask(spec, [theirs.fileno()])
            theirs.close()
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                soft = await sandbox.ready
        except BaseException as error:
            theirs.close()
            sandbox.abort()
            if isinstance(error, TimeoutError):
                raise SandboxError("the sandbox's first process does not answer") from error
            raise
        for text in soft:
            if text not in self.warnings:
                self.warnings.append(text)
        return sandbox

    async def close(self) -> None:
        """End the zygote, and with it every sandbox."""
        if self._channel is not None:
            self._channel.close()
        if self._zygote is not None:
            try:
                await asyncio.to_thread(self._zygote.wait, 5)
            except subprocess.TimeoutExpired:
                self._zygote.kill()
                await asyncio.to_thread(self._zygote.wait)
        if self._groups is not None:
            await self._groups.close()
        if self._public is not None:
            await asyncio.to_thread(remove_folder, self._public)
        for task in self._layouts.values():
            task.cancel()
        await asyncio.gather(*self._layouts.values(), return_exceptions=True)


def _plain_golem(folder: Path) -> Path:
    """Where a plain process finds what it knows as its folders."""
    return folder / "root" / "golem"


def _make_plain_folders(folder: Path, uid: int | None) -> None:
    for name in FOLDERS:
        (_plain_golem(folder) / name).mkdir(parents=True, exist_ok=True)
    if uid is not None:  # as root commands are someone else's at least
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid)


def remove_folder(folder: Path) -> None:
    """Remove a sandbox's folder, whatever modes its user has given to what is in it."""

    def again(function: Callable[..., Any], path: str, error: tuple[Any, BaseException, Any]) -> None:
        if isinstance(error[1], OSError) and error[1].errno in (errno.EACCES, errno.EPERM):
            with contextlib.suppress(OSError):
                place = Path(path)
                place.parent.chmod(0o700)
                if not place.is_symlink():
                    place.chmod(0o700)
                function(path)
                return
        logger.debug("cannot remove %s: %s", path, error[1])

    shutil.rmtree(folder, onerror=again)
