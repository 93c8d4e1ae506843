"""Every recorded answer of the real daemon, played back to the client.

The recordings are of yagna 0.17.6; a playback is used since most of the error answers cannot be brought about
on demand.  The method that belongs to the recorded request is called, what it sends is compared with what was
recorded, and what it gives or raises with what the tables in `wire` say.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from aiohttp import web

from golem_nb.rest import fields
from golem_nb.rest.errors import ApiError
from tests.rest.wire import activity, bus, daemon, market, network, payment
from tests.rest.wire.recorded import CASES, KEY, Api, Case, answer, equal, nothing, query

PARTS = (daemon, market, activity, payment, network, bus)

# request, and what is called for it
CALLS = {row: call for part in PARTS for row, call in part.CALLS.items()}
# recording, and what is raised
ERRORS = {name: expected for part in PARTS for name, expected in part.ERRORS.items()}
# request, and how what is given is compared
SUCCESS = {row: compare for part in PARTS for row, compare in part.SUCCESS.items()}

# What was sent there is what the client never sends; the answer is what matters.
OTHER_REQUEST = {
    "auth/me-query-token": "the key in the query",
    "activity/create-string-body": "the agreement as a bare string",
    "activity/debit-note-accept-number-amount": "an amount as a number",
    "market/demand-subscribe-nested-properties": "properties as a tree, which are sent as they were given",
    "market/scan-begin": "no time-out",
    "market/scan-begin-demand": "a scan for demands",
    "payment/allocation-create-minimal": "no platform",
    "payment/allocation-create-number-amount": "an amount as a number",
    "payment/allocation-create-zero": "an amount that is refused",
    "payment/allocation-create-negative": "an amount that is refused",
    "payment/allocation-create-platform-object": "the platform in parts",
    "payment/allocation-create-yapapi-body": "fields that belong to the answer",
    "payment/allocations-list-max-items": "a limit",
    "payment/allocations-list-after": "a limit",
    "invoice/list-max": "a limit",
    "activity/debit-note-accept": "a time-out",
    "invoice/accept": "a time-out",
    "longpoll/demand-collect-no-timeout": "the daemon's own time-out",
    "longpoll/agreement-events-no-timeout": "the daemon's own time-out",
}

# The answer is an error, which the method takes for done: the thing has ended already.
DONE = {
    "activity/destroy-again",
    "fault-provider-terminates/agreement-terminate",
    "gsb/services-delete-again",
    "market/agreement-terminate-again",
    "market/demand-unsubscribe-again",
    "market/demand-unsubscribe-unknown",
    "market/scan-end-again",
    "net-v1/remove-again",
    "net/remove-again",
    "payment/allocation-release-again",
    "payment/allocation-release-unknown",
}
# The answer is an error, which means that there is nothing yet.
NOTHING_YET = {"activity/results-slow-index-timeout", "fault-provider-terminates/results"}


def row(case: Case) -> tuple[str, re.Match[str]]:
    """Find the row of the table for a recording."""
    request = f"{case['request']['method']} {case['request']['path']}"
    found = [(pattern, match) for pattern in CALLS if (match := re.fullmatch(pattern, request))]
    # "payments/status" also looks like the number of a payment
    exact = [pair for pair in found if not pair[1].groups()]
    assert found, f"no row for {request}"
    return (exact or found)[0]


def comparable(value: Any) -> Any:
    """Make amounts and dates comparable however they are written."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, str):
        try:
            return fields.as_moment(value)
        except fields.MalformedField:
            pass
        try:
            return fields.as_money(value)
        except fields.MalformedField:
            pass
    return value


def check_request(request: web.Request, body: bytes, case: Case) -> None:
    """Compare what the client sent with what was recorded; it may say more, and nothing else."""
    recorded = case["request"]
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    if case["case"] in OTHER_REQUEST or case["response"]["status"] >= 400:
        return
    sent = dict(parse_qsl(request.query_string))
    for name, value in query(case).items():
        assert comparable(sent[name]) == comparable(value), name
    if recorded["body"] is not None:
        assert request.headers["Content-Type"] == "application/json"
        content = comparable(json.loads(body))
        expected = comparable(recorded["body"]["json"])
        if isinstance(expected, dict):
            if "text" in expected:
                content, expected = (json.loads(side["text"]) for side in (content, expected))
                assert content == expected
            else:
                assert {key: content[key] for key in expected} == expected
        else:
            assert content == expected
    events = recorded["headers"].get("x-requestor-events")
    assert request.headers.get("X-Requestor-Events") == events


@pytest.mark.parametrize("name", sorted(CASES))
async def test_recorded_answer(name: str, serve: Any) -> None:
    case = CASES[name]
    failures: list[BaseException] = []
    asked_for: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked_for.append(f"{request.method} {request.path}")
        response = case["response"]
        if asked_for[-1] != f"{case['request']['method']} {case['request']['path']}":
            # the agreement is read after it was created
            assert asked_for[:-1] == ["POST /market-api/v1/agreements"]
            return web.json_response(answer(CASES["market/agreement-get"]))
        try:
            check_request(request, body, case)
        except BaseException as error:
            failures.append(error)
        headers = {"Content-Type": response["headers"].get("content-type", "")}
        if not headers["Content-Type"]:
            headers = {}
        if "chunks" in response:
            stream = web.StreamResponse(headers=headers)
            await stream.prepare(request)
            for _, text in response["chunks"]:
                await stream.write(text.encode())
                await asyncio.sleep(0)
            await asyncio.sleep(3600)  # it never ends by itself
        recorded = response["body"]
        if recorded is None:
            return web.Response(status=response["status"], headers=headers)
        text = recorded["text"] if "text" in recorded else json.dumps(recorded["json"])
        return web.Response(status=response["status"], body=text.encode(), headers=headers)

    pattern, match = row(case)
    base = name.partition("#")[0]
    api = Api(await serve(handler))
    call = CALLS[pattern](api, case, *match.groups())
    if base in ERRORS:
        kind, text = ERRORS[base]
        with pytest.raises(ApiError) as caught:
            await call
        error = caught.value
        assert type(error) is kind
        assert text in str(error)
        assert error.status == case["response"]["status"]
        assert f"{error.method} {unquote(error.path)}" == asked_for[0]
        assert KEY not in str(error) + repr(error)
    else:
        result = await call
        if base in DONE:
            assert result is None
        elif base in NOTHING_YET:
            assert result == []
        else:
            assert case["response"]["status"] < 300
            SUCCESS.get(pattern, nothing if answer(case) is None else equal)(result, case)
    if failures:
        raise failures[0]


def test_each_recorded_error_stands_in_the_table_and_no_other() -> None:
    failed = {name for name, case in CASES.items() if case["response"]["status"] >= 300 and "#" not in name}
    assert failed == (set(ERRORS) | DONE | NOTHING_YET) - {"activity/destroy-again"}
    assert set(OTHER_REQUEST) <= set(CASES)
    for case in CASES.values():
        row(case)


def test_each_row_has_a_recording() -> None:
    assert {row(case)[0] for case in CASES.values()} == set(CALLS)
    assert set(SUCCESS) <= set(CALLS)
