"""The engine's thread and the way into it, in scripts and in real kernels."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Iterator

import pytest
from kernels import Kernel

from golem_nb.session.errors import DeadlockError, SessionClosedError, WaitInterrupted
from golem_nb.session.portal import Portal
from golem_nb.session.thread import EngineThread
from golem_nb.session.watchdog import Watchdog


@pytest.fixture
def thread() -> Iterator[EngineThread]:
    thread = EngineThread("test-engine")
    yield thread
    thread.close()


@pytest.fixture
def portal(thread: EngineThread) -> Portal:
    return Portal(thread)


async def where() -> str:
    return threading.current_thread().name


async def broken() -> None:
    raise ValueError("broken")


async def late() -> None:
    raise TimeoutError("the coroutine's own")


def test_a_call_runs_in_the_engines_thread(portal: Portal) -> None:
    assert portal.wait(where()) == "test-engine"
    assert portal.start(where()).result(5) == "test-engine"


async def test_an_awaited_call_runs_there_too(portal: Portal) -> None:
    assert await portal.call(where()) == "test-engine"


def test_errors_come_back(portal: Portal) -> None:
    with pytest.raises(ValueError, match="broken"):
        portal.wait(broken())
    with pytest.raises(TimeoutError, match="own"):
        portal.wait(late(), timeout=5)


async def test_errors_come_back_to_who_awaits(portal: Portal) -> None:
    with pytest.raises(ValueError, match="broken"):
        await portal.call(broken())


def test_a_wait_has_a_limit(portal: Portal) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        portal.wait(asyncio.sleep(5), timeout=0.2)
    assert time.monotonic() - started < 1


def test_a_call_from_the_engines_thread_raises_instead_of_waiting_for_itself(portal: Portal) -> None:
    async def inside() -> None:
        portal.wait(where())

    with pytest.raises(DeadlockError, match="await"):
        portal.wait(inside(), timeout=5)


def test_a_call_from_the_engines_thread_may_be_awaited(portal: Portal) -> None:
    async def inside() -> str:
        return await portal.call(where())

    assert portal.wait(inside()) == "test-engine"


async def test_who_stops_awaiting_ends_the_wait_but_not_what_is_kept(
    portal: Portal, thread: EngineThread
) -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(0.4)
            ended.append(f"{name} done")
        except asyncio.CancelledError:
            ended.append(f"{name} cancelled")
            raise

    for name, keep in (("wait", False), ("action", True)):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(portal.call(work(name), keep=keep), 0.1)
    await asyncio.sleep(0.6)
    assert ended == ["wait cancelled", "action done"]


def test_several_may_close_a_thread(thread: EngineThread, portal: Portal) -> None:
    cleaned: list[int] = []
    begun = threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)  # whoever closes is waiting while the others come
            cleaned.append(1)

    portal.start(work())
    assert begun.wait(5)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert [closing.result(10) for closing in [pool.submit(thread.close) for _ in range(4)]] == [None] * 4
    assert cleaned == [1]
    assert not thread.alive


def test_a_closed_thread_says_so(thread: EngineThread, portal: Portal) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    future = portal.start(work())
    time.sleep(0.05)
    thread.close()
    thread.close()
    assert ended == ["cancelled"]
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(1)
    with pytest.raises(SessionClosedError, match="Session"):
        portal.wait(where())


def test_what_is_submitted_while_the_thread_ends_is_not_waited_for_for_ever(
    thread: EngineThread, portal: Portal
) -> None:
    thread.loop.call_soon_threadsafe(thread.loop.stop)
    thread._thread.join(5)
    lost: concurrent.futures.Future[None] = concurrent.futures.Future()
    with pytest.raises(SessionClosedError, match="in the meantime"):
        portal.wait(lost)
    with pytest.raises(SessionClosedError, match="in the meantime"):
        asyncio.run(portal.call(lost))


def test_calls_from_many_threads(portal: Portal) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: portal.wait(where()), range(200)))
    assert set(names) == {"test-engine"}


def test_a_call_is_cheap(portal: Portal) -> None:
    portal.wait(where())
    started = time.perf_counter()
    for _ in range(300):
        portal.wait(where())
    assert (time.perf_counter() - started) / 300 < 0.002  # 0.1 ms on an idle machine


# -- the watchdog --------------------------------------------------------------------------------------------


def test_the_watchdog_names_who_blocks_the_engine(
    thread: EngineThread, portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog = Watchdog(thread, interval=0.05, limit=0.2)

    async def render() -> None:
        time.sleep(0.8)

    with caplog.at_level(logging.WARNING):
        portal.wait(render())
        time.sleep(0.3)
    watchdog.close()
    assert len(watchdog.findings) == 2
    assert "render" in watchdog.findings[0]
    assert "test_portal.py, line" in watchdog.findings[0]
    assert "asyncio.to_thread" in watchdog.findings[1]
    assert watchdog.findings[0] in caplog.text


def test_the_watchdog_is_silent_while_all_is_well(thread: EngineThread, portal: Portal) -> None:
    watchdog = Watchdog(thread, interval=0.05, limit=0.2)
    for _ in range(5):
        portal.wait(asyncio.sleep(0.05))
    watchdog.close()
    assert watchdog.findings == []


# -- kernels -------------------------------------------------------------------------------------------------

SETUP = """
import asyncio, time
from golem_nb.session.thread import EngineThread
from golem_nb.session.portal import Portal
thread = EngineThread("engine"); portal = Portal(thread)
beats = []
async def beat():
    while True:
        beats.append(time.monotonic()); await asyncio.sleep(0.01)
