"""Transfers over the service bus of the daemon, which needs no program beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from golem_nb.storage.base import DOWNLOAD_BYTES_LIMIT
from golem_nb.storage.destination import GsbDestination
from golem_nb.storage.messages import RefusedError
from golem_nb.storage.publication import GsbSource, Publication
from golem_nb.storage.reader import BytesReader, FileReader, open_file
from golem_nb.storage.sink import FileSink, MemorySink

if TYPE_CHECKING:
    from golem_nb.rest.gsb import Gsb, GsbRequest, GsbService
    from golem_nb.rest.ids import NodeId
    from golem_nb.storage.base import Progress
    from golem_nb.storage.reader import Reader

__all__ = ["GsbStorage"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 4
"""Threads for files: of our own, so that what the user does in the loop's default ones cannot stop a
transfer.
"""


_CLOSE_LIMIT = 5.0
"""Seconds that the daemon is given to free the addresses when everything ends."""


class _Handler(Protocol):
    """What answers the messages to one address."""

    @property
    def components(self) -> Sequence[str]: ...
    async def answer(self, component: str, payload: Any) -> Mapping[str, Any] | None: ...
    def lost(self, error: Exception) -> None: ...


class _Service:
    """An address of the service bus, and the task that answers what comes there."""

    def __init__(self, gsb: Gsb, name: str, handler: _Handler) -> None:
        self._gsb = gsb
        self._handler = handler
        self._ready = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run(f"/public/gftp/{name}"), name=f"gftp service {name[:8]}")

    async def ready(self) -> None:
        """Wait until messages can come; raises what prevents it."""
        await asyncio.shield(self._ready)

    def end(self) -> None:
        """Answer no more, and free the address in the background."""
        self.task.cancel()

    async def _run(self, address: str) -> None:
        try:
            async with self._gsb.bind(address, self._handler.components) as service:
                self._ready.set_result(None)
                async with aclosing(service.requests()) as requests:
                    async for request in requests:
                        # one after another: a piece is there, or on its way, before it is asked for
                        await self._answer(service, request)
        except Exception as error:
            if self._ready.done():
                logger.debug("Service %s ended: %s", address, error)
                self._handler.lost(error)
            else:
                self._ready.set_exception(error)
                # whoever waited for it may have been cancelled: that is no reason to complain
                self._ready.exception()
        finally:
            self._ready.cancel()

    async def _answer(self, service: GsbService, request: GsbRequest) -> None:
        try:
            reply = await self._handler.answer(request.component, request.payload)
        except RefusedError as error:
            logger.debug("%s to %s was refused: %s", request.component, service.address, error)
            await service.reply_error(request, str(error))
        else:
            await service.reply(request, reply)


class GsbStorage:
    """Serves data to providers, and receives data from them, at addresses of the daemon's service bus.

    Each published object is a service of its own: the bus tells a service which message it gets, but not
    which of several objects it is for. An address is random, and whoever knows it can read (or write) what
    is behind it: it is given to one provider, and never used again.

    Parameters
    ----------
    gsb
        The daemon's service bus.
    node_id
        The identity of this requestor, which the addresses contain.

    Examples
    --------
    ::

        async with configuration.gsb() as client, GsbStorage(Gsb(client), me.identity) as storage:
            source = await storage.upload_bytes(b"data")
            source.download_url
    """

    def __init__(self, gsb: Gsb, node_id: NodeId) -> None:
        self._gsb = gsb
        self._node_id = node_id
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="golem_nb-storage")
        self._services: dict[_Handler, _Service] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._publications: dict[Hashable, Publication] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all transfers and take everything off the service bus. May be called again."""
        self._closed = True
        for handler in list(self._services):
            if isinstance(handler, GsbDestination):
                await handler.release()
            elif isinstance(handler, Publication):
                for user in list(handler.users):
                    await user.release()
        # (a task may leave one behind that ends something)
        deadline = asyncio.get_running_loop().time() + _CLOSE_LIMIT
        while self._tasks:
            left = deadline - asyncio.get_running_loop().time()
            _, late = await asyncio.wait(self._tasks, timeout=max(0.0, left))
            for task in late:
                task.cancel()
        self._executor.shutdown(wait=False)

    async def upload_bytes(self, data: bytes, *, progress: Progress | None = None) -> GsbSource:
        """Publish bytes; the same object is published once, however many use it at the same time.

        Parameters
        ----------
        data
            The bytes; they must not change.
        progress
            Called as they are fetched.
        """
        # the publication keeps the object alive, so that its id stays its own
        return await self._publish(("bytes", id(data)), lambda: BytesReader(data), progress)

    async def upload_file(self, path: Path, *, progress: Progress | None = None) -> GsbSource:
        """Publish a file, which is read as it is fetched; the same file is published once.

        Parameters
        ----------
        path
            The file. It is opened now: what becomes of its name later does not matter.
        progress
            Called as it is fetched.

        Raises
        ------
        OSError
            It does not exist, cannot be read, or is no file.
        """
        fd, stat = await self._in_thread(lambda: open_file(path), undo=lambda opened: os.close(opened[0]))
        reader = FileReader(path, fd, stat.st_size, self._executor)
        key = ("file", stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        used = False

        def use() -> Reader:
            nonlocal used
            used = True
            return reader

        try:
            return await self._publish(key, use, progress)
        finally:
            if not used:
                os.close(fd)

    async def new_destination(
        self, path: Path | None = None, limit: int | None = None, *, progress: Progress | None = None
    ) -> GsbDestination:
        """Make a place that a provider can send data to.

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
        name = secrets.token_hex(32)
        sink: FileSink | MemorySink
        if path is None:
            sink = MemorySink(self._executor)
            limit = DOWNLOAD_BYTES_LIMIT if limit is None else limit
        else:
            sink = await self._in_thread(
                lambda: FileSink.opened(path, self._executor), undo=lambda opened: opened.remove()
            )
        destination = GsbDestination(self._url(name), sink, limit, progress, self._end_destination)
        service = self._serve(name, destination)
        try:
            await service.ready()
        except BaseException:
            await destination.release()
            raise
        return destination

    def _url(self, name: str) -> str:
        return f"gftp://{self._node_id}/{name}"

    def _serve(self, name: str, handler: _Handler) -> _Service:
        if self._closed:
            raise RuntimeError("the storage is closed: no transfer can be started after Golem was stopped")
        service = self._services[handler] = _Service(self._gsb, name, handler)
        self._own(service.task)
        return service

    async def _publish(
        self, key: Hashable, reader: Callable[[], Reader], progress: Progress | None
    ) -> GsbSource:
        publication = self._publications.get(key)
        if publication is None or publication.error is not None:
            name = secrets.token_hex(32)
            publication = Publication(key, self._url(name), reader())
            self._publications[key] = publication
            self._serve(name, publication)
        source = GsbSource(publication, progress, self._end_source)
        publication.users.add(source)
        try:
            await self._services[publication].ready()
        except BaseException:
            await source.release()
            raise
        return source

    async def _end_source(self, source: GsbSource) -> None:
        publication = source.publication
        if source not in publication.users:
            return
        publication.users.discard(source)
        if publication.users:
            return
        if self._publications.get(publication.key) is publication:
            del self._publications[publication.key]
        self._services.pop(publication).end()
        self._own(asyncio.create_task(publication.reader.close()))

    async def _end_destination(self, destination: GsbDestination) -> None:
        service = self._services.pop(destination, None)
        if service is not None:
            service.end()
        closing = asyncio.create_task(destination.sink.discard())
        self._own(closing)
        # when this returns, no incomplete file is left; when it is cancelled, the file goes all the same
        await asyncio.shield(closing)

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("A transfer could not be cleaned up", exc_info=error)

    async def _in_thread(self, function: Callable[[], T], undo: Callable[[T], None]) -> T:
        """Run a function that opens something; what it opens for nobody is closed again."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: None if done.exception() else undo(done.result()))
            raise
