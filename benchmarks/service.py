"""``python -m benchmarks.service [--rounds N]``: 20 instances of a service on 5 providers.

golem_nb runs them as one cluster. yapapi gets one agreement a provider and cluster, so it has four clusters
of five; the bare client has four demands likewise. `running_s` is from the engine being ready until all run,
`stop_s` from there until the engine has left, with all invoices accepted. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys

from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.report import Aim
from benchmarks.run import Clients, Values
from golem_nb.localnet import LocalNetwork

PROVIDERS, INSTANCES = 5, 20


async def run_instances(clients: Clients, side: str) -> Values:
    """Run 20 instances on one side."""
    groups = INSTANCES // PROVIDERS
    if side == "bare":
        return await clients.run(side, "bare_service", groups, PROVIDERS)
    if side == "golem_nb":
        return await clients.run(side, "service", side, 1, INSTANCES)
    return await clients.run(side, "service", side, groups, PROVIDERS)


CASE = Case(
    "service-20",
    "20 instances on 5 providers, all running, all stopped",
    ("golem_nb", "yapapi", "bare"),
    run_instances,
    (
        Aim("running_s", "<=", 2.0),
        Aim("running_s", "<=", 1.4, "bare"),
        Aim("stop_s", "<=", 4.0),
        Aim("ended_well", ">=", INSTANCES),
        Aim("invoices_accepted", ">=", INSTANCES),
    ),
)


async def run(rounds: int) -> None:
    """Measure and print."""
    from benchmarks.__main__ import measure, show

    yapapi = await asyncio.to_thread(peers.yapapi)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    async with LocalNetwork(providers=PROVIDERS) as network:
        result = await measure(CASE, Clients(network.env, yapapi), rounds)
    show(result)
    print(json.dumps(result | {"machine": machine}), flush=True)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (3)")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
