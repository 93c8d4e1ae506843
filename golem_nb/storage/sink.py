"""Where received data is kept until it is complete."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from golem_nb.storage.errors import TransferError

__all__ = ["FileSink", "MemorySink", "Sink"]

_OFF_LOOP = 256 << 10
"""Amount of data whose checksum takes long enough (about 1 ms) to be moved to a thread, bytes."""


class Sink(Protocol):
    """Takes pieces of data in any order."""

    async def write(self, offset: int, content: bytes) -> None:
        """Take a piece. May return before it is stored; an error is then raised by a later call."""

    async def checksum(self, size: int) -> str:
        """SHA3-256 of the first `size` bytes, all of which were written, as hexadecimal digits."""

    async def reset(self) -> None:
        """Forget everything that was written."""

    async def deliver(self) -> None:
        """Make the data what it is to be: it is complete."""

    async def discard(self) -> None:
        """Free what is held; data that was not delivered is gone. May be called again."""


class MemorySink:
    """Keeps the data in memory."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.data = bytearray()

    async def write(self, offset: int, content: bytes) -> None:
        """Take a piece."""
        missing = offset - len(self.data)
        if missing > 0:
            self.data += bytes(missing)
        self.data[offset : offset + len(content)] = content

    async def checksum(self, size: int) -> str:
        """SHA3-256 of the first `size` bytes."""

        def compute() -> str:
            return hashlib.sha3_256(memoryview(self.data)[:size]).hexdigest()

        if size <= _OFF_LOOP:
            return compute()
        return await asyncio.get_running_loop().run_in_executor(self._executor, compute)

    async def reset(self) -> None:
        """Forget everything that was written."""
        # not `clear`: a thread may still look at the old one
        self.data = bytearray()

    async def deliver(self) -> None:
        """Do nothing: the data is where it is to be."""

    async def discard(self) -> None:
        """Do nothing: memory goes by itself."""


