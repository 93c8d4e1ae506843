"""What can go wrong with a local network."""

from __future__ import annotations

from pathlib import Path

from golem_nb.exceptions import GolemError

__all__ = ["DataFolderError", "LocalNetworkError", "NetworkNotRunningError", "NetworkStartError"]


class LocalNetworkError(GolemError):
    """Base of the errors about a local network."""


class DataFolderError(LocalNetworkError):
    """The folder in which local networks keep their data cannot be used.

    Parameters
    ----------
    folder
        The folder.
    reason
        What the system says.
    """

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"the data folder {folder} cannot be used ({reason}): set GOLEM_NB_DATA_DIR to a folder that can "
            "be made and written"
        )
        self.folder, self.reason = folder, reason

    def __reduce__(self) -> tuple[type[DataFolderError], tuple[Path, str]]:
        return type(self), (self.folder, self.reason)


class NetworkStartError(LocalNetworkError):
    """The local network could not be started.

    Parameters
    ----------
    reason
        What went wrong.
    logs
        The folder of its log files, if there is one.
    """

    def __init__(self, reason: str, logs: Path | None = None) -> None:
        where = "" if logs is None else f" Logs: {logs}"
        super().__init__(f"the local Golem network could not be started: {reason.rstrip('.')}.{where}")
        self.reason, self.logs = reason, logs

    def __reduce__(self) -> tuple[type[NetworkStartError], tuple[str, Path | None]]:
        return type(self), (self.reason, self.logs)


class NetworkNotRunningError(LocalNetworkError):
    """There is no such local network, or no more."""
