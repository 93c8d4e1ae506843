"""Where the `yagna` program is, and whether it is new enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import attrs

from golem_nb.node.errors import NodeError, YagnaNotFoundError, YagnaTooOldError
from golem_nb.rest.identity import MINIMUM_VERSION

__all__ = ["MINIMUM_VERSION", "YagnaBinary", "find_yagna"]

_VERSION = re.compile(r"yagna (\d+)\.(\d+)(?:\.(\d+))?")


@attrs.frozen
class YagnaBinary:
    """A `yagna` program.

    Parameters
    ----------
    path
        The program's file.
    version
        Its version, such as "0.17.6".
    """

    path: Path
    version: str


def find_yagna() -> YagnaBinary:
    """Find the `yagna` program.

    It is looked for beside the running interpreter and in its folder of scripts (there the `golem-node` wheel
    puts it), then on `PATH`; the first that is new enough is taken.

    Raises
    ------
    YagnaNotFoundError
        There is none.
    YagnaTooOldError
        There are only older ones.

    Examples
    --------
    >>> find_yagna().version >= "0.17"
    True
    """
    name = "yagna.exe" if sys.platform == "win32" else "yagna"
    # the interpreter's path is not resolved: a virtual environment's is a link out of it
    places = [Path(sys.executable).parent / name, Path(sysconfig.get_path("scripts")) / name]
    if on_path := shutil.which(name):
        places.append(Path(on_path))
    too_old: YagnaTooOldError | None = None
    for path in dict.fromkeys(places):
        if not os.access(path, os.X_OK):
            continue
        version = _version(path)
        if version[:2] >= MINIMUM_VERSION:
            return YagnaBinary(path, ".".join(map(str, version)))
        too_old = too_old or YagnaTooOldError(
            path, ".".join(map(str, version)), ".".join(map(str, MINIMUM_VERSION))
        )
    if too_old is not None:
        raise too_old
    raise YagnaNotFoundError(list(dict.fromkeys(places)))


def _version(path: Path) -> tuple[int, int, int]:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NodeError(f"{path} cannot be run: {error}. Install golem-node again, or remove it") from error
    found = _VERSION.search(answer.stdout)
    if found is None:
        raise NodeError(
            f"{path} does not tell its version: {(answer.stdout or answer.stderr)[:200]!r}. "
            "Is it the Golem node?"
        )
    return int(found[1]), int(found[2]), int(found[3] or 0)
