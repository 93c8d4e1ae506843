"""Runs one program and sees to it that it ends with its owner.

A separate process, `python guard.py …`, stands between the owner (a kernel, a script, a supervisor) and
the program. It ends the program when the owner asks for it, or dies in whatever way; it is in a session of
its own, so that Ctrl-C in a terminal reaches the owner alone. Should the guard itself be killed, the kernel
kills the program (`PR_SET_PDEATHSIG`, set from the guard's only thread; set from a thread of the owner it
would fire when that *thread* ends).

It uses the standard library only and is run by its path, so that it starts in some 20 ms.

usage: guard.py OWNER GRACE LOG FD[,FD…] REMOVE[:REMOVE…] -- PROGRAM ARGUMENT…
    OWNER    process id that must be alive
    GRACE    seconds that the program has between SIGTERM and SIGKILL
    LOG      file to which the program's output is appended
    FD       file descriptors that the program inherits
    REMOVE   files and empty folders removed, in this order, when the program has ended
stdin: its end means that the owner is gone or wants the program to end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["die_with_parent", "main"]

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int, signal_number: int = signal.SIGKILL) -> None:
    """Have the kernel send the calling process a signal when its parent dies; for a `preexec_fn`.

    Linux only; elsewhere it does nothing.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(127)


def _watch(poll: select.poll, pid: int) -> int | None:
    """Have `poll` tell the end of a process; None where the system cannot."""
    try:
        handle = os.pidfd_open(pid)  # type: ignore[attr-defined,unused-ignore]
    except (AttributeError, OSError):  # not Linux, an old kernel, or already gone
        return None
    poll.register(handle, select.POLLIN)
    return int(handle)


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit code."""
    split = arguments.index("--")
    owner, grace, log, descriptors, remove = arguments[:split]
    wake, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    # POLLHUP comes unasked; nothing is ever written, so that a closed pipe is all that can happen to it
    poll.register(0, select.POLLIN)
    watched = _watch(poll, int(owner)) is not None
    if os.getppid() != int(owner):
        return 0
    me = os.getpid()
    fds = [int(descriptor) for descriptor in descriptors.split(",") if descriptor]
    with open(log, "ab") as output:  # noqa: PTH123 - pathlib would double the start-up time
        child = subprocess.Popen(
            arguments[split + 1 :],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            preexec_fn=lambda: die_with_parent(me),  # safe: this process has one thread
        )
    for descriptor in fds:
        os.close(descriptor)
    watched = _watch(poll, child.pid) is not None and watched
    try:
        while child.poll() is None:
            # where processes cannot be watched, look at them now and then
            ready = poll.poll(None if watched else 200)
            if child.poll() is None and (ready or os.getppid() != int(owner)):
                _end(child, float(grace))
    finally:
        if child.poll() is None:
            _end(child, float(grace))
        for path in remove.split(":"):
            if path:
                with contextlib.suppress(OSError):
                    (os.rmdir if os.path.isdir(path) else os.unlink)(path)  # noqa: PTH112
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
