"""Transfer of data to and from providers."""

from __future__ import annotations

from golem_nb.storage.base import DOWNLOAD_BYTES_LIMIT, Destination, Progress, Source, StorageProvider
from golem_nb.storage.errors import DownloadTooLargeError, TransferError
from golem_nb.storage.gsb import GsbStorage

__all__ = [
    "DOWNLOAD_BYTES_LIMIT",
    "Destination",
    "DownloadTooLargeError",
    "GsbStorage",
    "Progress",
    "Source",
    "StorageProvider",
    "TransferError",
]
