"""Whenever a process is killed, the next one ends, pays and releases what it left, at a real daemon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from golem_nb import Golem
from golem_nb.frames import history
from golem_nb.ledger import Ledger, Place, RecoveryReport
from golem_nb.localnet import LocalNetwork, ProviderSpec
from golem_nb.rest import Activity, Configuration, Market, Net, Payment
from golem_nb.rest.allocations import Allocation
from golem_nb.rest.errors import ActivityGoneError

from .dying_program import Sleeper

pytestmark = pytest.mark.localnet

PROGRAM = Path(__file__).with_name("dying_program.py")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network of two providers of equal prices, of its own: what other tests leave would be seen here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("network")))
        with LocalNetwork(providers=[ProviderSpec(name="amber"), ProviderSpec(name="birch")]) as network:
            yield network


@pytest.fixture(scope="module")
def billing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network of one provider that sends a debit note every second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("billing")))
        with LocalNetwork(providers=[ProviderSpec(name="amber", debit_note_interval=1.0)]) as network:
            yield network


Program = subprocess.Popen[str]


@pytest.fixture
def start(daemon: LocalNetwork, folder: Path) -> Iterator[Callable[..., Program]]:
    """Starts the program; whatever is left of it is killed at the end."""
    programs: list[Program] = []

    def start(*arguments: str, **environment: str) -> Program:
        program = subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments],
            env={**os.environ, **daemon.env, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()
        program.wait()
        program.stdout.close()


@pytest.fixture
def die(start: Callable[..., Program]) -> Callable[..., None]:
    """Starts the program and sees it killed by itself."""

    def die(*arguments: str) -> None:
        assert start(*arguments).wait(60) == -signal.SIGKILL

    return die


def working(program: Program, number: int = 1) -> None:
    """Wait until the program is at work."""
    for _ in range(number):
        assert program.stdout.readline() == "working\n"


async def recover(ledger: Ledger, network: LocalNetwork, **how: Any) -> RecoveryReport:
    return await ledger.recover(network.api_config, **how)


async def nothing_is_left(ledger: Ledger, network: LocalNetwork) -> None:
    """No agreement, activity, reservation or network; no invoice that was not dealt with."""
    assert ledger.left() == []
    async with Configuration(network.api_config) as configuration:
        market, payment = Market(configuration.market()), Payment(configuration.payment())
        reserved = [await allocation.details() for allocation in await payment.allocations()]
        assert reserved == [], ledger.select("SELECT * FROM allocation")
        assert await market.agreements(state="Pending") == []
        assert await Net(configuration.net()).networks() == []
        known = {key for (key,) in ledger.select("SELECT id FROM agreement")}
        all_invoices = await payment.invoices()
        invoices = [each for each in all_invoices if each.agreement_id in known]
        assert {each.status for each in invoices} <= {"ACCEPTED", "SETTLED"}
        billed = {each.agreement_id for each in invoices}
        # who is killed in the middle of a termination leaves the daemon with an agreement that its provider
        # has ended, and billed; nothing changes that
        approved = {each.id for each in await market.agreements(state="Approved")}
        assert approved <= {each.agreement_id for each in all_invoices}
        used = {key for (key,) in ledger.select("SELECT DISTINCT agreement FROM activity")}
        assert used <= billed
        activities = Activity(configuration.activity())
        for agreement in known:
            for key in await activities.activities(agreement):
                with contextlib.suppress(ActivityGoneError):
                    assert (await activities.attach(key).state()).current == "Terminated"
    # the provider is free again
    assert ledger.select("SELECT count(*) FROM session WHERE ended IS NULL") == [(0,)]


MOMENTS = [
    *(("asked", action) for action in ("create_allocation", "amend_allocation", "subscribe")),
    *(("answered", action) for action in ("create_allocation", "amend_allocation")),
    *(("done", action) for action in ("create_allocation", "subscribe")),
    *(
        (moment, action)
        for action in (
            "create_agreement",
            "confirm_agreement",
            "create_activity",
            "destroy_activity",
            "terminate_agreement",
            "accept_invoice",
        )
        for moment in ("asked", "answered", "done")
    ),
    ("asked", "release_allocation"),
    ("answered", "release_allocation"),
    ("done", "release_allocation"),
]


@pytest.mark.parametrize(("moment", "action"), MOMENTS)
async def test_killed_in_a_step(
    die: Callable[..., None], ledger: Ledger, daemon: LocalNetwork, moment: str, action: str
) -> None:
    await asyncio.to_thread(die, "batch", moment, action)
    report = await recover(ledger, daemon)
    assert report.problems == []
    assert report.refused == {}
    await nothing_is_left(ledger, daemon)


async def test_a_release_without_effect_is_said_and_done_again(
    die: Callable[..., None], ledger: Ledger, daemon: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def release(self: Allocation) -> None:  # the daemon cannot be made to answer so
        pass

    await asyncio.to_thread(die, "batch", "done", "create_allocation")
    with monkeypatch.context() as patch:
        patch.setattr(Allocation, "release", release)
        report = await recover(ledger, daemon)
    (problem,) = report.problems
    assert "still has it in force, with 1 GLM" in problem
    assert report.released == []
    (left,) = ledger.left()
    assert len(left.allocations) == 1
    assert (await recover(ledger, daemon)).released == list(left.allocations)
    await nothing_is_left(ledger, daemon)


@pytest.mark.parametrize("moment", ["asked", "answered", "done"])
async def test_killed_while_a_debit_note_is_accepted(
    folder: Path, ledger: Ledger, moment: str, billing: LocalNetwork
) -> None:
    program = [sys.executable, str(PROGRAM), "batch", moment, "accept_debit_note", "20"]
    environment = {**os.environ, **billing.env}
    killed = await asyncio.to_thread(subprocess.run, program, env=environment, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    await asyncio.sleep(2)  # more of them come, and nobody is there
    report = await recover(ledger, billing)
    assert report.problems == []
    assert report.refused == {}
    await nothing_is_left(ledger, billing)
    async with Configuration(billing.api_config) as configuration:
        invoices = await Payment(configuration.payment()).invoices()
    known = {key for (key,) in ledger.select("SELECT id FROM agreement")}
    total = sum(each.amount for each in invoices if each.agreement_id in known)
    assert history(ledger).costs.attrs["totals"]["accepted"] == total


async def test_killed_at_work(start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork) -> None:
    program = start("batch", "never", "-", "60")
    await asyncio.to_thread(working, program, 2)
    program.kill()
    program.wait()
    (left,) = ledger.left()
    assert len(left.agreements) == len(left.activities) == 2
    began = time.monotonic()
    report = await recover(ledger, daemon)
    assert time.monotonic() - began < 15
    assert sorted(report.ended) == sorted(left.agreements)
    assert sorted(report.destroyed) == sorted(left.activities)
    assert sorted(report.paid) == sorted(left.agreements)
    assert report.released == list(left.allocations)
    assert report.accepted > 0
    assert "2 agreements ended" in str(report)
    await nothing_is_left(ledger, daemon)
    reasons = ledger.select("SELECT DISTINCT reason FROM agreement")
    assert reasons == [
        ("Work cancelled: the requestor's process was killed, and what it left is being ended",)
    ]
    async with Configuration(daemon.api_config) as configuration:
        agreement = await Market(configuration.market()).agreement(report.ended[0])
        event = await agreement.termination_reason()
        assert event.terminator == "Requestor"
        assert event.reason["golem.requestor.code"] == "Cancelled"
    for file in ledger.path.parent.rglob("*"):
        assert file.is_dir() or daemon.api_config.app_key.encode() not in file.read_bytes()
    costs = history(ledger).costs
    assert costs.attrs["totals"]["accepted"] == report.accepted
    assert set(costs["provider"]) == {"amber", "birch"}
    (session,) = history(ledger).sessions.to_dict("records")
    assert (session["name"], session["agreements"]) == ("dying", 2)


async def test_finished_items_outlive_the_process(
    start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork
) -> None:
    program = start("batch", "asked", "destroy_activity")
    assert await asyncio.to_thread(program.wait, 60) == -signal.SIGKILL
    # a worker's activity is destroyed when both tasks are done, or when there was only one for it
    assert set(ledger.items("batch")) in ({0}, {1}, {0, 1})
    (left,) = ledger.left()
    assert sum(left.items.values()) == len(ledger.items("batch"))
    await recover(ledger, daemon)
    await nothing_is_left(ledger, daemon)


async def test_the_living_are_left_alone(
    start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork
) -> None:
    alive = start("service", "never", "-")
    await asyncio.to_thread(working, alive)
    dead = start("service", "never", "-")
    await asyncio.to_thread(working, dead)
    dead.kill()
    dead.wait()
    report = await recover(ledger, daemon)
    assert len(report.ended) == 1
    async with Configuration(daemon.api_config) as configuration:
        assert len(await Market(configuration.market()).agreements(state="Approved")) == 1
        assert len(await Payment(configuration.payment()).allocations()) == 1
    assert alive.poll() is None
    alive.kill()
    alive.wait()
    assert len((await recover(ledger, daemon)).ended) == 1
    await nothing_is_left(ledger, daemon)


async def test_two_recover_at_once(
    start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork
) -> None:
    program = start("batch", "never", "-", "60")
    await asyncio.to_thread(working, program, 2)
    program.kill()
    program.wait()
    with Ledger() as another:
        reports = await asyncio.gather(recover(ledger, daemon), recover(another, daemon))
    assert sum(len(report.ended) for report in reports) == 2
    assert sum(len(report.released) for report in reports) == 1
    assert sum(len(report.problems) for report in reports) <= 1
    await nothing_is_left(ledger, daemon)


@pytest.mark.parametrize(
    ("moment", "action"),
    [
        ("answered", "destroy_activity"),
        ("asked", "terminate_agreement"),
        ("answered", "terminate_agreement"),
        ("asked", "accept_invoice"),
        ("answered", "accept_invoice"),
        ("answered", "release_allocation"),
    ],
)
async def test_killed_in_a_recovery(
    start: Callable[..., Program],
    die: Callable[..., None],
    ledger: Ledger,
    daemon: LocalNetwork,
    moment: str,
    action: str,
) -> None:
    program = start("batch", "never", "-", "60")
    await asyncio.to_thread(working, program, 2)
    program.kill()
    program.wait()
    await asyncio.to_thread(die, "recover", moment, action)
    report = await recover(ledger, daemon)
    assert report.problems == []
    await nothing_is_left(ledger, daemon)


async def cut_off(network: LocalNetwork, path: str, seconds: float) -> None:
    """Ask for the end of an agreement, and leave after some time, as a process that is killed does."""
    url = urlsplit(network.env["YAGNA_API_URL"])
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    body = b'{"message": "killed"}'
    lines = [
        f"POST {path}/terminate HTTP/1.1",
        f"Host: {url.netloc}",
        f"Authorization: Bearer {network.env['YAGNA_APPKEY']}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await asyncio.sleep(seconds)
    writer.transport.abort()


async def test_killed_in_the_middle_of_a_termination(
    start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork
) -> None:
    """The provider has ended the agreement, and the daemon can do so no more."""
    async with Configuration(daemon.api_config) as configuration:
        market, payment = Market(configuration.market()), Payment(configuration.payment())

        async def billed(agreement: str) -> bool:
            return any(invoice.agreement_id == agreement for invoice in await payment.invoices())

        async def half_ended() -> str:
            """Try until it has been met, which lasts some milliseconds."""
            for _ in range(5):
                program = start("batch", "never", "-", "60")
                await asyncio.to_thread(working, program, 2)
                program.kill()
                program.wait()
                (left,) = ledger.left()
                for agreement in left.agreements:
                    for milliseconds in range(1, 30):
                        await cut_off(daemon, f"/market-api/v1/agreements/{agreement}", milliseconds / 1000)
                        deadline = time.monotonic() + 2
                        while time.monotonic() < deadline and not await billed(agreement):
                            await asyncio.sleep(0.1)
                        if await billed(agreement):
                            break
                    if (await market.agreement(agreement)).details.state == "Approved":
                        return agreement
                await recover(ledger, daemon)
            raise AssertionError("no termination was met in its middle")

        agreement = await half_ended()
        report = await recover(ledger, daemon)
        assert report.problems == []
        assert agreement in report.ended
        await nothing_is_left(ledger, daemon)
        assert (await market.agreement(agreement)).details.state == "Approved"


async def test_settling_leaves_alone_what_runs(
    start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork
) -> None:
    program = start("service", "never", "-")
    await asyncio.to_thread(working, program)
    program.kill()
    program.wait()
    report = await recover(ledger, daemon, how="settle")
    assert len(report.running) == 1
    assert report.ended == report.released == []
    (left,) = ledger.left()
    assert len(left.agreements) == len(left.allocations) == 1
    await recover(ledger, daemon)
    await nothing_is_left(ledger, daemon)


async def test_an_overcharge_is_refused(
    start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork
) -> None:
    providers = daemon.providers
    for provider in providers:
        await provider.misbehave("overcharge")
    try:
        program = start("batch", "never", "-", "60")
        await asyncio.to_thread(working, program, 2)
        await asyncio.sleep(3)  # the usage has to be worth more than what is tolerated
        program.kill()
        program.wait()
        report = await recover(ledger, daemon)
    finally:
        for provider in providers:
            await provider.behave()
    assert len(report.refused) == 2
    assert all("usage and agreed price explain at most" in text for text in report.refused.values())
    assert report.accepted == 0
    assert len(report.released) == 1
    assert ledger.left() == []
    assert await recover(ledger, daemon) == RecoveryReport()


async def test_a_provider_that_does_not_bill(
    start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golem_nb.ledger.estate.INVOICE_WAIT", 2.0)
    providers = daemon.providers
    for provider in providers:
        await provider.misbehave("no-invoice")
    try:
        program = start("service", "never", "-")
        await asyncio.to_thread(working, program)
        program.kill()
        program.wait()
        report = await recover(ledger, daemon)
    finally:
        for provider in providers:
            await provider.behave()
    assert len(report.unbilled) == 1
    assert report.problems == []
    assert ledger.left() == []


async def test_services_are_adopted(
    start: Callable[..., Program], ledger: Ledger, daemon: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLEM_REGISTRY_URL", daemon.registry_url)
    program = start("service", "never", "-", VPN="1")
    await asyncio.to_thread(working, program)
    async with asyncio.timeout(5):
        while ledger.select("SELECT state FROM service") != [("running",)]:
            await asyncio.sleep(0.02)
    program.kill()
    program.wait()
    (left,) = ledger.left()
    (service,) = left.services
    assert (service.class_name, service.state) == ("Sleeper", "running")
    book = ledger.begin("next", left.node_id, "local", Decimal(1), Place(daemon.api_config.api_url))
    handles = await ledger.adopt(left, book, daemon.api_config)
    assert [handle["id"] for handle in handles] == [service.id]
    assert ledger.left() == []
    golem = Golem(budget=1, api_config=daemon.api_config)
    golem.journal = book
    golem.add_event_consumer(book.take, book.EVENTS)
    async with golem:
        network = await golem.resume_network(handles[0]["network"])
        cluster = await golem.resume_service(Sleeper, handles, network=network)
        async with asyncio.timeout(20):
            while [str(each.state.value) for each in cluster.instances] != ["running"]:
                await asyncio.sleep(0.05)
        # were this process killed as well, the next one would find it
        assert ledger.select("SELECT session FROM agreement") == [(book.session_id,)]
        cluster.stop()
    await book.close()
    assert ledger.left() == []
    await nothing_is_left(ledger, daemon)


async def test_what_was_suspended_on_purpose_goes_on(
    ledger: Ledger, daemon: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLEM_REGISTRY_URL", daemon.registry_url)
    place = Place(daemon.api_config.api_url)
    book = ledger.begin("default", daemon.requestor, "local", Decimal(1), place)
    golem = Golem(budget=1, api_config=daemon.api_config)
    golem.journal = book
    golem.add_event_consumer(book.take, book.EVENTS)
    await golem.start()
    cluster = await golem.run_service(Sleeper)
    async with asyncio.timeout(20):
        while [str(each.state.value) for each in cluster.instances] != ["running"]:
            await asyncio.sleep(0.05)
    cluster.suspend_instance(cluster.instances[0])
    handles = await golem.stop()
    await book.close(handles)
    (left,) = ledger.left(daemon.requestor)
    assert left.suspended
    assert str(left).endswith("; suspended")
    assert len(left.agreements) == len(left.activities) == len(left.allocations) == 1
    assert await recover(ledger, daemon) == RecoveryReport()
    assert ledger.left() == [left]
    # another process has the same handle
    again = ledger.begin("again", daemon.requestor, "local", Decimal(1), place)
    with Ledger() as another:
        assert await another.adopt(left, again, daemon.api_config) == handles
    assert ledger.left() == []
    await again.close()
    (left,) = ledger.left()
    assert not left.suspended
    report = await recover(ledger, daemon, sessions=[left.session_id])
    assert report.ended == list(left.agreements)
    assert len(report.paid) == 1
    await nothing_is_left(ledger, daemon)


async def test_a_network_that_died_with_its_owner(folder: Path, ledger: Ledger) -> None:
    """Everything of it is killed; the next process starts it again, and settles there."""
    owner = (
        "import os, subprocess, sys, time\n"
        "from golem_nb.localnet import LocalNetwork\n"
        "with LocalNetwork(providers=1, name='owned') as network:\n"
        f"    subprocess.run([sys.executable, {str(PROGRAM)!r}, 'batch', 'done', 'create_activity'],\n"
        "        env={**os.environ, **network.env})\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", owner])
    assert killed.returncode == -signal.SIGKILL
    (left,) = ledger.left()
    assert left.agreements
    folder_of_it = folder.parent / "localnet" / "owned"
    async with asyncio.timeout(30):
        while not (folder_of_it / "unsettled.json").exists():
            await asyncio.sleep(0.1)
    async with LocalNetwork.recover("owned") as network:
        report = await recover(ledger, network)
        assert report.problems == []
        assert ledger.left() == []
        async with Configuration(network.api_config) as configuration:
            assert await Payment(configuration.payment()).allocations() == []
            assert await Market(configuration.market()).agreements(state="Approved") == []
    assert not folder_of_it.exists()
