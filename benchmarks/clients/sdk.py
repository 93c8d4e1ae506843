"""An SDK's client: one program for golem_nb and yapapi, which have the same API.

``python -m benchmarks.clients.sdk golem_nb|yapapi CASE [ARGUMENT …]``; the environment leads to the network.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.clients import measure

IMAGE = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"
TIMEOUT = timedelta(minutes=10)

name = sys.argv[1]
clock = measure.Clock()
clock.mark("begin")
sdk = importlib.import_module(name)
vm = importlib.import_module(f"{name}.payload.vm")
# an SDK that imports on demand has to do so before the clock starts
Golem, Task = sdk.Golem, sdk.Task
clock.mark("imported")


async def payload() -> Any:
    """The image that every case uses."""
    return await vm.repo(image_hash=IMAGE, repository_url=os.environ["GOLEM_REGISTRY_URL"])


async def echo(context: Any, tasks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The worker of the documentation: a script a task."""
    async for task in tasks:
        script = context.new_script()
        result = script.run("/bin/sh", "-c", f"echo {task.data}")
        yield script
        task.accept_result((await result).stdout.strip())


async def tasks(count: int, workers: int) -> None:
    """Many trivial tasks."""
    results = set()
    async with Golem(budget=10) as golem:
        data = [Task(data=number) for number in range(count)]
        async for task in golem.execute_tasks(
            echo, data, payload=await payload(), max_workers=workers, timeout=TIMEOUT
        ):
            clock.mark_once("first")
            clock.mark("last")
            results.add(task.result)
    clock.mark("closed")
    assert results == {str(number) for number in range(count)}, "not all results are there"
    measure.report(
        import_s=clock.seconds("begin", "imported"),
        first_s=clock.seconds("imported", "first"),
        tasks_s=clock.seconds("first", "last"),
        tasks_cpu_s=clock.cpu("first", "last"),
        stop_s=clock.seconds("last", "closed"),
    )


async def transfer(source: Path, target: Path) -> None:
    """One file to a provider and back."""

    async def copy(context: Any, tasks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            clock.mark("start")
            script = context.new_script()
            script.upload_file(str(source), "/golem/input/file")
            yield script
            clock.mark("up")
            script = context.new_script()
            script.download_file("/golem/input/file", str(target))
            yield script
            clock.mark("down")
            task.accept_result()

    async with Golem(budget=10) as golem:
        async for _ in golem.execute_tasks(
            copy, [Task(data=None)], payload=await payload(), max_workers=1, timeout=TIMEOUT
        ):
            pass
    size = source.stat().st_size / (1 << 20)
    measure.report(
        up_mib_s=size / clock.seconds("start", "up"),
        down_mib_s=size / clock.seconds("up", "down"),
        up_cpu_s=clock.cpu("start", "up"),
        down_cpu_s=clock.cpu("up", "down"),
    )


async def idle(seconds: float) -> None:
    """An activity that is held by a worker which waits."""

    async def wait(context: Any, tasks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            # what follows the start is over
            await asyncio.sleep(2)
            print("idle", flush=True)
            clock.mark("start")
            await asyncio.sleep(seconds)
            clock.mark("end")
            print("busy", flush=True)
            task.accept_result()

    async with Golem(budget=10) as golem:
        async for _ in golem.execute_tasks(
            wait, [Task(data=None)], payload=await payload(), max_workers=1, timeout=TIMEOUT
        ):
            pass
    measure.report(idle_cpu_s=clock.cpu("start", "end"))


async def nothing() -> None:
    """Start and stop without a job: nothing is owed."""
    async with Golem(budget=1):
        clock.mark("started")
    clock.mark("closed")
    measure.report(start_s=clock.seconds("imported", "started"), stop_s=clock.seconds("started", "closed"))


async def main(case: str, *arguments: str) -> None:
    """Run a case."""
    if case == "tasks":
        await tasks(int(arguments[0]), int(arguments[1]))
    elif case == "transfer":
        await transfer(Path(arguments[0]), Path(arguments[1]))
    elif case == "idle":
        await idle(float(arguments[0]))
    elif case == "nothing":
        await nothing()
    else:
        sys.exit(f"there is no case {case!r}")


asyncio.run(main(*sys.argv[2:]))
