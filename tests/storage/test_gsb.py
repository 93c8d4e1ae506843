"""Transfers over the bus of a real daemon; the test is the provider, at the other end of the bus."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import random
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from golem_nb.config import ApiConfig
from golem_nb.localnet import LocalNetwork
from golem_nb.localnet.bus.client import Bus, BusError
from golem_nb.rest import Configuration
from golem_nb.rest.errors import DaemonUnreachableError
from golem_nb.rest.gsb import Gsb
from golem_nb.rest.ids import NodeId
from golem_nb.storage import GsbStorage, TransferError
from golem_nb.storage import gsb as gsb_module

pytestmark = pytest.mark.contract("C10")

DATA = random.Random(9).randbytes(3_000_000)


@pytest.fixture
async def bus(network: LocalNetwork) -> AsyncIterator[Bus]:
    async with await Bus.connect(network.env["GSB_URL"], "test") as bus:
        yield bus


@pytest.fixture
async def gsb(network: LocalNetwork) -> AsyncIterator[Gsb]:
    async with Configuration(network.api_config) as configuration:
        yield Gsb(configuration.gsb())


@pytest.fixture
async def storage(gsb: Gsb, network: LocalNetwork) -> AsyncIterator[GsbStorage]:
    async with GsbStorage(gsb, NodeId(network.requestor)) as storage:
        yield storage


def address(url: str) -> str:
    return f"/public/gftp/{url.rpartition('/')[2]}"


async def fetch(bus: Bus, url: str, size: int = 60_000, window: int = 12) -> bytes:
    length = (await bus.call(f"{address(url)}/GetMetadata", None))["fileSize"]
    pieces: dict[int, bytes] = {}
    places = iter(range(0, length, size))

    async def worker() -> None:
        for offset in places:
            answer = await bus.call(f"{address(url)}/GetChunk", {"offset": offset, "size": size})
            assert answer["offset"] == offset
            pieces[offset] = bytes(answer["content"])

    await asyncio.gather(*(worker() for _ in range(window)))
    return b"".join(content for _, content in sorted(pieces.items()))


async def send(bus: Bus, url: str, data: bytes, size: int = 256 << 10, window: int = 12) -> None:
    places = iter(range(0, len(data), size))

    async def worker() -> None:
        for offset in places:
            chunk = {"offset": offset, "content": data[offset : offset + size]}
            await bus.call(f"{address(url)}/UploadChunk", {"chunk": chunk})

    await asyncio.gather(*(worker() for _ in range(window)))
    await bus.call(f"{address(url)}/UploadFinished", {"hash": hashlib.sha3_256(data).hexdigest()})


def open_files(folder: Path) -> list[str]:
    def target(fd: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return os.readlink(f"/proc/self/fd/{fd}")
        return ""

    return [path for path in map(target, os.listdir("/proc/self/fd")) if path.startswith(str(folder))]


async def test_uploads(storage: GsbStorage, bus: Bus, network: LocalNetwork, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(DATA)
    for source in (await storage.upload_bytes(DATA), await storage.upload_file(path)):
        assert source.download_url.startswith(f"gftp://{network.requestor}/")
        assert await fetch(bus, source.download_url) == DATA
        assert source.error is None
        await source.release()
        await source.release()


async def test_downloads(storage: GsbStorage, bus: Bus, tmp_path: Path) -> None:
    to_memory = await storage.new_destination(limit=len(DATA))
    to_file = await storage.new_destination(tmp_path / "out")
    await asyncio.gather(send(bus, to_memory.upload_url, DATA), send(bus, to_file.upload_url, DATA, 40_000))
    await to_memory.wait(5)
    await to_file.wait(5)
    assert await to_memory.bytes() == DATA
    assert (tmp_path / "out").read_bytes() == DATA
    await to_memory.release()
    await to_file.release()
    assert os.listdir(tmp_path) == ["out"]


async def test_pieces_of_all_sizes(storage: GsbStorage, bus: Bus) -> None:
    source = await storage.upload_bytes(DATA)
    for size in (1, 1000, 40 << 10, 65_000):
        answer = await bus.call(f"{address(source.download_url)}/GetChunk", {"offset": 5, "size": size})
        assert bytes(answer["content"]) == DATA[5 : 5 + size]
    to = await storage.new_destination(limit=len(DATA))
    for size in (1, 1000, 40 << 10, 1 << 20, 2 << 20):
        chunk = {"offset": 0, "content": DATA[:size]}
        await bus.call(f"{address(to.upload_url)}/UploadChunk", {"chunk": chunk})
    await bus.call(f"{address(to.upload_url)}/UploadFinished", {"hash": None})
    await to.wait(5)
    assert await to.bytes() == DATA[: 2 << 20]


@pytest.mark.parametrize(
    ("component", "payload", "said"),
    [
        ("GetChunk", {"offset": 4_000_000, "size": 1}, "beyond the end of the data"),
        ("GetChunk", {"offset": -1, "size": 1}, "offset must be a whole number"),
        ("GetChunk", {"offset": 0, "size": 1 << 50}, "too large: ask for at most 65000"),
        ("GetChunk", {"offset": 0, "size": 65_001}, "too large"),
        ("GetChunk", "nonsense", "offset must be"),
    ],
)
async def test_hostile_requests_do_no_harm(
    storage: GsbStorage, bus: Bus, component: str, payload: Any, said: str
) -> None:
    source = await storage.upload_bytes(DATA)
    with pytest.raises(BusError, match=said):
        await bus.call(f"{address(source.download_url)}/{component}", payload)
    assert await fetch(bus, source.download_url) == DATA


async def test_the_same_content_is_published_once(storage: GsbStorage, bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(DATA)
    files = await asyncio.gather(*(storage.upload_file(path) for _ in range(5)))
    texts = await asyncio.gather(*(storage.upload_bytes(DATA) for _ in range(5)))
    others = [await storage.upload_bytes(DATA[:10]), await storage.upload_bytes(DATA[:10])]
    assert len({source.download_url for source in files}) == 1
    assert len({source.download_url for source in texts}) == 1
    assert len({source.download_url for source in [*files, *texts, *others]}) == 4
    for source in files[1:]:
        await source.release()
    assert await fetch(bus, files[0].download_url) == DATA
    await files[0].release()
    # what is not in use any more gets an address of its own, also where it is the same
    again = await storage.upload_file(path)
    assert again.download_url != files[0].download_url
    path.write_bytes(b"other")
    changed = await storage.upload_file(path)
    assert changed.download_url != again.download_url
    assert await fetch(bus, changed.download_url) == b"other"


async def test_many_transfers_at_once(storage: GsbStorage, bus: Bus, tmp_path: Path) -> None:
    contents = [random.Random(seed).randbytes(200_000 + seed) for seed in range(20)]

    async def back_and_forth(number: int) -> None:
        source = await storage.upload_bytes(contents[number])
        to = await storage.new_destination(tmp_path / str(number))
        await send(bus, to.upload_url, await fetch(bus, source.download_url, window=3), 50_000, window=3)
        await to.wait(5)
        await source.release()
        await to.release()

    await asyncio.gather(*map(back_and_forth, range(20)))
    assert [(tmp_path / str(number)).read_bytes() for number in range(20)] == contents


async def test_nothing_is_left_on_the_bus(gsb: Gsb, bus: Bus, network: LocalNetwork, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    async with GsbStorage(gsb, NodeId(network.requestor)) as storage:
        released = await storage.upload_bytes(DATA)
        kept = [released, await storage.upload_file(tmp_path / "in"), await storage.upload_bytes(b"")]
        urls = [source.download_url for source in kept]
        places = [await storage.new_destination(path) for path in (None, tmp_path / "out")]
        urls += [place.upload_url for place in places]
        await released.release()
    for url in urls:
        # the daemon says that it does not know the address, or nothing at all
        with pytest.raises((BusError, TimeoutError)):
            await bus.call(f"{address(url)}/GetMetadata", None, timeout=0.2)
        # the address is free again
        await gsb.delete_service(await gsb.create_service(address(url), ["GetMetadata"]))
    assert os.listdir(tmp_path) == ["in"]
    assert not open_files(tmp_path)
    with pytest.raises(RuntimeError, match="the storage is closed"):
        await storage.upload_bytes(DATA)
    await storage.close()


async def test_cancelled_while_it_is_published(storage: GsbStorage, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    for turns in range(12):
        tasks = [
            asyncio.create_task(storage.upload_file(tmp_path / "in")),
            asyncio.create_task(storage.new_destination(tmp_path / "out")),
        ]
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(outcome, BaseException):
                await outcome.release()
    await storage.close()
    assert os.listdir(tmp_path) == ["in"]
    assert not open_files(tmp_path)


async def test_a_channel_that_the_daemon_closes(storage: GsbStorage, gsb: Gsb, bus: Bus) -> None:
    source = await storage.upload_bytes(DATA)
    to = await storage.new_destination()
    for url in (source.download_url, to.upload_url):
        await gsb.delete_service(base64.urlsafe_b64encode(address(url).encode()).decode().rstrip("="))
    with pytest.raises(TransferError, match="the daemon dropped the connection"):
        await to.wait(5)
    async with asyncio.timeout(5):
        while source.error is None:
            await asyncio.sleep(0.01)
    assert "the daemon dropped the connection" in str(source.error)
    # what is lost is not shared any more
    again = await storage.upload_bytes(DATA)
    assert await fetch(bus, again.download_url) == DATA


async def test_no_daemon(tmp_path: Path, unused_tcp_port: int) -> None:
    config = ApiConfig(app_key="key", api_url=f"http://127.0.0.1:{unused_tcp_port}")
    async with (
        Configuration(config) as configuration,
        GsbStorage(Gsb(configuration.gsb()), NodeId("0x1")) as storage,
    ):
        with pytest.raises(DaemonUnreachableError):
            await storage.upload_bytes(b"x")
        with pytest.raises(DaemonUnreachableError):
            await storage.new_destination(tmp_path / "out")
    assert not os.listdir(tmp_path)


async def test_files_do_not_block_the_loop(
    storage: GsbStorage, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[int]()

    def note(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            threads.add(threading.get_ident())
            return function(*arguments)

        return noted

    path = tmp_path / "in"
    path.write_bytes(DATA)
    for name in ("open", "pread", "pwrite", "unlink", "replace"):
        monkeypatch.setattr(os, name, note(getattr(os, name)))
    source = await storage.upload_file(path)
    to = await storage.new_destination(tmp_path / "out")
    await send(bus, to.upload_url, await fetch(bus, source.download_url))
    await to.wait(5)
    await to.release()
    dropped = await storage.new_destination(tmp_path / "out")
    await dropped.release()
    assert threads
    assert threading.get_ident() not in threads


async def test_a_daemon_that_hangs_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # the real daemon does not hang when one wants it to
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response({"servicesId": "abc"}, status=201)
        if request.method == "DELETE":
            await asyncio.sleep(60)
        channel = web.WebSocketResponse(protocols=("gsb+flexbuffers",))
        await channel.prepare(request)
        await channel.receive()
        return channel

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(gsb_module, "_CLOSE_LIMIT", 0.1)
    config = ApiConfig(app_key="key", api_url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with (
        Configuration(config) as configuration,
        asyncio.timeout(5),
        GsbStorage(Gsb(configuration.gsb()), NodeId("0x1")) as storage,
    ):
        await storage.upload_bytes(b"x")
        await storage.new_destination()
    assert not storage._tasks
    await runner.cleanup()
