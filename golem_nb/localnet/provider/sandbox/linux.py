"""System calls that Python's standard library lacks: namespaces, mounts, capabilities, notices of files.

Used inside the sandbox's own processes, which import nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from typing import Final

__all__ = [
    "BIND",
    "NODEV",
    "NOEXEC",
    "NOSUID",
    "PRIVATE",
    "READ_ONLY",
    "RECURSIVE",
    "become_subreaper",
    "clone_into_namespaces",
    "detach",
    "die_with_parent",
    "drop_capabilities",
    "inotify",
    "link_up",
    "mount",
    "no_new_privileges",
    "not_dumpable",
    "pivot_root",
    "read_only",
    "tap",
    "watch",
]

READ_ONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_SIGCHLD = 17
_X86 = os.uname().machine == "x86_64" if sys.platform == "linux" else False
# numbers of x86-64 and of the generic table (arm64 and all newer architectures)
_SYS_CLONE = 56 if _X86 else 220
_SYS_PIVOT_ROOT = 155 if _X86 else 41
_SYS_MOUNT_SETATTR = 442

#: What root inside the sandbox keeps: what a package manager or a server needs over its own files.
#: Not SYS_ADMIN (mounts: could make a read-only bind writable), nor SYS_PTRACE (the first process).
KEPT_CAPABILITIES: Final = (
    0,  # CHOWN
    1,  # DAC_OVERRIDE
    3,  # FOWNER
    4,  # FSETID
    5,  # KILL
    6,  # SETGID
    7,  # SETUID
    8,  # SETPCAP
    10,  # NET_BIND_SERVICE
    13,  # NET_RAW
    18,  # SYS_CHROOT
    31,  # SETFCAP
)

_libc = ctypes.CDLL(None, use_errno=True)
# holds the interpreter's lock during a call: clone must not release it
_locked = ctypes.PyDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def clone_into_namespaces() -> int:
    """Fork into new user, mount, pid, network, ipc and uts namespaces; return as `os.fork` does.

    The child is the first process of its pid namespace, and has all capabilities in its user namespace, but
    no user id there until the parent has written its maps.

    Raises
    ------
    OSError
        The system allows no such namespaces.
    """
    flags = _NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS | _SIGCHLD
    # the interpreter's own preparations for a fork, as os.fork does them
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = _locked.syscall(ctypes.c_long(_SYS_CLONE), ctypes.c_ulong(flags), None, None, None, None)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, f"clone into new namespaces: {os.strerror(number)}")
    return int(pid)


def mount(
    source: str, target: str, filesystem: str | None = None, flags: int = 0, data: str | None = None
) -> None:
    """mount(2)."""
    result = _libc.mount(
        _bytes(source), _bytes(target), _bytes(filesystem), ctypes.c_ulong(flags), _bytes(data)
    )
    _check(result, f"mount {filesystem or source} on {target}")


def read_only(path: str) -> None:
    """Make the mount at `path`, and all below it, read-only, without set-user-id programs and devices."""
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY | NOSUID | NODEV, 0, 0, 0)
    result = _libc.syscall(_SYS_MOUNT_SETATTR, -100, _bytes(path), 0x8000, ctypes.byref(attributes), 32)
    if result < 0:  # before Linux 5.12: only the mount itself, and flags that are set already must stay set
        kept = os.statvfs(path).f_flag & (NOSUID | NODEV | NOEXEC)
        mount("none", path, None, REMOUNT | BIND | READ_ONLY | NOSUID | NODEV | kept)


def pivot_root() -> None:
    """Make the current directory (a mount point) the root; the old one is the current directory then."""
    _check(_libc.syscall(_SYS_PIVOT_ROOT, b".", b"."), "pivot_root")


def detach(path: str) -> None:
    """Lazily unmount `path` and all below it."""
    _check(_libc.umount2(_bytes(path), 2), f"unmount {path}")


def _prctl(option: int, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    _check(_libc.prctl(option, *(ctypes.c_ulong(a) for a in padded)), f"prctl {option}")


def die_with_parent() -> None:
    """Be killed when the parent (its forking thread) ends."""
    _prctl(1, 9)


def become_subreaper() -> None:
    """Adopt the orphans among one's descendants."""
    _prctl(36, 1)


def not_dumpable() -> None:
    """Keep other processes of the same user from tracing this one and from its files in /proc."""
    _prctl(4, 0)


def no_new_privileges() -> None:
    """Let no set-user-id program give this process or its children anything."""
    _prctl(38, 1)


def drop_capabilities() -> None:
    """Take all but `KEPT_CAPABILITIES` from what programs that are started later can have."""
    for capability in range(64):
        if capability not in KEPT_CAPABILITIES and _libc.prctl(24, capability, 0, 0, 0) < 0:
            break  # beyond the last one that this kernel knows


def _interface_request(sock: socket.socket, request: int, name: str, data: bytes) -> None:
    fcntl.ioctl(sock, request, struct.pack("16s24s", name.encode(), data))


def link_up(name: str, *, mtu: int = 0, ip: str = "", mask: str = "", mac: bytes = b"") -> None:
    """Configure a network interface of this namespace and bring it up."""

    def address(text: str) -> bytes:
        return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(text))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if mac:
            _interface_request(sock, 0x8924, name, struct.pack("H6s", 1, mac))  # SIOCSIFHWADDR
        if mtu:
            _interface_request(sock, 0x8922, name, struct.pack("i", mtu))  # SIOCSIFMTU
        if ip:
            _interface_request(sock, 0x8916, name, address(ip))  # SIOCSIFADDR
            _interface_request(sock, 0x891C, name, address(mask))  # SIOCSIFNETMASK
        _interface_request(sock, 0x8914, name, struct.pack("H", 1 | 64))  # SIOCSIFFLAGS: up, running


def tap(descriptor: int, name: str) -> None:
    """Make the open /dev/net/tun a TAP device: Ethernet frames without packet information."""
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000))  # TUNSETIFF


def inotify() -> int:
    """Return a descriptor from which notices of `watch` are read (inotify(7)); it does not block."""
    return int(_check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify"))


def watch(descriptor: int, path: str) -> int:
    """Have a notice each time a file changes; return the number that its notices bear."""
    return int(_check(_libc.inotify_add_watch(descriptor, _bytes(path), 2), f"watch {path}"))  # IN_MODIFY
