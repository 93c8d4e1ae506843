"""The bare client's services: ``python -m benchmarks.clients.bare_service DEMANDS ACTIVITIES``.

So many demands of so many activities each, side by side: a demand meets each provider once at a time.
"""

from __future__ import annotations

from benchmarks.clients import measure

clock = measure.Clock()
clock.mark("begin")
import asyncio  # noqa: E402
import sys  # noqa: E402

from benchmarks import bare  # noqa: E402

clock.mark("imported")


async def main(demands: int, activities: int) -> None:
    """Run until all have started, then end all."""
    left = demands * activities
    all_run = asyncio.Event()

    async def work(activity: bare.Activity) -> None:
        nonlocal left
        await activity.run({"deploy": {}}, {"start": {"args": []}})
        left -= 1
        if not left:
            clock.mark("running")
            all_run.set()
        await all_run.wait()

    async with bare.connected() as daemon:
        jobs = [bare.Job(daemon, activities, work) for _ in range(demands)]
        await asyncio.gather(*(job.reserve() for job in jobs))
        clock.mark("ready")
        await asyncio.gather(*(job.run() for job in jobs))
    clock.mark("closed")
    measure.report(
        running_s=clock.seconds("ready", "running"),
        running_cpu_s=clock.cpu("ready", "running"),
        stop_s=clock.seconds("running", "closed"),
    )


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
