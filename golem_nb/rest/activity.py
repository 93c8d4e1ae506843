"""Activities: running commands on a provider."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

import attrs

from golem_nb.exceptions import GolemError, harmless
from golem_nb.rest import fields
from golem_nb.rest.client import LONG_POLL_MARGIN, RestClient, ignore
from golem_nb.rest.errors import ActivityGoneError, RequestTimeoutError
from golem_nb.rest.ids import ActivityId, AgreementId, BatchId

__all__ = [
    "Activity",
    "ActivityService",
    "ActivityState",
    "ActivityUsage",
    "BatchError",
    "BatchTimeoutError",
    "CommandExecutionError",
    "CommandResult",
    "RuntimeEvent",
]


class BatchError(GolemError):
    """A script did not run to its end."""


class BatchTimeoutError(BatchError):
    """A script did not end in the time that it was given."""


class CommandExecutionError(BatchError):
    """A command of a script failed on the provider.

    Parameters
    ----------
    command : str
        The command, in words.
    message : str, optional
        What the provider says about the failure.
    stderr : str, optional
        What the command wrote to its error output.
    """

    def __init__(self, command: str, message: str | None = None, stderr: str | None = None) -> None:
        super().__init__(command, message, stderr)
        self.command = command
        self.message = message
        self.stderr = stderr

    def __str__(self) -> str:
        text = f"Command '{self.command}' failed on provider"
        if self.message:
            text += f"; message: '{self.message}'"
        if self.stderr:
            cut = len(self.stderr) - _STDERR_SHOWN
            # the end of it is where a program says what has stopped it
            shown = self.stderr if cut <= 0 else f"… ({cut} characters before) {self.stderr[-_STDERR_SHOWN:]}"
            text += f"; stderr: '{shown}'"
        return harmless(text)


@attrs.frozen
class CommandResult:
    """What one command of a script did."""

    index: int
    """The command's place in the script, from 0."""
    success: bool
    stdout: str | bytes | None
    """Output, if it was captured: bytes where the script asked for the format ``bin``."""
    stderr: str | bytes | None
    message: str | None
    """Why it failed, or what the provider has to say."""
    is_batch_finished: bool
    """No further result will come; with `command_index`, merely: this is the one that was asked for."""
    event_date: dt.datetime


@attrs.frozen
class RuntimeEvent:
    """Something that happens while a script runs."""

    batch_id: str
    index: int
    """The command's place in the script, from 0."""
    timestamp: dt.datetime
    kind: Literal["started", "stdout", "stderr", "progress", "finished"]
    command: Mapping[str, Any] | None = None
    """started: the command as the provider understood it."""
    output: str | bytes | None = None
    """stdout, stderr: a piece of output."""
    progress: Mapping[str, Any] | None = None
    """progress: ``step``, ``message``, ``progress`` (done and total) and ``unit``, as the provider tells."""
    return_code: int | None = None
    """finished: 0 is success."""
    message: str | None = None
    """finished: why it failed."""


@attrs.frozen
class ActivityState:
    """The state of an activity."""

    current: str
    """New, Initialized, Deployed, Ready, Terminated or Unresponsive."""
    pending: str | None = None
    """The state that is being entered."""
    reason: str | None = None
    error_message: str | None = None

    @property
    def state(self) -> list[str | None]:
        """Current and pending state."""
        return [self.current, self.pending]


@attrs.frozen
class ActivityUsage:
    """What an activity has used so far."""

    current_usage: list[float]
    """In the order of the offer's ``golem.com.usage.vector``."""
    timestamp: dt.datetime


def _output(source: Mapping[str, Any], key: str) -> str | bytes | None:
    value = source.get(key)
    if value is None or type(value) is str:
        return value
    if isinstance(value, list):
        try:
            return bytes(value)
        except (TypeError, ValueError):
            pass
    raise fields.MalformedField(f"field {key!r}: expected text or a list of bytes")


def _result(value: Any) -> CommandResult:
    source = fields.as_mapping(value)
    return CommandResult(
        fields.integer(source, "index"),
        fields.text(source, "result") == "Ok",
        _output(source, "stdout"),
        _output(source, "stderr"),
        fields.optional_text(source, "message"),
        fields.boolean(source, "isBatchFinished"),
        fields.moment(source, "eventDate"),
    )


#: The error of a command shows so much of what it has written to its error output, characters.
_STDERR_SHOWN = 2000

_results = fields.as_list(_result)


