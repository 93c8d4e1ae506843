"""Sessions: begun, found again, looked at, stopped."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from golem_nb import Session
from golem_nb.engine.errors import InsufficientFundsError
from golem_nb.localnet import LocalNetwork
from golem_nb.node import describe_daemon
from golem_nb.session.bill import Bill, BillLine
from golem_nb.session.errors import (
    DeadlockError,
    SessionChangedError,
    SessionClosedError,
    SessionError,
)
from golem_nb.session.session import _end
from tests.leavings import NOTHING, look, peek, since
from tests.waiting import soon


def test_the_same_call_gives_the_living_session(network: LocalNetwork, data_dir: Path, alpine: Any) -> None:
    session = Session(budget=1, network=network, name="again")
    session.run("true", payload=alpine).result(60)
    again = Session(budget="1", network=network, name="again")
    assert again is session
    assert again.money.spent > 0
    assert Session.living("again") is session
    with pytest.raises(SessionChangedError, match=r"budget=2 \(it has 1\).*another `name`"):
        Session(budget=2, network=network, name="again")
    other = Session(budget=2, network=network, name="other")
    assert other is not session
    other.stop()
    session.stop()
    assert Session.find("again") is None
    with pytest.raises(SessionClosedError, match="no session named"):
        Session.living("again")
    new = Session(budget=2, network=network, name="again")
    assert new is not session
    new.stop()


def test_stopping_pays_releases_and_bills(network: LocalNetwork, data_dir: Path, alpine: Any) -> None:
    before = look(network.api_config)
    session = Session(budget=1, network=network, name="bill")
    session.run("echo {}", range(6), payload=alpine).result(60)
    running = session.run("sleep 60", payload=alpine)
    bill = session.stop()
    assert running.state == "cancelled"
    assert "ended with its session" in str(running.error)
    assert bill.accepted > 0
    assert bill.released == 1 - bill.accepted
    assert sum(line.unpaid for line in bill.lines) == 0
    assert sum((line.accepted for line in bill.lines), Decimal(0)) == bill.accepted
    assert repr(bill) in str(bill) or repr(bill)[1:-1] in str(bill)
    assert since(network.api_config, before) == NOTHING
    assert session.stop() is bill
    assert session.stopped
    assert "stopped" in repr(session)
    # what was there to be seen still is
    assert len(session.costs) > 0
    assert float(session.costs["accepted"].sum()) == pytest.approx(float(bill.accepted))
    for use in (
        lambda: session.run("true", payload=alpine),
        lambda: session.offers(),
        lambda: running.retry_failed(),
    ):
        with pytest.raises(SessionClosedError, match="make a new one"):
            use()
    assert running.state == "cancelled"
    assert [item.state for item in running.items] == ["cancelled"]


def test_a_bill_does_nothing_to_a_terminal() -> None:
    line = BillLine("am\x1b[2Jber\x0b", "0x1", 1, 2.0, Decimal(1), 0)
    text = str(Bill("s", Decimal(2), Decimal(1), (line,), 1, 1))
    assert "amber" in text
    assert not {"\x1b", "\x0b"} & set(text)


def test_a_bill_says_what_stays_reserved() -> None:
    until = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    bill = Bill("s", Decimal(2), Decimal("0.5"), (), 1, 1, until, suspended=True)
    assert (bill.reserved, bill.released) == (Decimal("1.5"), Decimal(0))
    assert "1.500000 GLM reserved until 2030-01-02 03:04 UTC for what was suspended" in str(bill)
    assert "released" not in str(bill)
    bill = Bill("s", Decimal(2), Decimal("0.5"), (), 1, 1, until)
    assert "reserved until 2030-01-02 03:04 UTC as it could not be released: recover() of" in str(bill)


def test_who_stops_waiting_for_the_end_may_wait_again(
    network: LocalNetwork, data_dir: Path, alpine: Any
) -> None:
    session = Session(budget=1, network=network, name="stopped twice")
    done = session.run("echo {}", ["a", "b"], payload=alpine)
    done.result(60)
    job = session.run("sleep 100", payload=alpine)
    while not job.progress.running:
        time.sleep(0.05)
    with pytest.raises(TimeoutError):  # as an interrupt does
        session._core.portal.wait(session._close(True), 0.05, keep=True)
    assert session.facts().state == "stopping"
    # a cell that begins a session, run again, gets a new one when the end is there
    new = Session(budget=2, network=network, name="stopped twice")
    assert new is not session
    new.stop()
    assert session.facts().state == "stopped"
    bill = session.stop()
    assert "unpaid" not in repr(bill)
    assert bill.accepted == session.money.accepted > 0
    assert session.money.reserved == 0
    assert session.stop() is bill


def test_several_may_stop_a_session(network: LocalNetwork, data_dir: Path) -> None:
    """As the button of its card does while a cell is at it."""
    for _ in range(5):
        session = Session(budget=1, network=network, name="stopped by many")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            bills = [stopping.result(30) for stopping in [pool.submit(session.stop) for _ in range(8)]]
        assert len(set(map(id, bills))) == 1
        assert session.facts().state == "stopped"


@pytest.mark.localnet
def test_the_card_knows_what_the_account_holds(data_dir: Path, alpine: Any) -> None:
    # a network whose account no other session pays from
    with LocalNetwork(providers=1) as network:
        bus = Path(network.env["GSB_URL"].removeprefix("unix:"))

        def holds() -> Decimal:
            found = asyncio.run(describe_daemon(network.api_config, bus)).balances
            return next(each.amount for each in found if each.platform == "erc20-hoodi-tglm")

        session = Session(budget=1, network=network, name="paying")
        before = holds()
        assert soon(lambda: session.facts().balance == before, 90)
        session.run("sleep 1", payload=alpine).result(60)
        # the daemon pays some seconds later
        assert soon(lambda: session.facts().settled > 0, 90)
        assert soon(lambda: session.facts().balance == holds() < before, 90)
        session.stop()
        assert session.facts().balance is not None


@pytest.mark.parametrize(("end", "seconds"), [(Session.stop, 4.0), (lambda session: _end([session]), 2.0)])
def test_a_command_line_that_hangs_keeps_nobody(
    on_network: LocalNetwork,
    data_dir: Path,
    alpine: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Session], object],
    seconds: float,
) -> None:
    """A service bus that takes connections and says nothing makes the real `yagna` wait for ever."""
    mute = tmp_path / "mute.sock"
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(mute))
        bus.listen()
        bus.settimeout(30)
        monkeypatch.setenv("GSB_URL", f"unix:{mute}")
        session = Session(budget=1, network="hoodi", name="a mute bus")
        asked, _ = bus.accept()
        session.run("echo", payload=alpine).result(60)
        # something was paid, so that it wants to know what is left
        assert soon(lambda: session.facts().settled > 0, 90)
        started = time.monotonic()
        end(session)
        assert time.monotonic() - started < seconds
        with asked:
            asked.settimeout(5)
            while asked.recv(4096):
                pass  # until who has asked is gone
    session._forget()
    session._core.watchdog.close()
    session._core.thread.close()


def test_a_named_network_is_that_of_the_daemon_in_the_environment(
    on_network: LocalNetwork, data_dir: Path, alpine: Any
) -> None:
    """The same code runs on a network that was named: here the test network of the local daemon."""
    session = Session(budget=1, network="hoodi", name="named")
    assert session.run("echo {}", ["a"], payload=alpine).result(60) == ["a\n"]
    assert session.facts().network == "hoodi"
    assert session.facts().daemon == on_network.api_config.api_url
    session.stop()


def test_what_cannot_be_begun_is_an_error_of_the_call(network: LocalNetwork, data_dir: Path) -> None:
    with pytest.raises(InsufficientFundsError, match="smaller `budget`"):
        Session(budget=10**9, network=network, name="rich")
    assert Session.find("rich") is None
    session = Session(budget=1, network=network, name="rich")
    session.stop()


def test_a_network_without_an_account_is_an_error_of_the_call(
    on_network: LocalNetwork, data_dir: Path
) -> None:
    from golem_nb import NoPaymentAccountError

    with pytest.raises(NoPaymentAccountError, match="payment init"):
        Session(budget=1, network="sepolia", name="no account")


@pytest.mark.parametrize("when", ["as it comes", "before it is waited for", "before it is noted"])
def test_a_daemon_that_is_not_there_is_an_error_of_the_call(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, when: str
) -> None:
    from golem_nb.rest.errors import DaemonUnreachableError
    from golem_nb.session.portal import Portal

    monkeypatch.setenv("YAGNA_APPKEY", "some-key")
    monkeypatch.setenv("YAGNA_API_URL", "http://127.0.0.1:9")
    start = Portal.start
    if when == "before it is waited for":
        # only now and then does the engine's thread fail before this one goes on
        def failed(portal: Portal, coroutine: Any) -> Any:
            future = start(portal, coroutine)
            concurrent.futures.wait([future])
            return future

        monkeypatch.setattr(Portal, "start", failed)
    elif when == "before it is noted":
        # and only now and then is this one woken before the callbacks have run
        note = Session._forget_if_failed

        def note_late(session: Session) -> None:
            time.sleep(0.3)
            note(session)

        async def later(coroutine: Any) -> None:
            await asyncio.sleep(0.1)
            await coroutine

        monkeypatch.setattr(Session, "_forget_if_failed", note_late)
        monkeypatch.setattr(Portal, "start", lambda portal, coroutine: start(portal, later(coroutine)))
    with pytest.raises(DaemonUnreachableError) as caught:
        Session(budget=1, network="hoodi", name="no daemon")
    assert "some-key" not in str(caught.value)
    assert Session.find("no daemon") is None


def test_the_market_can_be_looked_at(session: Session, alpine: Any) -> None:
    offers = session.offers()
    assert len(offers) == 3
    assert offers["score"].is_monotonic_decreasing
    assert {"provider", "threads", "memory", "price_hour", "runtime", "seen"} <= set(offers.columns)
    assert len(session.offers(alpine)) == 3
    awaited = asyncio.run(session.aio.offers(seconds=3))
    assert list(awaited["provider_id"]) == list(offers["provider_id"])


def test_an_estimate_needs_offers(session: Session) -> None:
    from golem_nb import vm

    huge = vm.repo(image_tag="golem/alpine:latest", min_mem_gib=4000)
    with pytest.raises(SessionError, match="No provider"):
        session.estimate(huge, tasks=1, seconds=1)
    with pytest.raises(ValueError, match="tasks must be at least 1"):
        session.estimate(huge, tasks=0, seconds=1)
    for face in (session.estimate, lambda *what, **how: asyncio.run(session.aio.estimate(*what, **how))):
        for seconds in (0, -1, math.nan, math.inf):
            with pytest.raises(ValueError, match="seconds must be"):
                face(huge, tasks=1, seconds=seconds)
        with pytest.raises(TypeError, match="tasks must be a whole number"):
            face(huge, tasks=1.5, seconds=1)
    with pytest.raises(ValueError, match="seconds must be positive"):
        session.offers(seconds=-1)
    with pytest.raises(ValueError, match=r"how must be 'end' or 'settle'.*Session\.adopt"):
        session.recover("adopt")  # type: ignore[arg-type]


def test_providers_and_prices_can_be_restricted(network: LocalNetwork, data_dir: Path, alpine: Any) -> None:
    session = Session(budget=1, network=network, name="picky", providers=["birch"])
    job = session.run("echo {}", range(3), payload=alpine)
    job.result(60)
    assert {item.provider for item in job.items} == {"birch"}
    offers = session.offers().set_index("provider")["score"]
    assert offers["birch"] > 0 > offers["amber"]
    session.stop()
    session = Session(budget=1, network=network, name="thrifty", max_price="0.3")
    job = session.run("echo {}", range(3), payload=alpine)
    job.result(60)
    assert {item.provider for item in job.items} == {"amber"}
    session.stop()


def test_frames_remember_what_was_done(session: Session, alpine: Any) -> None:
    job = session.run("echo {}", range(3), payload=alpine)
    job.result(60)
    tasks = session.tasks
    assert (tasks["job"] == job.id).sum() == 3
    assert "AgreementConfirmed" in set(session.events["event"])
    assert (session.agreements["job"] == job.id).any()
    assert (session.activities["job"] == job.id).any()
    assert session.services.empty
    assert (session.costs["job"] == job.id).any()
    assert len(session.history().sessions) == 1


def test_who_has_worked_for_this_session_was_seen(session: Session, alpine: Any) -> None:
    explorer = session.market()
    job = session.run("echo {}", range(3), payload=alpine)
    job.result(60)
    worked = set(session.tasks.loc[session.tasks["job"] == job.id, "provider_id"])

    def seen() -> set[str]:
        offers = session.offers()
        return set(offers.loc[offers["seen"], "provider_id"])

    # it has worked when its worker is done, which is after the last result
    assert soon(lambda: worked <= seen())
    # and who has been looking all the time sees it, too
    offers = explorer.offers
    assert worked <= set(offers.loc[offers["seen"], "provider_id"])
    # what is looked at later knows it too, whoever has made it first
    assert worked <= set(session._core.known)


def test_what_a_stopped_session_remembers(network: LocalNetwork, data_dir: Path, alpine: Any) -> None:
    session = Session(budget=1, network=network, name="remembers")
    job = session.run("echo {}", range(3), payload=alpine)
    job.result(60)
    session.stop()
    (row,) = session.history().sessions.to_dict("records")
    assert row["items"] == 3
    assert row["accepted"] > 0
    assert len(session.remembered(job.id)) == 3
    # nothing runs any more that costs more at every look
    assert [repr(thing) for thing in (session, job)] == [repr(thing) for thing in (session, job)]


def test_faces_are_well_formed_and_escaped(session: Session, alpine: Any) -> None:
    job = session.run("echo '<b>&'", payload=alpine)
    job.result(60)
    for thing in (session, job):
        ET.fromstring(thing._repr_html_())
        assert "\n" not in repr(thing)
    assert "<b>" not in job._repr_html_()
    assert session._core.daemon.api_config.app_key not in session._repr_html_() + repr(session)
    assert session.jobs._ipython_key_completions_() == list(session.jobs)
    assert job.id in repr(session.jobs)


def test_a_synchronous_call_in_the_engines_thread_raises(session: Session, alpine: Any) -> None:
    async def worker(context: Any, tasks: Any) -> Any:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            try:
                session.offers()
            except DeadlockError as error:
                task.accept_result(str(error))

    (said,) = session.execute_tasks(worker, [1], alpine).result(60)
    assert "await" in said


def test_the_documented_worker(session: Session, alpine: Any) -> None:
    from golem_nb import Task

    async def worker(context: Any, tasks: Any) -> Any:
        async for task in tasks:
            script = context.new_script()
            result = script.run("/bin/sh", "-c", f"echo {task.data}")
            yield script
            task.accept_result((await result).stdout)

    job = session.execute_tasks(worker, [Task("a"), "b"], payload=alpine)
    assert job.result(60) == ["a\n", "b\n"]
    assert job.progress.done == 2
    assert len(job.frame) == 2
    assert {task.data for task in job} == {"a", "b"}
    assert job.title == "worker"

    async def some() -> Any:
        for name in "cd":
            yield name

    assert session.execute_tasks(worker, some(), alpine).result(60) == ["c\n", "d\n"]


def test_a_worker_that_fails_and_a_job_that_is_cancelled(session: Session, alpine: Any) -> None:
    from golem_nb.engine.errors import TasksFailedError

    async def worker(context: Any, tasks: Any) -> Any:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/sh", "-c", f"sleep {task.data}" if task.data else "exit 1")
            yield script
            task.accept_result()

    job = session.execute_tasks(worker, [0], alpine)
    with pytest.raises(TasksFailedError):
        job.result(90)
    assert list(job.errors) == [0]
    job = session.execute_tasks(worker, [60], alpine)
    assert not job.wait(2)
    job.cancel()
    assert job.wait(10)
    assert job.state == "cancelled"


async def test_a_session_as_an_async_context_manager(
    network: LocalNetwork, data_dir: Path, alpine: Any
) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    before = await peek(network.api_config)
    async with Session(budget=1, network=network, name="async") as session:
        await session.aio.ready()
        assert await session.run("echo {}", ["a"], payload=alpine) == ["a\n"]
        assert (await session.aio.estimate(alpine, tasks=1, seconds=1)).tasks == 1
    ticking.cancel()
    assert session.stopped
    assert ticks > 20  # this loop was never blocked
    assert await peek(network.api_config) - before == NOTHING


def test_a_session_as_a_context_manager(network: LocalNetwork, data_dir: Path, alpine: Any) -> None:
    with Session(budget=1, network=network, name="with") as session:
        assert session.run("echo {}", ["a"], payload=alpine).result(60) == ["a\n"]
    assert session.stopped
    assert not [thread for thread in threading.enumerate() if thread.name == "golem-session-with"]


SCRIPT = """
from golem_nb import Session, vm
session = Session(budget=1, network="hoodi")
job = session.run("sleep {}", [60, 60, 0], payload=vm.repo(image_tag="golem/alpine:latest"))
for item in job:
    break
