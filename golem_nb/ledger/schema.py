"""The tables of the ledger, and how a file of them is opened, made and brought up to date."""

from __future__ import annotations

import sqlite3
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from golem_nb.ledger.errors import (
    LedgerError,
    LedgerLockedError,
    LedgerVersionError,
    LedgerWarning,
    is_locked,
)
from golem_nb.ledger.locks import turn

__all__ = ["BESIDE", "VERSION", "connect", "prepare"]

#: One script a version: the first makes the tables, each of the others changes what the one before has left.
_SCRIPTS: Final = (
    """
    CREATE TABLE session (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, node_id TEXT NOT NULL, network TEXT NOT NULL,
        budget TEXT NOT NULL, place TEXT NOT NULL, process TEXT NOT NULL, started TEXT NOT NULL, ended TEXT
    );
    -- intents, each on disk before the daemon is asked; they go when their session has ended properly
    CREATE TABLE step (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
        at TEXT NOT NULL, finished TEXT, outcome TEXT, error TEXT
    );
    CREATE INDEX step_of_session ON step (session);
    CREATE TABLE allocation (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, amount TEXT NOT NULL, platform TEXT NOT NULL,
        made TEXT NOT NULL, expires TEXT, released TEXT
    );
    CREATE TABLE demand (id TEXT PRIMARY KEY, session TEXT NOT NULL, made TEXT NOT NULL, ended TEXT);
    CREATE TABLE vpn (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, ip TEXT NOT NULL, made TEXT NOT NULL, ended TEXT
    );
    -- confirmed: when its confirmation was intended, from when on it can cost money
    CREATE TABLE agreement (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, provider_id TEXT NOT NULL, provider TEXT, job TEXT,
        made TEXT NOT NULL, confirmed TEXT, approved TEXT, ended TEXT, reason TEXT, settled TEXT, price TEXT,
        kept INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX agreement_of_session ON agreement (session);
    CREATE TABLE activity (
        id TEXT PRIMARY KEY, agreement TEXT NOT NULL, session TEXT NOT NULL, made TEXT NOT NULL, ended TEXT,
        usage TEXT
    );
    CREATE INDEX activity_of_session ON activity (session);
    CREATE INDEX activity_of_agreement ON activity (agreement);
    CREATE TABLE debit_note (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, agreement TEXT, activity TEXT, amount TEXT NOT NULL,
        received TEXT, accepted TEXT
    );
    CREATE INDEX debit_note_of_agreement ON debit_note (agreement);
    CREATE TABLE invoice (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, agreement TEXT, amount TEXT NOT NULL,
        received TEXT, accepted TEXT, rejected TEXT
    );
    CREATE INDEX invoice_of_agreement ON invoice (agreement);
    -- what of a payment was for which agreement or activity
    CREATE TABLE payment (
        id TEXT NOT NULL, agreement TEXT NOT NULL, activity TEXT NOT NULL, amount TEXT NOT NULL,
        at TEXT NOT NULL, PRIMARY KEY (id, agreement, activity)
    );
    CREATE TABLE service (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, class TEXT NOT NULL, agreement TEXT NOT NULL,
        activity TEXT NOT NULL, state TEXT NOT NULL, expiration TEXT, handle TEXT
    );
    CREATE INDEX service_of_session ON service (session);
    CREATE TABLE item (
        session TEXT NOT NULL, job TEXT NOT NULL, place INTEGER NOT NULL, at TEXT NOT NULL, exit_code INTEGER,
        stdout TEXT, stderr TEXT, files TEXT NOT NULL, encoding TEXT, value BLOB, provider_id TEXT,
        seconds REAL, tries INTEGER, PRIMARY KEY (session, job, place)
    );
    CREATE TABLE provider (
        id TEXT PRIMARY KEY, name TEXT, finished INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,
        seconds REAL NOT NULL DEFAULT 0, hourly TEXT, first TEXT NOT NULL, last TEXT NOT NULL,
        last_failure TEXT
    );
    """,
    # where an instance is in which VPN
    """
    ALTER TABLE service ADD COLUMN vpn TEXT;
    ALTER TABLE service ADD COLUMN ip TEXT;
    """,
)

VERSION: Final = len(_SCRIPTS)

#: What SQLite keeps beside the file, and reads as a part of it.
BESIDE: Final = ("-wal", "-shm")

#: Marks the file as a ledger of golem_nb, for `file` and for us: "Glnb".
_APPLICATION_ID: Final = 0x476C6E62

#: Others write for milliseconds; who keeps the file for longer than this has not the ledger's interest at
#: heart.
_BUSY: Final = 10.0


def connect(path: Path, *, busy: float = _BUSY) -> sqlite3.Connection:
    """Open the file as it is; may be used by one thread after the other."""
    connection = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)
    # each commit is on the disk itself when it returns: the daemon remembers across a loss of power, too
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def prepare(path: Path) -> None:
    """Make the file if there is none, bring it up to date, and set it aside if it cannot be read.

    Raises
    ------
    LedgerError
        The folder cannot be made or written.
    LedgerLockedError
        Another program keeps the file locked.
    LedgerVersionError
        A newer version has written it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with turn(path.with_name("lock")):
            try:
                _bring_up_to_date(path)
            except sqlite3.OperationalError as error:
                if is_locked(error):
                    raise LedgerLockedError(path) from error
                raise
            except sqlite3.DatabaseError as error:
                aside = _set_aside(path)
                warnings.warn(
                    f"The ledger {path} cannot be read ({error}); it was kept as {aside.name}, and a new one "
                    "was begun. What earlier sessions left at the daemon is not known any more; their "
                    "reservations end by themselves.",
                    LedgerWarning,
                    stacklevel=3,
                )
                _bring_up_to_date(path)
    except (OSError, sqlite3.OperationalError) as error:
        raise LedgerError(
            f"The ledger {path} cannot be opened ({error}): make room on its disk, see who may write "
            "there, or choose another folder with GOLEM_NB_DATA_DIR."
        ) from error


def _bring_up_to_date(path: Path) -> None:
    if not path.exists():
        for suffix in BESIDE:  # of a file that was deleted while it was open
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.touch(mode=0o600)
    connection = connect(path)
    try:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            raise LedgerVersionError(path, found, VERSION)
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if mark != _APPLICATION_ID and tables:
            raise sqlite3.DatabaseError("it is another program's database")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        # where this is refused (some network file systems), the slower default does as well
        connection.execute("PRAGMA journal_mode = WAL")
        for number, script in enumerate(_SCRIPTS[found:], start=found + 1):
            connection.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {_APPLICATION_ID}; "
                f"PRAGMA user_version = {number}; COMMIT;"
            )
    finally:
        connection.close()


def _set_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    aside = path.with_name(f"{path.stem}-unreadable-{stamp}{path.suffix}")
    for suffix in ("", *BESIDE):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