def _runtime_event(value: Any) -> RuntimeEvent | None:
    """Read an event of the stream, whose fields are in snake_case unlike all others."""
    source = fields.as_mapping(value)
    batch_id = fields.text(source, "batch_id")
    index = fields.integer(source, "index")
    timestamp = fields.moment(source, "timestamp")
    kinds = fields.mapping(source, "kind")
    if "stdout" in kinds:
        return RuntimeEvent(batch_id, index, timestamp, "stdout", output=_output(kinds, "stdout"))
    if "stderr" in kinds:
        return RuntimeEvent(batch_id, index, timestamp, "stderr", output=_output(kinds, "stderr"))
    if "finished" in kinds:
        finished = fields.mapping(kinds, "finished")
        return RuntimeEvent(
            batch_id,
            index,
            timestamp,
            "finished",
            return_code=fields.integer(finished, "return_code"),
            message=fields.optional_text(finished, "message"),
        )
    if "started" in kinds:
        command = fields.optional_mapping(fields.mapping(kinds, "started"), "command")
        return RuntimeEvent(batch_id, index, timestamp, "started", command=command)
    if "progress" in kinds:
        return RuntimeEvent(
            batch_id, index, timestamp, "progress", progress=fields.mapping(kinds, "progress")
        )
    return None


def _state(value: Any) -> ActivityState:
    source = fields.as_mapping(value)
    states = source.get("state")
    if not isinstance(states, list) or not states:
        raise fields.MalformedField("field 'state': expected a list of two states")
    pending = states[1] if len(states) > 1 else None
    return ActivityState(
        current=fields.as_text(states[0]),
        pending=None if pending is None else fields.as_text(pending),
        reason=fields.optional_text(source, "reason"),
        error_message=fields.optional_text(source, "errorMessage"),
    )


def _usage(value: Any) -> ActivityUsage:
    source = fields.as_mapping(value)
    seconds = fields.integer(source, "timestamp")
    try:
        timestamp = dt.datetime.fromtimestamp(seconds, fields.UTC)
    except (OverflowError, ValueError, OSError):
        raise fields.MalformedField(f"field 'timestamp': {seconds} is not a time") from None
    usage = [] if source.get("currentUsage") is None else fields.numbers(source, "currentUsage")
    return ActivityUsage(usage, timestamp)


def _activity_id(value: Any) -> ActivityId:
    # to the older form of the question the daemon gives the bare number
    return ActivityId(
        fields.identifier(value if isinstance(value, str) else fields.as_mapping(value).get("activityId"))
    )


