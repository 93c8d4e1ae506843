"""Where unix sockets may be: the kernel takes short paths only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["socket_folder"]

# sockaddr_un holds 108 bytes; the longest name in a folder of sockets takes 20, a temporary folder's own 18
_LONGEST: Final = 80
_LONGEST_PARENT: Final = _LONGEST - 18


def socket_folder(wanted: Path) -> Path:
    """Return `wanted` where its path is short enough for unix sockets, else a new private folder.

    That is a temporary one, in ``/tmp`` where ``TMPDIR`` is too long, too; the caller removes it.
    """
    if len(os.fsencode(wanted)) <= _LONGEST:
        return wanted
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) > _LONGEST_PARENT:
        parent = "/tmp"  # noqa: S108 (the folder in it is ours alone)
    return Path(tempfile.mkdtemp(prefix="golem-nb-", dir=parent))
