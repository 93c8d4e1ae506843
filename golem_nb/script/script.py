"""A series of commands for one provider."""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from golem_nb.rest.activity import CommandExecutionError
from golem_nb.script.base import Command
from golem_nb.script.command import (
    Deploy,
    DownloadBytes,
    DownloadFile,
    DownloadFromUrl,
    DownloadJson,
    Run,
    Start,
    Terminate,
    UploadBytes,
    UploadFile,
    UploadJson,
)
from golem_nb.script.errors import CommandNotExecutedError
from golem_nb.script.outcome import CommandOutcome
from golem_nb.storage import DOWNLOAD_BYTES_LIMIT

if TYPE_CHECKING:
    import os

    from golem_nb.ctx import WorkContext
    from golem_nb.events import CommandExecuted, Event
    from golem_nb.script.capture import CaptureContext
    from golem_nb.script.progress import ProgressArgs

__all__ = ["Script"]

_ids = itertools.count(1)


class _State(enum.Enum):
    NEW = "is still being written"
    TAKEN = "is being executed"
    ENDED = "has ended"


class Script:
    """A series of commands to be executed on a provider.

    Commands are added with the methods named after them, or with `add`. Nothing is executed until the
    script is yielded from a worker (or from a handler of a service); then the commands run in the order in
    which they were added. A script is executed once.

    Each method that adds a command returns an awaitable of its `CommandExecuted` event. Await it after the
    script was yielded. It raises what the command failed with, or `CommandNotExecutedError` when the script
    ended before the command did.

    Parameters
    ----------
    context
        The work context of the activity that is to execute the script.
    timeout
        Time after which the execution is interrupted with `BatchTimeoutError`; None: never.
    wait_for_results
        Whether ``yield script`` gives control back when the results are there (True), or as soon as the
        script was sent (False): then the value of the ``yield`` is an `asyncio.Task` which gives them.

    Examples
    --------
    ::

        async def worker(ctx, tasks):
            async for task in tasks:
                script = ctx.new_script(timeout=timedelta(minutes=5))
                script.upload_json({"x": task.data}, "/golem/work/in.json")
                future = script.run("/bin/sh", "-c", "wc -c < /golem/work/in.json")
                yield script
                task.accept_result((await future).stdout)
    """

    def __init__(
        self, context: WorkContext, timeout: timedelta | None = None, wait_for_results: bool = True
    ) -> None:
        if timeout is not None and not isinstance(timeout, timedelta):
            raise TypeError(f"timeout of a script must be a timedelta, not {type(timeout).__name__}")
        self.context = context
        self.timeout = timeout
        self.wait_for_results = wait_for_results
        self._id = next(_ids)
        self._state = _State.NEW
        self._sent = False
        self._commands: list[Command] = []
        self._outcomes: list[CommandOutcome] = []
        self._results: list[CommandExecuted] = []

    @property
    def id(self) -> int:
        """Number of the script, unique in this process."""
        return self._id

    @property
    def commands(self) -> Sequence[Command]:
        """The commands, in order."""
        return self._commands

    @property
    def taken(self) -> bool:
        """Whether the script was yielded and its execution has begun (it may have ended)."""
        return self._state is not _State.NEW

    @property
    def executed_count(self) -> int:
        """How many commands have a result so far."""
        return len(self._results)

    @property
    def results(self) -> list[CommandExecuted]:
        """The results of the commands that were executed, in order.

        Raises
        ------
        AttributeError
            The script has not ended yet.
        """
        if self._state is not _State.ENDED:
            raise AttributeError(f"script {self._id} has no results: it {self._state.value}")
        return self._results

    def add(self, cmd: Command) -> Awaitable[CommandExecuted]:
        """Add a command.

        Parameters
        ----------
        cmd
            The command.

        Raises
        ------
        RuntimeError
            The script was yielded already, or the command belongs to a script already.
        TypeError
            `cmd` is not a command.
        """
        if self._state is not _State.NEW:
            raise RuntimeError(
                f"cannot add {cmd!s} to script {self._id}, which {self._state.value}: make a new script with "
                "ctx.new_script()"
            )
        if not isinstance(cmd, Command):
            raise TypeError(f"a script is made of commands, not of {type(cmd).__name__}")
        cmd.attach(self)
        outcome = CommandOutcome(self, cmd)
        self._commands.append(cmd)
        self._outcomes.append(outcome)
        return outcome

    def deploy(self, **kwargs: Any) -> Awaitable[CommandExecuted]:
        """Schedule the preparation of the runtime.

        Parameters
        ----------
        **kwargs
            Passed on to the provider: ``net`` (see `Node.get_deploy_args`), ``volumes``, ``env``, ``hosts``,
            ``hostname``.
        """
        return self.add(Deploy(**kwargs))

    def start(self, *args: str) -> Awaitable[CommandExecuted]:
        """Schedule the start of the runtime.

        Parameters
        ----------
        *args
            Arguments of the runtime.
        """
        return self.add(Start(*args))

    def terminate(self) -> Awaitable[CommandExecuted]:
        """Schedule the end of the runtime."""
        return self.add(Terminate())

    def run(
        self,
        cmd: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        stderr: CaptureContext | None = None,
        stdout: CaptureContext | None = None,
    ) -> Awaitable[CommandExecuted]:
        """Schedule a program of the image.

        Output is for small things: a provider keeps a limited amount of it, a local one the first 4 MiB of
        each stream. What may be larger belongs in a file, for `download_file` or `download_bytes`.

        Parameters
        ----------
        cmd
            Path of the program on the provider, e.g. ``/my/dir/run.sh``.
        *args
            Its arguments, e.g. ``"input1.txt", "output1.txt"``.
        env
            Environment variables to add. The program is then started through ``/usr/bin/env`` of the image.
        stderr
            How standard error is captured; streamed unless said otherwise.
        stdout
            How standard output is captured; streamed unless said otherwise.

        Raises
        ------
        TypeError
            Something is not a string.
        ValueError
            The name of a variable cannot be one.
        """
        return self.add(Run(cmd, *args, env=env, stderr=stderr, stdout=stdout))

    def download_bytes(
        self,
        src_path: str,
        on_download: Callable[[bytes], Awaitable[Any]],
        limit: int = DOWNLOAD_BYTES_LIMIT,
    ) -> Awaitable[CommandExecuted]:
        """Schedule the download of a provider's file as bytes.

        Parameters
        ----------
        src_path
            Path of the file on the provider.
        on_download
            Called with the bytes; what it returns is awaited.
        limit
            Largest size to accept, bytes. More than that fails the command.
        """
        return self.add(DownloadBytes(src_path, on_download, limit))

    def download_file(self, src_path: str, dst_path: str | os.PathLike[str]) -> Awaitable[CommandExecuted]:
        """Schedule the download of a provider's file to a file.

        The target appears, or is replaced, only when the file is complete.

        Parameters
        ----------
        src_path
            Path of the file on the provider.
        dst_path
            Path on this machine.
        """
        return self.add(DownloadFile(src_path, dst_path))

    def download_json(
        self,
        src_path: str,
        on_download: Callable[[Any], Awaitable[Any]],
        limit: int = DOWNLOAD_BYTES_LIMIT,
    ) -> Awaitable[CommandExecuted]:
        """Schedule the download of a provider's JSON file as data.

        Parameters
        ----------
        src_path
            Path of the file on the provider.
        on_download
            Called with the data; what it returns is awaited.
        limit
            Largest size of the file to accept, bytes. More than that fails the command.
        """
        return self.add(DownloadJson(src_path, on_download, limit))

    def download_from_url(
        self, src_url: str, dst_path: str, progress_args: ProgressArgs | None = None
    ) -> Awaitable[CommandExecuted]:
        """Schedule the download of a file from a web server by the provider.

        Parameters
        ----------
        src_url
            Where the provider finds the file: ``http://…`` or ``https://…``.
        dst_path
            Where to put it on the provider.
        progress_args
            Asks the provider to report its progress.
        """
        return self.add(DownloadFromUrl(src_url, dst_path, progress_args))

    def upload_bytes(self, data: bytes, dst_path: str) -> Awaitable[CommandExecuted]:
        """Schedule sending bytes to the provider.

        Parameters
        ----------
        data
            The bytes to send.
        dst_path
            Where to put them on the provider.
        """
        return self.add(UploadBytes(data, dst_path))

    def upload_file(self, src_path: str | os.PathLike[str], dst_path: str) -> Awaitable[CommandExecuted]:
        """Schedule sending a file to the provider.

        Parameters
        ----------
        src_path
            Path of the file on this machine. It has to exist when the script is yielded.
        dst_path
            Where to put it on the provider.
        """
        return self.add(UploadFile(src_path, dst_path))

    def upload_json(self, data: Any, dst_path: str) -> Awaitable[CommandExecuted]:
        """Schedule sending data as JSON to the provider.

        Parameters
        ----------
        data
            What to send: anything that JSON can express. It is converted at once.
        dst_path
            Where to put it on the provider.
        """
        return self.add(UploadJson(data, dst_path))

    def emit(self, event_class: type[Event], **kwargs: Any) -> Event:
        """Emit an event of this script; `kwargs` are the attributes that the event has beyond the
        script's.

        Parameters
        ----------
        event_class
            The event's class.
        """
        return self.context.emit(event_class, script=self, **kwargs)

    async def prepare(self) -> list[dict[str, Any]]:
        """Do what has to be done before the script is sent, and return what to send.

        Called by the engine; everything is undone when it fails.

        Raises
        ------
        RuntimeError
            The script was executed before.
        OSError
            A file to upload cannot be read, or a place to download to cannot be written.
        """
        if self._state is not _State.NEW:
            raise RuntimeError(
                f"script {self._id} was yielded twice: a script is executed once, make a new one with "
                "ctx.new_script()"
            )
        self._state = _State.TAKEN
        try:
            await _together(c.before() for c in self._commands if type(c).before is not Command.before)
            batch = [command.evaluate() for command in self._commands]
        except BaseException as error:
            await self.abandon(error)
            raise
        self._sent = True
        return batch

    def executed(self, event: CommandExecuted) -> None:
        """Take the result of the next command.

        Called by the engine, in the order of the commands. When `event` tells of a failure, `abandon`
        follows.
        """
        index = len(self._results)
        self._results.append(event)
        # a download is not done before its data has been checked
        if event.success and type(self._commands[index]).after is Command.after:
            self._outcomes[index].resolve(event)

    def settle(self, cmd: Command) -> None:
        """Resolve the awaitable of a command with an `after` hook, before that hook has ended.

        Parameters
        ----------
        cmd
            The command.
        """
        index = self._commands.index(cmd)
        self._outcomes[index].resolve(self._results[index])

    async def finish(self) -> None:
        """Do what has to be done after all commands have succeeded: deliver downloads, stop publishing.

        Called by the engine; `abandon` is not needed when this raises.
        """
        outcome = None
        try:
            for command, outcome, event in zip(self._commands, self._outcomes, self._results, strict=True):
                if not outcome.settled:
                    await command.after()
                    outcome.resolve(event)
        except BaseException as error:
            await self._end(error, outcome)
            raise
        self._state = _State.ENDED
        await self._release()

    async def abandon(self, error: BaseException) -> BaseException:
        """End the script because of `error`: stop publishing, settle every awaitable that has no result.

        Called by the engine. May be called again, which does nothing.

        Returns
        -------
        BaseException
            The error to hand to the worker: `error`, or one of the same kind that says what went wrong on
            this side (a download that was too large, for instance, where the provider only knows that it
            was refused).
        """
        if self._state is _State.ENDED:
            return error
        # the first one without a result is the one that failed, or that was being executed
        current = next((o for o in self._outcomes if not o.settled), None) if self._sent else None
        error = self._explain(error, current)
        await self._end(error, current)
        return error

    async def _end(self, error: BaseException, failed: CommandOutcome | None) -> None:
        """Give `error` to `failed`, tell all others without a result that they have none, stop publishing."""
        self._state = _State.ENDED
        if isinstance(error, Exception):
            if failed is not None:
                failed.fail(error)
            state = "ended" if self._sent else "was not sent"
            ended = f"script {self._id} {state}: {type(error).__name__}: {error}"
        else:
            # not raised as it is: whoever awaits a command would take it for a cancellation of its own
            ended = f"script {self._id} was cancelled"
        for outcome in self._outcomes:
            if not outcome.settled:
                missing = CommandNotExecutedError(f"{outcome.command!s} has no result, because {ended}")
                missing.__cause__ = error
                outcome.fail(missing)
        await self._release()

    @staticmethod
    def _explain(error: BaseException, failed: CommandOutcome | None) -> BaseException:
        """`error`, or the true cause if a transfer failed because of something on this side."""
        if failed is None or not isinstance(error, CommandExecutionError):
            return error
        cause = failed.command.local_error()
        if cause is None:
            return error
        explained = CommandExecutionError(str(failed.command), str(cause))
        # what was refused here made the provider fail, and that is what the engine got
        explained.__cause__, error.__cause__ = error, cause
        return explained

    async def _release(self) -> None:
        await _together(c.release() for c in self._commands if type(c).release is not Command.release)

    def __repr__(self) -> str:
        return f"<Script {self._id}: {', '.join(str(command) for command in self._commands)}>"


async def _together(hooks: Any) -> None:
    """Run the hooks of several commands at the same time; the first error ends the others and is raised."""
    coroutines: list[Coroutine[Any, Any, None]] = list(hooks)
    if len(coroutines) <= 1:
        for coroutine in coroutines:
            await coroutine
        return
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
