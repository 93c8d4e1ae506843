"""Published data, read piece by piece."""

from __future__ import annotations

import asyncio
import errno
import os
from concurrent.futures import Executor
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from golem_nb.storage.errors import TransferError

__all__ = ["BytesReader", "FileReader", "Reader", "open_file"]

#: Read only what takes no waiting; Linux can do that.
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)


class Reader(Protocol):
    """Data of a known size, read from any place."""

    size: int

    async def read(self, start: int, end: int) -> bytes | memoryview:
        """The bytes from `start` to before `end`, which lie within the data."""

    async def close(self) -> None:
        """Free what the reader holds. May be called again."""


class BytesReader:
    """Data in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    async def read(self, start: int, end: int) -> memoryview:
        """The bytes from `start` to before `end`."""
        return memoryview(self._data)[start:end]

    async def close(self) -> None:
        """Do nothing: memory goes by itself."""


class FileReader:
    """A file: what the system has in memory is read at once, the rest in blocks by a thread.

    A read from a disk may take long, and a call that moves 40 KiB to a thread and back costs more than the
    read of what is cached. So what is not cached, or where nobody can tell, is read in a thread, in blocks
    much larger than the pieces that providers ask for, and the next one before it is needed.

    Parameters
    ----------
    path
        Name of the file for messages.
    fd
        The open file; the reader closes it.
    size
        Its size when it was opened, bytes.
    executor
        Where the blocks are read.
    """

    # four blocks are enough for several providers that fetch the same file at about the same time
    block_size = 1 << 20
    kept_blocks = 4

    def __init__(self, path: Path, fd: int, size: int, executor: Executor) -> None:
        self._path = path
        self._fd = fd
        self.size = size
        self._executor = executor
        self._blocks: dict[int, asyncio.Future[bytes]] = {}
        self._closed = False

    async def read(self, start: int, end: int) -> bytes | memoryview:
        """The bytes from `start` to before `end`.

        Raises
        ------
        TransferError
            The file cannot be read any more, or has become shorter.
        """
        if end <= start:
            return b""
        cached = self._cached(start, end)
        if cached is not None:
            return cached
        first, last = start // self.block_size, (end - 1) // self.block_size
        if (last + 1) * self.block_size < self.size:
            self._load(last + 1)
        parts = []
        for number in range(first, last + 1):
            base = number * self.block_size
            # (a view is not copied before it is part of a message)
            parts.append(memoryview(await self._block(number))[max(0, start - base) : end - base])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _cached(self, start: int, end: int) -> memoryview | None:
        """The bytes, if all of them are in the system's memory, so that no disk is waited for."""
        if _NOWAIT is None:
            return None
        piece = bytearray(end - start)
        try:
            size = os.preadv(self._fd, [piece], start, _NOWAIT)
        except OSError:
            # not there yet, or a file system that cannot tell; what is really wrong the thread finds out
            return None
        return memoryview(piece) if size == len(piece) else None

    async def _block(self, number: int) -> bytes:
        future = self._load(number)
        # a block may be wanted by several, and one that is cancelled must not take it from the others
        return future.result() if future.done() else await asyncio.shield(future)

    def _load(self, number: int) -> asyncio.Future[bytes]:
        future = self._blocks.pop(number, None)
        if future is None:
            future = asyncio.get_running_loop().run_in_executor(self._executor, self._read_block, number)
            future.add_done_callback(lambda done: self._loaded(number, done))
        self._blocks[number] = future
        if len(self._blocks) > self.kept_blocks:
            oldest = next(iter(self._blocks))
            # one that is being read stays: it is in the hands of the thread, which `close` waits for
            if self._blocks[oldest].done():
                del self._blocks[oldest]
        return future

    def _loaded(self, number: int, future: asyncio.Future[bytes]) -> None:
        if (future.cancelled() or future.exception() is not None) and self._blocks.get(number) is future:
            # the next request tries again
            del self._blocks[number]

    def _read_block(self, number: int) -> bytes:
        start = number * self.block_size
        wanted = min(self.block_size, self.size - start)
        parts = []
        while wanted:
            try:
                part = os.pread(self._fd, wanted, start)
            except OSError as error:
                raise TransferError(f"cannot read {str(self._path)!r}: {error.strerror}") from error
            if not part:
                raise TransferError(
                    f"{str(self._path)!r} became shorter while it was sent: it had {self.size} bytes, now it "
                    f"ends at {start}; do not change a file before its upload has ended"
                )
            parts.append(part)
            start += len(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def close(self) -> None:
        """Close the file, after the reads that are under way."""
        if self._closed:
            return
        self._closed = True
        reading = [future for future in self._blocks.values() if not future.done()]
        if reading:
            # a descriptor that is closed while a thread reads from it may be another file by then
            await asyncio.wait(reading)
        self._blocks.clear()
        os.close(self._fd)


def open_file(path: Path) -> tuple[int, os.stat_result]:
    """Open a file that is to be published; blocks.

    Raises
    ------
    OSError
        It does not exist, cannot be read, or is no regular file; the message says what to do.
    """
    try:
        # O_NONBLOCK: opening a named pipe would wait for its other end
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            errno.ENOENT, "cannot upload a file that does not exist: check the path", str(path)
        ) from error
    except OSError as error:
        raise type(error)(error.errno, f"cannot upload a file: {error.strerror}", str(path)) from error
    stat = os.fstat(fd)
    if S_ISREG(stat.st_mode):
        return fd, stat
    os.close(fd)
    if Path(path).is_dir():
        raise IsADirectoryError(
            errno.EISDIR, "cannot upload a folder: pack it into an archive first", str(path)
        )
    raise OSError(errno.EINVAL, "cannot upload what is not a regular file", str(path))
