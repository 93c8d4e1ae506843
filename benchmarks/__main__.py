"""``python -m benchmarks [CASE …] [--rounds N] [--json FILE]``: one line of JSON a case."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.cases import CASES, PROVIDERS, Case
from benchmarks.report import Values, summary
from benchmarks.run import ClientError, Clients
from golem_nb.localnet import LocalNetwork


def say(text: str) -> None:
    """Tell the user, beside the results."""
    print(text, file=sys.stderr, flush=True)


async def measure(case: Case, clients: Clients, rounds: int | None) -> dict[str, Any]:
    """Measure all sides of a case, in turn, so that a disturbance meets them all."""
    runs: dict[str, list[Values]] = {side: [] for side in case.sides}
    order = list(case.sides)
    for number in range(rounds or case.rounds):
        for side in order:
            began = time.monotonic()
            runs[side].append(await case.measure(clients, side))
            say(f"  round {number + 1}: {side}, {time.monotonic() - began:.1f} s")
        order.append(order.pop(0))
    return summary(case.name, runs, case.aims)


def show(result: dict[str, Any]) -> None:
    """Tell the user how the aims stand."""
    for aim in result["aims"]:
        say(f"  {'met    ' if aim['met'] else 'NOT MET'}  {aim['aim']}: {aim['measured']:g}")


async def run(cases: Sequence[Case], rounds: int | None, file: Path | None) -> int:
    """Run cases; give the exit status."""
    say("Installing yapapi, unless it is there …")
    yapapi = await asyncio.to_thread(peers.yapapi)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    lines = []
    async with LocalNetwork(providers=PROVIDERS) as network:
        for warning in network.warnings:
            say(warning)
        clients = Clients(network.env, yapapi)
        for case in cases:
            say(f"{case.name}: {case.about}")
            result = await measure(case, clients, rounds) | {"machine": machine}
            show(result)
            line = json.dumps(result)
            print(line, flush=True)
            lines.append(line + "\n")
            if file is not None:
                file.write_text("".join(lines))
    return 0


def main() -> int:
    """Run the benchmarks."""
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog="cases: " + ", ".join(names)
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="what to measure; all if none is named")
    parser.add_argument(
        "--rounds",
        type=int,
        help="how often each side is measured (default: as the case needs it, 3 or more)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines to a file, too")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(names):
        parser.error(f"no case is named {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    cases = [case for case in CASES if not arguments.cases or case.name in arguments.cases]
    try:
        with tempfile.TemporaryDirectory(prefix="golem-nb-benchmarks-") as data:
            # apart from the networks and settings of the user
            os.environ["GOLEM_NB_DATA_DIR"] = data
            return asyncio.run(run(cases, arguments.rounds, arguments.json))
    except (ClientError, peers.PeerError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
