"""Instances whose handlers, activities, agreements or providers fail."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb.engine import WorkerFunctionError
from golem_nb.localnet import Misbehaviour, MisbehaviourKind
from golem_nb.rest.activity import BatchError, CommandExecutionError
from golem_nb.services import Service, ServiceLostError, ServiceState

from .conftest import AlpineService, Record, running, terminated, until

if TYPE_CHECKING:
    from golem_nb import Golem
    from golem_nb.localnet import LocalNetwork

Scripts = AsyncGenerator[Any, Any]


async def a_coroutine(self: Service) -> None:
    """Has no yield in it."""


def a_generator(self: Service) -> Iterator[Any]:
    yield


@pytest.mark.contract("S05")
@pytest.mark.parametrize("wrong", [a_coroutine, a_generator, None, "deploy"])
@pytest.mark.parametrize("handler", ["start", "run", "shutdown"])
async def test_a_class_with_a_handler_that_is_no_generator(
    golem: Golem, record: Record, handler: str, wrong: Any
) -> None:
    cluster_class = type("Wrong", (AlpineService,), {handler: wrong})
    with pytest.raises(TypeError) as caught:
        await golem.run_service(cluster_class)
    assert str(caught.value) == f"Service handler: `Wrong.{handler}` must be an asynchronous generator."
    # it is seen before anything is bought
    assert not record.of("JobStarted")


@pytest.mark.contract("S05")
@pytest.mark.parametrize("handler", ["start", "run", "shutdown"])
async def test_a_handler_that_gives_no_generator(
    golem: Golem, record: Record, caplog: pytest.LogCaptureFixture, handler: str
) -> None:
    class Wrong(AlpineService):
        @property
        def restart_condition(self) -> bool:
            return True

        async def run(self) -> Scripts:
            for script in ():
                yield script

    setattr(Wrong, handler, lambda self: a_coroutine(self))
    cluster = await golem.run_service(Wrong)
    await until(lambda: bool(record.of("ServiceFinished")))
    error = cluster.instances[0].exc_info[1]
    assert isinstance(error, TypeError)
    assert str(error) == f"Service handler: `Wrong.{handler}` must be an asynchronous generator."
    (finished,) = record.of("ServiceFinished")
    assert finished.exception is error
    assert f"is given up after 1 agreement: WorkerFunctionError: {error}" in caplog.text
    await until(lambda: record.reasons == ["Cancelled"])
    assert len(record.of("AgreementConfirmed")) == 1


@pytest.mark.contract("S05", "S08")
@pytest.mark.parametrize("mistake", ["no script", "one script twice"])
async def test_a_start_that_yields_what_it_must_not(golem: Golem, record: Record, mistake: str) -> None:
    class Wrong(AlpineService):
        async def start(self) -> Scripts:
            if mistake == "no script":
                yield "deploy"
            async for script in super().start():
                yield script
                yield script

    cluster = await golem.run_service(Wrong)
    await until(lambda: bool(record.of("ServiceFinished")))
    wanted = "this one has yielded 'deploy'" if mistake == "no script" else "was yielded twice"
    error = cluster.instances[0].exc_info[1]
    assert isinstance(error, WorkerFunctionError)
    assert wanted in str(error)
    # whoever else is paid runs into it as well
    assert len(record.of("AgreementConfirmed")) == 1


@pytest.mark.contract("S05")
async def test_handlers_may_be_made_in_many_ways(golem: Golem) -> None:
    def logged(handler: Callable[[Any], Scripts]) -> Callable[[Any], Scripts]:
        @functools.wraps(handler)
        def wrapper(self: Any) -> Scripts:
            self.calls.append(handler.__name__)
            return handler(self)

        return wrapper

    class Made(AlpineService):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[str] = []

        start = logged(AlpineService.start)

        def run(self) -> Scripts:
            return super().run()

        @property
        def shutdown(self) -> Callable[[], Scripts]:  # type: ignore[override]
            return super().shutdown

    cluster = await golem.run_service(Made)
    await running(cluster)
    cluster.stop()
    await terminated(cluster)
    assert cluster.instances[0].calls == ["start"]
    assert cluster.instances[0].exc_info == (None, None, None)


@pytest.mark.contract("S06", "S09")
async def test_an_exception_in_run_ends_the_instance(golem: Golem, record: Record) -> None:
    class Failing(AlpineService):
        shut_down = False

        async def run(self) -> Scripts:
            yield self._ctx.new_script()
            raise RuntimeError("enough")

        async def shutdown(self) -> Scripts:
            self.shut_down = True
            for script in ():
                yield script

    cluster = await golem.run_service(Failing)
    await terminated(cluster)
    (service,) = cluster.instances
    assert service.exc_info[0] is RuntimeError
    assert not service.shut_down
    assert record.changes() == ["pending>starting", "starting>running", "running>terminated"]
    assert [event.exception for event in record.of("ServiceFinished", "WorkerFinished")] == [
        service.exc_info[1]
    ] * 2
    await until(lambda: record.reasons == ["Cancelled"])


@pytest.mark.contract("S06", "S12")
async def test_a_stop_while_it_starts(golem: Golem, record: Record) -> None:
    class Slow(AlpineService):
        cleaned_up = shut_down = False

        async def start(self) -> Scripts:
            async for script in super().start():
                yield script
            try:
                script = self._ctx.new_script()
                script.run("/bin/sleep", "60")
                yield script
            finally:
                self.cleaned_up = True

        async def shutdown(self) -> Scripts:
            self.shut_down = True
            for script in ():
                yield script

    cluster = await golem.run_service(Slow)
    (service,) = cluster.instances
    await until(lambda: len(record.of("ScriptSent")) == 2)
    assert service.state == ServiceState.starting
    cluster.stop()
    await terminated(cluster, timeout=2)
    assert service.cleaned_up
    assert not service.shut_down
    assert service.exc_info == (None, None, None)
    assert record.changes() == ["pending>starting", "starting>terminated"]
    await until(lambda: record.reasons == ["Cancelled"])


@pytest.mark.contract("S11")
async def test_a_failed_batch_is_thrown_into_the_handler(golem: Golem) -> None:
    class Tough(AlpineService):
        error: BaseException | None = None
        after = None

        async def run(self) -> Scripts:
            script = self._ctx.new_script()
            script.run("/bin/sh", "-c", "echo no >&2; exit 3")
            try:
                yield script
            except BatchError as error:
                self.error = error
            script = self._ctx.new_script()
            after = script.run("/bin/echo", "-n", "fine")
            yield script
            self.after = (await after).stdout

    cluster = await golem.run_service(Tough)
    (service,) = cluster.instances
    await terminated(cluster)
    assert isinstance(service.error, CommandExecutionError)
    assert service.after == "fine"
    assert service.exc_info == (None, None, None)


@pytest.mark.contract("S08", "S01")
async def test_a_start_that_fails_is_tried_elsewhere(golem: Golem, record: Record) -> None:
    class Picky(AlpineService):
        starts = resets = 0

        async def start(self) -> Scripts:
            self.starts += 1
            if self.starts < 3:
                raise RuntimeError("not here")
            async for script in super().start():
                yield script

        async def reset(self) -> None:
            self.resets += 1

    cluster = await golem.run_service(Picky)
    (service,) = cluster.instances
    await running(cluster)
    assert (service.starts, service.resets) == (3, 2)
    assert service.exc_info == (None, None, None)
    assert record.changes()[:3] == ["pending>starting", "starting>terminated", "terminated>pending"]
    assert not record.of("ServiceFinished")
    providers = [event.provider_id for event in record.of("WorkerStarted")]
    assert len(set(providers)) == 3
    cluster.stop()
    await terminated(cluster)


@pytest.mark.contract("S08", "S03")
async def test_a_start_that_always_fails_is_given_up(
    golem: Golem, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    class Hopeless(AlpineService):
        async def start(self) -> Scripts:
            raise RuntimeError("never")
            yield

    cluster = await golem.run_service(Hopeless)
    (service,) = cluster.instances
    await until(lambda: bool(record.of("ServiceFinished")), timeout=60)
    assert service.state == ServiceState.terminated
    assert len(record.of("ActivityCreated")) == 5
    assert str(service.exc_info[1]) == "never"
    assert f"{service!r} is given up after 5 agreements: RuntimeError: never" in caplog.text


@pytest.mark.contract("S08")
async def test_a_restart_condition_of_ones_own(golem: Golem, record: Record) -> None:
    class Again(AlpineService):
        runs = 0

        @property
        def restart_condition(self) -> bool:
            return self.runs < 2

        async def run(self) -> Scripts:
            self.runs += 1
            for script in ():
                yield script

    cluster = await golem.run_service(Again)
    await until(lambda: bool(record.of("ServiceFinished")))
    assert cluster.instances[0].runs == 2
    assert record.reasons[:1] == ["Success"]
    assert record.changes()[3:5] == ["stopping>terminated", "terminated>pending"]


@pytest.mark.contract("S08")
async def test_a_restart_condition_that_fails(golem: Golem, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(AlpineService):
        @property
        def restart_condition(self) -> bool:
            raise ZeroDivisionError

        async def run(self) -> Scripts:
            for script in ():
                yield script

    cluster = await golem.run_service(Broken)
    await terminated(cluster)
    assert cluster.instances[0].exc_info[0] is ZeroDivisionError
    assert "is not restarted" in caplog.text


@pytest.mark.contract("S10")
async def test_health_checks(
    golem: Golem, record: Record, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Ill(AlpineService):
        checks = 0
        # ill once, then well, then ill for good
        answers = (False, True, False, False, False)

        async def is_activity_responsive(self) -> bool:
            self.checks += 1
            if self.checks == 3:
                raise RuntimeError("the check itself fails")
            return self.answers[self.checks - 1]

    monkeypatch.setattr("golem_nb.services.instance.HEALTH_CHECK_INTERVAL", 0.1)
    cluster = await golem.run_service(Ill)
    (service,) = cluster.instances
    with caplog.at_level(logging.WARNING):
        await terminated(cluster)
    assert service.checks == 5
    assert isinstance(service.exc_info[1], ServiceLostError)
    assert record.changes()[2:] == ["running>unresponsive", "unresponsive>terminated"]
    assert caplog.text.count("retries left: ") == 4


@pytest.mark.contract("S08", "S10", "V06")
async def test_a_provider_that_ends_the_agreement_is_noticed_at_once(
    golem: Golem, on_network: LocalNetwork, record: Record
) -> None:
    class Restarting(AlpineService):
        @property
        def restart_condition(self) -> bool:
            return True

    for provider in on_network.providers:
        await provider.misbehave(Misbehaviour(kind=MisbehaviourKind.TERMINATE_AGREEMENT, after=3.0))
    cluster = await golem.run_service(Restarting)
    (service,) = cluster.instances
    await until(lambda: "terminated>pending" in record.changes())
    for provider in on_network.providers:
        await provider.behave()
    ended = record.of("AgreementTerminated")[0]
    confirmed = next(e for e in record.of("AgreementConfirmed") if e.agr_id == ended.agr_id)
    # the provider ends it three seconds after it has approved it, which is heard of as soon as that may be
    assert 3.0 - 0.5 < (ended.timestamp - confirmed.timestamp).total_seconds() < 3.0 + 1.0
    lost = next(e for e in record.of("ServiceStateChanged") if e.new == ServiceState.terminated)
    assert (lost.timestamp - ended.timestamp).total_seconds() < 1.0
    await until(lambda: service.state == ServiceState.running)
    cluster.stop()
    await terminated(cluster)


@pytest.mark.contract("S10", "S08")
async def test_a_provider_that_vanishes_is_noticed(
    golem: Golem, on_network: LocalNetwork, record: Record
) -> None:
    class Restarting(AlpineService):
        @property
        def restart_condition(self) -> bool:
            return self.exc_info[0] is not None

    cluster = await golem.run_service(Restarting)
    (service,) = cluster.instances
    await running(cluster)
    lost = on_network.provider(service.provider_name)
    start = time.monotonic()
    await lost.vanish()
    try:
        await until(lambda: service.state != ServiceState.running, timeout=15)
        assert time.monotonic() - start < 10.5
        assert isinstance(record.of("WorkerFinished")[0].exception, ServiceLostError)
        await until(lambda: service.state == ServiceState.running, timeout=15)
        assert time.monotonic() - start < 20
        assert service.provider_name != lost.name
        assert record.changes()[2:5] == [
            "running>unresponsive", "unresponsive>terminated", "terminated>pending",
        ]  # fmt: skip
        cluster.stop()
        await terminated(cluster)
    finally:
        await lost.come_back()


@pytest.mark.contract("S06")
async def test_a_handler_that_waits_for_something_cancelled(golem: Golem) -> None:
    class Tangled(AlpineService):
        async def run(self) -> Scripts:
            task = asyncio.create_task(asyncio.sleep(10))
            task.cancel()
            await task
            yield

    cluster = await golem.run_service(Tangled)
    await terminated(cluster)
    assert "has waited for something that was cancelled" in str(cluster.instances[0].exc_info[1])


@pytest.mark.contract("S06", "S09")
async def test_what_is_no_exception_ends_the_instance_as_one(golem: Golem, record: Record) -> None:
    class Verdict(BaseException):
        """As that of pytest.fail."""

    class Judged(AlpineService):
        def __init__(self, guilty: bool) -> None:
            super().__init__()
            self.guilty = guilty

        async def run(self) -> Scripts:
            if self.guilty:
                raise Verdict("guilty")
            async for script in super().run():
                yield script

    cluster = await golem.run_service(Judged, instance_params=[{"guilty": True}, {"guilty": False}])
    guilty, other = cluster.instances
    await until(lambda: guilty.state == ServiceState.terminated)
    assert isinstance(guilty.exc_info[1].__cause__, Verdict)
    await until(lambda: record.reasons == ["Cancelled"])
    await until(lambda: other.state == ServiceState.running)
    cluster.stop()
    await terminated(cluster)


@pytest.mark.contract("S09", "S12")
@pytest.mark.parametrize("handler", ["start", "run", "shutdown", "is_activity_responsive", "reset"])
async def test_code_that_swallows_cancellation_does_not_hold_up_the_end(
    golem: Golem,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    handler: str,
) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def deaf() -> None:
        inside.set()
        while not leave.is_set():
            with contextlib.suppress(BaseException):
                await leave.wait()

    async def generator(self: Service) -> Scripts:
        await deaf()
        return
        yield

    async def coroutine(self: Service) -> bool:
        await deaf()
        return True

    class Deaf(AlpineService):
        """Deaf in one of its methods."""

    if handler == "reset":

        async def start(self: Service) -> Scripts:
            raise ValueError("not here")
            yield

        monkeypatch.setattr(Deaf, "start", start)
    generators = ("start", "run", "shutdown")
    monkeypatch.setattr(Deaf, handler, generator if handler in generators else coroutine, raising=False)
    monkeypatch.setattr("golem_nb.services.instance.HEALTH_CHECK_INTERVAL", 0.1)
    monkeypatch.setattr("golem_nb.services.instance.FORCED_LIMIT", 0.2)
    monkeypatch.setattr("golem_nb.services.cluster.STOP_LIMIT", 0.5)
    cluster = await golem.run_service(Deaf)
    (service,) = cluster.instances
    try:
        if handler == "shutdown":
            await running(cluster)
            cluster.stop()
        await asyncio.wait_for(inside.wait(), 20)
        async with asyncio.timeout(15):
            await golem.stop()
    finally:
        leave.set()
    assert service.state == ServiceState.terminated
    assert record.reasons == ["Cancelled"]
    assert len(record.of("InvoiceAccepted")) == 1
    (left,) = [entry.getMessage() for entry in caplog.records if "is left behind" in entry.getMessage()]
    assert f"`Deaf.{handler}`" in left
    assert "must let `asyncio.CancelledError` pass" in left
