"""``python -m benchmarks.session [--rounds N] [--items N]``: what a session costs, and how fast it is.

On one local network of four providers, in turn: a session (`run`, `map`), yapapi's documented worker, and a
bare client that sends one script of an equal part of the commands to each provider, the best that the daemon
and the providers of this machine can do. Before that, what an event costs a session, and what its start takes
with a network of its own. Prints lines of JSON, medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import frames, peers
from benchmarks.cases import PROVIDERS, Case
from benchmarks.report import Aim
from benchmarks.run import Clients, Values
from golem_nb.frames import Recorder
from golem_nb.localnet import LocalNetwork

#: Events that are taken into a session's frames.
EVENTS = 100_000


def _items(count: int) -> Callable[[Clients, str], Any]:
    async def measure(clients: Clients, side: str) -> Values:
        if side == "golem_nb":
            values = await clients.run(side, "session", count, PROVIDERS)
            values["map_items_per_s"] = (count - 1) / values.pop("mapped_s")
        elif side == "floor":
            values = await clients.run(side, "bare_batches", count, PROVIDERS)
        else:
            values = await clients.run(side, "sdk", side, "tasks", count, PROVIDERS)
        values["items_per_s"] = (count - 1) / values.pop("tasks_s")
        values["cpu_ms_per_item"] = 1000 * values.pop("tasks_cpu_s") / (count - 1)
        return values

    return measure


async def compare(rounds: int, items: int) -> dict[str, Any]:
    """Measure a session beside the floor and yapapi."""
    from benchmarks.__main__ import measure, show

    case = Case(
        "session",
        f"{items} items `echo N` on {PROVIDERS} providers",
        ("golem_nb", "yapapi", "floor"),
        _items(items),
        (
            Aim("items_per_s", ">=", 0.9, "floor"),
            Aim("items_per_s", ">=", 2.3, "yapapi"),
            Aim("first_s", "<=", 2.0),
        ),
    )
    yapapi = await asyncio.to_thread(peers.yapapi)
    async with LocalNetwork(providers=PROVIDERS) as network:
        result = await measure(case, Clients(network.env, yapapi), rounds)
    show(result)
    return result


def start(rounds: int) -> dict[str, Any]:
    """Measure the start of a session with a local network of its own."""
    code = (
        "import time; began = time.perf_counter()\n"
        "from golem_nb import Session, vm\n"
        "imported = time.perf_counter(); session = Session(budget=1); ready = time.perf_counter()\n"
        "session.run('true', payload=vm.repo(image_tag='golem/alpine:latest')).result(60)\n"
        "first = time.perf_counter(); session.stop(); stopped = time.perf_counter()\n"
        "print(imported - began, ready - imported, first - ready, stopped - first)"
    )
    runs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="golem-nb-benchmark-") as folder:
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "GOLEM_NB_DATA_DIR": folder},
                capture_output=True,
                text=True,
                check=True,
                timeout=300,
            )
        runs.append([float(word) for word in done.stdout.split()])
    middle = len(runs) // 2
    names = ("import_s", "start_to_ready_s", "ready_to_first_result_s", "stop_s")
    return {
        "case": "session-start",
        "rounds": rounds,
        **{
            name: round(sorted(column)[middle], 3)
            for name, column in zip(names, zip(*runs, strict=True), strict=True)
        },
    }


def events() -> dict[str, Any]:
    """Measure what an event costs a session's frames."""
    recorder = Recorder()
    taken = frames.take_all(recorder, EVENTS)["take_seconds"]
    began = time.perf_counter()
    recorder.events()
    first = time.perf_counter() - began
    with_frames = asyncio.run(frames.through_engine(10_000, 3.0, record=True))
    without = asyncio.run(frames.through_engine(10_000, 3.0, record=False))
    return {
        "case": "session-events",
        "events": EVENTS,
        "us_per_event": round(1e6 * taken / EVENTS, 3),
        "core_at_10000_per_s": round(with_frames - without, 4),
        "first_frame_s": round(first, 3),
    }


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (3)")
    parser.add_argument("--items", type=int, default=200, help="items of the batch (200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines to a file, too")
    arguments = parser.parse_args()
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    lines = []
    for result in (
        start(arguments.rounds),
        events(),
        asyncio.run(compare(arguments.rounds, arguments.items)),
    ):
        line = json.dumps(result | {"machine": machine})
        print(line, flush=True)
        lines.append(line + "\n")
        if arguments.json is not None:
            arguments.json.write_text("".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
