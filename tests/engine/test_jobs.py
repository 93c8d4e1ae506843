"""Jobs of tasks, from `execute_tasks` to the results."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.engine import (
    BudgetExceededError,
    EngineStoppedError,
    JobTimeoutError,
    TasksFailedError,
    negotiation,
)
from golem_nb.events import DebitNoteEvent
from golem_nb.executor.executor import DEFAULT_MAX_WORKERS, DEFAULT_TIMEOUT, MAX_TRIES
from golem_nb.rest import Configuration, Market
from golem_nb.rest.activity import BatchError, BatchTimeoutError, CommandExecutionError

from .conftest import Outcome

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

    from .conftest import Batch, Running

Tasks = AsyncIterator[Task[Any, Any]]
Worker = AsyncGenerator[Any, Any]


async def echo(context: WorkContext, tasks: Tasks) -> Worker:
    async for task in tasks:
        script = context.new_script(timeout=timedelta(seconds=30))
        result = script.run("/bin/echo", "-n", str(task.data))
        yield script
        task.accept_result((await result).stdout)


async def sleepy(context: WorkContext, tasks: Tasks) -> Worker:
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/sleep", "0.4")
        yield script
        task.accept_result(task.data)


async def forever(context: WorkContext, tasks: Tasks) -> Worker:
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/sleep", "1000")
        yield script
        task.accept_result(task.data)


# --- the order of events ---------------------------------------------------------------------------------

MARKET = [
    "JobStarted",
    "SubscriptionCreated",
    "ProposalReceived",
    "ProposalResponded",
    "ProposalReceived",
    "ProposalConfirmed",
    "AgreementCreated",
    "AgreementConfirmed",
    "WorkerStarted",
    "ActivityCreated",
]
END = [
    "WorkerFinished",
    "AgreementTerminated",
    "JobFinished",
    "InvoiceReceived",
    "InvoiceAccepted",
    "ShutdownFinished",
]
RESULTS = ["GettingResults", "ScriptFinished"]
ACCEPTED = ["TaskAccepted", "TaskFinished"]


def names_of_one(outcome: Any) -> list[str]:
    """The events without those of refused providers, and without debit notes, which come at any time."""
    refused = {event.proposal.issuer for event in outcome.of("ProposalRejected")}
    return [
        type(event).__name__
        for event in outcome.events
        if getattr(getattr(event, "proposal", None), "issuer", None) not in refused
        and not isinstance(event, DebitNoteEvent)
    ]


@pytest.mark.contract("V05", "G14")
async def test_events_come_in_order(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            got: list[bytes] = []

            async def received(data: bytes, got: list[bytes] = got) -> None:
                got.append(data)

            script = context.new_script()
            script.run("/bin/sh", "-c", "echo hello > /golem/output/x")
            result = script.run("/bin/echo", "out")
            script.download_bytes("/golem/output/x", received)
            yield script
            task.accept_result((got, (await result).stdout))

    outcome = await tame(["a", "b"], worker=worker, only="amber", max_workers=1)
    assert outcome.error is None
    assert outcome.results == [([b"hello\n"], "out\n")] * 2
    init = ["ScriptSent", *["CommandExecuted"] * 2, *RESULTS]
    download = ["GettingResults", "DownloadStarted", "DownloadFinished", "ScriptFinished"]
    task = ["TaskStarted", "ScriptSent", *["CommandExecuted"] * 3, *download, *ACCEPTED]
    assert names_of_one(outcome) == [*MARKET, *init, *task, *task, *END]
    assert all(a.timestamp <= b.timestamp for a, b in itertools.pairwise(outcome.events))


@pytest.mark.contract("V05", "G02", "C09")
async def test_events_of_streamed_output_come_in_order(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            result = script.run("/bin/sh", "-c", "echo a; sleep 0.2; echo b >&2; sleep 0.2; echo c")
            yield script
            task.accept_result(await result)

    outcome = await tame(["x"], worker=worker, only="amber", max_workers=1, stream_output=True)
    assert outcome.error is None
    command = ["CommandStarted", "CommandExecuted"]
    init = ["ScriptSent", *command, *command, *RESULTS]
    output = ["CommandStarted", "CommandStdOut", "CommandStdErr", "CommandStdOut", "CommandExecuted"]
    task = ["TaskStarted", "ScriptSent", *output, *RESULTS, *ACCEPTED]
    assert names_of_one(outcome) == [*MARKET, *init, *task, *END]
    assert [event.output for event in outcome.of("CommandStdOut")] == ["a\n", "c\n"]
    assert [event.output for event in outcome.of("CommandStdErr")] == ["b\n"]
    assert outcome.results[0].success
    assert outcome.results[0].stdout is None


# --- what a job is told ----------------------------------------------------------------------------------


@pytest.mark.contract("G15")
def test_defaults() -> None:
    assert DEFAULT_MAX_WORKERS == 5
    assert timedelta(minutes=15) == DEFAULT_TIMEOUT
    assert MAX_TRIES == 5


@pytest.mark.contract("G15")
async def test_the_time_limit_is_the_demands_expiration(tame: Batch, network: LocalNetwork) -> None:
    listed: list[Any] = []

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async with Configuration(network.api_config) as configuration:
            listed.extend(await Market(configuration.market()).subscriptions())
        async for task in tasks:
            task.accept_result()
        return
        yield

    before = datetime.now(UTC)
    outcome = await tame(["x"], worker=worker, timeout=timedelta(hours=2))
    assert outcome.error is None
    (demand,) = listed
    (job,) = {event.job for event in outcome.of("JobStarted")}
    assert timedelta(0) <= job.expiration_time - before - timedelta(hours=2) < timedelta(seconds=5)
    milliseconds = demand.details.properties["golem.srv.comp.expiration"]
    assert milliseconds == pytest.approx(job.expiration_time.timestamp() * 1000, abs=1)


@pytest.mark.contract("G16")
async def test_a_job_that_runs_out_of_time_gives_what_it_has(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/sleep", "0.1" if task.data < 3 else "1000")
            yield script
            task.accept_result(task.data)

    outcome = await tame(range(4), worker=worker, max_workers=1, timeout=4.0)
    assert outcome.results == [0, 1, 2]
    assert isinstance(outcome.error, JobTimeoutError)
    assert isinstance(outcome.error, TimeoutError)
    assert str(outcome.error) == (
        "Job timed out after 0:00:04: 3 tasks were done; pass a longer `timeout` or more `max_workers`"
    )
    assert 4 <= outcome.seconds < 6
    (finished,) = outcome.of("JobFinished")
    assert finished.exception is outcome.error
    # it was used, so it is paid
    assert len(outcome.accepted) == 1


@pytest.mark.contract("G17")
async def test_job_ids(tame: Batch) -> None:
    name = f"mine-{time.monotonic()}"
    outcome = await tame(["x"], job_id=name)
    assert outcome.results == ["x"]
    assert {event.job_id for event in outcome.of("JobStarted", "TaskStarted", "InvoiceAccepted")} == {name}
    again = await tame(["x"], job_id=name)
    assert isinstance(again.error, ValueError)
    assert str(again.error).startswith(f"Non unique job id {name}")
    assert again.names == ["ShutdownFinished"]
    first, second = (await tame(["x"]), await tame(["x"]))
    numbers = [int(outcome.of("JobStarted")[0].job_id) for outcome in (first, second)]
    assert numbers[0] < numbers[1]


@pytest.mark.contract("G18")
@pytest.mark.parametrize("implicit", [True, False])
async def test_deploy_and_start(tame: Batch, implicit: bool) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        if not implicit:
            script = context.new_script()
            script.deploy()
            script.start()
            yield script
        async for task in tasks:
            script = context.new_script()
            result = script.run("/bin/echo", "-n", "done")
            yield script
            task.accept_result((await result).stdout)

    outcome = await tame(["x"], worker=worker, implicit_init=implicit)
    assert outcome.results == ["done"]
    scripts = [event.script for event in outcome.of("ScriptSent")]
    sent = [[command.evaluate() for command in script.commands] for script in scripts]
    assert sent[0] == [{"deploy": {}}, {"start": {"args": []}}]
    assert [list(command) for command in sent[1]] == [["run"]]


async def test_a_worker_that_forgets_to_deploy_is_told(tame: Batch) -> None:
    outcome = await tame(["x"], only="amber", max_workers=1, implicit_init=False)
    assert isinstance(outcome.error, TasksFailedError)
    assert "deploy" in str(outcome.error).lower()


@pytest.mark.contract("T11")
async def test_tasks_from_an_async_iterator_are_read_as_they_are_needed(tame: Batch) -> None:
    read: list[int] = []
    ahead: list[int] = []

    async def source() -> AsyncIterator[Task[int, int]]:
        for number in range(6):
            await asyncio.sleep(0)
            read.append(number)
            yield Task(number)

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            ahead.append(len(read) - task.data)
            script = context.new_script()
            script.run("/bin/sleep", "0.05")
            yield script
            task.accept_result(task.data)

    outcome = await tame(source(), worker=worker, max_workers=1)
    assert sorted(outcome.results) == list(range(6))
    assert max(ahead) <= 2


@pytest.mark.contract("T11")
async def test_no_tasks_at_all(tame: Batch) -> None:
    outcome = await tame([])
    assert outcome.error is None
    assert outcome.results == []
    assert "AgreementCreated" not in outcome.names
    assert outcome.seconds < 2


async def test_what_is_not_a_task_is_named(tame: Batch) -> None:
    async def source() -> AsyncIterator[Any]:
        yield 7

    outcome = await tame(source())
    assert isinstance(outcome.error, TypeError)
    assert "`data` must give Task objects, not 7" in str(outcome.error)


async def test_a_source_that_raises_ends_the_job_with_its_error(tame: Batch) -> None:
    async def source() -> AsyncIterator[Any]:
        yield Task("first")
        raise LookupError("the list of tasks is gone")

    outcome = await tame(source())
    assert isinstance(outcome.error, LookupError)
    assert outcome.of("JobFinished")[0].exception is outcome.error


# --- workers ---------------------------------------------------------------------------------------------


@pytest.mark.contract("T05")
async def test_a_yield_gives_an_awaitable_of_the_results(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            future = script.run("/bin/echo", "-n", "one")
            script.run("/bin/echo", "-n", "two")
            results = await (yield script)
            assert results == script.results
            task.accept_result(((await future).stdout, [result.stdout for result in results]))

    outcome = await tame(["x"], worker=worker)
    assert outcome.results == [("one", ["one", "two"])]


@pytest.mark.contract("T05", "C08")
async def test_scripts_that_are_not_waited_for(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            pending = []
            for number in range(3):
                script = context.new_script(wait_for_results=False)
                script.run("/bin/sh", "-c", f"sleep 0.2; echo -n {number}")
                pending.append((yield script))
            sent = time.monotonic()
            results = [await one for one in pending]
            assert time.monotonic() - sent > 0.2
            task.accept_result([result[0].stdout for result in results])

    outcome = await tame(["x"], worker=worker)
    assert outcome.error is None
    assert outcome.results == [["0", "1", "2"]]


@pytest.mark.contract("T06")
async def test_workers_start_at_once_and_no_more_than_allowed(tame: Batch) -> None:
    outcome = await tame(range(8), worker=sleepy, max_workers=3)
    assert sorted(outcome.results) == list(range(8))
    running = most = 0
    for event in outcome.of("TaskStarted", "TaskFinished"):
        running += 1 if type(event).__name__ == "TaskStarted" else -1
        most = max(most, running)
    assert most == 3
    starts = [event.timestamp for event in outcome.of("WorkerStarted")]
    assert len(starts) == 3
    assert (starts[-1] - starts[0]).total_seconds() < 1
    assert outcome.seconds < 5


@pytest.mark.contract("T06")
async def test_no_more_workers_than_tasks(tame: Batch) -> None:
    outcome = await tame(["x"], worker=sleepy, max_workers=3)
    assert outcome.results == ["x"]
    assert len(outcome.of("AgreementCreated")) == 1


async def test_more_workers_than_providers(tame: Batch) -> None:
    outcome = await tame(range(10), worker=sleepy, max_workers=5)
    assert sorted(outcome.results) == list(range(10))
    assert len(outcome.of("ActivityCreated")) == 5


@pytest.mark.contract("T07")
async def test_silence_of_the_market_is_told(tame: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timedelta(seconds=20) == negotiation.NO_PROPOSALS_AFTER
    monkeypatch.setattr(negotiation, "NO_PROPOSALS_AFTER", timedelta(seconds=0.5))
    outcome = await tame(["x"], subnet_tag="nobody-is-here", timeout=1.8)
    assert isinstance(outcome.error, JobTimeoutError)
    assert str(outcome.error) == (
        "Job timed out after 0:00:01.800000: no agreement was made; no provider has an offer that meets the "
        "demand (check subnet, payment network and the size that the payload asks for)"
    )
    notices = outcome.of("NoProposalsConfirmed")
    assert [event.timeout for event in notices] == [timedelta(seconds=0.5)] * 3


async def test_what_keeps_all_offers_away_is_named(
    tame: Batch, network: LocalNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(negotiation, "UNMET_AFTER", 0.5)
    payload = vm.repo(
        image_tag="golem/alpine:latest", capabilities=["vpn", "teleport"], repository_url=network.registry_url
    )
    outcome = await tame(["x"], payload=payload, timeout=5)
    assert isinstance(outcome.error, JobTimeoutError)
    number = len(network.providers)
    why = f"of {number} offers on the market none meets (golem.runtime.capabilities=teleport)"
    assert str(outcome.error).endswith(f"no provider has an offer that meets the demand: {why}")
    assert f"No provider has an offer that meets the demand: {why}" in caplog.text


@pytest.mark.contract("T08")
@pytest.mark.parametrize("way", ["return", "aclose"])
async def test_a_worker_that_leaves_its_tasks_early(tame: Batch, way: str) -> None:
    async def one_each(context: WorkContext, tasks: Any) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            task.accept_result(task.data)
            if way == "return":
                return
            await tasks.aclose()

    outcome = await tame(range(3), worker=one_each, max_workers=1)
    assert outcome.error is None
    assert sorted(outcome.results) == [0, 1, 2]
    assert len(outcome.of("ActivityCreated")) == 3
    # whoever leaves early wants no more of that agreement
    assert len(outcome.of("AgreementConfirmed")) == 3
    reasons = [event.reason["golem.requestor.code"] for event in outcome.of("AgreementTerminated")]
    assert reasons == ["Success"] * 3


@pytest.mark.contract("T09", "T04", "E08")
async def test_an_exception_of_a_worker(tame: Batch, caplog: pytest.LogCaptureFixture) -> None:
    failures = 0

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        nonlocal failures
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            if task.data == 2 and not failures:
                failures += 1
                raise ZeroDivisionError("a bug in the worker")
            task.accept_result(task.data)

    with caplog.at_level(logging.WARNING, "golem_nb"):
        outcome = await tame(range(4), worker=worker, max_workers=1)
    assert outcome.error is None
    assert sorted(outcome.results) == [0, 1, 2, 3]
    first, second = outcome.of("WorkerFinished")
    assert isinstance(first.exception, ZeroDivisionError)
    assert second.exception is None
    assert "ZeroDivisionError: a bug in the worker" in caplog.text
    assert first.agr_id != second.agr_id
    cancelled, success = [event.reason for event in outcome.of("AgreementTerminated")]
    assert cancelled == {"message": "Work cancelled", "golem.requestor.code": "Cancelled"}
    assert success == {"message": "Successfully finished all work", "golem.requestor.code": "Success"}


@pytest.mark.contract("T04")
async def test_a_task_that_always_fails_is_given_up_with_every_cause(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/sh", "-c", f"echo {task.data} >&2; exit {task.data}")
            yield script
            task.accept_result(task.data)

    outcome = await tame([0, 0, 7, 0], worker=worker, max_workers=2)
    assert outcome.results == [0, 0, 0]
    assert isinstance(outcome.error, TasksFailedError)
    (failure,) = outcome.error.failures
    assert failure.task.data == 7
    assert len(failure.causes) == MAX_TRIES
    assert all(isinstance(cause, CommandExecutionError) for cause in failure.causes)
    text = str(outcome.error)
    assert outcome.error.done == 3
    assert text.startswith("1 task could not be completed, 3 were done:\n")
    assert f"{failure.task!r} failed 5 times: CommandExecutionError: Command 'Run /bin/sh" in text
    tried = [event.agr_id for event in outcome.of("TaskStarted") if event.task is failure.task]
    assert len(set(tried)) == MAX_TRIES


@pytest.mark.contract("T10")
async def test_a_failed_script_may_be_followed_by_another(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            caught: list[BatchError] = []
            script = context.new_script()
            script.run("/bin/sh", "-c", "exit 3")
            try:
                yield script
            except CommandExecutionError as error:
                caught.append(error)
            script = context.new_script(timeout=timedelta(seconds=0.5))
            script.run("/bin/sleep", "1")
            try:
                yield script
            except BatchTimeoutError as error:
                caught.append(error)
            await asyncio.sleep(1)
            script = context.new_script()
            result = script.run("/bin/echo", "-n", "still here")
            yield script
            task.accept_result((caught, (await result).stdout))

    outcome = await tame(["x"], worker=worker)
    assert outcome.error is None
    ((caught, said),) = outcome.results
    assert [type(error) for error in caught] == [CommandExecutionError, BatchTimeoutError]
    assert said == "still here"
    assert len(outcome.of("ActivityCreated")) == 1


# --- ends ------------------------------------------------------------------------------------------------


@pytest.mark.contract("G19")
@pytest.mark.parametrize("way", ["break", "aclose", "kept"])
async def test_leaving_the_loop_early(running: Running, way: str) -> None:
    golem, heard = running.golem, running.heard
    tasks = golem.execute_tasks(sleepy, [Task(n) for n in range(50)], running.payload, max_workers=2)
    got = []
    if way == "aclose":
        async with aclosing(tasks):
            async for task in tasks:
                got.append(task.result)
                break
    else:
        async for task in tasks:
            got.append(task.result)
            break
    if way == "break":
        del tasks
        await asyncio.sleep(0.1)
    await golem.stop()
    assert len(got) == 1
    started = len(heard.of("TaskStarted"))
    assert started < 10
    (finished,) = heard.of("JobFinished")
    assert isinstance(finished.exception, EngineStoppedError if way == "kept" else asyncio.CancelledError)
    reasons = [event.reason for event in heard.of("AgreementTerminated")]
    assert reasons
    assert all(reason["golem.requestor.code"] == "Cancelled" for reason in reasons)
    # the work that was cancelled is paid all the same
    assert len(heard.of("InvoiceAccepted")) == len(reasons)
    if way == "kept":
        with pytest.raises(EngineStoppedError, match="Golem was stopped before job"):
            async for _ in tasks:
                pass


@pytest.mark.contract("G11", "G12")
async def test_an_exception_in_the_body_ends_everything(network: LocalNetwork, running: Running) -> None:
    heard = running.heard

    async def work() -> None:
        async with running.golem as golem:
            async for _ in golem.execute_tasks(sleepy, [Task(n) for n in range(50)], running.payload):
                raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await work()
    (interrupted,) = heard.of("ExecutionInterrupted")
    assert isinstance(interrupted.exception, LookupError)
    assert heard.names[-1] == "ShutdownFinished"
    assert len(heard.of("AgreementTerminated")) == len(heard.of("AgreementConfirmed"))


@pytest.mark.contract("G11")
async def test_start_and_stop(running: Running) -> None:
    golem, heard = running.golem, running.heard

    async def one() -> list[Any]:
        tasks = golem.execute_tasks(echo, [Task("x")], running.payload)
        return [task.result async for task in tasks]

    await golem.start()
    assert golem.operative
    assert await one() == ["x"]
    await golem.stop()
    await golem.stop()
    assert not golem.operative
    with pytest.raises(RuntimeError, match="Golem is not running"):
        await one()
    await golem.start()
    assert await one() == ["x"]
    await golem.stop()
    assert heard.names.count("ShutdownFinished") == 2
    # nothing is remembered: it subscribes and agrees anew
    assert len({event.agr_id for event in heard.of("AgreementConfirmed")}) == 2


async def test_a_stop_while_a_job_runs(running: Running) -> None:
    golem, heard = running.golem, running.heard

    async def work() -> None:
        async for _ in golem.execute_tasks(forever, [Task("x")], running.payload):
            pass

    job = asyncio.create_task(work())
    while not heard.of("TaskStarted"):
        await asyncio.sleep(0.02)
    started = time.monotonic()
    await golem.stop()
    assert time.monotonic() - started < 5
    with pytest.raises(EngineStoppedError, match="Golem was stopped before job"):
        await job
    assert len(heard.of("InvoiceAccepted")) == 1


async def test_two_starts_at_once(running: Running) -> None:
    golem = running.golem
    await golem.stop()

    async def use() -> list[Any]:
        await golem.start()
        return [t.result async for t in golem.execute_tasks(echo, [Task("x")], running.payload)]

    first = asyncio.create_task(golem.start())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="Golem is not running"):
        await anext(golem.execute_tasks(echo, [Task("x")], running.payload))
    assert await asyncio.gather(first, use(), use()) == [None, ["x"], ["x"]]


async def test_two_stops_at_once(running: Running) -> None:
    golem = running.golem
    tasks = golem.execute_tasks(echo, [Task("x")], running.payload)
    assert [task.result async for task in tasks] == ["x"]
    await asyncio.gather(golem.stop(), golem.stop())
    assert running.heard.names.count("ShutdownFinished") == 1
    assert not golem.operative


async def test_a_stop_that_is_cancelled_goes_on(running: Running) -> None:
    golem, heard = running.golem, running.heard

    async def work() -> None:
        async for _ in golem.execute_tasks(forever, [Task("x")], running.payload):
            pass

    job = asyncio.create_task(work())
    while not heard.of("TaskStarted"):
        await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await golem.stop()
    with pytest.raises(EngineStoppedError):
        await job
    await golem.stop()
    assert heard.names[-1] == "ShutdownFinished"
    assert heard.names.count("ShutdownFinished") == 1


async def test_a_block_whose_end_is_cancelled_is_ended_all_the_same(
    network: LocalNetwork, running: Running
) -> None:
    await running.golem.stop()
    heard = Outcome()
    golem = Golem(budget=1, api_config=network.api_config, event_consumer=heard.events.append)
    leaving = asyncio.Event()

    async def one() -> list[Any]:
        return [task.result async for task in golem.execute_tasks(echo, [Task("x")], running.payload)]

    async def block() -> None:
        async with golem:
            assert await one() == ["x"]
            leaving.set()

    task = asyncio.create_task(block())
    await leaving.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert golem.operative
    # who starts it anew waits for the end, and gets an engine that works
    await golem.start()
    assert heard.names[-1] == "ShutdownFinished"
    assert len(heard.of("InvoiceAccepted")) == len(heard.of("AgreementTerminated")) == 1
    assert await one() == ["x"]

    # … and nobody has to wait
    stopping = asyncio.create_task(golem.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    async with asyncio.timeout(10):
        while golem.operative or any("golem_nb" in name or "events for" in name for name in tasks()):
            await asyncio.sleep(0.02)
    assert heard.names.count("ShutdownFinished") == 2
    assert await golem.stop() == []


def tasks() -> list[str]:
    """The names of all tasks that are running."""
    return [task.get_name() for task in asyncio.all_tasks()]


async def test_what_a_cancelled_stop_has_to_tell_is_told_by_the_next(running: Running) -> None:
    golem = running.golem
    # a stand-in for an invoice over the budget that comes at the end
    error = golem._running().untold = BudgetExceededError(
        Decimal(1), Decimal(0), Decimal(2), "somebody", work_ended=False
    )
    stopping = asyncio.create_task(golem.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    async with asyncio.timeout(10):
        while golem.operative:
            await asyncio.sleep(0.02)
    with pytest.raises(BudgetExceededError) as caught:
        await golem.stop()
    assert caught.value is error
    await golem.stop()


# --- many ------------------------------------------------------------------------------------------------


async def test_two_jobs_side_by_side(running: Running) -> None:
    async def one(mark: str) -> list[Any]:
        tasks = running.golem.execute_tasks(
            echo, [Task(f"{mark}{n}") for n in range(5)], running.payload, max_workers=2
        )
        return [task.result async for task in tasks]

    both = await asyncio.gather(one("a"), one("b"))
    assert [sorted(results) for results in both] == [[f"{mark}{n}" for n in range(5)] for mark in ("a", "b")]
    await running.golem.stop()
    heard = running.heard
    assert len(heard.of("JobFinished")) == 2
    assert {event.agr_id for event in heard.of("InvoiceAccepted")} == {
        event.agr_id for event in heard.of("AgreementConfirmed")
    }


async def test_a_thousand_tasks(tame: Batch) -> None:
    outcome = await tame(range(1000), max_workers=6, timeout=timedelta(minutes=2))
    assert outcome.error is None
    assert sorted(map(int, outcome.results)) == list(range(1000))
    assert len(outcome.of("TaskFinished")) == 1000
    assert len(outcome.accepted) == 3
