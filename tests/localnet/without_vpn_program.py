"""Asks a local network for a VPN, and prints as JSON what its owner is told."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from golem_nb import Golem, Task
from golem_nb.engine.errors import JobTimeoutError
from golem_nb.localnet import LocalNetwork
from golem_nb.payload import vm


async def work(context: Any, tasks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for task in tasks:
        script = context.new_script()
        done = script.run("/bin/sh", "-c", "echo done")
        yield script
        task.accept_result((await done).stdout)


async def main() -> None:
    async with LocalNetwork(providers=1) as network:
        os.environ.update(network.env)
        told: dict[str, Any] = {"warnings": network.warnings}
        async with Golem(budget=1) as golem:
            plain = await vm.repo(image_tag="golem/alpine:latest")
            ran = [task async for task in golem.execute_tasks(work, [Task(data=None)], payload=plain)]
            told["results"] = [task.result for task in ran]
            vpn = await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])
            try:
                async for _ in golem.execute_tasks(
                    work, [Task(data=None)], payload=vpn, timeout=timedelta(seconds=12)
                ):
                    pass
            except JobTimeoutError as error:
                told["error"] = str(error)
    print(json.dumps(told))


asyncio.run(main())
