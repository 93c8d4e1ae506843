"""What can be wrong with the ledger, in words that name the file and the remedy."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from golem_nb.exceptions import GolemError

__all__ = [
    "LedgerError",
    "LedgerLockedError",
    "LedgerVersionError",
    "LedgerWarning",
    "LedgerWriteError",
    "is_locked",
]


def is_locked(error: BaseException) -> bool:
    """Whether SQLite says that another program keeps the file locked."""
    # the primary code; the rest says where it came from
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class LedgerError(GolemError):
    """The ledger cannot be used."""


class LedgerLockedError(LedgerError):
    """Another program keeps the ledger locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"The ledger {path} is locked by another program: close whatever has it open for writing (a "
            "database browser, a backup), or choose another folder with GOLEM_NB_DATA_DIR."
        )


class LedgerVersionError(LedgerError):
    """The ledger was written by a newer version; it is left as it is."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        self.path = path
        super().__init__(
            f"The ledger {path} was written by a newer golem_nb (its format is {found}, this one knows "
            f"{known}) and was left as it is: upgrade with `pip install -U golem-nb`, or choose another "
            "folder with GOLEM_NB_DATA_DIR."
        )


class LedgerWriteError(LedgerError):
    """Something could not be written down, so that it was not done either."""

    def __init__(self, path: Path, cause: BaseException) -> None:
        self.path = path
        remedy = "make room on its disk, or see who may write there"
        if is_locked(cause):
            remedy = "close whatever else has it open for writing (a database browser, a backup)"
        super().__init__(
            f"The ledger {path} cannot be written ({cause}), so nothing new is reserved: {remedy}. What is "
            "running goes on."
        )


class LedgerWarning(UserWarning):
    """The ledger was found in a bad state and could be helped."""
