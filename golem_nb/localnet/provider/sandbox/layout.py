"""What a sandbox's file system consists of.

A sandbox's root is a folder of its own, in which parts of the machine are mounted read-only: its programs and
libraries, and of /etc only what programs need to run. Everything else (home folders, /etc/shadow, /var, /opt,
/srv, the daemons' data) is simply not there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import attrs

from golem_nb.exceptions import GolemError
from golem_nb.localnet.spec import Image, ImageKind

__all__ = ["FOLDERS", "ImageError", "Layout", "make_layout", "sandbox_user"]

#: The folders that each activity has for itself; a requestor's transfers and scripts name them.
FOLDERS: Final = ("input", "output", "work", "resource")

_USERLAND: Final = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr", "nix", "gnu")
_ETC: Final = (
    "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies",
    "debian_version", "fonts", "ImageMagick-6", "ImageMagick-7", "inputrc", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "localtime", "locale.alias", "locale.conf", "login.defs",
    "lsb-release", "machine-info", "magic", "mime.types", "nanorc", "OpenCL", "os-release", "pam.d",
    "pki/ca-trust", "pki/tls/certs", "profile", "profile.d", "protocols", "python3", "R", "rpc",
    "security/limits.conf", "services", "shells", "ssl/certs", "ssl/openssl.cnf", "terminfo",
    "timezone", "vulkan", "xml",
)  # fmt: skip
_DIRS: Final = (
    "", "/dev", "/dev/pts", "/dev/shm", "/etc", "/golem", "/home",  # noqa: S108 - the sandbox's own
    "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys", "/tmp",  # noqa: S108
    "/var", "/var/cache", "/var/lib", "/var/log", "/var/tmp",  # noqa: S108
)  # fmt: skip
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
#: Not taken from an image's folder: the sandbox has its own. (Of /golem only `FOLDERS` are its own.)
_OWN: Final = frozenset(("dev", "golem", "proc", "run", "sys", "tmp"))

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# above the ranges that systemd and container engines give to theirs
_FIRST_UID: Final = 0x70000000
_UIDS: Final = 65536
_NOBODY: Final = 65534


class ImageError(GolemError):
    """An image cannot be used on this machine; the text says what is missing."""


@attrs.frozen
class Layout:
    """The file system of the sandboxes of one image.

    Parameters
    ----------
    dirs, links, files, modes
        What is made in the sandbox's own root: paths; (target, path); path and text; path and mode.
    binds
        (source, target) of what is mounted read-only.
    devices
        The same, for device nodes.
    path
        Where commands are looked for.
    environment
        Variables that each command has.
    """

    dirs: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    files: dict[str, str]
    modes: tuple[tuple[str, int], ...]
    binds: tuple[tuple[str, str], ...]
    devices: tuple[tuple[str, str], ...]
    path: str
    environment: dict[str, str]

    def with_volumes(self, volumes: Sequence[str]) -> Layout:
        """Make room for volumes: folders of the sandbox's own, which hide what the image has there.

        Where one is inside a folder that is mounted read-only, that folder's entries are mounted instead.

        Raises
        ------
        ImageError
            A folder of the image cannot be read.
        """
        dirs, links, binds, files = list(self.dirs), list(self.links), list(self.binds), dict(self.files)
        for volume in volumes:
            while above := [bind for bind in binds if bind[1] != volume and _within(volume, bind[1])]:
                for source, target in above:
                    binds.remove((source, target))
                    _bind_folder(Path(source), target, (), dirs, links, binds, files)
            binds = [bind for bind in binds if not _within(bind[1], volume)]
            links = [link for link in links if not _within(link[1], volume)]
            files = {path: text for path, text in files.items() if not _within(path, volume)}
            _add_parents(volume, dirs, as_folder=True)
        return attrs.evolve(
            self, dirs=tuple(dict.fromkeys(dirs)), links=tuple(links), binds=tuple(binds), files=files
        )


def sandbox_user() -> tuple[int | None, int]:
    """Return who is root inside: the first of how many outside user ids; None: the user that we are.

    An ordinary user may map himself only. As root the sandbox gets a range of ids that own nothing on the
    machine, so that nothing of root's can be reached even where it can be seen.
    """
    if os.geteuid() != 0:
        return None, 1
    try:
        ranges = [
            tuple(map(int, line.split()))
            for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
        ]
    except OSError:
        return _NOBODY, 1
    for inside, _, count in ranges:
        if inside <= _FIRST_UID and inside + count >= _FIRST_UID + _UIDS:
            return _FIRST_UID, _UIDS
    for inside, _, count in ranges:  # root in a container: only what it was given
        if inside <= _NOBODY < inside + count:
            return _NOBODY, 1
    inside, _, count = ranges[-1]
    return (inside + count - 1, 1) if inside + count > 1 else (None, 1)


def make_layout(image: Image) -> Layout:
    """Describe the sandboxes of `image`; it may run an interpreter, so call it in a thread.

    Raises
    ------
    ImageError
        The folder or the interpreter is not there.
    """
    dirs = list(_DIRS)
    dirs += [f"/golem/{name}" for name in FOLDERS]
    links = [("/proc/self/fd", "/dev/fd"), ("pts/ptmx", "/dev/ptmx"), ("/run", "/var/run")]
    links += [(f"/proc/self/fd/{i}", f"/dev/{name}") for i, name in enumerate(("stdin", "stdout", "stderr"))]
    files: dict[str, str] = {}
    binds: list[tuple[str, str]] = []
    path, environment = _SYSTEM_PATH, {"HOME": "/root", "LANG": "C.UTF-8", "USER": "root"}
    if image.kind is ImageKind.ROOTFS:
        assert image.rootfs is not None
        dirs = [d for d in dirs if d in ("", "/dev/pts", "/dev/shm") or d.split("/")[1] in _OWN]  # noqa: S108
        links = [link for link in links if link[1].startswith("/dev/")]
        _bind_folder(image.rootfs, "", _OWN, dirs, links, binds, files)
        golem = image.rootfs / "golem"
        if golem.is_dir() and not golem.is_symlink():
            _bind_folder(golem, "/golem", FOLDERS, dirs, links, binds, files)
    else:
        _bind_userland(dirs, links, binds, files)
    if image.kind is ImageKind.PYTHON:
        folders, executable = _interpreter(image.python)
        for folder in folders:
            if not any(_within(folder, target) for _, target in binds):
                binds.append((folder, folder))
                _add_parents(folder, dirs, as_folder=True)
        path = f"{Path(executable).parent}:{path}"
        if not Path(executable).with_name("python").exists():  # a system's own may be python3 only
            dirs += ["/opt/python", "/opt/python/bin"]
            links.append((executable, "/opt/python/bin/python"))
            path = f"/opt/python/bin:{path}"
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # its folders are read-only
    devices = []
    for name in _DEVICES:
        if Path(f"/dev/{name}").exists():
            files[f"/dev/{name}"] = ""
            devices.append((f"/dev/{name}", f"/dev/{name}"))
    environment["PATH"] = path
    modes = tuple((d, 0o1777) for d in ("/tmp", "/var/tmp") if d in dirs)  # noqa: S108 - the sandbox's own
    return Layout(
        tuple(dict.fromkeys(dirs)),
        tuple(links),
        files,
        modes,
        tuple(binds),
        tuple(devices),
        path,
        environment,
    )


def _bind_userland(
    dirs: list[str], links: list[tuple[str, str]], binds: list[tuple[str, str]], files: dict[str, str]
) -> None:
    for name in _USERLAND:
        place = Path("/", name)
        if place.is_symlink():
            links.append((str(place.readlink()), f"/{name}"))
        elif place.is_dir():
            dirs.append(f"/{name}")
            binds.append((f"/{name}", f"/{name}"))
    for name in _ETC:
        place = Path("/etc", name)
        if not place.exists() or not os.access(place, os.R_OK):
            continue
        target = f"/etc/{name}"
        if place.is_symlink() and _within(os.path.realpath(place), "/usr"):
            _add_parents(target, dirs)
            links.append((os.path.realpath(place), target))
            continue
        if place.is_dir():
            _add_parents(target, dirs, as_folder=True)
        else:
            _add_parents(target, dirs)
            files[target] = ""
        binds.append((target, target))
    files["/etc/passwd"] = _accounts("/etc/passwd") or "root:x:0:0:root:/root:/bin/sh\n"
    files["/etc/group"] = _accounts("/etc/group") or "root:x:0:\n"
    files["/etc/hosts"] = "127.0.0.1 localhost golem\n"
    files["/etc/hostname"] = "golem\n"
    files["/etc/resolv.conf"] = "# no network but the one the requestor makes\n"
    files["/etc/nsswitch.conf"] = "passwd: files\ngroup: files\nhosts: files\n"


def _accounts(path: str) -> str:
    """System accounts only: who uses this machine is nobody's business in there."""
    lines = []
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdigit() and (int(fields[2]) < 1000 or int(fields[2]) == _NOBODY):
            if len(fields) == 4:
                fields[3] = ""
            lines.append(":".join(fields))
    return "".join(line + "\n" for line in lines)


