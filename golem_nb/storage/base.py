"""What scripts need of a storage: places to publish data at, and places to receive it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DOWNLOAD_BYTES_LIMIT", "Destination", "Progress", "Source", "StorageProvider"]

DOWNLOAD_BYTES_LIMIT = 1 << 20
"""Largest download into memory unless a script says otherwise, bytes."""

Progress: TypeAlias = Callable[[int, "int | None"], None]
"""Called with the bytes transferred so far and the bytes in all (None: unknown)."""


class Source(Protocol):
    """Data that a provider may fetch."""

    @property
    def download_url(self) -> str:
        """Where the provider fetches it."""

    @property
    def error(self) -> Exception | None:
        """Why the provider did not get what it asked for."""

    async def release(self) -> None:
        """Stop publishing. May be called again; raises nothing."""


class Destination(Protocol):
    """A place that a provider may send data to."""

    @property
    def upload_url(self) -> str:
        """Where the provider sends it."""

    @property
    def error(self) -> Exception | None:
        """Why the last of what the provider sent was refused."""

    async def wait(self, timeout: float) -> None:
        """Wait until all has arrived and is known to be what was sent; a file is in its place then.

        Parameters
        ----------
        timeout
            Longest time to wait, seconds.

        Raises
        ------
        TransferError
            It did not arrive in time, or not as it was sent.
        """

    async def bytes(self) -> bytes:
        """What has arrived, after `wait`; only of a destination in memory."""

    async def release(self) -> None:
        """Stop receiving and drop what is incomplete. May be called again; raises nothing."""


class StorageProvider(Protocol):
    """Publishes data for providers and receives data from them."""

    async def upload_bytes(self, data: bytes, *, progress: Progress | None = None) -> Source:
        """Publish bytes.

        Parameters
        ----------
        data
            The bytes; they must not change.
        progress
            Called as they are fetched.
        """

    async def upload_file(self, path: Path, *, progress: Progress | None = None) -> Source:
        """Publish a file, which is read as it is fetched.

        Parameters
        ----------
        path
            The file.
        progress
            Called as it is fetched.

        Raises
        ------
        OSError
            It does not exist, cannot be read, or is no file.
        """

    async def new_destination(
        self, path: Path | None = None, limit: int | None = None, *, progress: Progress | None = None
    ) -> Destination:
        """Make a place that data can be sent to.

        Parameters
        ----------
        path
            The file that it will be; None: it is kept in memory.
        limit
            Largest size, bytes; None: no limit for a file, `DOWNLOAD_BYTES_LIMIT` in memory.
        progress
            Called as the data arrives.

        Raises
        ------
        OSError
            The file cannot be written.
        """