class Activity:
    """One activity: a runtime on a provider that takes scripts.

    Comes from `ActivityService`.
    """

    def __init__(
        self, client: RestClient, activity_id: ActivityId, agreement_id: AgreementId | None = None
    ) -> None:
        self._client = client
        self.id = activity_id
        self.agreement_id = agreement_id
        # the two requests of the hot path begin with these, so they are put together once
        self._path = f"/activity/{fields.segment(activity_id)}"
        self._exec_path = f"{self._path}/exec"
        self._sending = f"Sending a script to activity {activity_id}"
        self._reading = f"Reading results of activity {activity_id}"

    def __repr__(self) -> str:
        return f"Activity({self.id!r})"

    async def send(self, exe_script: Sequence[Mapping[str, Any]]) -> BatchId:
        """Send a script, whose commands the provider runs one after another.

        Parameters
        ----------
        exe_script : sequence of mappings
            The commands as the provider's runtime takes them, such as ``{"deploy": {}}``.

        Returns
        -------
        BatchId
            The script's number, with which `results` and `events` are asked for.

        Raises
        ------
        ActivityGoneError
            The activity has ended, or its provider vanished.
        BadRequestError
            A command that the daemon does not know.
        """
        return await self._client.post(
            self._exec_path, self._sending, _batch_id, {"text": json.dumps(exe_script, separators=(",", ":"))}
        )

    async def results(
        self, batch_id: BatchId, *, command_index: int | None = None, timeout: float
    ) -> list[CommandResult]:
        """Wait for results of a script, once.

        Parameters
        ----------
        batch_id : BatchId
            From `send`.
        command_index : int, optional
            Wait until this command is done; the answer has the commands up to it, with the output of this
            one only. Without it the answer comes when the whole script is done, or the time is over, and has
            all that are done.
        timeout : float
            Seconds that the daemon waits.

        Returns
        -------
        list of CommandResult
            From the first command on; empty if the time ran out first.

        Raises
        ------
        ActivityGoneError
            The activity has ended, or its provider vanished.
        NotFoundError
            The provider does not know the script.
        """
        path = f"{self._exec_path}/{fields.segment(batch_id)}?timeout={timeout}"
        if command_index is not None:
            path = f"{path}&commandIndex={command_index}"
        try:
            return await self._client.request(
                "GET", path, self._reading, _results, timeout=timeout + LONG_POLL_MARGIN
            )
        except RequestTimeoutError as error:
            if error.status is None:
                raise
            return []

    async def events(self, batch_id: BatchId) -> AsyncGenerator[RuntimeEvent, None]:
        """Follow a script while it runs.

        What happened before the subscription may be missing, so read the results as well.  The stream never
        ends by itself, not even after the last command: count the events of the kind ``finished``, then
        close the generator (``async with contextlib.aclosing(activity.events(batch_id)) as events``).
        Events of a kind that is not known here are left out.

        Raises
        ------
        ConnectionDroppedError, RequestTimeoutError
            The daemon hung up, or is silent.
        """
        path = f"{self._exec_path}/{fields.segment(batch_id)}"
        operation = f"Following a script of activity {self.id}"
        async with aclosing(self._client.parsed_stream(path, operation, "runtime", _runtime_event)) as stream:
            async for event in stream:
                yield event

    async def state(self) -> ActivityState:
        """Ask for the activity's state; the daemon answers by itself when the provider is gone."""
        return await self._client.get(
            f"{self._path}/state", f"Reading the state of activity {self.id}", _state
        )

    async def usage(self) -> ActivityUsage:
        """Ask what the activity has used so far."""
        return await self._client.get(
            f"{self._path}/usage", f"Reading the usage of activity {self.id}", _usage
        )

    async def agreement(self) -> AgreementId:
        """Ask which agreement the activity runs under."""
        return await self._client.get(
            f"{self._path}/agreement", f"Reading the agreement of activity {self.id}", _agreement_id
        )

    async def destroy(self, timeout: float = 10.0) -> None:
        """End the activity; one that is gone already is fine.

        Parameters
        ----------
        timeout : float
            Seconds that the provider gets.

        Raises
        ------
        RequestTimeoutError
            The provider did not confirm in time.
        """
        try:
            await self._client.request(
                "DELETE",
                f"{self._path}?timeout={timeout}",
                f"Destroying activity {self.id}",
                ignore,
                timeout=timeout + LONG_POLL_MARGIN,
            )
        except ActivityGoneError:
            return


def _batch_id(value: Any) -> BatchId:
    return BatchId(fields.identifier(value))


def _agreement_id(value: Any) -> AgreementId:
    return AgreementId(fields.identifier(value))


_activity_ids = fields.as_list(lambda value: ActivityId(fields.identifier(value)))


class ActivityService:
    """Makes activities.

    Parameters
    ----------
    client : RestClient
        From `Configuration.activity`.
    """

    def __init__(self, client: RestClient) -> None:
        self._client = client

    async def new_activity(self, agreement_id: AgreementId, timeout: float = 30.0) -> Activity:
        """Have the provider start a runtime.

        Parameters
        ----------
        agreement_id : AgreementId
            An approved agreement.
        timeout : float
            Seconds that the provider gets.

        Raises
        ------
        RequestTimeoutError
            The provider did not start one in time.
        NotFoundError, BadRequestError
            The agreement does not exist, or is not approved, or has ended.
        """
        activity_id = await self._client.post(
            f"/activity{fields.query(timeout=timeout)}",
            f"Creating an activity on agreement {agreement_id}",
            _activity_id,
            {"agreementId": agreement_id},
            timeout=timeout + LONG_POLL_MARGIN,
        )
        return Activity(self._client, activity_id, agreement_id)

    def attach(self, activity_id: ActivityId, agreement_id: AgreementId | None = None) -> Activity:
        """Take up an activity that exists already; nothing is sent.

        Parameters
        ----------
        activity_id
            Id of the activity.
        agreement_id
            Id of its agreement.
        """
        return Activity(self._client, activity_id, agreement_id)

    async def activities(self, agreement_id: AgreementId) -> list[ActivityId]:
        """List the activities of an agreement, ended ones included.

        Parameters
        ----------
        agreement_id
            Id of the agreement.
        """
        return await self._client.get(
            f"/activity{fields.query(agreementId=agreement_id)}",
            f"Listing the activities of agreement {agreement_id}",
            _activity_ids,
        )
