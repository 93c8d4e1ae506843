from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from golem_nb.storage import TransferError
from golem_nb.storage.reader import FileReader, open_file

SIZE = 10_000_000
DATA = random.Random(3).randbytes(SIZE)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(params=["cached", "by a thread"])
def reader(
    tmp_path: Path,
    executor: ThreadPoolExecutor,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> FileReader:
    """A file; the thread reads what the system does not have in memory, or does not tell of, as here."""
    if request.param != "cached":
        monkeypatch.setattr("golem_nb.storage.reader._NOWAIT", None)
    path = tmp_path / "in"
    path.write_bytes(DATA)
    fd, stat = open_file(path)
    return FileReader(path, fd, stat.st_size, executor)


async def test_pieces_from_anywhere(reader: FileReader) -> None:
    places = random.Random(4)
    for _ in range(200):
        start = places.randrange(SIZE)
        end = min(SIZE, start + places.choice((0, 1, 40 << 10, 65_000, 3 << 20)))
        assert await reader.read(start, end) == DATA[start:end]
    await reader.close()
    await reader.close()


async def test_several_at_once(reader: FileReader) -> None:
    size = 64_000

    async def fetch() -> bytes:
        return b"".join([await reader.read(at, min(SIZE, at + size)) for at in range(0, SIZE, size)])

    assert await asyncio.gather(*(fetch() for _ in range(8))) == [DATA] * 8
    # a file is never in memory as a whole
    assert len(reader._blocks) <= reader.kept_blocks
    await reader.close()


async def test_the_name_may_go_but_not_the_content(reader: FileReader, tmp_path: Path) -> None:
    (tmp_path / "in").unlink()
    assert await reader.read(5, 10) == DATA[5:10]
    await reader.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader._fd)


async def test_a_file_that_became_shorter(reader: FileReader, tmp_path: Path) -> None:
    os.truncate(tmp_path / "in", 4)
    for _ in range(2):
        with pytest.raises(TransferError, match=r"in' became shorter.*had 10000000 bytes, now it ends at 4;"):
            await reader.read(0, 100)
    await reader.close()


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this system cannot tell what it has in memory")
async def test_what_is_not_in_memory_is_read_by_a_thread(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    path = tmp_path / "cold"
    path.write_bytes(DATA)
    fd, stat = open_file(path)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    reader = FileReader(path, fd, stat.st_size, executor)
    try:
        os.preadv(fd, [bytearray(10)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    else:
        pytest.skip("this file system forgets nothing")
    assert await reader.read(5, 70_000) == DATA[5:70_000]
    assert reader._blocks
    await reader.close()


async def test_closed_while_it_is_being_read(reader: FileReader) -> None:
    reading = [asyncio.create_task(reader.read(at, at + 10)) for at in range(0, SIZE, 1 << 20)]
    await asyncio.sleep(0)
    for task in reading:
        task.cancel()
    await reader.close()
    await asyncio.gather(*reading, return_exceptions=True)
