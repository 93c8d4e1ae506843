from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from golem_nb.ctx import WorkContext
from golem_nb.events import CommandExecuted
from golem_nb.rest.activity import BatchError, BatchTimeoutError, CommandExecutionError
from golem_nb.script import CommandNotExecutedError, Script
from golem_nb.script.command import Command, Terminate

TICK = 0.05


@pytest.fixture(autouse=True)
def quiet_loop(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may complain of errors that nobody looked at."""
    yield
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"], caplog.text


async def finished(script: Script, provider: Any) -> list[CommandExecuted]:
    return await provider.run(script)


@pytest.mark.contract("C03", "C09")
async def test_results(ctx: WorkContext, provider: Any) -> None:
    script = ctx.new_script()
    first, second = script.run("/bin/date"), script.terminate()
    with pytest.raises(AttributeError, match=f"script {script.id} has no results: it is still being written"):
        _ = script.results
    await script.prepare()
    with pytest.raises(AttributeError, match="it is being executed"):
        _ = script.results
    one = provider.result(script, script.commands[0])
    assert (await first) is one
    two = provider.result(script, script.commands[1])
    assert script.executed_count == 2
    await script.finish()
    assert script.results == [one, two] == [await first, await second]


@pytest.mark.contract("C03")
def test_ids_and_settings(ctx: WorkContext) -> None:
    one, two = Script(ctx), Script(ctx, wait_for_results=False)
    assert two.id > one.id
    assert one.timeout is None
    assert one.wait_for_results
    assert not two.wait_for_results


@pytest.mark.contract("C06")
async def test_an_awaitable_for_everybody(ctx: WorkContext, provider: Any) -> None:
    script = ctx.new_script()
    future = script.run("/bin/date")
    await script.prepare()
    waiting = asyncio.gather(future, asyncio.wait_for(future, 5), asyncio.shield(future))
    with pytest.raises(TimeoutError):
        # one that gives up does not spoil it for the others
        await asyncio.wait_for(future, TICK)
    event = provider.result(script, script.commands[0])
    await script.finish()
    assert await waiting == [event] * 3
    assert await future is await future is event


@pytest.mark.contract("C06")
def test_a_script_made_outside_of_a_loop(ctx: WorkContext, provider: Any) -> None:
    script = ctx.new_script()
    future = script.run("/bin/date")

    async def main() -> CommandExecuted:
        await provider.run(script)
        return await future

    assert asyncio.run(main()).success


@pytest.mark.contract("C06")
async def test_the_failed_command_raises_and_those_after_it_say_why(ctx: WorkContext, provider: Any) -> None:
    script = ctx.new_script()
    futures = [script.run("/bin/true"), script.run("/bin/sh", "-c", "exit 3"), script.run("/bin/date")]
    waiting = asyncio.gather(*futures, return_exceptions=True)
    with pytest.raises(CommandExecutionError) as raised:
        await provider.run(script, fail=1)
    assert str(raised.value) == (
        "Command 'Run /bin/sh ('-c', 'exit 3')' failed on provider; "
        "message: 'exited with code 3'; stderr: 'no luck'"
    )
    assert (await futures[0]).success
    for _ in range(2):
        with pytest.raises(CommandExecutionError) as failed:
            await futures[1]
        assert failed.value is raised.value
        assert len(failed.traceback) < 8
        with pytest.raises(CommandNotExecutedError, match=r"Run /bin/date has no result.*exit 3") as later:
            await futures[2]
        assert later.value.__cause__ is raised.value
        assert isinstance(later.value, BatchError)
    assert [type(outcome) for outcome in await waiting] == [
        CommandExecuted,
        CommandExecutionError,
        CommandNotExecutedError,
    ]
    assert [event.success for event in script.results] == [True, False]


@pytest.mark.contract("C06")
async def test_time_runs_out(ctx: WorkContext, provider: Any) -> None:
    script = ctx.new_script()
    futures = [script.run("/bin/true"), script.run("/bin/sleep", "100"), script.terminate()]
    await script.prepare()
    provider.result(script, script.commands[0])
    error = BatchTimeoutError("too late")
    assert await script.abandon(error) is error
    assert (await futures[0]).success
    with pytest.raises(BatchTimeoutError, match="too late"):
        await futures[1]
    with pytest.raises(CommandNotExecutedError, match=r"Terminate has no result.*too late"):
        await futures[2]
    # once is enough
    assert await script.abandon(Exception("again")) is not error


@pytest.mark.contract("C06")
async def test_a_cancelled_script_does_not_cancel_who_waits_for_it(ctx: WorkContext) -> None:
    script = ctx.new_script()
    future = script.run("/bin/true")
    await script.prepare()
    waiting = asyncio.create_task(asyncio.wait_for(future, 5))
    await asyncio.sleep(0)
    await script.abandon(asyncio.CancelledError())
    with pytest.raises(CommandNotExecutedError, match=f"script {script.id} was cancelled"):
        await waiting


@pytest.mark.contract("C06")
async def test_awaited_before_it_was_yielded(ctx: WorkContext, provider: Any) -> None:
    script = ctx.new_script()
    future = script.run("/bin/date")
    with pytest.raises(RuntimeError, match=r"Run /bin/date.*yield the script first, then await"):
        await future
    with pytest.raises(RuntimeError, match="yield the script first"):
        await asyncio.gather(future)
    # it is no harm: the script can still be executed
    await provider.run(script)
    assert (await future).success


@pytest.mark.contract("C06")
async def test_waiting_that_was_begun_just_before_the_yield(ctx: WorkContext, provider: Any) -> None:
    script = ctx.new_script()
    future = script.run("/bin/date")
    waiting = asyncio.gather(future)
    # the engine gets to the script in the same turn of the loop, or in the next
    executing = asyncio.create_task(finished(script, provider))
    assert [await waiting][0][0].success
    await executing


@pytest.mark.contract("C06")
async def test_a_script_that_nobody_yielded(ctx: WorkContext) -> None:
    future = ctx.new_script().run("/bin/date")
    gc.collect()
    with pytest.raises(RuntimeError, match="was not sent yet"):
        await asyncio.wait_for(future, 5)


@pytest.mark.contract("C06")
async def test_nobody_looks_at_the_error(
    ctx: WorkContext, provider: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script = ctx.new_script()
    script.run("/bin/false")
    script.run("/bin/date")
    with pytest.raises(CommandExecutionError):
        await provider.run(script, fail=0)
    del script


@pytest.mark.contract("C07")
async def test_a_script_is_executed_once(ctx: WorkContext, provider: Any) -> None:
    script = ctx.new_script()
    script.run("/bin/date")
    await provider.run(script)
    with pytest.raises(RuntimeError, match=f"script {script.id} was yielded twice.*new_script"):
        await script.prepare()
    with pytest.raises(RuntimeError, match=rf"cannot add Terminate to script {script.id}, which has ended"):
        script.terminate()


@pytest.mark.contract("C07")
def test_a_command_belongs_to_one_script(ctx: WorkContext) -> None:
    command, script = Terminate(), ctx.new_script()
    with pytest.raises(RuntimeError, match="Terminate belongs to no script"):
        _ = command.script
    script.add(command)
    with pytest.raises(RuntimeError, match=f"Terminate belongs to script {script.id} already"):
        ctx.new_script().add(command)


@pytest.mark.contract("C07", "I07")
async def test_a_command_of_ones_own(ctx: WorkContext, provider: Any) -> None:
    class Sign(Command):
        def __init__(self, log: list[str]) -> None:
            self.log = log

        def evaluate(self) -> dict[str, Any]:
            self.log.append("evaluate")
            return {"sign": {}}

        async def before(self) -> None:
            self.log.append("before")

        async def after(self) -> None:
            self.log.append("after")

    log: list[str] = []
    script = ctx.new_script()
    future = script.add(Sign(log))
    assert [event.success for event in await provider.run(script)] == [True]
    assert (await future).success
    assert provider.batches == [[{"sign": {}}]]
    assert log == ["before", "evaluate", "after"]


@pytest.mark.contract("C07")
async def test_hooks_that_fail(ctx: WorkContext, provider: Any) -> None:
    class Broken(Command):
        def __init__(self, hook: str) -> None:
            self.hook = hook
            self.released = 0

        def evaluate(self) -> dict[str, Any]:
            return {"sign": {}}

        async def before(self) -> None:
            if self.hook == "before":
                raise LookupError("no key")

        async def after(self) -> None:
            if self.hook == "after":
                raise LookupError("no key")

        async def release(self) -> None:
            self.released += 1

    for hook in ("before", "after"):
        script = ctx.new_script()
        broken = [Broken(""), Broken(hook), Broken("")]
        futures = [script.add(command) for command in broken]
        with pytest.raises(LookupError, match="no key"):
            await provider.run(script)
        assert [command.released for command in broken] == [1, 1, 1]
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert isinstance(outcomes[0], CommandNotExecutedError if hook == "before" else CommandExecuted)
        assert isinstance(outcomes[1], CommandNotExecutedError if hook == "before" else LookupError)
        assert isinstance(outcomes[2], CommandNotExecutedError)
        assert ("was not sent" if hook == "before" else "ended: LookupError") in str(outcomes[2])


async def test_an_empty_script(ctx: WorkContext, provider: Any) -> None:
    assert await provider.run(ctx.new_script()) == []
