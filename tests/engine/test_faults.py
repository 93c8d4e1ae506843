"""A daemon that fails in the middle of the work, or cannot be reached for a while."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.engine import EngineStoppedError, scripts
from golem_nb.engine import engine as engine_module
from golem_nb.rest import Configuration, Market, Payment, client
from golem_nb.rest.activity import BatchError

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

    from .conftest import Batch, Meddler

Tasks = AsyncIterator[Task[Any, Any]]
Worker = AsyncGenerator[Any, Any]

GONE = '{"message": "Service bus error: endpoint address not found: /net/0x1/exe-unit"}'


async def sleepy(context: WorkContext, tasks: Tasks) -> Worker:
    async for task in tasks:
        script = context.new_script(timeout=timedelta(seconds=30))
        result = script.run("/bin/sh", "-c", f"sleep 0.3; echo -n {task.data}")
        yield script
        task.accept_result((await result).stdout)


@pytest.mark.contract("E16")
@pytest.mark.parametrize("status", [504, 408, None])
async def test_accepting_is_repeated_on_errors_that_pass(
    tame: Batch, meddler: Meddler, status: int | None
) -> None:
    meddler.spoil("POST", r"/invoices/[^/]+/accept", status=status, times=2)
    meddler.spoil("GET", r"/payment-api/v1/invoices/[^/?]+$", status=status, times=2)
    outcome = await tame(["x"], api_config=meddler.api_config)
    assert outcome.error is None
    assert meddler.spoilt == 4
    assert len(outcome.accepted) == 1
    assert not outcome.of("PaymentFailed")


@pytest.mark.contract("E16", "E12")
async def test_accepting_is_not_repeated_for_ever(tame: Batch, meddler: Meddler) -> None:
    meddler.spoil("POST", r"/invoices/[^/]+/accept", status=504, times=99)
    outcome = await tame(["x"], api_config=meddler.api_config)
    assert outcome.results == ["x"]
    assert meddler.spoilt == 5
    (failed,) = outcome.of("PaymentFailed")
    assert "Accepting invoice" in str(failed.exception)
    assert "answered 504" in str(failed.exception)


@pytest.mark.contract("E16")
async def test_accepting_is_not_repeated_where_that_does_not_help(tame: Batch, meddler: Meddler) -> None:
    meddler.spoil("POST", r"/invoices/[^/]+/accept", status=500, body='{"message": "no"}', times=99)
    outcome = await tame(["x"], api_config=meddler.api_config)
    assert meddler.spoilt == 1
    assert len(outcome.of("PaymentFailed")) == 1


@pytest.mark.contract("E17")
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_busy_bus_is_asked_again(tame: Batch, meddler: Meddler, streaming: bool) -> None:
    meddler.spoil("GET", r"/activity/[^/]+/exec/", body=GONE, times=2)
    outcome = await tame(
        ["x"], worker=sleepy, max_workers=1, api_config=meddler.api_config, stream_output=streaming
    )
    assert outcome.error is None
    assert meddler.spoilt == 2
    assert len(outcome.of("ActivityCreated")) == 1


@pytest.mark.contract("E17")
async def test_a_bus_that_stays_busy(tame: Batch, meddler: Meddler) -> None:
    meddler.spoil("GET", r"/activity/[^/]+/exec/", body=GONE, times=scripts.MAX_FAILURES)
    outcome = await tame(["x"], worker=sleepy, max_workers=1, api_config=meddler.api_config)
    assert outcome.results == ["x"]
    failed = [event.exception for event in outcome.of("WorkerFinished") if event.exception]
    assert failed
    assert all(isinstance(error, BatchError) for error in failed)
    assert re.search(r"Provider '\w+' \(0x[0-9a-f]{40}\) cannot be reached any more", str(failed[0]))


@pytest.mark.contract("E15")
async def test_an_activity_that_cannot_be_created(tame: Batch, meddler: Meddler) -> None:
    meddler.spoil("POST", r"/activity-api/v1/activity(\?|$)", body='{"message": "no exe-unit"}', times=1)
    outcome = await tame(["x"], max_workers=1, api_config=meddler.api_config)
    assert outcome.results == ["x"]
    (failed,) = outcome.of("ActivityCreateFailed")
    assert "no exe-unit" in str(failed.exception)
    # no activity, so no end of a worker on one
    assert failed.agr_id not in {event.agr_id for event in outcome.of("WorkerFinished")}
    assert failed.agr_id not in {event.agr_id for event in outcome.of("ActivityCreated")}
    assert failed.agr_id in {event.agr_id for event in outcome.of("AgreementTerminated")}
    assert len(outcome.of("WorkerStarted")) == 2


@pytest.mark.contract("E19")
async def test_work_goes_on_over_a_short_loss_of_the_daemon(
    tame: Batch, meddler: Meddler, caplog: pytest.LogCaptureFixture
) -> None:
    cuts: list[asyncio.Task[None]] = []

    async def cut() -> None:
        meddler.cut()
        await asyncio.sleep(0.7)
        meddler.mend()

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script(timeout=timedelta(seconds=30))
            result = script.run("/bin/sh", "-c", f"sleep 1.5; echo -n {task.data}")
            if not cuts:
                asyncio.get_running_loop().call_later(0.5, lambda: cuts.append(asyncio.create_task(cut())))
            yield script
            task.accept_result((await result).stdout)

    with caplog.at_level(logging.WARNING, "golem_nb"):
        outcome = await tame(["a", "b"], worker=worker, max_workers=1, api_config=meddler.api_config)
    assert len(cuts) == 1
    assert outcome.error is None
    assert sorted(outcome.results) == ["a", "b"]
    assert len(outcome.accepted) == 1
    assert not outcome.of("PaymentFailed")
    assert len(outcome.of("ActivityCreated")) == 1


async def test_what_could_not_be_ended_is_ended_when_the_daemon_is_back(
    tame: Batch, meddler: Meddler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client.retried, "__defaults__", (2, 0.1, 0.1))
    monkeypatch.setattr(scripts, "POLL", 0.5)
    cut = asyncio.Event()

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script(timeout=timedelta(seconds=3))
            script.run("/bin/sleep", "1000" if task.data else "0")
            if task.data:
                cut.set()
            yield script
            task.accept_result(task.data)

    async def outage() -> None:
        await cut.wait()
        await asyncio.sleep(0.3)
        meddler.cut()
        await asyncio.sleep(7)
        meddler.mend()

    gone = asyncio.create_task(outage())
    outcome = await tame(
        [0, 1], worker=worker, max_workers=1, api_config=meddler.api_config, timeout=timedelta(seconds=6)
    )
    await gone
    assert outcome.results == [0]
    assert outcome.error is not None
    # tame has looked: no agreement in force, no demand, no reservation
    assert "could not be ended, which will be tried again" in caplog.text
    assert len(outcome.accepted) == 1


async def test_a_stop_does_not_wait_for_ever_for_a_daemon_that_hangs(
    network: LocalNetwork, meddler: Meddler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "SILENCE", 1.0)
    events: list[Any] = []
    golem = Golem(budget=1, api_config=meddler.api_config, event_consumer=events.append)
    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=network.registry_url)
    await golem.start()

    async def work() -> None:
        async for _ in golem.execute_tasks(hanging, [Task(0)], payload):
            pass

    async def hanging(context: WorkContext, tasks: Any) -> AsyncGenerator[Any, Any]:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/sleep", "1000")
            meddler.hang()
            yield script
            task.accept_result()

    job = asyncio.create_task(work())
    async with asyncio.timeout(60):
        while not meddler.hangs:
            await asyncio.sleep(0.05)
    started = time.monotonic()
    with caplog.at_level(logging.ERROR, "golem_nb"):
        await golem.stop()
    # each of the requests alone would be waited for longer
    assert time.monotonic() - started < 20
    with pytest.raises(EngineStoppedError):
        await job
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    async with Configuration(network.api_config) as configuration:
        market, payment = Market(configuration.market()), Payment(configuration.payment())
        (allocation,) = await payment.allocations()
        (agreement,) = {
            event.agreement.id for event in events if type(event).__name__ == "AgreementConfirmed"
        }
        assert f"allocation {allocation.id} of 1 GLM" in record.getMessage()
        assert f"Agreement {agreement} with " in record.getMessage()
        assert "The demand of job " in record.getMessage()
        assert "Restart it; " in record.getMessage()
        # the other tests find nothing of it
        await (await market.agreement(agreement)).terminate({"message": "the test is over"})
        await allocation.release()
        for subscription in await market.subscriptions():
            await subscription.delete()