def _bind_folder(
    folder: Path,
    at: str,
    without: Collection[str],
    dirs: list[str],
    links: list[tuple[str, str]],
    binds: list[tuple[str, str]],
    files: dict[str, str],
) -> None:
    """Mount the entries of a folder at another."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ImageError(f"the image's folder {folder} cannot be read: {error}") from error
    for entry in entries:
        if entry.name in without:
            continue
        target = f"{at}/{entry.name}"
        if entry.is_symlink():
            links.append((str(Path(entry.path).readlink()), target))
            continue
        if entry.is_dir():
            dirs.append(target)
        elif entry.is_file():
            files[target] = ""
        else:
            continue
        binds.append((entry.path, target))


_ASK: Final = (
    "import json, site, sys; print(json.dumps([sys.prefix, sys.exec_prefix, sys.base_prefix, "
    "sys.base_exec_prefix, *site.getsitepackages()]))"
)


def _interpreter(python: Path | None) -> tuple[list[str], str]:
    """Return the folders that an interpreter needs, and its path."""
    executable = str(python or sys.executable)
    try:
        answer = subprocess.run([executable, "-I", "-c", _ASK], capture_output=True, check=True, timeout=30)
        folders = [str(folder) for folder in json.loads(answer.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ImageError(f"the image's interpreter {executable} does not run: {error}") from error
    folders.append(str(Path(os.path.realpath(executable)).parents[1]))
    # ourselves: functions that a notebook sends may need the package, however it is installed
    folders.append(str(Path(__file__).parents[3]))
    found: list[str] = []
    for folder in folders:
        for place in (folder, os.path.realpath(folder)):
            if place in ("/", str(Path.home())) or not Path(place).is_dir():
                continue
            if any(_within(place, f"/{name}") for name in _USERLAND):
                continue
            if place not in found:
                found.append(place)
    # a folder inside another is there with it
    return [f for f in found if not any(f != other and _within(f, other) for other in found)], executable


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _add_parents(target: str, dirs: list[str], *, as_folder: bool = False) -> None:
    parts = target.strip("/").split("/")
    for i in range(1, len(parts) + (1 if as_folder else 0)):
        place = "/" + "/".join(parts[:i])
        if place not in dirs:
            dirs.append(place)
