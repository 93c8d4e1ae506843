"""A registry on loopback. The public one cannot be made to misbehave, and tests stay off the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
from aiohttp import web

SHA3 = "d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376"


@attrs.define
class Registry:
    """What it answers, and what it was asked."""

    url: str = ""
    answer: Callable[[web.Request], Any] = lambda request: web.json_response(
        {
            "http": "http://images.example.org/alpine.gvmi",
            "https": "https://images.example.org/alpine.gvmi",
            "sha3": SHA3,
            "size": 1024,
        }
    )
    asked: list[tuple[str, str, dict[str, str]]] = attrs.field(factory=list)
    #: While cleared, answers are held back.
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)


@pytest.fixture
async def registry(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Registry]:
    registry = Registry()
    registry.gate.set()

    async def handle(request: web.Request) -> web.StreamResponse:
        registry.asked.append((request.method, request.path, dict(request.query)))
        await registry.gate.wait()
        response: web.StreamResponse = registry.answer(request)
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    registry.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    monkeypatch.delenv("GOLEM_REGISTRY_URL", raising=False)
    try:
        yield registry
    finally:
        registry.gate.set()
        await runner.cleanup()
