"""Bytes that wait on disk for who reads them too slowly."""

from __future__ import annotations

from tempfile import TemporaryFile

__all__ = ["Spool"]


class Spool:
    """A queue of bytes in a file that has no name, and is gone with the process.

    Writing and reading is done at once: both are a copy to or from the system's cache.
    """

    def __init__(self) -> None:
        self._file = TemporaryFile(buffering=0)  # noqa: SIM115
        self._first = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._first

    def put(self, data: bytes) -> None:
        """Add bytes at the end.

        Raises
        ------
        OSError
            The disk is full.
        """
        rest = memoryview(data)
        while rest:
            self._file.seek(self._end)
            written = self._file.write(rest)
            self._end += written
            rest = rest[written:]

    def take(self, size: int) -> bytes:
        """Remove and return the first bytes, at most `size` of them.

        Raises
        ------
        OSError
            The disk has failed.
        """
        self._file.seek(self._first)
        data = self._file.read(min(size, len(self)))
        self._first += len(data)
        if self._first == self._end:
            self._first = self._end = 0
            self._file.truncate(0)
        return data

    def close(self) -> None:
        """Give the file up, with what is in it."""
        self._file.close()
