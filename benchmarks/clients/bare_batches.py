"""The bare client's best: ``python -m benchmarks.clients.bare_batches COUNT WORKERS``.

One script an activity, with an equal part of the commands, joined to the start of the runtime.
"""

from __future__ import annotations

from benchmarks.clients import measure

clock = measure.Clock()
clock.mark("begin")
import asyncio  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402

from benchmarks import bare  # noqa: E402

clock.mark("imported")

#: Commands before the first of a script.
START = ({"deploy": {}}, {"start": {"args": []}})


async def main(count: int, workers: int) -> None:
    """Run `count` commands on `workers` activities."""
    parts = iter([range(number, count, workers) for number in range(workers)])
    results = set()

    async with bare.connected() as daemon:

        async def work(activity: bare.Activity) -> None:
            part = next(parts, None)
            if part is None:
                return
            commands = [*START, *(bare.run("/bin/sh", "-c", f"echo {number}") for number in part)]
            path = f"/activity-api/v1/activity/{activity.id}/exec"
            batch = await daemon("POST", path, {"text": json.dumps(commands)})
            await daemon("GET", f"{path}/{batch}?commandIndex={len(START)}&timeout=600")
            clock.mark_once("first")
            # a request that names a command gets the output of that one alone
            answers = await daemon("GET", f"{path}/{batch}?timeout=600")
            clock.mark("last")
            results.update(answer["stdout"].strip() for answer in answers[len(START) :] if answer["stdout"])

        await bare.Job(daemon, workers, work).run()
    clock.mark("closed")
    assert results == {str(number) for number in range(count)}, f"{len(results)} of {count} results are there"
    measure.report(
        import_s=clock.seconds("begin", "imported"),
        first_s=clock.seconds("imported", "first"),
        tasks_s=clock.seconds("first", "last"),
        tasks_cpu_s=clock.cpu("first", "last"),
        stop_s=clock.seconds("last", "closed"),
    )


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
