"""A place on the daemon's service bus that a provider may send data to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from golem_nb.storage.errors import DownloadTooLargeError, TransferError
from golem_nb.storage.messages import RefusedError, chunk_of, hash_of
from golem_nb.storage.ranges import Ranges
from golem_nb.storage.sink import MemorySink

if TYPE_CHECKING:
    from golem_nb.storage.base import Progress
    from golem_nb.storage.sink import Sink

__all__ = ["GsbDestination"]

_MAX_AHEAD = 64 << 20
"""How far beyond the first gap a chunk may lie, bytes: providers have some chunks under way at once, but
one at the end of the world would make a file as large as that.
"""


class GsbDestination:
    """Receives data from one provider.

    Parameters
    ----------
    url
        Where the provider sends it.
    sink
        Where it is kept.
    limit
        Largest size, bytes; None: no limit.
    progress
        Called as the data arrives.
    release
        Takes the place off the service bus.
    """

    components = ("UploadChunk", "UploadFinished")

    def __init__(
        self,
        url: str,
        sink: Sink,
        limit: int | None,
        progress: Progress | None,
        release: Callable[[GsbDestination], Awaitable[None]],
    ) -> None:
        self.upload_url = url
        self.sink = sink
        self.error: TransferError | None = None
        self._limit = limit
        self._progress = progress
        self._release = release
        self._ranges = Ranges()
        self._complete = False
        self._closed = False
        # set when `wait` has something to tell: completeness, or an error
        self._told = asyncio.Event()
        self._delivering = asyncio.Lock()

    async def answer(self, component: str, payload: Any) -> None:
        """Take a provider's message; `RefusedError` if there is something wrong with it."""
        if self._closed:
            raise RefusedError("the transfer has ended")
        try:
            if component == "UploadChunk":
                await self._take(*chunk_of(payload))
            elif component == "UploadFinished":
                await self._check(hash_of(payload))
            else:
                raise RefusedError(f"{component} is not known here")
        except TransferError as error:
            self._fail(error)
            raise RefusedError(str(error)) from error

    async def _take(self, offset: int, content: bytes) -> None:
        end = offset + len(content)
        if self._limit is not None and end > self._limit:
            raise DownloadTooLargeError(self._limit)
        if offset > self._ranges.start_end + _MAX_AHEAD:
            raise TransferError("the provider sends data far beyond what is still missing")
        if self._complete:
            # the answer to `UploadFinished` was lost, and the provider sends everything again
            await self._restart()
        if not self._ranges.add(offset, end):
            raise TransferError("the provider sends data in too many separate pieces")
        await self.sink.write(offset, content)
        if self._progress is not None:
            self._progress(self._ranges.start_end, None)

    async def _restart(self) -> None:
        self._complete = False
        self._told.clear()
        self._ranges = Ranges()
        await self.sink.reset()

    async def _check(self, checksum: str | None) -> None:
        size = self._ranges.end
        if not self._ranges.complete:
            raise TransferError(
                f"the provider sent {size} bytes with gaps: the first one begins at {self._ranges.start_end}"
            )
        if checksum is not None and await self.sink.checksum(size) != checksum:
            # a provider that tries again begins anew
            await self._restart()
            raise TransferError(
                f"{size} bytes arrived damaged: their checksum is not the one of what the provider sent"
            )
        self.error = None
        self._complete = True
        self._told.set()

    def _fail(self, error: TransferError) -> None:
        self.error = error
        self._told.set()

    def lost(self, error: Exception) -> None:
        """Note that the connection to the service bus is gone."""
        if not self._complete:
            failure = TransferError(
                f"the daemon dropped the connection that data came over: {error}; see whether it is running"
            )
            failure.__cause__ = error
            self._fail(failure)

    async def wait(self, timeout: float) -> None:
        """Wait until all has arrived and is known to be what was sent; a file is in its place then.

        Raises
        ------
        TransferError
            It did not arrive in time, or not as it was sent.
        """
        if not self._told.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._told.wait()
            except TimeoutError:
                raise TransferError(
                    f"the provider says that it was sent, but only {self._ranges.start_end} bytes and no end "
                    "have arrived: try another provider"
                ) from None
        # several may wait, and for all of them it has to be in its place
        async with self._delivering:
            if not self._complete:
                assert self.error is not None
                raise self.error
            if not self._closed:
                # from here on nothing may change any more
                self._closed = True
                try:
                    await self.sink.deliver()
                except OSError as error:
                    self._complete = False
                    self.error = TransferError(f"what arrived could not be put into its place: {error}")
                    raise

    async def bytes(self) -> bytes:
        """What has arrived, after `wait`; only of a destination in memory."""
        assert isinstance(self.sink, MemorySink)
        return bytes(self.sink.data)

    async def release(self) -> None:
        """Stop receiving and drop what is incomplete."""
        self._closed = True
        await self._release(self)
