"""yapapi: the task of its documentation; with the argument ``stream``, its output comes as events."""

import asyncio
import json
import os
import sys
from datetime import timedelta

from yapapi import Golem, Task
from yapapi.events import CommandStdOut
from yapapi.payload import vm

IMAGE = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"
streamed = []


async def worker(context, tasks):
    async for task in tasks:
        script = context.new_script(timeout=timedelta(minutes=1))
        future = script.run("/bin/sh", "-c", f"echo one {task.data}; sleep 0.2; echo two {task.data}")
        yield script
        task.accept_result((await future).stdout)


def consume(event):
    if isinstance(event, CommandStdOut):
        streamed.append(str(event.output))


async def main(stream):
    package = await vm.repo(image_hash=IMAGE, repository_url=os.environ["GOLEM_REGISTRY_URL"])
    results = {}
    async with Golem(budget=1, stream_output=stream, event_consumer=consume) as golem:
        tasks = [Task(data=number) for number in range(4)]
        async for task in golem.execute_tasks(worker, tasks, payload=package, max_workers=2):
            results[task.data] = task.result
    print(json.dumps({"results": results, "streamed": streamed}))


asyncio.run(main(sys.argv[1:] == ["stream"]))
