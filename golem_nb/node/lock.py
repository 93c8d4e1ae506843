"""One process at a time on a folder."""

from __future__ import annotations

import os
from pathlib import Path

from golem_nb.node.errors import FolderInUseError, UnsupportedPlatformError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FolderLock"]


class FolderLock:
    """Lock on a folder, held until released or until the last process that inherited it has ended.

    Children that are started with `fileno()` among their `pass_fds` hold it too: a daemon that outlives its
    parent by a moment keeps its folder for that moment.

    Parameters
    ----------
    folder
        The folder; made (for its owner only) if it does not exist.

    Raises
    ------
    FolderInUseError
        Another process has it.
    """

    def __init__(self, folder: Path) -> None:
        if fcntl is None:
            raise UnsupportedPlatformError("a daemon can be run as a managed process on Linux and macOS only")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 20).decode("ascii", "replace").strip()
            os.close(self._file)
            raise FolderInUseError(folder, int(holder) if holder.isdigit() else None) from error
        self.note(os.getpid())

    def note(self, pid: int) -> None:
        """Write down which process has the folder, for the error that others get."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(pid).encode(), 0)

    def fileno(self) -> int:
        """Return the file descriptor that holds the lock."""
        return self._file

    def release(self) -> None:
        """Give the folder up; children that inherited the lock keep it until they end."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
