from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from golem_nb.ctx import WorkContext
from golem_nb.events import CommandExecuted, Event
from golem_nb.rest.activity import CommandExecutionError
from golem_nb.script import Script
from golem_nb.script.command import Command
from golem_nb.storage.destination import GsbDestination
from golem_nb.storage.messages import RefusedError
from golem_nb.storage.publication import GsbSource, Publication
from golem_nb.storage.reader import BytesReader, FileReader, open_file
from golem_nb.storage.sink import FileSink, MemorySink


class BuslessStorage:
    """The real storage without the daemon between: a test says itself what the provider sends.

    The way over the bus of a real daemon is in tests/storage.
    """

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self.open: dict[str, Any] = {}

    def _url(self) -> str:
        return f"gftp://0xrequestor/{len(self.open)}-{id(object())}"

    async def _source(self, reader: Any, progress: Any) -> GsbSource:
        publication = Publication("key", self._url(), reader)
        source = GsbSource(publication, progress, self._end_source)
        publication.users.add(source)
        self.open[publication.url] = publication
        return source

    async def _end_source(self, source: GsbSource) -> None:
        if self.open.pop(source.download_url, None):
            await source.publication.reader.close()

    async def upload_bytes(self, data: bytes, *, progress: Any = None) -> GsbSource:
        return await self._source(BytesReader(data), progress)

    async def upload_file(self, path: Path, *, progress: Any = None) -> GsbSource:
        fd, stat = open_file(path)
        return await self._source(FileReader(path, fd, stat.st_size, self._executor), progress)

    async def new_destination(
        self, path: Path | None = None, limit: int | None = None, *, progress: Any = None
    ) -> GsbDestination:
        sink = MemorySink(self._executor) if path is None else FileSink.opened(path, self._executor)
        destination = GsbDestination(self._url(), sink, limit, progress, self._end_destination)
        self.open[destination.upload_url] = destination
        return destination

    async def _end_destination(self, destination: GsbDestination) -> None:
        self.open.pop(destination.upload_url, None)
        await destination.sink.discard()


class Provider:
    """Executes the commands of a prepared script, as far as transfers are concerned."""

    def __init__(self, ctx: WorkContext, storage: BuslessStorage) -> None:
        self._ctx, self._storage = ctx, storage
        self.files: dict[str, bytes] = {}
        self.batches: list[list[dict[str, Any]]] = []

    async def run(
        self, script: Script, fail: int | None = None, tamper: Callable[[bytes], bytes] = lambda data: data
    ) -> list[CommandExecuted]:
        """What the engine does with a script; command number `fail` fails."""
        batch = await script.prepare()
        self.batches.append(batch)
        try:
            for index, (command, what) in enumerate(zip(script.commands, batch, strict=True)):
                if transfer := what.get("transfer"):
                    message = await self._transfer(transfer["from"], transfer["to"], tamper)
                else:
                    message = None
                if index == fail:
                    message = "exited with code 3"
                self.result(script, command, message)
                if message is not None:
                    raise CommandExecutionError(str(command), message, "no luck")
        except CommandExecutionError as error:
            reason = await script.abandon(error)
            if reason is error:
                raise
            raise reason from error
        await script.finish()
        return script.results

    def result(self, script: Script, command: Command, message: str | None = None) -> CommandExecuted:
        event = self._ctx.emit(
            CommandExecuted, script=script, command=command, success=message is None, message=message
        )
        assert isinstance(event, CommandExecuted)
        script.executed(event)
        return event

    async def _transfer(self, source: str, target: str, tamper: Callable[[bytes], bytes]) -> str | None:
        try:
            if target.startswith("container:"):
                if source.startswith("gftp:"):
                    self.files[target.removeprefix("container:")] = await self.fetch(source)
            else:
                await self.send(self.files[source.removeprefix("container:")], target, tamper)
        except RefusedError as error:
            return f"transfer failed: {error}"
        return None

    async def fetch(self, url: str) -> bytes:
        publication = self._storage.open[url]
        size = (await publication.answer("GetMetadata", {}))["fileSize"]
        data = b""
        while len(data) < size:
            piece = await publication.answer("GetChunk", {"offset": len(data), "size": 40 << 10})
            data += bytes(piece["content"])
        return data

    async def send(self, data: bytes, url: str, tamper: Callable[[bytes], bytes] = lambda data: data) -> None:
        destination = self._storage.open[url]
        for offset in range(0, len(data), 40 << 10):
            chunk = {"offset": offset, "content": tamper(data[offset : offset + (40 << 10)])}
            await destination.answer("UploadChunk", {"chunk": chunk})
        await destination.answer("UploadFinished", {"hash": hashlib.sha3_256(data).hexdigest()})


@pytest.fixture
async def storage() -> AsyncIterator[BuslessStorage]:
    with ThreadPoolExecutor(2) as executor:
        storage = BuslessStorage(executor)
        yield storage
        assert not storage.open, "something is still published"


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def ctx(storage: BuslessStorage, events: list[Event]) -> WorkContext:
    def emit(event_class: type[Event], **fields: Any) -> Event:
        event = event_class(job=None, agreement=None, activity=None, **fields)  # type: ignore[call-arg]
        events.append(event)
        return event

    # scripts ask for nothing but transfers and events: neither activity nor agreement is looked at
    return WorkContext(None, None, storage, emit)  # type: ignore[arg-type]


@pytest.fixture
def provider(ctx: WorkContext, storage: BuslessStorage) -> Provider:
    return Provider(ctx, storage)


@pytest.fixture
def received() -> list[Any]:
    return []


@pytest.fixture
def receive(received: list[Any]) -> Callable[[Any], Awaitable[None]]:
    async def on_download(data: Any) -> None:
        received.append(data)

    return on_download
