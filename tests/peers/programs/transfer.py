"""yapapi: files, bytes and JSON to a provider and back; the argument names a folder for files."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

from yapapi import Golem, Task
from yapapi.payload import vm

IMAGE = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"
folder = Path(sys.argv[1])
source = folder / "source"
source.write_bytes(os.urandom(3_000_001))


async def worker(context, tasks):
    async for task in tasks:
        texts = []

        async def take(data, texts=texts):
            texts.append(data.decode() if isinstance(data, bytes) else data)

        script = context.new_script()
        script.upload_bytes(f"hello {task.data}".encode(), "/golem/input/text")
        script.upload_json({"n": task.data}, "/golem/input/json")
        script.upload_file(str(source), "/golem/input/file")
        script.run("/bin/sh", "-c", "cp /golem/input/* /golem/output/")
        script.download_bytes("/golem/output/text", take)
        script.download_json("/golem/output/json", take)
        script.download_file("/golem/output/file", str(folder / f"target-{task.data}"))
        yield script
        task.accept_result(texts)


async def main():
    package = await vm.repo(image_hash=IMAGE, repository_url=os.environ["GOLEM_REGISTRY_URL"])
    results = {}
    expected = hashlib.sha256(source.read_bytes()).digest()
    async with Golem(budget=1) as golem:
        tasks = [Task(data=number) for number in range(3)]
        async for task in golem.execute_tasks(worker, tasks, payload=package, max_workers=2):
            target = (folder / f"target-{task.data}").read_bytes()
            results[task.data] = [*task.result, hashlib.sha256(target).digest() == expected]
    print(json.dumps(results))


asyncio.run(main())