portal.start(beat())
async def work(): await asyncio.sleep(20)
notice = lambda: "Stopped waiting. job 1 goes on: job.cancel() ends it."
"""

INTERRUPTED = {
    "sync": "portal.wait(work(), notice=notice)",
    "awaiting": "await portal.call(work(), notice=notice)",
}


@pytest.mark.parametrize("how", INTERRUPTED)
def test_an_interrupt_ends_the_waiting_and_not_the_work(kernel: Kernel, how: str) -> None:
    kernel.must(SETUP)
    cell = kernel.wait_in(INTERRUPTED[how])
    interrupted = time.monotonic()
    kernel.interrupt()
    reply = cell.reply(10)
    assert time.monotonic() - interrupted < 0.3
    assert not reply.ok
    assert reply.said.count("Stopped waiting. job 1 goes on: job.cancel() ends it.") == 1
    if how == "sync":
        assert reply.error == WaitInterrupted.__name__
        assert reply.traceback == "Stopped waiting. job 1 goes on: job.cancel() ends it."
    # by its value: on a busy machine ipykernel 6.29.0 has lost what a cell prints after an interrupted one
    reply = kernel.must("a = len(beats); time.sleep(0.3); len(beats) - a")
    assert int(reply.text) > 10
    assert kernel.must("portal.wait(asyncio.sleep(0, 'alive'))").text == "'alive'"


@pytest.mark.parametrize("wait", ["portal.wait(asyncio.sleep(0.5))", "await portal.call(asyncio.sleep(0.5))"])
def test_who_waits_is_told_in_the_cell_that_waits(kernel: Kernel, wait: str) -> None:
    """Not below the cell that has begun the thread, where a kernel shows what the thread itself prints."""
    kernel.must(SETUP)
    kernel.must("async def later(): await asyncio.sleep(0.2); portal.tell('no provider'); portal.tell('yet')")
    reply = kernel.must(f"portal.start(later())\n{wait}")
    assert reply.stderr == "no provider\nyet\n"


def test_a_busy_cell_does_not_delay_the_engine(kernel: Kernel) -> None:
    kernel.must(SETUP)
    reply = kernel.must("a = len(beats); time.sleep(1); print(len(beats) - a)")
    assert int(reply.stdout) > 50


def test_a_call_from_a_thread_with_a_loop_of_its_own(kernel: Kernel) -> None:
    kernel.must(SETUP)
    reply = kernel.must(
        "import threading\nout = []\n"
        "t = threading.Thread(target=lambda: out.append(asyncio.run(portal.call(asyncio.sleep(0, 'ok')))))\n"
        "t.start(); t.join(); print(out)"
    )
    assert reply.stdout.strip() == "['ok']"