print("first", flush=True)
"""


def test_a_script_that_forgets_to_stop_ends_its_agreements(on_network: LocalNetwork, data_dir: Path) -> None:
    before = look(on_network.api_config)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    started = time.monotonic()
    assert process.wait(20) == 0
    assert time.monotonic() - started < 3
    left = since(on_network.api_config, before, 5)
    assert (left.agreements, left.allocations) == (NOTHING.agreements, NOTHING.allocations)
    assert process.communicate()[1] == ""
    # nobody has waited for the invoices: the next session knows of them, and pays
    with Session(budget=1, network=on_network, name="after a script") as session:
        (line,) = [str(line) for line in session.left]
        assert "invoices to come or unpaid" in line
        assert "running" not in line
        assert "1 session settled" in str(session.recover())
        assert session.left == []
    assert since(on_network.api_config, before, 5) == NOTHING


THREE = """
import atexit, psutil, time
from golem_nb import Session, vm
from golem_nb.localnet import LocalNetwork
ended = []
atexit.register(lambda: print(time.monotonic() - ended[0], flush=True))
with LocalNetwork(providers=3) as network:
    alpine = vm.repo(image_tag="golem/alpine:latest")
    jobs = [
        Session(budget=1, network=network, name=name).run("sleep 100", payload=alpine) for name in "abc"
    ]
    while not all(job.progress.running for job in jobs):
        time.sleep(0.1)
    daemons = [each for each in psutil.process_iter() if each.name() == "yagna"]
    (daemon,) = [each for each in daemons if each.environ()["GSB_URL"] == network.env["GSB_URL"]]
    daemon.suspend()
    ended.append(time.monotonic())
    atexit._run_exitfuncs()
    daemon.resume()
