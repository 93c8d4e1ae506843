"""What can go wrong: each mistake gives one clear error, ends what was started and loses nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.config import ApiConfig
from golem_nb.engine import (
    DaemonTooOldError,
    InsufficientFundsError,
    JobTimeoutError,
    NoPaymentAccountError,
    TasksFailedError,
    WorkerFunctionError,
    WorkersFailedError,
)
from golem_nb.exceptions import GolemError
from golem_nb.log.summary import SummaryLogger
from golem_nb.payload import Payload
from golem_nb.payload.package import PackageException
from golem_nb.rest import Configuration, Payment
from golem_nb.rest.activity import BatchTimeoutError, CommandExecutionError
from golem_nb.rest.errors import DaemonUnreachableError, UnauthorizedError
from golem_nb.services import Service

from .conftest import echo

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

    from .conftest import Batch, Outcome, Running

Tasks = AsyncIterator[Task[Any, Any]]
Worker = AsyncGenerator[Any, Any]


# --- the daemon ------------------------------------------------------------------------------------------


async def failure_of_start(**arguments: Any) -> tuple[Exception, list[str]]:
    """What the start raises, and the events that come of it."""
    names: list[str] = []
    golem = Golem(**{"budget": 1, "event_consumer": lambda e: names.append(type(e).__name__), **arguments})
    with pytest.raises(GolemError) as caught:
        await golem.start()
    assert not golem.operative
    return caught.value, names


@pytest.mark.contract("G12")
async def test_no_daemon(unused_tcp_port: int) -> None:
    nowhere = f"http://127.0.0.1:{unused_tcp_port}"
    error, names = await failure_of_start(api_config=ApiConfig(app_key="k", api_url=nowhere))
    assert isinstance(error, DaemonUnreachableError)
    assert f"no Golem daemon can be reached at {nowhere}" in str(error)
    assert "Start it with `yagna service run`, or set YAGNA_API_URL to where it listens" in str(error)
    assert names == ["ExecutionInterrupted", "ShutdownFinished"]


@pytest.mark.contract("G12")
async def test_a_wrong_key(network: LocalNetwork) -> None:
    config = ApiConfig(app_key="0123456789abcdef", api_url=network.api_config.api_url)
    error, _ = await failure_of_start(api_config=config)
    assert isinstance(error, UnauthorizedError)
    assert "Invalid application key" in str(error)
    assert "`yagna app-key create NAME`" in str(error)
    assert "0123456789abcdef" not in str(error)


async def test_a_daemon_that_is_too_old(unused_tcp_port: int) -> None:
    # a stand-in: no old daemon runs beside this one's libraries, and none would be worth installing
    async def version(request: web.Request) -> web.Response:
        return web.json_response({"current": {"version": "0.16.3", "name": "v0.16.3"}, "pending": None})

    app = web.Application()
    app.router.add_get("/version/get", version)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    url = f"http://127.0.0.1:{unused_tcp_port}"
    try:
        error, _ = await failure_of_start(api_config=ApiConfig(app_key="k", api_url=url))
    finally:
        await runner.cleanup()
    assert isinstance(error, DaemonTooOldError)
    assert str(error).startswith(f"The daemon at {url} is yagna 0.16.3, but 0.17 or newer is needed. ")
    assert "pip install 'golem-node" in str(error)


@pytest.mark.contract("G25")
async def test_no_account(network: LocalNetwork) -> None:
    error, _ = await failure_of_start(api_config=network.api_config, payment_network="polygon")
    assert isinstance(error, NoPaymentAccountError)
    assert (error.required_driver, error.required_network) == ("erc20", "polygon")
    assert str(error).startswith(
        "No payment account available for driver `erc20` and network `polygon` (the daemon has: "
    )
    assert "erc20/hoodi" in str(error)
    assert "`yagna payment init --sender --network polygon --driver erc20`" in str(error)
    assert await reserved(network) == []


async def test_no_money(network: LocalNetwork) -> None:
    error, _ = await failure_of_start(api_config=network.api_config, budget=Decimal(10) ** 9)
    assert isinstance(error, InsufficientFundsError)
    assert str(error).startswith(
        "The budget of 1000000000 GLM could not be reserved on erc20-hoodi-tglm from"
    )
    assert network.requestor in str(error)
    assert "Use a smaller `budget`, fund the account" in str(error)
    assert error.__cause__ is not None
    assert await reserved(network) == []


async def reserved(network: LocalNetwork) -> list[Any]:
    async with Configuration(network.api_config) as configuration:
        return await Payment(configuration.payment()).allocations()


async def test_no_such_image(network: LocalNetwork, tame: Batch) -> None:
    # not awaited: it is looked up when the job begins
    payload = vm.repo(image_tag="golem/nosuch:latest", repository_url=network.registry_url)
    outcome = await tame(["x"], payload=payload)
    assert isinstance(outcome.error, PackageException)
    assert str(outcome.error) == (
        f"There is no image with the tag 'golem/nosuch:latest' in the image registry {network.registry_url}. "
        "Check the spelling, or give image_url and image_hash for an image that lies elsewhere."
    )
    # nothing was begun
    assert outcome.names == ["ShutdownFinished"]


# --- arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timeout": "5"}, "timeout must be a number of seconds, or a timedelta, not '5'"),
        ({"timeout": 0}, "timeout must be positive, not 0"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds, or a timedelta, not nan"),
        ({"max_workers": "3"}, "max_workers must be a whole number, not '3'"),
        ({"max_workers": 2.5}, "max_workers must be a whole number, not 2.5"),
        ({"max_workers": 0}, "max_workers must be at least 1, not 0"),
        ({"payload": "golem/alpine:latest"}, r"payload must be a Payload, .*, not 'golem/alpine:latest'"),
        ({"payload": Payload}, r"payload must be a Payload, .*: call the class, Payload\(\.\.\.\)"),
    ],
)
async def test_an_argument_that_makes_no_sense(running: Running, wrong: dict[str, Any], message: str) -> None:
    arguments = {"payload": running.payload, **wrong}
    with pytest.raises((TypeError, ValueError), match=f"^{message}$"):
        async for _ in running.golem.execute_tasks(echo, [Task("x")], **arguments):
            pass
    assert not running.heard.of("JobStarted")


async def test_a_service_s_payload_that_is_none(running: Running) -> None:
    class Named(Service):
        @staticmethod
        async def get_payload() -> Any:
            return "golem/alpine:latest"

    with pytest.raises(TypeError, match=r"payload must be a Payload, .*, not 'golem/alpine:latest'"):
        await running.golem.run_service(Named)


async def test_seconds_are_a_timeout(running: Running) -> None:
    with pytest.raises(JobTimeoutError, match=r"after 0:00:00\.5"):
        async for _ in running.golem.execute_tasks(echo, endless(), running.payload, timeout=0.5):
            pass


async def endless() -> AsyncIterator[Task[Any, Any]]:
    """No task ever, and no end."""
    await asyncio.Event().wait()
    yield Task(None)


# --- the work --------------------------------------------------------------------------------------------


def given_up(outcome: Outcome, tries: int) -> Any:
    """The failure of the one task that could not be done; the results of the others are there."""
    assert outcome.results == ["good"]
    assert isinstance(outcome.error, TasksFailedError)
    assert str(outcome.error).startswith("1 task could not be completed, 1 was done:\n  Task(id=")
    (failure,) = outcome.error.failures
    assert failure.task.data == "bad"
    assert len(failure.causes) == tries
    assert outcome.error.__cause__ is failure
    assert failure.__cause__ is failure.causes[-1]
    # whatever was used is paid, whatever was begun is over (`tame` looks at the daemon)
    assert {event.agr_id for event in outcome.of("InvoiceAccepted")} == {
        event.agr_id for event in outcome.of("ActivityCreated")
    }
    return failure


async def test_an_upload_of_a_missing_file(tame: Batch, tmp_path: Path) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            if task.data == "bad":
                script = context.new_script()
                script.upload_file(tmp_path / "missing.txt", "/golem/input/x")
                yield script
            task.accept_result(task.data)

    outcome = await tame(["good", "bad"], worker=worker, max_workers=1)
    # no other provider could do better: it was not tried, and paid for, again
    failure = given_up(outcome, tries=1)
    assert isinstance(failure.causes[0], FileNotFoundError)
    assert "cannot upload a file that does not exist" in str(failure)
    assert str(tmp_path / "missing.txt") in str(failure)
    assert len(outcome.of("AgreementConfirmed")) == 1


async def test_an_upload_of_a_missing_file_before_the_first_task(tame: Batch, tmp_path: Path) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        script = context.new_script()
        script.upload_file(tmp_path / "missing.txt", "/golem/input/x")
        yield script
        async for task in tasks:
            task.accept_result(task.data)

    outcome = await tame(["good"], worker=worker, max_workers=1)
    assert isinstance(outcome.error, WorkersFailedError)
    assert str(outcome.error).startswith("A worker has failed before the first task: FileNotFoundError: ")
    assert len(outcome.of("AgreementConfirmed")) == 1


async def test_a_download_that_is_too_large(tame: Batch) -> None:
    got: list[bytes] = []

    async def keep(data: bytes) -> None:
        got.append(data)

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            size = 10_000_000 if task.data == "bad" else 1000
            script = context.new_script()
            script.run("/bin/sh", "-c", f"head -c {size} /dev/zero > /golem/output/x")
            script.download_bytes("/golem/output/x", keep, limit=5000)
            yield script
            task.accept_result(task.data)

    # a second provider confirms that it is not the provider's mistake
    failure = given_up(await tame(["good", "bad"], worker=worker, max_workers=1), tries=2)
    assert isinstance(failure.causes[0], CommandExecutionError)
    assert "the provider sends more than the limit of 5000 bytes: pass a larger limit=" in str(failure)
    assert [len(data) for data in got] == [1000]


async def test_a_command_that_fails(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            if task.data == "bad":
                script.run("/bin/sh", "-c", "echo cannot compute >&2; exit 4")
            yield script
            task.accept_result(task.data)

    failure = given_up(await tame(["good", "bad"], worker=worker, max_workers=1), tries=5)
    text = str(failure)
    assert "failed 5 times: CommandExecutionError: Command 'Run /bin/sh ('-c', " in text
    assert "exited with code 4'; stderr: 'cannot compute" in text
    # said once, though it happened five times
    assert text.count("CommandExecutionError") == 1


async def test_a_command_that_never_ends(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script(timeout=timedelta(seconds=0.7))
            if task.data == "bad":
                script.run("/bin/sleep", "1000")
            yield script
            task.accept_result(task.data)

    failure = given_up(await tame(["good", "bad"], worker=worker, max_workers=1), tries=5)
    assert {type(cause) for cause in failure.causes} == {BatchTimeoutError}
    assert "did not finish within 0:00:00.700000, the timeout that was given to `new_script`" in str(failure)


async def test_a_worker_that_raises(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            if task.data == "bad":
                raise KeyError("colour")
            task.accept_result(task.data)
        return
        yield

    failure = given_up(await tame(["good", "bad"], worker=worker, max_workers=1), tries=5)
    assert "failed 5 times: KeyError: 'colour'" in str(failure)
    # it shows where in the worker
    assert failure.causes[0].__traceback__ is not None


async def test_a_worker_that_yields_something_else(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            if task.data == "bad":
                yield 17
            task.accept_result(task.data)

    outcome = await tame(["good", "bad"], worker=worker, max_workers=1)
    assert outcome.results == ["good"]
    assert isinstance(outcome.error, WorkerFunctionError)
    assert isinstance(outcome.error, TypeError)
    assert str(outcome.error) == (
        "a worker must yield scripts, made by `context.new_script()`, but this one has yielded 17"
    )
    # the mistake is in the function: nobody else is paid to run into it
    assert len(outcome.of("AgreementConfirmed")) == 1
    assert len(outcome.of("InvoiceAccepted")) == 1


async def test_a_worker_that_yields_a_script_twice(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        script = context.new_script()
        script.run("/bin/true")
        async for task in tasks:
            yield script
            task.accept_result(task.data)

    outcome = await tame(["good", "bad"], worker=worker, max_workers=1)
    assert outcome.results == ["good"]
    assert isinstance(outcome.error, WorkerFunctionError)
    assert len(outcome.of("AgreementConfirmed")) == 1


async def a_coroutine(context: WorkContext, tasks: Tasks) -> None:
    pass


def a_generator(context: WorkContext, tasks: Tasks) -> Any:
    yield


def a_function(context: WorkContext, tasks: Tasks) -> None:
    pass


async def test_a_worker_that_cannot_be_called(tame: Batch) -> None:
    outcome = await tame(["x"], worker=17)
    assert isinstance(outcome.error, WorkerFunctionError)
    assert not outcome.of("AgreementCreated")


@pytest.mark.parametrize("worker", [a_coroutine, a_generator, a_function])
async def test_a_worker_that_is_not_an_async_generator(tame: Batch, worker: Any) -> None:
    outcome = await tame(["x"], worker=worker)
    assert isinstance(outcome.error, WorkerFunctionError)
    assert worker.__name__ in str(outcome.error)
    assert "it must be an async generator function, `async def` with `yield script` in it" in str(
        outcome.error
    )
    # what can be seen without calling it is seen before anything is bought
    assert len(outcome.of("AgreementConfirmed")) <= (1 if worker is a_function else 0)


async def test_a_worker_that_takes_no_task(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        return
        yield

    outcome = await tame(["x"], worker=worker, max_workers=1)
    assert isinstance(outcome.error, WorkersFailedError)
    assert "the worker has ended without taking a task: loop over `tasks`" in str(outcome.error)
    assert len(outcome.of("ActivityCreated")) == 6


async def test_a_worker_that_accepts_nothing(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for _ in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script

    outcome = await tame(["x"], worker=worker, max_workers=1)
    assert isinstance(outcome.error, TasksFailedError)
    assert "the worker has ended without accepting its result: call task.accept_result()" in str(
        outcome.error
    )


async def test_results_that_are_rejected_for_ever(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            task.reject_result("the image is black", retry=True)

    outcome = await tame(["x"], worker=worker, max_workers=1)
    assert isinstance(outcome.error, TasksFailedError)
    assert "failed 5 times: GolemError: its result was rejected: the image is black" in str(outcome.error)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_workers": 0}, "max_workers must be at least 1, not 0"),
        ({"timeout": timedelta(0)}, "timeout must be positive, not 0:00:00"),
    ],
)
async def test_numbers_that_make_no_sense(tame: Batch, arguments: dict[str, Any], said: str) -> None:
    outcome = await tame(["x"], **arguments)
    assert isinstance(outcome.error, ValueError)
    assert str(outcome.error) == said


# --- what a worker's code may do to asyncio --------------------------------------------------------------


async def test_a_time_limit_around_a_script_is_the_workers_own(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/sleep", "1000" if task.data == "slow" else "0")
            try:
                async with asyncio.timeout(1):
                    yield script
            except TimeoutError:
                task.accept_result("too slow")
                return
            task.accept_result(task.data)

    outcome = await tame(["quick", "slow"], worker=worker, max_workers=1)
    assert outcome.error is None
    assert outcome.results == ["quick", "too slow"]


async def test_a_time_limit_that_the_worker_does_not_catch_fails_the_task(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/sleep", "1000" if task.data == "bad" else "0")
            async with asyncio.timeout(0.5):
                yield script
            task.accept_result(task.data)

    failure = given_up(await tame(["good", "bad"], worker=worker, max_workers=1), tries=5)
    assert {type(cause) for cause in failure.causes} == {TimeoutError}


async def test_a_worker_that_waits_for_what_was_cancelled(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            if task.data == "bad":
                other = asyncio.ensure_future(asyncio.sleep(10))
                other.cancel()
                await other
            task.accept_result(task.data)
        return
        yield

    failure = given_up(await tame(["good", "bad"], worker=worker, max_workers=1), tries=5)
    assert "GolemError: the worker has waited for something that was cancelled" in str(failure)


@pytest.mark.parametrize("where", ["worker", "download"])
async def test_a_worker_that_exits_ends_nothing_but_its_task(tame: Batch, where: str) -> None:
    async def receive(_: bytes) -> None:
        sys.exit("enough")

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            if task.data == "bad":
                if where == "worker":
                    sys.exit("enough")
                script = context.new_script()
                script.run("/bin/sh", "-c", "echo > /golem/output/x")
                script.download_bytes("/golem/output/x", receive)
                yield script
            task.accept_result(task.data)

    failure = given_up(await tame(["good", "bad"], worker=worker, max_workers=1), tries=5)
    assert "GolemError: sys.exit('enough') was called by a worker" in str(failure)


def _cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        (lambda: sys.exit(1), "`data` has called sys.exit(): raise an exception there"),
        (_cancelled, "`data` has waited for something that was cancelled"),
    ],
)
async def test_data_that_leaves(tame: Batch, leave: Any, said: str) -> None:
    async def source() -> AsyncIterator[Task[Any, Any]]:
        yield Task("good")
        leave()

    outcome = await tame(source(), max_workers=1)
    assert outcome.results == ["good"]
    assert isinstance(outcome.error, GolemError)
    assert str(outcome.error) == said


async def test_the_same_task_twice(tame: Batch) -> None:
    outcome = await tame([Task("x")] * 4, max_workers=2)
    assert isinstance(outcome.error, ValueError)
    assert "twice: make a Task for each, each has one result" in str(outcome.error)


async def test_mistakes_of_this_side_are_not_bought_again(tame: Batch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            if task.data == "bad":
                script.upload_file(tmp_path / "pipe", "/golem/input/x")
            yield script
            task.accept_result(task.data)

    failure = given_up(await tame(["good", "bad"], worker=worker, max_workers=1), tries=1)
    assert "cannot upload what is not a regular file" in str(failure)


async def test_why_a_job_was_not_done_in_time(tame: Batch) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/sh", "-c", "sleep 1; echo the disk is full >&2; exit 1")
            yield script
            task.accept_result(task.data)

    outcome = await tame(["x"], worker=worker, max_workers=1, timeout=3.0)
    assert isinstance(outcome.error, JobTimeoutError)
    assert "0 tasks were done; " in str(outcome.error)
    assert "failed: CommandExecutionError: Command 'Run /bin/sh" in str(outcome.error)
    assert "the disk is full" in str(outcome.error)


async def test_output_beyond_what_is_kept_is_told(tame: Batch, caplog: pytest.LogCaptureFixture) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            result = script.run("/bin/sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x")
            yield script
            task.accept_result(len((await result).stdout))

    outcome = await tame(["x"], worker=worker, max_workers=1)
    assert outcome.results == [4 << 20]
    (cut,) = [event for event in outcome.of("CommandExecuted") if event.message]
    assert cut.success
    assert cut.message == "The output was longer than the 4194304 bytes that are kept"
    with caplog.at_level(logging.WARNING):
        SummaryLogger().log(cut)
    (line,) = caplog.messages
    assert "Output was cut by provider '" in line
    assert "print less, or download a file" in line