class FileSink:
    """Writes a file beside the target, which it replaces when it is complete.

    A thread writes the pieces and computes the checksum, many pieces at a time. At most `_MAX_PENDING`
    bytes wait for it.

    Parameters
    ----------
    target
        The file to make.
    executor
        Where the writing is done.
    """

    _BATCH = 512 << 10
    _MAX_PENDING = 2 << 20
    _FREE_SPACE = 256 << 20
    """What is left free on the disk, bytes: the amount of data is a stranger's choice."""
    _CHECK_EVERY = 32 << 20
    _MAX_AHEAD = 64
    """Pieces: at least as many as a provider has under way."""
    _MAX_AHEAD_SIZE = 8 << 20

    def __init__(self, target: Path, executor: Executor) -> None:
        # a symbolic link stays one: what it points to is replaced
        self._target = Path(os.path.realpath(target))
        self._executor = executor
        self._part = self._target.with_name(f".{self._target.name[:100]}.{secrets.token_hex(6)}.part")
        self._fd = -1
        self._pending: list[tuple[int, bytes]] = []
        self._pending_size = 0
        self._job: asyncio.Future[None] | None = None
        self._error: TransferError | None = None
        self._hash = hashlib.sha3_256()
        self._hashed = 0
        # pieces beyond the first one that is missing, kept for the checksum; None: it is computed at the end
        self._ahead: dict[int, bytes] | None = {}
        self._unchecked = 0

    @classmethod
    def opened(cls, target: Path, executor: Executor) -> FileSink:
        """Make a sink and the file that is written to; blocks.

        Raises
        ------
        OSError
            The target cannot be written; the message says what to do.
        """
        sink = cls(target, executor)
        sink._open()
        return sink

    def _open(self) -> None:
        if self._target.is_dir():
            raise IsADirectoryError(
                errno.EISDIR, "cannot download to a folder: give the path of a file", str(self._target)
            )
        if self._target.exists() and not self._target.is_file():
            raise OSError(errno.EINVAL, "cannot download to what is not a regular file", str(self._target))
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self._part, flags, 0o666)
            if self._target.exists():
                os.fchmod(self._fd, self._target.stat().st_mode & 0o777)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                errno.ENOENT,
                "cannot download to a folder that does not exist: make it first",
                str(self._target),
            ) from error
        except OSError as error:
            raise type(error)(
                error.errno, f"cannot download to this place: {error.strerror}", str(self._target)
            ) from error

    async def write(self, offset: int, content: bytes) -> None:
        """Take a piece."""
        self._raise()
        self._pending.append((offset, content))
        self._pending_size += len(content)
        if self._pending_size >= self._BATCH:
            self._start()
        while self._pending_size > self._MAX_PENDING and self._job is not None:
            await asyncio.wait([self._job])
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        if self._job is None and self._pending:
            batch, self._pending = self._pending, []
            self._pending_size = 0
            loop = asyncio.get_running_loop()
            self._job = loop.run_in_executor(self._executor, self._store, batch)
            self._job.add_done_callback(self._stored)

    def _stored(self, job: asyncio.Future[None]) -> None:
        self._job = None
        error = None if job.cancelled() else job.exception()
        if isinstance(error, OSError):
            self._error = TransferError(f"cannot write {str(self._target)!r}: {error.strerror}")
            self._error.__cause__ = error
        elif error is not None:
            self._error = TransferError(f"cannot write {str(self._target)!r}: {error!r}")
            self._error.__cause__ = error
        elif self._pending_size >= self._BATCH:
            self._start()

    def _store(self, batch: list[tuple[int, bytes]]) -> None:
        # pieces that were under way at the same time are often swapped: sorted, most can be hashed as they
        # come
        batch.sort(key=lambda piece: piece[0])
        for offset, content in batch:
            self._check_space(len(content))
            view = memoryview(content)
            position = offset
            while view:
                written = os.pwrite(self._fd, view, position)
                position += written
                view = view[written:]
            if self._ahead is not None:
                self._hash_piece(offset, content, self._ahead)

    def _hash_piece(self, offset: int, content: bytes, ahead: dict[int, bytes]) -> None:
        if offset == self._hashed:
            piece: bytes | None = content
            while piece is not None:
                self._hash.update(piece)
                self._hashed += len(piece)
                # (an empty piece would find itself for ever)
                piece = ahead.pop(self._hashed, None) if piece else None
        elif offset > self._hashed and offset not in ahead and self._has_room(ahead, content):
            ahead[offset] = content
        elif content:
            # sent again, or hopelessly out of order: `checksum` reads the file
            self._hash, self._hashed, self._ahead = hashlib.sha3_256(), 0, None

    def _has_room(self, ahead: dict[int, bytes], content: bytes) -> bool:
        if len(ahead) >= self._MAX_AHEAD:
            return False
        return sum(map(len, ahead.values())) + len(content) <= self._MAX_AHEAD_SIZE

    def _check_space(self, size: int) -> None:
        self._unchecked += size
        if self._unchecked >= self._CHECK_EVERY:
            self._unchecked = 0
            disk = os.fstatvfs(self._fd)
            if disk.f_bavail * disk.f_frsize < self._FREE_SPACE:
                raise OSError(errno.ENOSPC, "the disk is nearly full: make room, then run the task again")

    async def _flush(self) -> None:
        while self._job is not None or self._pending:
            self._raise()
            self._start()
            if self._job is not None:
                await asyncio.wait([self._job])
        self._raise()

    async def checksum(self, size: int) -> str:
        """SHA3-256 of the first `size` bytes."""
        await self._flush()
        if self._hashed == size:
            return self._hash.hexdigest()
        if self._hashed > size:
            self._hash, self._hashed, self._ahead = hashlib.sha3_256(), 0, None
        await self._in_thread(self._hash_rest, size)
        return self._hash.hexdigest()

    def _hash_rest(self, size: int) -> None:
        while self._hashed < size:
            part = os.pread(self._fd, min(1 << 20, size - self._hashed), self._hashed)
            if not part:
                raise OSError(errno.EIO, "the file was changed by somebody else", str(self._part))
            self._hash.update(part)
            self._hashed += len(part)

    async def _in_thread(self, function: object, *args: object) -> None:
        """Run a job like `_store`: one at a time, and waited for before the file is closed."""
        loop = asyncio.get_running_loop()
        self._job = loop.run_in_executor(self._executor, function, *args)  # type: ignore[arg-type]
        self._job.add_done_callback(self._stored)
        await asyncio.wait([self._job])
        # its callback has run: it was added first
        self._raise()

    async def reset(self) -> None:
        """Forget everything that was written."""
        self._pending, self._pending_size = [], 0
        while self._job is not None:
            await asyncio.wait([self._job])
        self._hash, self._hashed, self._ahead = hashlib.sha3_256(), 0, {}
        await self._in_thread(os.ftruncate, self._fd, 0)

    async def deliver(self) -> None:
        """Put the file in its place."""
        await self._flush()
        await self._in_thread(self._replace)

    def _replace(self) -> None:
        self._part.replace(self._target)
        os.close(self._fd)
        self._fd = -1

    async def discard(self) -> None:
        """Close and remove the file, unless it was delivered."""
        self._pending, self._pending_size = [], 0
        while self._job is not None:
            # a descriptor that is closed while a thread writes to it may be another file by then
            await asyncio.wait([self._job])
        if self._fd >= 0:
            await asyncio.get_running_loop().run_in_executor(self._executor, self.remove)

    def remove(self) -> None:
        """Close and remove the file, unless it was delivered; blocks."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            self._part.unlink(missing_ok=True)
