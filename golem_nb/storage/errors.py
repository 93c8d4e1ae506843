"""What can go wrong with a transfer."""

from __future__ import annotations

from golem_nb.rest.activity import BatchError

__all__ = ["DownloadTooLargeError", "TransferError"]


class TransferError(BatchError):
    """Data did not arrive, or not as it was sent."""


class DownloadTooLargeError(TransferError):
    """A provider sends more than was allowed.

    Parameters
    ----------
    limit
        What was allowed, bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the provider sends more than the limit of {limit} bytes: pass a larger limit=…, or use "
            "download_file(), which has none"
        )
        self.limit = limit

    def __reduce__(self) -> tuple[type[DownloadTooLargeError], tuple[int]]:
        return type(self), (self.limit,)