"""


@pytest.mark.localnet
def test_three_sessions_end_together_where_the_daemon_hangs(data_dir: Path) -> None:
    said = subprocess.run([sys.executable, "-c", THREE], capture_output=True, text=True, timeout=120)
    assert float(said.stdout) < 2.5, said


def test_a_worker_that_blocks_the_engine_is_named(session: Session, alpine: Any) -> None:
    async def render(context: Any, tasks: Any) -> Any:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            time.sleep(3.5)
            task.accept_result()

    session.execute_tasks(render, [1], alpine).result(60)
    deadline = time.monotonic() + 5
    while len(session.warnings) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "render" in session.warnings[-1]
    assert "asyncio.to_thread" in session.warnings[-1]
    assert session.facts().problem == session.warnings[-1]


async def test_packages_are_found_in_the_registry_of_the_network(session: Session, network: Any) -> None:
    """Also where they are awaited in a cell, before a session knows of them."""
    from golem_nb import vm

    package = await vm.repo(image_tag="golem/alpine:latest")
    assert network.registry_url in await package.resolve_url()


def test_a_network_for_clusters(session: Session) -> None:
    network = session.create_network("192.168.77.0/24")
    assert network.owner_ip == "192.168.77.1"
    assert "192.168.77.0" in repr(network)
    network.remove()
    with pytest.raises(TypeError, match="did you mean 'owner_ip'"):
        session.create_network("192.168.77.0/24", owner_id="x")  # type: ignore[call-arg]
