"""The bare client's tasks: ``python -m benchmarks.clients.bare_tasks COUNT WORKERS``."""

from __future__ import annotations

from benchmarks.clients import measure

clock = measure.Clock()
clock.mark("begin")
import asyncio  # noqa: E402
import sys  # noqa: E402

from benchmarks import bare  # noqa: E402

clock.mark("imported")


async def main(count: int, workers: int) -> None:
    """Run `count` commands, a script each, on `workers` activities."""
    numbers = iter(range(count))
    results = set()

    async def work(activity: bare.Activity) -> None:
        # the first script is joined to the start of the runtime
        start = [{"deploy": {}}, {"start": {"args": []}}]
        for number in numbers:
            result = await activity.run(*start, bare.run("/bin/sh", "-c", f"echo {number}"))
            start = []
            clock.mark_once("first")
            clock.mark("last")
            results.add(result["stdout"].strip())

    async with bare.connected() as daemon:
        await bare.Job(daemon, workers, work).run()
    clock.mark("closed")
    assert results == {str(number) for number in range(count)}, "not all results are there"
    measure.report(
        import_s=clock.seconds("begin", "imported"),
        first_s=clock.seconds("imported", "first"),
        tasks_s=clock.seconds("first", "last"),
        tasks_cpu_s=clock.cpu("first", "last"),
        stop_s=clock.seconds("last", "closed"),
    )


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
