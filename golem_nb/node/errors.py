"""What can go wrong with a daemon as a process."""

from __future__ import annotations

from pathlib import Path

from golem_nb.exceptions import GolemError

__all__ = [
    "DaemonStartError",
    "FolderInUseError",
    "NodeCommandError",
    "NodeError",
    "UnsupportedPlatformError",
    "YagnaNotFoundError",
    "YagnaTooOldError",
]


class NodeError(GolemError):
    """Base of all errors about a daemon as a process."""


class UnsupportedPlatformError(NodeError):
    """The operating system lacks what is needed to run a daemon as a managed process."""


class YagnaNotFoundError(NodeError):
    """There is no `yagna` program on this machine.

    Parameters
    ----------
    places
        Where it was looked for.
    """

    def __init__(self, places: list[Path]) -> None:
        looked = ", ".join(str(place) for place in places)
        super().__init__(
            f"no yagna program found (looked at {looked} and on PATH). "
            "Install it into this environment: pip install 'golem-node>=0.17.6,<0.18'"
        )
        self.places = places


class YagnaTooOldError(NodeError):
    """The `yagna` program that was found is older than what this package talks to.

    Parameters
    ----------
    path
        The program.
    found, needed
        Its version, and the oldest that will do.
    """

    def __init__(self, path: Path, found: str, needed: str) -> None:
        super().__init__(
            f"{path} is yagna {found}; {needed} or newer is needed. "
            "Install it into this environment: pip install 'golem-node>=0.17.6,<0.18'"
        )
        self.path, self.found, self.needed = path, found, needed


class FolderInUseError(NodeError):
    """Another process has the data folder; two daemons on one folder would destroy its databases.

    Parameters
    ----------
    folder
        The data folder.
    pid
        The process that has it; None if it could not be read.
    """

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"the data folder {folder} is in use by {who}: stop that one, or give another folder"
        )
        self.folder, self.pid = folder, pid

    def __reduce__(self) -> tuple[type[FolderInUseError], tuple[Path, int | None]]:
        return type(self), (self.folder, self.pid)


class DaemonStartError(NodeError):
    """The daemon ended, or did not answer in time, while it was started.

    Parameters
    ----------
    reason
        What happened.
    log
        The daemon's log file.
    """

    def __init__(self, reason: str, log: Path) -> None:
        super().__init__(f"the daemon could not be started: {reason}. Its log: {log}")
        self.reason, self.log = reason, log

    def __reduce__(self) -> tuple[type[DaemonStartError], tuple[str, Path]]:
        return type(self), (self.reason, self.log)


class NodeCommandError(NodeError):
    """A command given to a running daemon failed.

    Parameters
    ----------
    command
        What was asked, without any secret.
    message
        What the daemon said.
    """

    def __init__(self, command: str, message: str) -> None:
        super().__init__(f"`yagna {command}` failed: {message}")
        self.command, self.message = command, message

    def __reduce__(self) -> tuple[type[NodeCommandError], tuple[str, str]]:
        return type(self), (self.command, self.message)
