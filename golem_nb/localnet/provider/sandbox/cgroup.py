"""Control groups: where the system lets us make some, the kernel itself limits what an activity uses.

Only version 2, and only where groups may be made: in the own group, or in one above that was handed over to
us with it. Rules of "Control Group v2" in the kernel's documentation (Delegation; No Internal Process
Constraint; the interface files of the memory and pids controllers). Where anything is missing there are no
groups and nothing is said: the sandboxes' own watcher of memory works everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from golem_nb.localnet.provider.sandbox import linux

__all__ = ["PROC", "Group", "Groups"]

#: Where the kernel says which group this process is in, and where the groups are mounted.
PROC: Final = Path("/proc/self")

_USED: Final = frozenset(("memory", "pids"))
_PREFIX: Final = "golem-nb"
_EVENT: Final = struct.Struct("iIII")
#: How long the last processes may take to end; a group that stays is swept by the next agent.
_END_TIMEOUT: Final = 1.0


class Group:
    """The group of one sandbox, made by `Groups.make`.

    Parameters
    ----------
    folder
        Its folder; the number of a process that is written to `cgroup.procs` moves the process in.
    memory
        Its limit, in bytes.
    """

    def __init__(self, folder: Path, memory: int, end: Callable[[Group], None]) -> None:
        self.folder, self.memory = folder, memory
        #: Called once, when the kernel has killed a process in here because the limit was reached.
        self.on_killed: Callable[[], None] | None = None
        self._end = end

    def check(self) -> None:
        """Look whether the kernel has killed something; its notices come a little later than the deaths."""
        if self.on_killed is None:
            return
        with contextlib.suppress(OSError, ValueError):
            lines = (self.folder / "memory.events").read_text(encoding="ascii").splitlines()
            counts = {name: int(count) for name, count in (line.split() for line in lines)}
            # "oom": the limit is this group's own; when the whole machine is short of memory it stays 0
            if counts.get("oom") and counts.get("oom_kill"):
                tell, self.on_killed = self.on_killed, None
                tell()

    def end(self) -> None:
        """Remove the group as soon as its last process has ended."""
        self.on_killed = None
        self._end(self)


class Groups:
    """The groups of one provider agent; `open` finds where they can be made.

    Parameters
    ----------
    place
        The folder of the group in which they are made.
    controllers
        What limits them: "memory", "pids".
    leaf
        The group that this process was moved into, to make room for others in `place`.
    """

    def __init__(self, place: Path, controllers: Collection[str], leaf: Path | None = None) -> None:
        self.place, self.controllers, self._leaf = place, frozenset(controllers), leaf
        self._groups: set[Group] = set()
        # the numbers of notices; a file that nobody watches or holds open gives none, nor to its folder
        self._living: dict[int, Group] = {}
        self._ending: dict[int, Group] = {}
        self._empty = asyncio.Event()
        self._notices = linux.inotify()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._notices, self._noticed)

    @classmethod
    def open(cls) -> Groups | None:
        """Find a place for groups and sweep away what dead agents left in it; None: there is none."""
        with contextlib.suppress(OSError, ValueError):
            own, *above = _places()
            for place in (own, *above):
                offered = _words(place / "cgroup.controllers") & _USED
                if "memory" not in offered:
                    continue
                if not all(os.access(path, os.W_OK) for path in (place, place / "cgroup.procs")):
                    continue
                _sweep(place)
                given = _words(place / "cgroup.subtree_control") & _USED
                if "memory" in given:
                    return cls(place, given)
                if place == own and (leaf := _enter_leaf(place, offered)) is not None:
                    return cls(place, offered, leaf)
        return None

    def make(self, name: str, memory: int, processes: int) -> Group | None:
        """Make a group.

        Parameters
        ----------
        name
            Of the sandbox.
        memory
            Bytes that its processes may hold together; nothing of it is swapped out.
        processes
            How many there may be, threads included.

        Returns
        -------
        Group | None
            None: the system refuses.
        """
        folder = self.place / _name(name)
        group = Group(folder, memory, self._end)
        try:
            folder.mkdir()
        except OSError:
            return None
        try:
            if "pids" in self.controllers:
                _write(folder / "pids.max", str(processes))
            if "memory" in self.controllers:
                _write(folder / "memory.max", str(memory))
                with contextlib.suppress(OSError):  # a kernel that does not account for swap
                    _write(folder / "memory.swap.max", "0")
                notices = linux.watch(self._notices, str(folder / "memory.events"))
                self._living[notices] = group
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return None
        self._groups.add(group)
        self._empty.clear()
        return group

    def _noticed(self) -> None:
        data = os.read(self._notices, 1 << 16)
        at = 0
        while at < len(data):
            number, _, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if (group := self._living.get(number)) is not None:
                group.check()
            elif (group := self._ending.get(number)) is not None and self._remove(group):
                del self._ending[number]

    def _end(self, group: Group) -> None:
        self._living = {number: other for number, other in self._living.items() if other is not group}
        if self._remove(group):
            return
        with contextlib.suppress(OSError):  # its processes are still ending
            number = linux.watch(self._notices, str(group.folder / "cgroup.events"))
            self._ending[number] = group
        if self._remove(group):  # the last one has ended just before the watch
            self._ending = {number: other for number, other in self._ending.items() if other is not group}

    def _remove(self, group: Group) -> bool:
        try:
            group.folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        self._groups.discard(group)
        if not self._groups:
            self._empty.set()
        return True

    async def close(self) -> None:
        """Remove all groups, whose processes have ended or are about to."""
        for group in tuple(self._groups):
            group.end()
        if self._groups:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_TIMEOUT):
                    await self._empty.wait()
        self._loop.remove_reader(self._notices)
        os.close(self._notices)
        if self._leaf is not None:
            _leave_leaf(self.place, self._leaf, self.controllers)


def _own() -> tuple[Path, Path]:
    """Return the folders of the uppermost group in sight and of this process's own.

    Raises
    ------
    FileNotFoundError
        There are no groups of version 2, or ours is not in sight.
    """
    lines = (PROC / "cgroup").read_text(encoding="utf-8").splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::/")), "/..")
    for line in (PROC / "mountinfo").read_text(encoding="utf-8").splitlines():
        mount, _, kind = line.partition(" - ")
        if not kind.startswith("cgroup2 "):
            continue
        root, point = mount.split()[3:5]
        if ".." not in own.split("/") and Path(own).is_relative_to(root):
            return Path(point), Path(point) / Path(own).relative_to(root)
    raise FileNotFoundError("no control groups of version 2")


def _places() -> Iterator[Path]:
    """Name the groups in which others may be made: the own one, then those above that are ours, too.

    A group is handed over by giving its folder to an ordinary user, or with a namespace of groups, whose
    uppermost one it is then (only the machine's real uppermost group has no `cgroup.type`).
    """
    top, own = _own()
    yield own
    user = os.geteuid()
    for place in own.parents:
        if not place.is_relative_to(top):
            return
        if place.stat().st_uid == user and (user or (place == top and (place / "cgroup.type").exists())):
            yield place


def _enter_leaf(place: Path, controllers: Collection[str]) -> Path | None:
    """Move this process into a group of its own in `place`, and give the controllers to the groups there.

    A group either holds processes or gives controllers to groups in it. Where there are other processes
    than this one it must stay as it is: they are not ours to move. None: the same, if the system refuses.
    """
    me = str(os.getpid())
    if _words(place / "cgroup.procs") != {me}:
        return None
    leaf = place / _name("agent")
    try:
        leaf.mkdir()
        _write(leaf / "cgroup.procs", me)
        _write(place / "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(controllers)))
    except OSError:
        _leave_leaf(place, leaf, ())
        return None
    return leaf


def _leave_leaf(place: Path, leaf: Path, controllers: Collection[str]) -> None:
    with contextlib.suppress(OSError):
        if controllers:
            _write(place / "cgroup.subtree_control", " ".join(f"-{name}" for name in sorted(controllers)))
        _write(place / "cgroup.procs", str(os.getpid()))
        leaf.rmdir()


def _name(name: str) -> str:
    pid = os.getpid()
    return f"{_PREFIX}-{pid}-{_start_of(pid)}-{name}"


def _start_of(pid: int) -> str | None:
    """Return when a process started: numbers are given out again."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


def _sweep(place: Path) -> None:
    """Remove the groups of agents that were killed; their sandboxes have ended with them."""
    for folder in place.glob(f"{_PREFIX}-*-*-*"):
        pid, start = folder.name.removeprefix(f"{_PREFIX}-").split("-")[:2]
        if pid.isdigit() and _start_of(int(pid)) != start:
            with contextlib.suppress(OSError):  # someone is in it after all
                folder.rmdir()


def _words(path: Path) -> set[str]:
    return set(path.read_text(encoding="ascii").split())


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")
