from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from golem_nb.storage import TransferError
from golem_nb.storage.sink import FileSink, MemorySink

SIZE = 3_000_000
DATA = random.Random(5).randbytes(SIZE)
CHECKSUM = hashlib.sha3_256(DATA).hexdigest()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(params=["file", "memory"])
def sink(
    request: pytest.FixtureRequest, tmp_path: Path, executor: ThreadPoolExecutor
) -> FileSink | MemorySink:
    return FileSink.opened(tmp_path / "out", executor) if request.param == "file" else MemorySink(executor)


def pieces(order: str, size: int = 40 << 10) -> list[int]:
    offsets = list(range(0, SIZE, size))
    if order == "reversed":
        offsets.reverse()
    elif order == "swapped":
        offsets = [offsets[i ^ 1] if i ^ 1 < len(offsets) else offsets[i] for i in range(len(offsets))]
    elif order == "shuffled":
        random.Random(7).shuffle(offsets)
    elif order == "twice":
        offsets = offsets[: len(offsets) // 2] + offsets
    return offsets


@pytest.mark.parametrize("order", ["straight", "reversed", "swapped", "shuffled", "twice"])
async def test_pieces_in_any_order(sink: FileSink | MemorySink, order: str, tmp_path: Path) -> None:
    for offset in pieces(order):
        await sink.write(offset, DATA[offset : offset + (40 << 10)])
    assert await sink.checksum(SIZE) == CHECKSUM
    await sink.deliver()
    await sink.discard()
    assert (bytes(sink.data) if isinstance(sink, MemorySink) else (tmp_path / "out").read_bytes()) == DATA


async def test_pieces_in_order_are_hashed_once(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    sink = FileSink.opened(tmp_path / "out", executor)
    for offset in pieces("swapped"):
        await sink.write(offset, DATA[offset : offset + (40 << 10)])
    await sink._flush()
    # swapped pieces are the rule with several under way: the file is not read again for them
    assert sink._hashed == SIZE
    await sink.discard()


async def test_beginning_anew(sink: FileSink | MemorySink, tmp_path: Path) -> None:
    await sink.write(0, b"x" * SIZE)
    assert await sink.checksum(SIZE) != CHECKSUM
    await sink.reset()
    await sink.write(0, DATA[:1000])
    assert await sink.checksum(1000) == hashlib.sha3_256(DATA[:1000]).hexdigest()
    await sink.deliver()
    data = bytes(sink.data) if isinstance(sink, MemorySink) else (tmp_path / "out").read_bytes()
    assert data == DATA[:1000]


async def test_nothing_at_all(sink: FileSink | MemorySink) -> None:
    await sink.write(0, b"")
    assert await sink.checksum(0) == hashlib.sha3_256(b"").hexdigest()
    await sink.deliver()


async def test_an_incomplete_file_leaves_no_trace(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "out").write_bytes(b"old")
    sink = FileSink.opened(tmp_path / "out", executor)
    assert len(list(tmp_path.iterdir())) == 2
    for offset in pieces("straight"):
        await sink.write(offset, DATA[offset : offset + (40 << 10)])
    await sink.discard()
    await sink.discard()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


async def test_a_full_disk(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no disk of a test's own is to be had, let alone a full one: the system call says what it would say
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = FileSink.opened(tmp_path / "out", executor)
    monkeypatch.setattr(os, "pwrite", full)

    async def write_all() -> None:
        for offset in pieces("straight"):
            await sink.write(offset, DATA[offset : offset + (40 << 10)])
            await asyncio.sleep(0.001)

    with pytest.raises(TransferError, match=r"cannot write '.*out': No space left on device"):
        await write_all()
    await sink.discard()
    assert not list(tmp_path.iterdir())


async def test_a_stranger_does_not_fill_the_disk(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileSink, "_CHECK_EVERY", 1 << 20)
    monkeypatch.setattr(FileSink, "_FREE_SPACE", 1 << 60)
    sink = FileSink.opened(tmp_path / "out", executor)
    await sink.write(0, DATA[: 600 << 10])
    await sink.write(600 << 10, DATA[600 << 10 :])
    with pytest.raises(TransferError, match="the disk is nearly full: make room"):
        await sink.checksum(SIZE)
    await sink.discard()


async def test_a_slow_disk_slows_the_sender_down(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileSink, "_MAX_PENDING", 1 << 20)
    real = os.pwrite

    def slow(fd: int, data: bytes, offset: int) -> int:
        # stands for a disk: nothing else here is slow for sure
        time.sleep(0.002)
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slow)
    sink = FileSink.opened(tmp_path / "out", executor)
    waiting = 0
    for offset in pieces("straight"):
        await sink.write(offset, DATA[offset : offset + (40 << 10)])
        waiting = max(waiting, sink._pending_size)
    assert waiting <= (1 << 20) + (40 << 10)
    assert await sink.checksum(SIZE) == CHECKSUM
    await sink.discard()
