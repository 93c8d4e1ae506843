"""A local HTTP server that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from hypothesis import settings

from golem_nb.config import ApiConfig
from golem_nb.rest import Configuration

# the helpers of `test_wire` compare with `assert` too, and should say as much when they fail
pytest.register_assert_rewrite("tests.rest.wire")

# examples may wait for a processor that others use, too
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

KEY = "the-very-secret-key"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[Configuration]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server for a handler and give a configuration of it; both end with the test."""
    runners: list[web.AppRunner] = []
    configurations: list[Configuration] = []

    async def start(handler: Handler) -> Configuration:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await handler(request)

        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        configuration = Configuration(ApiConfig(app_key=KEY, api_url=f"http://127.0.0.1:{port}"))
        configurations.append(configuration)
        return configuration

    yield start
    for configuration in configurations:
        await configuration.close()
    for runner in runners:
        await runner.cleanup()
