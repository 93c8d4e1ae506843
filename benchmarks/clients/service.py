"""A cluster of an SDK: ``python -m benchmarks.clients.service golem_nb|yapapi CLUSTERS INSTANCES``.

That many clusters of so many instances each. All have to run, then all are stopped.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from typing import Any

from benchmarks.clients import measure

IMAGE = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"

name = sys.argv[1]
clock = measure.Clock()
clock.mark("begin")
sdk = importlib.import_module(name)
vm = importlib.import_module(f"{name}.payload.vm")
services = importlib.import_module(f"{name}.services")
Golem = sdk.Golem
clock.mark("imported")


class Idle(services.Service):
    """Runs nothing."""

    @staticmethod
    async def get_payload() -> Any:
        """The image that every case uses."""
        return await vm.repo(image_hash=IMAGE, repository_url=os.environ["GOLEM_REGISTRY_URL"])


async def until_all(instances: list[Any], state: Any) -> None:
    """Wait until all instances are in a state; a look costs a tenth of a millisecond."""
    async with asyncio.timeout(120):
        while any(instance.state != state for instance in instances):
            await asyncio.sleep(0.005)


async def main(clusters: int, instances: int) -> None:
    """Run the clusters."""
    reasons: list[str] = []
    accepted = 0

    def consume(event: Any) -> None:
        nonlocal accepted
        kind = type(event).__name__
        if kind == "AgreementTerminated":
            reasons.append(event.reason.get("golem.requestor.code"))
        accepted += kind == "InvoiceAccepted"

    async with Golem(budget=10, event_consumer=consume) as golem:
        clock.mark("ready")
        running = [await golem.run_service(Idle, num_instances=instances) for _ in range(clusters)]
        everyone = [instance for cluster in running for instance in cluster.instances]
        await until_all(everyone, services.ServiceState.running)
        clock.mark("running")
        for cluster in running:
            cluster.stop()
        await until_all(everyone, services.ServiceState.terminated)
        clock.mark("terminated")
    clock.mark("closed")
    measure.report(
        running_s=clock.seconds("ready", "running"),
        running_cpu_s=clock.cpu("ready", "running"),
        terminated_s=clock.seconds("running", "terminated"),
        stop_s=clock.seconds("running", "closed"),
        ended_well=reasons.count("Success"),
        invoices_accepted=accepted,
    )


asyncio.run(main(int(sys.argv[2]), int(sys.argv[3])))
