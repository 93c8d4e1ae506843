"""Data that providers may fetch, at an address of the daemon's service bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from golem_nb.storage.errors import TransferError
from golem_nb.storage.messages import RefusedError, range_of

if TYPE_CHECKING:
    from golem_nb.storage.base import Progress
    from golem_nb.storage.reader import Reader

__all__ = ["GsbSource", "Publication"]


class Publication:
    """Data under an address, used by any number of scripts at once.

    Parameters
    ----------
    key
        What tells it from other data.
    url
        Where providers fetch it.
    reader
        The data.
    """

    components = ("GetMetadata", "GetChunk")

    def __init__(self, key: Hashable, url: str, reader: Reader) -> None:
        self.key = key
        self.url = url
        self.reader = reader
        self.error: TransferError | None = None
        self.users: set[GsbSource] = set()
        self._served = 0

    async def answer(self, component: str, payload: Any) -> Mapping[str, Any]:
        """The reply to a provider's message; `RefusedError` if it cannot have what it asks for."""
        if component == "GetMetadata":
            return {"fileSize": self.reader.size}
        if component != "GetChunk":
            raise RefusedError(f"{component} is not known here")
        start, end = range_of(payload, self.reader.size)
        try:
            content = await self.reader.read(start, end)
        except TransferError as error:
            self.error = error
            raise RefusedError("the data cannot be read") from error
        self._report(end)
        return {"offset": start, "content": content}

    def _report(self, end: int) -> None:
        if end > self._served:
            self._served = end
        if len(self.users) == 1:
            # with several users nothing tells whose provider has asked
            for user in self.users:
                if user.progress is not None:
                    user.progress(self._served, self.reader.size)

    def lost(self, error: Exception) -> None:
        """Note that the connection to the service bus is gone."""
        self.error = TransferError(
            f"the daemon dropped the connection that data was sent over: {error}; see whether it is running"
        )
        self.error.__cause__ = error


class GsbSource:
    """One use of a publication."""

    def __init__(
        self,
        publication: Publication,
        progress: Progress | None,
        release: Callable[[GsbSource], Awaitable[None]],
    ) -> None:
        self.publication = publication
        self.progress = progress
        self._release = release

    @property
    def download_url(self) -> str:
        """Where the provider fetches the data."""
        return self.publication.url

    @property
    def error(self) -> Exception | None:
        """Why a provider did not get what it asked for."""
        return self.publication.error

    async def release(self) -> None:
        """Stop publishing, unless somebody else uses the same data."""
        await self._release(self)
