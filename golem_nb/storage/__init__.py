"""Transfer of data to and from providers."""

from __future__ import annotations

from golem_nb.storage.base import DOWNLOAD_BYTES_LIMIT, Destination, Progress, Source, StorageProvider
from golem_nb.storage.errors import DownloadTooLargeError, TransferError

__all__ = [
    "DOWNLOAD_BYTES_LIMIT",
    "Destination",
    "DownloadTooLargeError",
    "Progress",
    "Source",
    "StorageProvider",
    "TransferError",
]
