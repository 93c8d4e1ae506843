"""The commands that move data between this machine and a provider."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golem_nb import foreign_json
from golem_nb.events import DownloadFinished, DownloadStarted
from golem_nb.script.base import Command, text
from golem_nb.script.progress import CommandProgress
from golem_nb.storage import DOWNLOAD_BYTES_LIMIT, TransferError

if TYPE_CHECKING:
    import os

    from golem_nb.storage import Destination, Source

__all__ = [
    "Download",
    "DownloadBytes",
    "DownloadFile",
    "DownloadJson",
    "Upload",
    "UploadBytes",
    "UploadFile",
    "UploadJson",
]

_PROGRESS_INTERVAL = 0.5
"""Seconds between two progress events of a transfer."""

_ARRIVAL_LIMIT = 10.0
"""Seconds that a provider which calls a download done is given to have sent all of it.

It normally has, because it waits for the answer to its last message.
"""


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


class _Transfer(Command):
    """What uploads and downloads have in common: a published address and progress."""

    _url: str | None = None
    _reported = 0.0

    def _address(self) -> str:
        if self._url is None:
            raise RuntimeError(f"{self!s} has no address yet: script.prepare() gives it one")
        return self._url

    def _progress(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if not self._reported:
            # the first interval begins with the first piece, so that short transfers report nothing
            self._reported = now
        elif now - self._reported >= _PROGRESS_INTERVAL:
            self._reported = now
            self.script.emit(
                CommandProgress, command=self, step=(0, 1), message=None, progress=(done, total), unit="Bytes"
            )


class Upload(_Transfer):
    """Base of the commands that send data to a provider.

    Parameters
    ----------
    dst_path
        Where to put the data on the provider.
    """

    def __init__(self, dst_path: str) -> None:
        self.dst_path = text(dst_path, "dst_path of an upload")
        self._source: Source | None = None

    @abstractmethod
    async def _publish(self) -> Source:
        """Make the data available to the provider."""

    async def before(self) -> None:
        """Publish the data."""
        self._source = await self._publish()
        self._url = self._source.download_url

    def evaluate(self) -> dict[str, Any]:
        """The command as the exe-unit reads it."""
        return {"transfer": {"from": self._address(), "to": f"container:{self.dst_path}"}}

    async def release(self) -> None:
        """Stop publishing the data."""
        if self._source is not None:
            await self._source.release()

    def local_error(self) -> Exception | None:
        """What went wrong here while the provider fetched the data."""
        return None if self._source is None else self._source.error

    def __str__(self) -> str:
        return f"{type(self).__name__} to {self.dst_path}"


class UploadBytes(Upload):
    """Send bytes.

    Parameters
    ----------
    data
        The bytes to send.
    dst_path
        Where to put them on the provider.

    Raises
    ------
    TypeError
        `data` is not bytes.
    """

    def __init__(self, data: bytes, dst_path: str) -> None:
        super().__init__(dst_path)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(
                f"upload_bytes() sends bytes, not {type(data).__name__}: encode a text, "
                "use upload_json() for other data"
            )
        # a copy of what may still change; bytes are taken as they are
        self._data = bytes(data)

    async def _publish(self) -> Source:
        return await self.script.context.storage.upload_bytes(self._data, progress=self._progress)


class UploadJson(UploadBytes):
    """Send data as JSON.

    Parameters
    ----------
    data
        What to send; it is converted at once, so later changes do not count.
    dst_path
        Where to put it on the provider.

    Raises
    ------
    TypeError
        `data` holds something that JSON cannot express.
    ValueError
        `data` contains itself.
    """

    def __init__(self, data: Any, dst_path: str) -> None:
        try:
            encoded = json.dumps(data).encode()
        except (TypeError, ValueError, RecursionError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"upload_json() to {dst_path!r}: this cannot be expressed as JSON: {error}") from error
        super().__init__(encoded, dst_path)


class UploadFile(Upload):
    """Send a file.

    It is read while it is sent, never as a whole.

    Parameters
    ----------
    src_path
        Path of the file on this machine. It has to exist when the script is yielded.
    dst_path
        Where to put it on the provider.
    """

    def __init__(self, src_path: str | os.PathLike[str], dst_path: str) -> None:
        super().__init__(dst_path)
        self.src_path = text(src_path, "src_path of upload_file()")

    async def _publish(self) -> Source:
        return await self.script.context.storage.upload_file(Path(self.src_path), progress=self._progress)

    def __str__(self) -> str:
        return f"UploadFile {self.src_path} to {self.dst_path}"


class Download(_Transfer):
    """Base of the commands that get data from a provider.

    Parameters
    ----------
    src_path
        Path of the file on the provider.
    """

    def __init__(self, src_path: str) -> None:
        self.src_path = text(src_path, "src_path of a download")
        self._destination: Destination | None = None

    @abstractmethod
    async def _open(self) -> Destination:
        """Make the place that the provider sends the data to."""

    async def _deliver(self, destination: Destination) -> None:
        """Hand the complete data over; a file is in its place by now."""

    async def before(self) -> None:
        """Make the place that the provider sends the data to."""
        self._destination = await self._open()
        self._url = self._destination.upload_url

    def evaluate(self) -> dict[str, Any]:
        """The command as the exe-unit reads it."""
        return {"transfer": {"from": f"container:{self.src_path}", "to": self._address()}}

    async def after(self) -> None:
        """Check that all has arrived, and hand it over."""
        destination = self._destination
        assert destination is not None
        self.script.emit(DownloadStarted, command=self)
        try:
            await destination.wait(_ARRIVAL_LIMIT)
        except TransferError as error:
            raise TransferError(f"{self!s}: {error}") from error
        self.script.emit(DownloadFinished, command=self)
        # whoever awaits the command itself gets on now: the callback may be the one who does
        self.script.settle(self)
        await self._deliver(destination)

    async def release(self) -> None:
        """Close the place that the data was sent to; incomplete data is thrown away."""
        if self._destination is not None:
            await self._destination.release()

    def local_error(self) -> Exception | None:
        """Why data from the provider was refused."""
        return None if self._destination is None else self._destination.error

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.src_path}"


class DownloadBytes(Download):
    """Get a file into memory.

    Parameters
    ----------
    src_path
        Path of the file on the provider.
    on_download
        Called with the bytes; what it returns is awaited.
    limit
        Largest size to accept, bytes; checked while the data arrives.

    Raises
    ------
    ValueError
        `limit` is not a positive number.
    """

    def __init__(
        self,
        src_path: str,
        on_download: Callable[[bytes], Awaitable[Any]],
        limit: int = DOWNLOAD_BYTES_LIMIT,
    ) -> None:
        super().__init__(src_path)
        if not callable(on_download):
            raise TypeError(f"on_download must be a function that takes the data, not {on_download!r:.100}")
        if not _is_positive(limit):
            raise ValueError(f"limit must be a positive number of bytes, not {limit!r}")
        self._on_download: Callable[[Any], Awaitable[Any]] = on_download
        self._limit = limit

    async def _open(self) -> Destination:
        return await self.script.context.storage.new_destination(limit=self._limit, progress=self._progress)

    def _convert(self, data: bytes) -> Any:
        return data

    async def _deliver(self, destination: Destination) -> None:
        awaitable = self._on_download(self._convert(await destination.bytes()))
        # a plain function is accepted too: it has got its data by now
        if isinstance(awaitable, Awaitable):
            await awaitable


class DownloadJson(DownloadBytes):
    """Get a JSON file as data.

    Parameters
    ----------
    src_path
        Path of the file on the provider.
    on_download
        Called with the data; what it returns is awaited.
    limit
        Largest size of the file to accept, bytes; checked while it arrives.
    """

    def _convert(self, data: bytes) -> Any:
        try:
            text = data.decode(json.detect_encoding(data))
            foreign_json.check_depth(text)
            return json.loads(text)
        except ValueError as error:
            raise TransferError(
                f"{self!s}: what the provider sent is not valid JSON ({str(error)[:200]}); "
                "use download_bytes() to look at the file"
            ) from error


class DownloadFile(Download):
    """Get a file into a file.

    It is written beside the target while it arrives and takes the target's place once it is complete.

    Parameters
    ----------
    src_path
        Path of the file on the provider.
    dst_path
        Path on this machine; its folder has to exist when the script is yielded.
    """

    def __init__(self, src_path: str, dst_path: str | os.PathLike[str]) -> None:
        super().__init__(src_path)
        self.dst_path = text(dst_path, "dst_path of download_file()")

    async def _open(self) -> Destination:
        return await self.script.context.storage.new_destination(Path(self.dst_path), progress=self._progress)

    def __str__(self) -> str:
        return f"DownloadFile {self.src_path} to {self.dst_path}"
