"""Where the ledger is kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["default_path"]


def default_path() -> Path:
    """Return the ledger's file: below `GOLEM_NB_DATA_DIR`, or in the user's data folder."""
    base = os.environ.get("GOLEM_NB_DATA_DIR")
    root = Path(base) if base else platformdirs.user_data_path("golem_nb")
    return root.absolute() / "ledger" / "ledger.sqlite3"
