"""Runs the scripts that a worker or a service handler yields, on one activity."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from golem_nb.engine.errors import WorkerFunctionError
from golem_nb.events import (
    CommandExecuted,
    CommandStarted,
    CommandStdErr,
    CommandStdOut,
    GettingResults,
    ScriptFinished,
    ScriptSent,
)
from golem_nb.exceptions import GolemError
from golem_nb.log import get_logger
from golem_nb.rest.activity import BatchError, BatchTimeoutError, CommandExecutionError, CommandResult
from golem_nb.rest.errors import ActivityGoneError, ApiError, ServerError, is_intermittent
from golem_nb.script import CommandProgress, Script

if TYPE_CHECKING:
    from golem_nb.engine.agreements import HeldAgreement
    from golem_nb.events import Event
    from golem_nb.rest.activity import Activity
    from golem_nb.rest.ids import BatchId

logger = get_logger(__name__)

Emitter = Callable[..., "Event"]
Scripts = AsyncGenerator[Script, Any]

#: All results of a short script come with one request of this length, in seconds; …
FIRST_POLL = 2.0

#: … what takes longer is asked for command by command, in requests of this length. Between two of them the
#: activity's state
#: is looked at, which is the only way to notice a provider that has vanished.
POLL = 5.0

#: Failed requests for results, in a row, after which a script is given up.
MAX_FAILURES = 4

#: Looks, in a row, at which an activity may be found unresponsive.
MAX_UNRESPONSIVE = 1

#: Output that is still on its way when its command has finished is waited for so long, in seconds.
STREAM_GRACE = 5.0


class ScriptRunner:
    """Drives a generator of scripts on one activity.

    Parameters
    ----------
    activity
        Where the scripts are sent.
    held
        The agreement of the activity; when it ends, the script that is running is interrupted.
    emit
        Emits an event of this activity: ``emit(event_class, **fields)``.
    stream_output
        Take output while it is written, as events, instead of with the results.
    """

    def __init__(
        self, activity: Activity, held: HeldAgreement, emit: Emitter, *, stream_output: bool
    ) -> None:
        self._activity = activity
        self._held = held
        self._emit = emit
        #: How many scripts are being executed.
        self.executing = 0
        self._collect = self._stream if stream_output else self._poll

    async def run(self, scripts: Scripts) -> None:
        """Run each script that the generator yields and send its results back.

        What fails is thrown into the generator at its ``yield``; if it does not catch that, it is raised
        here.

        Raises
        ------
        BatchError
            A script failed: a command (`CommandExecutionError`), a time limit (`BatchTimeoutError`), or the
            provider.
        """
        background: set[asyncio.Task[list[CommandExecuted]]] = set()
        loop = asyncio.get_running_loop()
        current = asyncio.current_task()
        assert current is not None
        try:
            script = await anext(scripts)
            while True:
                answer: asyncio.Future[list[CommandExecuted]]
                try:
                    batch_id = await self._send(script)
                    if script.wait_for_results:
                        results = await self._results(script, batch_id)
                        answer = loop.create_future()
                        answer.set_result(results)
                    else:
                        answer = loop.create_task(self._results(script, batch_id), name=f"script {script.id}")
                        background.add(answer)
                except (Exception, asyncio.CancelledError) as error:
                    # a cancellation may come from a time limit of the worker's own around its `yield`
                    script = await scripts.athrow(error)
                    if current.cancelling():
                        raise
                else:
                    script = await scripts.asend(answer)
        except StopAsyncIteration:
            for task, outcome in zip(
                background, await asyncio.gather(*background, return_exceptions=True), strict=True
            ):
                if isinstance(outcome, BaseException):
                    logger.warning(
                        "%s, which nobody waited for, failed: %s", task.get_name().capitalize(), outcome
                    )
        except SystemExit as left:
            raise _exited(left) from left
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await scripts.aclose()

    async def _send(self, script: Script) -> BatchId | None:
        if not isinstance(script, Script):
            raise WorkerFunctionError(
                "a worker must yield scripts, made by `context.new_script()`, but this one has yielded "
                f"{script!r:.200}"
            )
        if script.taken:
            raise WorkerFunctionError(
                f"script {script.id} was yielded twice: a script is executed once, make a new one with "
                "`context.new_script()`"
            )
        commands = await script.prepare()
        if not commands:
            return None
        try:
            self._check_agreement()
            batch_id = await self._activity.send(commands)
        except BaseException as error:
            reason = await script.abandon(await self._explain(error))
            if reason is error:
                raise
            raise reason from error
        self._emit(ScriptSent, script=script)
        return batch_id

    async def _results(self, script: Script, batch_id: BatchId | None) -> list[CommandExecuted]:
        loop = asyncio.get_running_loop()
        deadline = None if script.timeout is None else loop.time() + script.timeout.total_seconds()
        scope = asyncio.timeout_at(deadline)
        self.executing += 1
        try:
            async with scope:
                self._held.watch(scope)
                try:
                    if batch_id is not None:
                        await self._collect(script, batch_id)
                    self._emit(GettingResults, script=script)
                    await script.finish()
                finally:
                    self._held.unwatch(scope)
        except BaseException as error:
            if isinstance(error, TimeoutError) and scope.expired():
                reason: BaseException = self._ended() or BatchTimeoutError(
                    f"Script {script.id} on {self._held.provider} did not finish within {script.timeout}, "
                    "the timeout that was given to `new_script`"
                )
            else:
                reason = _exited(error) if isinstance(error, SystemExit) else await self._explain(error)
            reason = await script.abandon(reason)
            if reason is error:
                raise
            raise reason from error
        finally:
            self.executing -= 1
        self._emit(ScriptFinished, script=script)
        return script.results

    async def _poll(self, script: Script, batch_id: BatchId) -> None:
        """Take the results by long polls: all with one request where the script is quick, else one by one."""
        count = len(script.commands)
        done = failures = unresponsive = 0
        whole = True
        while done < count:
            try:
                if whole:
                    results = await self._activity.results(batch_id, timeout=FIRST_POLL)
                else:
                    results = await self._activity.results(batch_id, command_index=done, timeout=POLL)
                failures = 0
            except ApiError as error:
                failures += 1
                if not await self._worth_retrying(error, failures):
                    raise
                await asyncio.sleep(0.1 * 2**failures)
                continue
            # a request that names a command carries the output of that command alone
            news = results[done:] if whole else results[done : done + 1]
            whole = False
            for result in news:
                self._executed(script, result)
                done += 1
            if news:
                unresponsive = 0
            elif await self._is_unresponsive():
                unresponsive += 1
                if unresponsive > MAX_UNRESPONSIVE:
                    raise BatchError(f"Provider {self._held.provider} does not respond any more")

    async def _stream(self, script: Script, batch_id: BatchId) -> None:
        """Take events while they come; the results say when all is over, and fill what was missed.

        A subscriber that comes late to the events of a real exe-unit gets only what follows.
        """
        executed = asyncio.Event()
        events = asyncio.create_task(
            self._take_events(script, batch_id, executed), name=f"output of script {script.id}"
        )
        try:
            results = await self._final_results(script, batch_id)
            if not executed.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STREAM_GRACE):
                        await executed.wait()
        finally:
            events.cancel()
            outcome = (await asyncio.gather(events, return_exceptions=True))[0]
        if isinstance(outcome, CommandExecutionError):
            raise outcome
        if isinstance(outcome, ApiError):
            logger.warning("The output of script %d was lost on the way: %s", script.id, outcome)
        elif isinstance(outcome, Exception):
            raise outcome
        for result in results[script.executed_count :]:
            self._executed(script, result)

    async def _take_events(self, script: Script, batch_id: BatchId, executed: asyncio.Event) -> None:
        stream = self._activity.events(batch_id)
        async with contextlib.aclosing(stream):
            async for event in stream:
                if not 0 <= event.index < len(script.commands):
                    continue
                command = script.commands[event.index]
                if event.kind == "started":
                    self._emit(CommandStarted, script=script, command=command)
                elif event.kind == "stdout":
                    self._emit(CommandStdOut, script=script, command=command, output=event.output)
                elif event.kind == "stderr":
                    self._emit(CommandStdErr, script=script, command=command, output=event.output)
                elif event.kind == "progress" and (fields := _progress(event.progress or {})):
                    self._emit(CommandProgress, script=script, command=command, **fields)
                elif event.index == script.executed_count:
                    try:
                        self._executed(
                            script,
                            CommandResult(
                                index=event.index,
                                success=event.return_code == 0,
                                stdout=None,
                                stderr=None,
                                message=event.message,
                                is_batch_finished=event.index == len(script.commands) - 1,
                                event_date=event.timestamp,
                            ),
                        )
                    finally:
                        if event.return_code or script.executed_count == len(script.commands):
                            executed.set()
                    if executed.is_set():
                        return

    async def _final_results(self, script: Script, batch_id: BatchId) -> list[CommandResult]:
        last = len(script.commands) - 1
        failures = unresponsive = 0
        while True:
            try:
                results = await self._activity.results(batch_id, command_index=last, timeout=POLL)
                failures = 0
            except ApiError as error:
                failures += 1
                if not await self._worth_retrying(error, failures):
                    raise
                await asyncio.sleep(0.1 * 2**failures)
                continue
            if results:
                return results
            unresponsive = unresponsive + 1 if await self._is_unresponsive() else 0
            if unresponsive > MAX_UNRESPONSIVE:
                raise BatchError(f"Provider {self._held.provider} does not respond any more")

    def _executed(self, script: Script, result: CommandResult) -> None:
        if not 0 <= result.index < len(script.commands):
            raise BatchError(
                f"Provider {self._held.provider} has sent a result of a command that was never asked for"
            )
        command = script.commands[result.index]
        event = self._emit(
            CommandExecuted,
            script=script,
            command=command,
            success=result.success,
            message=result.message,
            stdout=result.stdout,
            stderr=result.stderr,
        )
        script.executed(cast(CommandExecuted, event))
        if not result.success:
            stderr = (
                result.stderr.decode(errors="replace") if isinstance(result.stderr, bytes) else result.stderr
            )
            raise CommandExecutionError(str(command), result.message, stderr)

    def _ended(self) -> BatchError | None:
        if self._held.ended is None:
            return None
        return BatchError(f"The agreement with {self._held.provider} has ended: {self._held.ended}")

    def _check_agreement(self) -> None:
        if ended := self._ended():
            raise ended

    async def _explain(self, error: BaseException) -> BaseException:
        """What the worker is told: a `BatchError` that says what the daemon's error means here."""
        if not isinstance(error, ApiError):
            return error
        if ended := self._ended():
            return ended
        if isinstance(error, ActivityGoneError | ServerError):
            try:
                state = await self._activity.state()
            except ApiError:
                state = None
            if state is not None and state.current == "Terminated":
                details = ": ".join(
                    filter(None, ("Activity terminated by provider", state.reason, state.error_message))
                )
                return BatchError(f"{details} {self._held.provider}")
            if isinstance(error, ActivityGoneError):
                return BatchError(f"Provider {self._held.provider} cannot be reached any more")
        return BatchError(str(error))

    async def _worth_retrying(self, error: ApiError, failures: int) -> bool:
        """Whether results may still come: the way to the provider may be broken for a moment."""
        if failures >= MAX_FAILURES:
            return False
        if is_intermittent(error):
            return True
        if not isinstance(error, ServerError):
            return False
        try:
            return (await self._activity.state()).current != "Terminated"
        except ApiError:
            return True

    async def _is_unresponsive(self) -> bool:
        state = await self._activity.state()
        if state.current == "Terminated":
            details = ": ".join(
                filter(None, ("Activity terminated by provider", state.reason, state.error_message))
            )
            raise BatchError(f"{details} {self._held.provider}")
        return state.current == "Unresponsive"


def _exited(left: SystemExit) -> GolemError:
    """What is said of code that calls ``sys.exit``, which would end the event loop at once, and all in it."""
    return GolemError(
        f"sys.exit({'' if left.code is None else repr(left.code)}) was called by a worker, a handler or what "
        "takes a download: raise an exception there"
    )


def _progress(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields of a `CommandProgress` out of a provider's report; None if it is malformed."""
    try:
        (step, steps), (done, total) = report["step"], report["progress"]
        message, unit = report.get("message"), report.get("unit")
        return {
            "step": (int(step), int(steps)),
            "progress": (int(done), None if total is None else int(total)),
            "message": None if message is None else str(message),
            "unit": None if unit is None else str(unit),
        }
    except (KeyError, TypeError, ValueError):
        return None
