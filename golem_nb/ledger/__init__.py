"""What survives the process: everything reserved, bought and paid, on disk before the daemon is asked."""

from golem_nb.ledger.book import Book
from golem_nb.ledger.errors import (
    LedgerError,
    LedgerLockedError,
    LedgerVersionError,
    LedgerWarning,
    LedgerWriteError,
)
from golem_nb.ledger.ledger import Ledger
from golem_nb.ledger.leftovers import Leftover, LeftService
from golem_nb.ledger.records import FinishedItem, Place, ProviderRecord
from golem_nb.ledger.report import RecoveryReport
from golem_nb.ledger.reputation import KnownProviders, ProviderRecords, RecordedProviders

__all__ = [
    "Book",
    "FinishedItem",
    "KnownProviders",
    "Ledger",
    "LedgerError",
    "LedgerLockedError",
    "LedgerVersionError",
    "LedgerWarning",
    "LedgerWriteError",
    "LeftService",
    "Leftover",
    "Place",
    "ProviderRecord",
    "ProviderRecords",
    "RecordedProviders",
    "RecoveryReport",
]
