"""Several engines on one daemon, and an engine on a daemon that somebody else has started."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.rest import Configuration, Payment

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

PROGRAM = """
import asyncio, sys
from golem_nb import Golem, Task, vm

assert not any(name.startswith(("golem_nb.localnet", "golem_nb.node")) for name in sys.modules)

async def worker(context, tasks):
    async for task in tasks:
        script = context.new_script()
        script.upload_bytes(task.data, "/golem/input/x")
        result = script.run("/bin/sh", "-c", "wc -c < /golem/input/x")
        yield script
        task.accept_result(int((await result).stdout))

async def main():
    payload = await vm.repo(image_tag="golem/alpine:latest")
    async with Golem(budget=1) as golem:
        async for task in golem.execute_tasks(worker, [Task(b"x" * n) for n in (1, 10, 100)], payload):
            print(task.result)

asyncio.run(main())
"""


@pytest.mark.contract("G03")
def test_a_daemon_that_was_there_already(network: LocalNetwork) -> None:
    """A program that knows only of an address, a key and a registry, as on a real network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("YAGNA_")}
    known = ("YAGNA_API_URL", "YAGNA_APPKEY", "GOLEM_REGISTRY_URL")
    environment |= {name: network.env[name] for name in known}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(map(int, done.stdout.split())) == [1, 10, 100]
    assert network.env["YAGNA_APPKEY"] not in done.stderr


async def sleepy(context: WorkContext, tasks: AsyncIterator[Task[Any, Any]]) -> AsyncGenerator[Any, Any]:
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/sleep", "0.3")
        yield script
        task.accept_result(task.data)


async def test_two_engines_side_by_side(network: LocalNetwork) -> None:
    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=network.registry_url)
    heard: dict[str, list[Any]] = {"a": [], "b": []}
    golems = {
        name: Golem(budget=budget, api_config=network.api_config, event_consumer=heard[name].append)
        for name, budget in (("a", Decimal("0.5")), ("b", Decimal("0.25")))
    }

    async def work(name: str, count: int) -> list[Any]:
        tasks = golems[name].execute_tasks(sleepy, [Task(f"{name}{n}") for n in range(count)], payload)
        return [task.result async for task in tasks]

    for golem in golems.values():
        await golem.start()
    async with Configuration(network.api_config) as configuration:
        payment = Payment(configuration.payment())
        assert sorted(one.amount for one in await payment.allocations()) == [Decimal("0.25"), Decimal("0.5")]
        longer = asyncio.create_task(work("b", 12))
        assert sorted(await work("a", 2)) == ["a0", "a1"]
        # the end of one is nothing to the other
        await golems["a"].stop()
        assert [one.amount for one in await payment.allocations()] == [Decimal("0.25")]
        assert sorted(await longer) == sorted(f"b{n}" for n in range(12))
        await golems["b"].stop()
        assert await payment.allocations() == []
    seen = {
        name: {event.agr_id for event in events if hasattr(event, "agreement")}
        for name, events in heard.items()
    }
    assert not seen["a"] & seen["b"]
    for name, events in heard.items():
        names = [type(event).__name__ for event in events]
        accepted = {event.agr_id for event in events if type(event).__name__ == "InvoiceAccepted"}
        confirmed = {event.agr_id for event in events if type(event).__name__ == "AgreementConfirmed"}
        assert accepted == confirmed <= seen[name]
        assert names.count("AgreementTerminated") == len(confirmed)
        assert names[-1] == "ShutdownFinished"
