# ruff: noqa: PTH103, PTH108, PTH112, PTH120, PTH123, PTH208
# plain calls: a sandbox's first process starts small
"""The first process of a sandbox: builds its root, then starts programs and opens files on request.

It imports all it needs beforehand, since after `pivot_root` the interpreter's library may be out of sight.
When its control socket closes it ends, and with it, by the kernel, all other processes of its pid namespace.

Requests are JSON on a SOCK_SEQPACKET socket, descriptors come beside them (SCM_RIGHTS). Each has a number
`n`, which the answer repeats::

    {"n", "op": "run", "argv", "env"} + [stdout, stderr]     {"n", "pid"}
                                                    later    {"exit": pid, "code", "cpu", "idle"}
    {"n", "op": "open", "path", "write": bool}               {"n"} + [descriptor]
    {"n", "op": "usage"}                                     {"n", "cpu", "idle"}
    {"n", "op": "kill"}                                      {"n", "cpu"} when all other processes are dead
    {"n", "op": "tap", "name", "ip", "mask", "mtu", "mac"}   {"n"} + [descriptor]
    anything that fails                                      {"n", "error": text}

Unasked come {"ready": true, "soft": [texts]} or {"fatal": text} first, and {"exceeded": bytes} when the
memory limit was passed. A request too long for a packet is {"n", "op": "long"}, with a memory file that
holds it as the last descriptor.
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import resource
import selectors
import signal
import socket
import stat
import sys
import time
from typing import Any, Final

from golem_nb.localnet.provider.sandbox import linux

__all__ = ["PACKET", "FirstProcess", "receive", "send"]

#: Longest request or answer in one packet of the control socket.
PACKET: Final = 128 << 10

_PAGE = resource.getpagesize()
_DEFAULT_SIGNALS: Final = [
    s
    for s in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, getattr(signal, "SIGXFSZ", None))
    if s
]


def send(sock: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """Send a message with descriptors."""
    ancillary = []
    if descriptors:
        ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)))
    sock.sendmsg([json.dumps(message).encode()], ancillary)


def receive(sock: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Receive a message with descriptors; None at the end."""
    data, ancillary, _, _ = sock.recvmsg(PACKET, socket.CMSG_SPACE(8 * 4), socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors += array.array("i", content[: len(content) // 4 * 4])
    if not data:
        return None, descriptors
    message = json.loads(data)
    if message.get("op") == "long":
        memory = descriptors.pop()
        with open(memory, "rb") as file:
            file.seek(0)
            message = json.loads(file.read())
    return message, descriptors


class FirstProcess:
    """Serves one control socket, as described at the top of this module.

    Parameters
    ----------
    control
        The control socket.
    spec
        What `zygote` was asked for.
    """

    def __init__(self, control: socket.socket, spec: dict[str, Any]) -> None:
        self.control, self.spec = control, spec
        self.isolated: bool = spec["isolate"]
        self.running: set[int] = set()
        self.tuns: list[int] = []
        self.idle = True
        self.memory: int = spec.get("memory") or 0
        self.next_check = 0.0
        self.soft: list[str] = []
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    # -- set-up -----------------------------------------------------------------------------------

    def enter(self) -> None:
        """Build the root and give up what is not needed any more."""
        spec = self.spec
        if self.isolated:
            for _ in range(spec.get("taps", 0)):
                # a TAP device belongs to the network namespace it is opened in; soon /dev is another
                self.tuns.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            self._root()
            linux.link_up("lo")
            socket.sethostname(spec.get("hostname") or "golem")
        else:
            linux.become_subreaper()
            os.chdir(spec["cwd"])
            if spec["uid"] is not None:
                os.setgroups([])
                os.setresgid(spec["uid"], spec["uid"], spec["uid"])
                os.setresuid(spec["uid"], spec["uid"], spec["uid"])
        for name, value in spec["limits"].items():
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
        linux.no_new_privileges()
        if self.isolated:
            linux.drop_capabilities()
        linux.die_with_parent()
        linux.not_dumpable()
        os.environ["PATH"] = spec["path"]  # where posix_spawnp looks
        os.umask(0o022)

    def _root(self) -> None:
        spec = self.spec
        root = spec["root"]
        linux.mount("none", "/", None, linux.RECURSIVE | linux.PRIVATE)
        linux.mount(root, root, None, linux.BIND)
        for source, target in spec["binds"]:
            linux.mount(source, root + target, None, linux.BIND | linux.RECURSIVE)
            linux.read_only(root + target)
        for source, target in spec["devices"]:
            linux.mount(source, root + target, None, linux.BIND)
        os.chdir(root)
        linux.pivot_root()
        if spec["uid"] is not None:
            # until here the files of the machine were ours to mount; from here on they are a stranger's
            os.setresgid(0, 0, 0)
            os.setgroups([])
            os.setresuid(0, 0, 0)
        # the old root is still mounted: a new /proc is only allowed where one is visible
        for filesystem, target, flags, data in (
            ("proc", "/proc", linux.NOSUID | linux.NODEV | linux.NOEXEC, None),
            ("devpts", "/dev/pts", linux.NOSUID | linux.NOEXEC, "newinstance,ptmxmode=0666,mode=620"),
            ("tmpfs", "/dev/shm", linux.NOSUID | linux.NODEV, f"mode=1777,size={spec['shm']}"),  # noqa: S108 - the sandbox's own
        ):
            try:
                linux.mount(filesystem, target, filesystem, flags, data)
            except OSError as error:
                self.soft.append(str(error))
        linux.detach(".")
        os.chdir("/golem/work")

    # -- serving ----------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer requests until the control socket closes."""
        wake, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        selector = selectors.DefaultSelector()
        selector.register(self.control, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        send(self.control, {"ready": True, "soft": self.soft})
        while True:
            limit = None if self.idle or not self.memory else max(0.0, self.next_check - time.monotonic())
            events = selector.select(limit)
            for key, _ in events:
                if key.fileobj is self.control:
                    message, descriptors = receive(self.control)
                    if message is None:
                        return
                    self._answer(message, descriptors)
                else:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake, 4096)
                    self._reap()
            if not self.idle and self.memory and time.monotonic() >= self.next_check:
                self._watch()

    def _answer(self, message: dict[str, Any], descriptors: list[int]) -> None:
        number = message["n"]
        try:
            answer, given = getattr(self, "_do_" + message["op"])(message, descriptors)
        except OSError as error:
            text = error.strerror or str(error)
            answer, given = {"error": f"{text}: {error.filename}" if error.filename else text}, []
        except Exception as error:  # whatever it is must become an answer: the other side waits for one
            answer, given = {"error": f"{type(error).__name__}: {error}"}, []
        send(self.control, {"n": number, **answer}, given)
        for descriptor in (*descriptors, *given):
            os.close(descriptor)

    def _do_run(self, message: dict[str, Any], descriptors: list[int]) -> tuple[dict[str, Any], list[int]]:
        out, err = descriptors
        argv = message["argv"]
        program = argv[0]
        if "/" in program and os.path.isdir(program):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", program)
        try:
            pid = os.posix_spawnp(
                program,
                argv,
                message["env"],
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self.null, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, err, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=_DEFAULT_SIGNALS,
            )
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), program) from error
        self.running.add(pid)
        if self.idle:
            self.idle = False
            self.next_check = time.monotonic() + 0.25
        return {"pid": pid}, []

    def _do_open(self, message: dict[str, Any], _: list[int]) -> tuple[dict[str, Any], list[int]]:
        path = message["path"]
        if message["write"]:
            parent = os.path.dirname(path)
            os.makedirs(parent, exist_ok=True)
            # a fresh file: one that a program has open, or a fifo of that name, is not written to
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    os.unlink(path)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        else:
            flags = os.O_RDONLY | os.O_NONBLOCK
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "Not a regular file", path)
        return {}, [descriptor]

    def _do_usage(self, _message: dict[str, Any], _: list[int]) -> tuple[dict[str, Any], list[int]]:
        self._reap()
        return {"cpu": self._cpu() + self._living_cpu(), "idle": self.idle}, []

    def _do_kill(self, _message: dict[str, Any], _: list[int]) -> tuple[dict[str, Any], list[int]]:
        self._kill_all()
        return {"cpu": self._cpu()}, []

    def _do_tap(self, message: dict[str, Any], _: list[int]) -> tuple[dict[str, Any], list[int]]:
        descriptor = self.tuns.pop()
        name = message["name"]
        linux.tap(descriptor, name)
        with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:
            file.write("1")
        linux.link_up(
            name, mtu=message["mtu"], ip=message["ip"], mask=message["mask"], mac=bytes(message["mac"])
        )
        return {}, [descriptor]

    # -- processes --------------------------------------------------------------------------------

    def _reap(self) -> None:
        ended: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.idle = True
                break
            if not pid:
                break
            if pid in self.running:  # else an orphan that we were given
                self.running.discard(pid)
                ended.append((pid, os.waitstatus_to_exitcode(status)))
        for pid, code in ended:
            send(self.control, {"exit": pid, "code": code, "cpu": self._cpu(), "idle": self.idle})

    @staticmethod
    def _cpu() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def _others(self) -> list[int]:
        """All other processes of the sandbox."""
        try:
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        except OSError:
            return []
        me = os.getpid()
        if self.isolated:
            return [pid for pid in pids if pid != me]
        parents: dict[int, int] = {}
        for pid in pids:
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat") as file:
                parents[pid] = int(file.read().rpartition(")")[2].split()[1])
        family = {me}
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in family} - family
            grown = bool(more)
            family |= more
        return sorted(family - {me})

    def _living_cpu(self) -> float:
        if self.idle:
            return 0.0
        ticks = 0
        for pid in self._others():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
                ticks += sum(int(fields[i]) for i in (11, 12, 13, 14))  # its own, and its reaped children's
        return float(ticks / os.sysconf("SC_CLK_TCK"))

    def _watch(self) -> None:
        """End everything when the sandbox's processes hold more memory than they may."""
        used = self._shared_memory()
        others = self._others()
        for pid in others:
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm") as file:
                used += int(file.read().split()[1]) * _PAGE
        if used > self.memory:
            # resident sizes count shared pages once a process: only the proportional ones are fair
            used = self._shared_memory() + sum(map(self._proportional, others))
        if used > self.memory:
            send(self.control, {"exceeded": used})
            self._kill_all()
        share = used / self.memory
        self.next_check = time.monotonic() + (1.0 if share < 0.25 else 0.4 if share < 0.6 else 0.1)

    def _shared_memory(self) -> int:
        if not self.isolated:
            return 0
        with contextlib.suppress(OSError):
            state = os.statvfs("/dev/shm")  # noqa: S108 - the sandbox's own
            return (state.f_blocks - state.f_bfree) * state.f_frsize
        return 0

    @staticmethod
    def _proportional(pid: int) -> int:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        return 0

    def _kill_all(self) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if self.isolated:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
            else:
                for pid in self._others():
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            self._reap()
            if self.idle:
                return
            time.sleep(0.002)  # a killed process takes a moment to go


def main(control: socket.socket, spec: dict[str, Any]) -> None:
    """Be the first process of a sandbox; never returns."""
    code = 0
    try:
        process = FirstProcess(control, spec)
        process.enter()
        process.serve()
        if not process.isolated:
            process._kill_all()
    except BaseException as error:  # there is no one else to tell: this is the whole process
        with contextlib.suppress(OSError):
            send(
                control,
                {
                    "fatal": f"{type(error).__name__}: {error}"
                    if not isinstance(error, OSError)
                    else str(error)
                },
            )
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)
