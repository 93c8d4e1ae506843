"""A session's client: ``python -m benchmarks.clients.session COUNT WORKERS``."""

from __future__ import annotations

from benchmarks.clients import measure

clock = measure.Clock()
clock.mark("begin")
import asyncio  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

from benchmarks.bare import IMAGE  # noqa: E402
from golem_nb import Session, vm  # noqa: E402

clock.mark("imported")

#: Calls through the portal that are measured.
CALLS = 2000


async def _nothing() -> None:
    """What a call costs by itself."""


async def _awaited(session: Session) -> float:
    portal = session._core.portal
    began = time.perf_counter()
    for _ in range(CALLS):
        await portal.call(_nothing())
    return (time.perf_counter() - began) / CALLS


def main(count: int, workers: int) -> None:
    """Run `count` commands, and `count` calls of a function, on `workers` providers at most."""
    session = Session(budget=10, network=os.environ["YAGNA_PAYMENT_NETWORK"])
    clock.mark("ready")
    payload = vm.repo(image_hash=IMAGE)
    job = session.run("echo {}", range(count), payload=payload, max_workers=workers)
    for _ in job:
        clock.mark_once("first")
        clock.mark("last")
    assert job.result() == [f"{number}\n" for number in range(count)]
    mapped = session.map(abs, range(count), payload=vm.repo(image_tag="golem_nb/python:latest"))
    for _ in mapped:
        clock.mark_once("first mapped")
        clock.mark("last mapped")
    assert mapped.result() == list(range(count))
    portal = session._core.portal
    began = time.perf_counter()
    for _ in range(CALLS):
        portal.wait(_nothing())
    waited = (time.perf_counter() - began) / CALLS
    awaited = asyncio.run(_awaited(session))
    clock.mark("stop")
    session.stop()
    clock.mark("closed")
    measure.report(
        import_s=clock.seconds("begin", "imported"),
        ready_s=clock.seconds("imported", "ready"),
        first_s=clock.seconds("ready", "first"),
        tasks_s=clock.seconds("first", "last"),
        tasks_cpu_s=clock.cpu("first", "last"),
        mapped_s=max(clock.seconds("first mapped", "last mapped"), 1e-6),
        portal_wait_us=1e6 * waited,
        portal_await_us=1e6 * awaited,
        stop_s=clock.seconds("stop", "closed"),
    )


main(int(sys.argv[1]), int(sys.argv[2]))
