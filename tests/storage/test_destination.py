from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from golem_nb.storage import DownloadTooLargeError, TransferError
from golem_nb.storage.destination import GsbDestination
from golem_nb.storage.messages import RefusedError
from golem_nb.storage.sink import FileSink, MemorySink

DATA = os.urandom(200_000)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def destination(sink: FileSink | MemorySink, limit: int | None = None) -> GsbDestination:
    async def release(destination: GsbDestination) -> None:
        await destination.sink.discard()

    return GsbDestination("gftp://0xme/abc", sink, limit, None, release)


async def chunk(to: GsbDestination, offset: int, content: bytes) -> None:
    await to.answer("UploadChunk", {"chunk": {"offset": offset, "content": content}})


async def end(to: GsbDestination, data: bytes | None) -> None:
    await to.answer("UploadFinished", {"hash": data and hashlib.sha3_256(data).hexdigest()})


async def test_memory(executor: ThreadPoolExecutor) -> None:
    to = destination(MemorySink(executor), 200_000)
    for offset in (100_000, 0, 150_000, 50_000):
        await chunk(to, offset, DATA[offset : offset + 50_000])
    await end(to, DATA)
    await to.wait(1)
    assert await to.bytes() == DATA
    await to.release()


async def test_without_a_checksum(executor: ThreadPoolExecutor) -> None:
    to = destination(MemorySink(executor))
    await chunk(to, 0, DATA)
    await end(to, None)
    await to.wait(1)
    assert await to.bytes() == DATA


async def test_nothing_may_change_afterwards(executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    to = destination(FileSink.opened(tmp_path / "out", executor))
    await chunk(to, 0, DATA)
    await end(to, DATA)
    await to.wait(1)
    await to.wait(1)
    for _ in range(2):
        with pytest.raises(RefusedError, match="the transfer has ended"):
            await chunk(to, 0, b"evil")
        with pytest.raises(RefusedError, match="the transfer has ended"):
            await end(to, b"evil")
        await to.release()
    assert (tmp_path / "out").read_bytes() == DATA


async def test_a_provider_that_tries_again(executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    to = destination(FileSink.opened(tmp_path / "out", executor))
    await chunk(to, 0, DATA[:50_000] + b"damaged")
    with pytest.raises(RefusedError, match="50007 bytes arrived damaged"):
        await end(to, DATA[:50_007])
    assert isinstance(to.error, TransferError)
    await chunk(to, 0, DATA[:1000])
    await end(to, DATA[:1000])
    # the answer to that gets lost
    await chunk(to, 0, DATA[:2000])
    await end(to, DATA[:2000])
    assert to.error is None
    await to.wait(1)
    assert (tmp_path / "out").read_bytes() == DATA[:2000]


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_what_a_hostile_provider_may_send(
    executor: ThreadPoolExecutor, tmp_path: Path, kind: str
) -> None:
    to = destination(
        FileSink.opened(tmp_path / "out", executor) if kind == "file" else MemorySink(executor),
        None if kind == "file" else 1 << 20,
    )
    await chunk(to, 0, b"abc")
    for said, offset, content in (
        ("far beyond|limit of 1048576 bytes", 1 << 40, b"x"),
        ("far beyond|limit of 1048576 bytes", 100 << 20, b""),
        ("must be a whole number", -3, b"x"),
    ):
        with pytest.raises(RefusedError, match=said):
            await chunk(to, offset, content)
    with pytest.raises(RefusedError, match="GetChunk is not known here"):
        await to.answer("GetChunk", {"offset": 0, "size": 1})
    with pytest.raises(RefusedError, match="SHA3-256"):
        await to.answer("UploadFinished", {"hash": "../../etc"})
    with pytest.raises(RefusedError, match="arrived damaged"):
        await end(to, b"other")
    await to.release()
    assert not list(tmp_path.iterdir())


async def test_too_many_pieces(executor: ThreadPoolExecutor) -> None:
    to = destination(MemorySink(executor), 1 << 20)
    for number in range(1024):
        await chunk(to, 10 + 2 * number, b"x")
    with pytest.raises(RefusedError, match="too many separate pieces"):
        await chunk(to, 100_000, b"x")


async def test_gaps(executor: ThreadPoolExecutor) -> None:
    to = destination(MemorySink(executor))
    await chunk(to, 0, DATA[:100])
    await chunk(to, 150, DATA[150:])
    with pytest.raises(RefusedError, match="sent 200000 bytes with gaps: the first one begins at 100"):
        await end(to, DATA)
    with pytest.raises(TransferError, match="begins at 100"):
        await to.wait(1)


async def test_the_limit_is_enforced_while_it_arrives(executor: ThreadPoolExecutor) -> None:
    sink = MemorySink(executor)
    to = destination(sink, 100)
    await chunk(to, 0, b"x" * 100)
    with pytest.raises(RefusedError, match="limit of 100 bytes"):
        await chunk(to, 100, b"x")
    assert len(sink.data) == 100
    assert isinstance(to.error, DownloadTooLargeError)
    with pytest.raises(DownloadTooLargeError, match="pass a larger limit"):
        await to.wait(1)


async def test_it_does_not_arrive(executor: ThreadPoolExecutor) -> None:
    to = destination(MemorySink(executor))
    await chunk(to, 0, b"abc")
    with pytest.raises(TransferError, match="only 3 bytes and no end have arrived"):
        await to.wait(0.01)


async def test_the_connection_is_lost(executor: ThreadPoolExecutor) -> None:
    to = destination(MemorySink(executor))
    waiting = asyncio.create_task(to.wait(5))
    await asyncio.sleep(0)
    to.lost(ConnectionError("closed"))
    with pytest.raises(TransferError, match=r"the daemon dropped the connection.*closed"):
        await waiting


async def test_the_connection_is_lost_after_the_end(executor: ThreadPoolExecutor) -> None:
    to = destination(MemorySink(executor))
    await chunk(to, 0, DATA)
    await end(to, DATA)
    to.lost(ConnectionError("closed"))
    await to.wait(1)
    assert await to.bytes() == DATA


async def test_progress(executor: ThreadPoolExecutor) -> None:
    seen: list[Any] = []

    async def release(_: GsbDestination) -> None: ...

    to = GsbDestination("u", MemorySink(executor), 100, lambda *progress: seen.append(progress), release)
    for offset in (0, 10, 30, 20):
        await chunk(to, offset, b"x" * 10)
    assert seen == [(10, None), (20, None), (20, None), (40, None)]
