# ruff: noqa: PTH101, PTH103, PTH123, PTH211
# plain calls: they are the ones that a fork makes hundreds of
"""The process that makes sandboxes: it has imported what their first processes need, and forks them.

A new interpreter for each sandbox would cost some 15 ms and 8 MiB; a fork costs a few. It has one thread and
is started once by the provider agent, by `bootstrap`, without importing the rest of the package.

Requests are JSON on a SOCK_SEQPACKET socket with the sandbox's control socket beside it: {"n", spec fields…}
-> {"n", "pid"} or {"n", "error"}. When the socket closes it ends, and all
sandboxes with it.

The spec of a sandbox
---------------------
isolate
    Namespaces, or a plain process.
root, dirs, links, files
    The folder that becomes its root, and what is made in it; `owned` are the paths given to its user.
binds, devices
    [source, target] mounts; binds are read-only.
uid, uid_count
    User outside that is root inside (and how many follow it); None: the user that we are.
cgroup
    The folder of the control group that its processes are in; None: that of the agent.
taps, shm, memory, limits, path, hostname, cwd
    See `first`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
from pathlib import Path
from typing import Any

from golem_nb.localnet.provider.sandbox import first, linux

__all__ = ["bootstrap", "main"]


def bootstrap() -> str:
    """Return the program (for `python -I -S -c`) that runs `main` with the socket's number as its argument.

    The packages above this one are put in place empty: running their real `__init__` would import most of the
    project, and a fork must be small.
    """
    here = Path(__file__).parent
    names = ["golem_nb", "localnet", "provider", "sandbox"]
    folders = [
        str(here.parents[len(names) - 2 - i]) if i < len(names) - 1 else str(here) for i in range(len(names))
    ]
    lines = ["import sys, types"]
    for i, folder in enumerate(folders):
        name = ".".join(names[: i + 1])
        lines.append(f"m = sys.modules[{name!r}] = types.ModuleType({name!r}); m.__path__ = [{folder!r}]")
    lines.append("from golem_nb.localnet.provider.sandbox.zygote import main; main(int(sys.argv[1]))")
    return "\n".join(lines)


class _Zygote:
    def __init__(self, control: socket.socket) -> None:
        self.control = control

    def spawn(self, spec: dict[str, Any], sandbox: int) -> int:
        """Make a sandbox whose first process serves the socket `sandbox`; return its pid."""
        if not spec["isolate"]:
            pid = os.fork()
            if pid == 0:
                _join_group(os.getpid(), spec)
                self._become(spec, sandbox)
            return pid
        _skeleton(spec)
        go, mapped = os.pipe2(os.O_CLOEXEC)
        try:
            pid = linux.clone_into_namespaces()
            if pid == 0:
                os.close(mapped)
                if os.read(go, 1) != b"1":  # until then we are nobody in our user namespace
                    os._exit(1)
                self._become(spec, sandbox)
            try:
                _join_group(pid, spec)
                _map_users(pid, spec)
            except OSError:
                os.kill(pid, signal.SIGKILL)
                raise
            os.write(mapped, b"1")
        finally:
            os.close(go)
            os.close(mapped)
        return pid

    def _become(self, spec: dict[str, Any], sandbox: int) -> None:
        self.control.close()
        signal.set_wakeup_fd(-1)
        os.setsid()
        first.main(socket.socket(fileno=sandbox), spec)

    def serve(self) -> None:
        wake, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the agent decides when we end
        selector = selectors.DefaultSelector()
        selector.register(self.control, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        gc.collect()
        gc.freeze()  # a collection in a child would copy all pages
        while True:
            for key, _ in selector.select():
                if key.fileobj is not self.control:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake, 4096)
                    self._reap()
                    continue
                spec, descriptors = first.receive(self.control)
                if spec is None:
                    return
                answer: dict[str, Any] = {"n": spec["n"]}
                try:
                    answer["pid"] = self.spawn(spec, descriptors[0])
                except OSError as error:
                    answer["error"] = str(error)
                for descriptor in descriptors:
                    os.close(descriptor)
                first.send(self.control, answer)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _skeleton(spec: dict[str, Any]) -> None:
    """Make the folder that becomes the sandbox's root."""
    root = spec["root"]
    for path in spec["dirs"]:
        os.makedirs(root + path, exist_ok=True)
    for target, path in spec["links"]:
        os.symlink(target, root + path)
    for path, text in spec["files"].items():
        with open(root + path, "x") as file:
            file.write(text)
    for path, mode in spec["modes"]:
        os.chmod(root + path, mode)
    if spec["uid"] is not None:
        for path in spec["owned"]:
            os.chown(root + path, spec["uid"], spec["uid"], follow_symlinks=False)


def _join_group(pid: int, spec: dict[str, Any]) -> None:
    """Move a process, before it does anything, to the sandbox's control group, which its children inherit."""
    if spec["cgroup"] is not None:
        with contextlib.suppress(OSError), open(f"{spec['cgroup']}/cgroup.procs", "w") as file:
            file.write(str(pid))  # where this is refused, the first process's watcher is limit enough


def _map_users(pid: int, spec: dict[str, Any]) -> None:
    uid = spec["uid"]
    if uid is None:  # all that an ordinary user may map is himself, and only without setgroups
        maps = [("setgroups", "deny"), ("uid_map", f"0 {os.geteuid()} 1"), ("gid_map", f"0 {os.getegid()} 1")]
    else:
        maps = [("uid_map", f"0 {uid} {spec['uid_count']}"), ("gid_map", f"0 {uid} {spec['uid_count']}")]
    for name, text in maps:
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(text)


def main(descriptor: int) -> None:
    """Serve the socket with the number `descriptor` until it closes."""
    linux.die_with_parent()
    json.loads("{}")  # the decoder is set up once, not in each child
    _Zygote(socket.socket(fileno=descriptor)).serve()
