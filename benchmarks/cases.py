"""What is measured."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.counter import CountingProxy
from benchmarks.report import Aim
from benchmarks.run import Clients, Values

#: Providers of the network.
PROVIDERS = 4
_IDLE_SECONDS = 30
_MODULES = {"golem_nb": "golem_nb", "yapapi": "yapapi", "aiohttp": "aiohttp"}


@attrs.frozen
class Case:
    """Something to measure.

    Parameters
    ----------
    name
        What it is called.
    about
        What it is, in words.
    sides
        Whom it compares.
    measure
        Measures one side once.
    aims
        What golem_nb should reach.
    rounds
        How often each side is measured: more where it is short, and easily disturbed.
    """

    name: str
    about: str
    sides: Sequence[str]
    measure: Callable[[Clients, str], Awaitable[Values]]
    aims: Sequence[Aim] = ()
    rounds: int = 3


def _tasks(count: int, workers: int) -> Callable[[Clients, str], Awaitable[Values]]:
    async def measure(clients: Clients, side: str) -> Values:
        if side == "bare":
            values = await clients.run(side, "bare_tasks", count, workers)
        else:
            values = await clients.run(side, "sdk", side, "tasks", count, workers)
        if count > 1:
            # of the first task nothing but the end was seen
            values["tasks_per_s"] = (count - 1) / values.pop("tasks_s")
            values["cpu_ms_per_task"] = 1000 * values.pop("tasks_cpu_s") / (count - 1)
            values["process_cpu_ms_per_task"] = 1000 * values["cpu_s"] / count
        else:
            del values["tasks_s"], values["tasks_cpu_s"]
        return values

    return measure


def _transfer(mib: int) -> Callable[[Clients, str], Awaitable[Values]]:
    async def measure(clients: Clients, side: str) -> Values:
        with tempfile.TemporaryDirectory(prefix="golem-nb-benchmark-") as folder:
            source, target = Path(folder) / "source", Path(folder) / "target"
            with source.open("wb") as stream:
                for _ in range(mib):
                    stream.write(os.urandom(1 << 20))
            if side == "bare":
                values = await clients.run(side, "bare_transfer", source, target)
            else:
                values = await clients.run(side, "sdk", side, "transfer", source, target)
            if not _equal(source, target):
                raise AssertionError(f"{side}: what came back is not what was sent")
        return values

    return measure


def _equal(first: Path, second: Path) -> bool:
    with first.open("rb") as one, second.open("rb") as other:
        while True:
            piece = one.read(1 << 20)
            if piece != other.read(1 << 20):
                return False
            if not piece:
                return True


async def _idle(clients: Clients, side: str) -> Values:
    async with CountingProxy(clients.daemon).running() as proxy:
        counted: Mapping[str, int] = {}

        def on_line(line: str) -> None:
            nonlocal counted
            if line == "idle":
                proxy.requests.clear()
            elif line == "busy":
                counted = dict(proxy.requests)

        values = await clients.run(
            side,
            "sdk",
            side,
            "idle",
            _IDLE_SECONDS,
            environment={"YAGNA_API_URL": proxy.url},
            on_line=on_line,
        )
    health = sum(number for request, number in counted.items() if request.endswith("/state"))
    return {
        "requests": sum(counted.values()) - health,
        "health_checks": health,
        "idle_cpu_ms": 1000 * values.pop("idle_cpu_s"),
    }


async def _nothing(clients: Clients, side: str) -> Values:
    return await clients.run(side, "sdk", side, "nothing")


async def _import(clients: Clients, side: str) -> Values:
    return await clients.run(side, "imports", _MODULES[side])


_ALL = ("golem_nb", "yapapi", "bare")
_THROUGHPUT = (
    Aim("tasks_per_s", ">=", 0.9, "bare"),
    Aim("cpu_ms_per_task", "<=", 0.6, "yapapi"),
    Aim("process_cpu_ms_per_task", "<=", 0.6, "yapapi"),
    Aim("memory_mib", "<=", 1.0, "yapapi"),
)
_TRANSFERS = (
    Aim("up_mib_s", ">=", 0.9, "bare"),
    Aim("down_mib_s", ">=", 0.9, "bare"),
    Aim("up_mib_s", ">=", 60.0),
    Aim("down_mib_s", ">=", 60.0),
    Aim("memory_mib", "<=", 1.0, "yapapi"),
)

CASES: Sequence[Case] = (
    Case(
        "import",
        "importing the package, seconds",
        ("golem_nb", "yapapi", "aiohttp"),
        _import,
        (Aim("import_s", "<=", 0.3),),
        rounds=15,
    ),
    Case(
        "first",
        "from the end of the imports to the first result of one task on one worker; then to the end of stop",
        _ALL,
        _tasks(1, 1),
        (Aim("first_s", "<=", 1.15, "bare"),),
        rounds=9,
    ),
    Case(
        "stop",
        "start, and stop with nothing owed",
        ("golem_nb", "yapapi"),
        _nothing,
        (Aim("stop_s", "<=", 0.1),),
    ),
    Case("tasks-200", "200 tasks `echo N` on 4 workers, a script a task", _ALL, _tasks(200, 4), _THROUGHPUT),
    Case("tasks-2000", "2000 of them", _ALL, _tasks(2000, 4), _THROUGHPUT),
    Case(
        "file-64",
        "a file of 64 MiB to a provider and back",
        _ALL,
        _transfer(64),
        _TRANSFERS,
        rounds=9,
    ),
    Case("file-1024", "a file of 1 GiB to a provider and back", _ALL, _transfer(1024), _TRANSFERS),
    Case(
        "idle",
        "30 s of one activity whose worker waits: requests (but for looks at its state) and processor time",
        ("golem_nb", "yapapi"),
        _idle,
        (Aim("requests", "<=", 6), Aim("idle_cpu_ms", "<=", 10)),
    ),
)
