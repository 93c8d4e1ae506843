"""A proxy in front of the daemon that counts requests."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from yarl import URL

_HOP = ("connection", "transfer-encoding", "content-length", "host", "keep-alive")


class CountingProxy:
    """Passes requests on to `target`, and counts them by method and path as they come."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._session: aiohttp.ClientSession
        #: Where clients reach it.
        self.url = ""
        #: Requests since it was last cleared.
        self.requests: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[CountingProxy]:
        """Serve on a free port of the loopback interface."""
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{path:.*}", self._pass)
        # a client that hangs up takes its request back, as it would without a proxy
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        async with aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as self._session:
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield self
            finally:
                await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        self.requests[f"{request.method} {request.path}"] += 1
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with self._session.request(
            request.method,
            URL(f"{self._target}{request.raw_path}", encoded=True),
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                headers={name: value for name, value in answer.headers.items() if name.lower() not in _HOP},
            )
