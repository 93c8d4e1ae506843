"""Which sessions are alive: each holds a lock that the operating system takes away when its process ends.

A lock tells the truth at once and in every way that a process can end, which no heartbeat does: a kernel that
was stopped in a debugger for an hour is alive, and one that was killed a moment ago is not.
"""

from __future__ import annotations

import json
import os
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from golem_nb.ledger.errors import LedgerError, LedgerLockedError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Process", "SessionLock", "is_alive", "turn"]

#: Somebody may be looking at a lock at the moment when it is taken; looking takes microseconds.
_TRIES: Final = 20
_PAUSE: Final = 0.01

_held: weakref.WeakSet[SessionLock] = weakref.WeakSet()


@attrs.frozen
class Process:
    """A process, told apart from a later one of the same number by the time of its start."""

    pid: int
    start: str | None
    host: str

    @classmethod
    def current(cls) -> Process:
        """Return the process that asks."""
        return cls(os.getpid(), _start_of(os.getpid()), _host())

    @property
    def is_running(self) -> bool | None:
        """Whether it runs; None where that cannot be told from here."""
        if self.start is None or self.host != _host():
            return None
        return _start_of(self.pid) == self.start

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Process:
        """Read what `to_json` wrote."""
        source: dict[str, Any] = json.loads(text)
        return cls(int(source["pid"]), source["start"], str(source["host"]))


def _host() -> str:
    """Name the machine, its boot and its space of process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a path
    except OSError:
        boot = space = ""
    return f"{socket.gethostname()} {boot} {space}"


def _start_of(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the name, in parentheses, may hold anything; a process that has ended and was not waited for is no more
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else rest[18]


class SessionLock:
    """The lock of one session, held until released or until this process has ended.

    Raises
    ------
    LedgerLockedError
        Another process has it.
    """

    def __init__(self, path: Path) -> None:
        _need_locks()
        self.path = path
        self._file = _locked(path)
        _held.add(self)

    def renew(self) -> None:
        """Take it again if it is held, and somebody has taken its file away.

        Raises
        ------
        LedgerLockedError
            Another process has it now.
        """
        if self._file >= 0 and not _is_at(self._file, self.path):
            gone, self._file = self._file, _locked(self.path)
            os.close(gone)

    def release(self, *, remove: bool = False) -> None:
        """Give it up, and take its file away if nobody will ask for it any more."""
        _held.discard(self)
        if self._file >= 0:
            if remove:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)


def _locked(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in reversed(range(_TRIES)):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _flock(file, fcntl.LOCK_EX) and _is_at(file, path):
            return file
        os.close(file)
        if left:
            time.sleep(_PAUSE)
    raise LedgerLockedError(path)


def is_alive(path: Path, process: Process) -> bool:
    """Whether the session with this lock belongs to a process that still lives.

    Parameters
    ----------
    path
        The lock's file.
    process
        Who has begun the session.
    """
    _need_locks()
    if process.pid == os.getpid() and process.is_running is not False:
        return any(lock.path == path for lock in _held)
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # not if somebody has deleted it
        return process.is_running is True
    try:
        # shared, so that two who look do not take each other for the owner
        if not _flock(file, fcntl.LOCK_SH):
            return True
    finally:
        os.close(file)
    # some network file systems grant every lock
    return process.is_running is True


@contextmanager
def turn(path: Path, timeout: float = 20.0) -> Iterator[None]:
    """Wait for the others to be done, then keep them out for the time of the block.

    Raises
    ------
    LedgerLockedError
        They were not done after `timeout` seconds.
    """
    _need_locks()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while not _flock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise LedgerLockedError(path)
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(file)


def _need_locks() -> None:
    if fcntl is None:
        raise LedgerError(
            "The ledger needs file locks as Linux and macOS have them, so sessions work there only; the "
            "engine itself (`golem_nb.Golem`) works without it."
        )


def _flock(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(file: int, path: Path) -> bool:
    """Whether the file is still the one of that name: its last owner may have taken it away meanwhile."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _let_go() -> None:
    """A forked child does not carry on its parent's sessions."""
    for lock in list(_held):
        os.close(lock._file)
        lock._file = -1
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
