"""What the benchmarks make of their measurements."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import aiohttp
import pytest
from aiohttp import web

from benchmarks.counter import CountingProxy
from benchmarks.report import Aim, summary

RUNS = {
    "golem_nb": [{"speed": 3.0, "cost": 0.0}, {"speed": 1.0, "cost": 0.0}, {"speed": 2.0, "cost": 0.0}],
    "bare": [{"speed": 4.0, "cost": 0.0}, {"speed": 4.0, "cost": 0.0}, {"speed": 100.0, "cost": 0.0}],
}


def test_medians_spread_and_ratios() -> None:
    result = summary("case", RUNS, [])
    assert result["rounds"] == 3
    assert result["medians"]["golem_nb"]["speed"] == 2.0
    assert result["spread"]["bare"]["speed"] == [4.0, 100.0]
    assert result["ratios"] == {"bare": {"speed": 0.5}}


@pytest.mark.parametrize(
    ("aim", "measured", "met"),
    [
        (Aim("speed", ">=", 0.5, "bare"), 0.5, True),
        (Aim("speed", ">=", 0.6, "bare"), 0.5, False),
        (Aim("speed", "<=", 1.0), 2.0, False),
        (Aim("cost", "<=", 0.0), 0.0, True),
    ],
)
def test_aims(aim: Aim, measured: float, met: bool) -> None:
    (judged,) = summary("case", RUNS, [aim])["aims"]
    assert (judged["measured"], judged["met"]) == (measured, met)


async def test_the_proxy_passes_on_and_counts() -> None:
    async def answer(request: web.Request) -> web.Response:
        text = f"{request.path_qs} {request.headers['Authorization']} {await request.text()}"
        return web.Response(text=text, status=202)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        target = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with (
            CountingProxy(target).running() as proxy,
            aiohttp.ClientSession(headers={"Authorization": "key"}) as session,
            session.post(f"{proxy.url}/a/b?c=d%2Be", data="body") as response,
        ):
            assert (response.status, await response.text()) == (202, "/a/b?c=d%2Be key body")
            assert proxy.requests == {"POST /a/b": 1}
    finally:
        await runner.cleanup()


async def test_a_client_that_hangs_up_takes_its_request_back() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return web.Response()

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with CountingProxy(f"http://127.0.0.1:{runner.addresses[0][1]}").running() as proxy:
            async with aiohttp.ClientSession() as session:
                request = asyncio.create_task(session.get(proxy.url))
                await begun.wait()
                request.cancel()
                await asyncio.wait([request])
            async with asyncio.timeout(5):
                await ended.wait()
    finally:
        await runner.cleanup()


def test_an_unknown_case_is_named_with_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "tasks-200" in done.stderr
