"""Rows for activities: their scripts, results, state and usage."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from golem_nb.rest.activity import CommandResult
from golem_nb.rest.errors import (
    ActivityGoneError,
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    RequestTimeoutError,
    ServerError,
)
from tests.rest.wire.recorded import (
    BAD_JSON,
    BAD_QUERY,
    GONE,
    ID,
    Api,
    Calls,
    Case,
    Compare,
    Errors,
    answer,
    asked,
    moment,
    named,
    query,
    raw,
    same,
)


async def results(api: Api, case: Case, activity_id: str, batch_id: str) -> Any:
    activity = api.activities.attach(activity_id)
    if "event-stream" in case["request"]["headers"].get("accept", ""):
        recorded = "".join(text for _, text in case["response"]["chunks"])
        async with aclosing(activity.events(batch_id)) as stream:
            events = [await anext(stream) for _ in range(recorded.count("event: runtime"))]
            # the stream stays open after the last event: nothing more comes, and nothing is raised
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.1)
        return events
    parameters = query(case)
    index = parameters.get("commandIndex")
    return await activity.results(
        batch_id,
        command_index=None if index is None else int(index),
        timeout=float(parameters.get("timeout", 0)),
    )


async def monitor(api: Api, case: Case) -> Any:
    async with aclosing(api.root.stream(case["request"]["path"], "Watching activities")) as stream:
        return json.loads((await anext(stream)).data)


def agreement_of(case: Case) -> str:
    body = asked(case)
    return body if isinstance(body, str) else body.get("agreementId", "x")


def script_of(case: Case) -> Any:
    try:
        return json.loads(asked(case)["text"])
    except (KeyError, ValueError):
        return [{}]


CALLS: Calls = {
    "POST /activity-api/v1/activity": lambda a, c: a.activities.new_activity(
        agreement_of(c), float(query(c).get("timeout", 5))
    ),
    "GET /activity-api/v1/activity": lambda a, c: a.activities.activities(query(c).get("agreementId", "x")),
    "GET /activity-api/v1/_monitor": monitor,
    f"DELETE /activity-api/v1/activity{ID}": lambda a, c, i: a.activities.attach(i).destroy(
        float(query(c).get("timeout", 5))
    ),
    f"GET /activity-api/v1/activity{ID}/agreement": lambda a, c, i: a.activities.attach(i).agreement(),
    f"GET /activity-api/v1/activity{ID}/state": lambda a, c, i: a.activities.attach(i).state(),
    f"GET /activity-api/v1/activity{ID}/usage": lambda a, c, i: a.activities.attach(i).usage(),
    f"GET /activity-api/v1/activity{ID}/command": raw,  # no handler is bound in the daemon: always an error
    f"POST /activity-api/v1/activity{ID}/exec": lambda a, c, i: a.activities.attach(i).send(script_of(c)),
    f"GET /activity-api/v1/activity{ID}/exec{ID}": results,
}

ERRORS: Errors = {
    "market/activity-create-unapproved": (NotFoundError, "Not found: 30ad98c9"),
    "market/activity-create-terminated-agreement": (
        BadRequestError,
        "is not Approved. Current state: Terminated",
    ),
    "activity/create-unknown-agreement": (NotFoundError, "Not found: 0000"),
    "activity/create-malformed": (BadRequestError, "did not match any variant"),
    "activity/create-bad-pubkey": (BadRequestError, "Invalid requestor pub key"),
    "fault-no-exeunit/activity-create": (RequestTimeoutError, "Creating an activity on agreement"),
    "activity/list-no-agreement": BAD_QUERY,
    "activity/state-unknown": (ServerError, "DAO error: Not found"),
    "activity/usage-unknown": (ServerError, "DAO error: Not found"),
    "activity/state-other-identity": (ForbiddenError, "is not authorized"),
    "activity/exec-text-not-json": (BadRequestError, "expected ident"),
    "activity/exec-unknown-command": (BadRequestError, "unknown variant `fly`"),
    "activity/exec-no-text": BAD_JSON,
    "activity/exec-unknown-activity": (ServerError, "DAO error: Not found"),
    "activity/exec-terminated": GONE,
    "fault-provider-vanishes/exec-gone": GONE,
    "fault-unresponsive/exec": GONE,
    "activity/results-unknown-batch": (NotFoundError, "Not found: batch_id"),
    "activity/results-terminated": GONE,
    "fault-provider-terminates/results-2": GONE,
    "fault-provider-vanishes/results-gone": GONE,
    "activity/command-running": (ActivityGoneError, "GetRunningCommand"),
    "activity/command-none": (ActivityGoneError, "GetRunningCommand"),
    "activity/destroy-unknown": (ServerError, "DAO error: Not found"),
    "fault-provider-vanishes/destroy-gone": (RequestTimeoutError, "Destroying activity"),
}


def same_result(result: CommandResult, recorded: Mapping[str, Any]) -> None:
    def output(value: Any) -> Any:
        return bytes(value) if isinstance(value, list) else value

    assert result.index == recorded["index"]
    assert result.success == (recorded["result"] == "Ok")
    assert result.stdout == output(recorded["stdout"])
    assert result.stderr == output(recorded["stderr"])
    assert result.message == recorded["message"]
    assert result.is_batch_finished == recorded["isBatchFinished"]
    assert result.event_date == moment(recorded["eventDate"])


def same_events(events: list[Any], case: Case) -> None:
    """Compare what was streamed with an independent reading of the recording."""
    text = "".join(part for _, part in case["response"]["chunks"])
    recorded = [json.loads(data) for data in re.findall(r"^data: (.*)$", text, re.MULTILINE)]
    assert len(events) == len(recorded)
    for event, source in zip(events, recorded, strict=True):
        [(kind, content)] = source["kind"].items()
        assert (event.batch_id, event.index, event.kind) == (source["batch_id"], source["index"], kind)
        assert event.timestamp == moment(source["timestamp"])
        if kind == "started":
            assert event.command == content["command"]
        elif kind in ("stdout", "stderr"):
            assert event.output == content
        elif kind == "finished":
            assert (event.return_code, event.message) == (content["return_code"], content["message"])


def compare_results(result: Any, case: Case) -> None:
    if case["response"].get("chunks"):
        same_events(result, case)
        return
    for one, source in zip(result, answer(case), strict=True):
        same_result(one, source)


def compare_state(result: Any, case: Case) -> None:
    source = answer(case)
    assert result.state == source["state"]
    same(result, source, {"reason": "reason", "error_message": "errorMessage"})


def compare_usage(result: Any, case: Case) -> None:
    source = answer(case)
    assert result.current_usage == source["currentUsage"]
    assert result.timestamp.timestamp() == source["timestamp"]


def compare_monitor(result: Any, case: Case) -> None:
    assert result["activities"] == []


SUCCESS: dict[str, Compare] = {
    "POST /activity-api/v1/activity": named("id", "activityId"),
    "GET /activity-api/v1/_monitor": compare_monitor,
    f"GET /activity-api/v1/activity{ID}/state": compare_state,
    f"GET /activity-api/v1/activity{ID}/usage": compare_usage,
    f"GET /activity-api/v1/activity{ID}/exec{ID}": compare_results,
}
