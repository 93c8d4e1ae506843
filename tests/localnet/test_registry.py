from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from golem_nb.localnet.registry import Registry
from golem_nb.localnet.spec import ImageKind, InvalidSpecError


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def http(registry: Registry) -> AsyncIterator[aiohttp.ClientSession]:
    application = web.Application()
    application.add_routes(registry.routes())
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    await runner.cleanup()


@pytest.mark.parametrize(
    "query",
    [
        {"tag": "golem/alpine:latest", "count": "true"},
        {"tag": "golem_nb/python", "dev": "true"},
        {"hash": "d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376", "count": "true"},
        {"hash": "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"},
    ],
)
async def test_documented_images(http: aiohttp.ClientSession, query: dict[str, str]) -> None:
    async with http.get("/v1/image/info", params=query) as answer:
        assert answer.status == 200
        info = await answer.json()
    assert set(info) == {"http", "https", "sha3", "size"}
    if "hash" in query:
        assert info["sha3"] == query["hash"]
    async with http.head(info["http"]) as head:
        assert head.status == 200
        assert head.content_length == info["size"]
    async with http.get(info["http"]) as image:
        assert len(await image.read()) == info["size"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/image/info",
        "/v1/image/info?tag=golem/alpine",
        "/v1/image/info?tag=nobody/nothing:latest",
        "/v1/image/info?hash=00",
        "/images/00.gvmi",
        "/images/../secret.gvmi",
        "/",
    ],
)
async def test_all_else_is_404(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as answer:
        assert answer.status == 404


async def test_a_folder_under_a_tag(http: aiohttp.ClientSession, registry: Registry, tmp_path: Path) -> None:
    image = registry.add("me/tools:1", tmp_path)
    assert (image.kind, image.rootfs, image.tag) == (ImageKind.ROOTFS, tmp_path, "me/tools:1")
    assert image in registry.images
    async with http.get("/v1/image/info", params={"tag": "me/tools:1"}) as answer:
        assert (await answer.json())["sha3"] == image.sha3
    with pytest.raises(InvalidSpecError, match="no tag"):
        registry.add("me tools", tmp_path)
    with pytest.raises(InvalidSpecError, match="no folder"):
        registry.add("me/tools:2", tmp_path / "absent")
