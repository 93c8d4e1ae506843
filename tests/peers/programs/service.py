"""yapapi: two instances of a service that runs commands and is stopped."""

import asyncio
import json
import os

from yapapi import Golem
from yapapi.payload import vm
from yapapi.services import Service, ServiceState

IMAGE = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"
outputs = []


class Counter(Service):
    @staticmethod
    async def get_payload():
        return await vm.repo(image_hash=IMAGE, repository_url=os.environ["GOLEM_REGISTRY_URL"])

    async def start(self):
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.run("/bin/sh", "-c", "echo started > /golem/work/state")
        yield script

    async def run(self):
        while True:
            script = self._ctx.new_script()
            future = script.run("/bin/cat", "/golem/work/state")
            yield script
            outputs.append((await future).stdout.strip())
            await asyncio.sleep(0.2)

    async def shutdown(self):
        script = self._ctx.new_script()
        script.run("/bin/true")
        yield script


async def main():
    async with Golem(budget=1) as golem:
        cluster = await golem.run_service(Counter, num_instances=2)
        async with asyncio.timeout(60):
            while sum(instance.state == ServiceState.running for instance in cluster.instances) < 2:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        cluster.stop()
        async with asyncio.timeout(60):
            while any(instance.is_available for instance in cluster.instances):
                await asyncio.sleep(0.1)
        states = [instance.state.value for instance in cluster.instances]
    print(json.dumps({"outputs": outputs, "states": states}))


asyncio.run(main())
