from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from aiohttp import web

from golem_nb.config import ApiConfig
from golem_nb.ctx import ActivityUsage, WorkContext
from golem_nb.events import ActivityEvent, Event
from golem_nb.rest import Configuration
from golem_nb.rest import activity as rest
from golem_nb.rest.agreements import Agreement, agreement_details
from golem_nb.rest.ids import ActivityId, AgreementId

if TYPE_CHECKING:
    from golem_nb.script import Script

AGREEMENT = {
    "agreementId": "a" * 64,
    "state": "Approved",
    "timestamp": "2026-01-01T00:00:00Z",
    "validTo": "2026-01-01T01:00:00Z",
    "offer": {
        "offerId": "o",
        "providerId": "0xprovider",
        "timestamp": "2026-01-01T00:00:00Z",
        "constraints": "()",
        "properties": {
            "golem.node.id.name": "amber",
            "golem.com.scheme": "payu",
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": [0.1, 0.02, 0.003],
            "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
        },
    },
    "demand": {
        "demandId": "d",
        "requestorId": "0xrequestor",
        "timestamp": "2026-01-01T00:00:00Z",
        "constraints": "()",
        "properties": {},
    },
}


class Daemon:
    """Answers as the real daemon did when it was recorded; a running activity has no usage that is known."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {"currentUsage": [10.0, 5.0], "timestamp": 1795455482}

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.endswith("/usage"):
            return web.json_response(self.usage)
        assert request.path == "/activity-api/v1/activity/abc/state"
        return web.json_response({"state": ["Ready", None]})


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def ctx(daemon: Daemon) -> AsyncIterator[WorkContext]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", daemon.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = ApiConfig(app_key="key", api_url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with Configuration(config) as configuration:
        client = configuration.activity()
        agreement = Agreement(client, AgreementId("a" * 64), agreement_details(AGREEMENT))

        def emit(event_class: type[Event], **fields: Any) -> Event:
            return event_class(job="job", agreement=agreement, activity="activity", **fields)  # type: ignore[call-arg]

        # no transfer is made here
        yield WorkContext(rest.Activity(client, ActivityId("abc")), agreement, None, emit)  # type: ignore[arg-type]
    await runner.cleanup()


@pytest.mark.contract("C01")
def test_properties(ctx: WorkContext) -> None:
    assert ctx.id == "abc"
    assert ctx.provider_name == "amber"
    assert ctx.provider_id == "0xprovider"
    assert repr(ctx) == "<WorkContext abc at 0xprovider>"


@pytest.mark.contract("C01")
def test_scripts(ctx: WorkContext) -> None:
    plain: Script = ctx.new_script()
    special = ctx.new_script(timeout=timedelta(seconds=5), wait_for_results=False)
    assert (plain.timeout, plain.wait_for_results) == (None, True)
    assert (special.timeout, special.wait_for_results) == (timedelta(seconds=5), False)
    assert plain.context is ctx


@pytest.mark.contract("C01", "V07")
def test_events_of_ones_own(ctx: WorkContext) -> None:
    @attrs.define(repr=False, slots=False)
    class ActivityEvaluated(ActivityEvent):
        activity_score: float

    event = ctx.emit(ActivityEvaluated, activity_score=0.5)
    assert isinstance(event, ActivityEvaluated)
    assert event.activity_score == 0.5
    assert event.activity == "activity"


@pytest.mark.contract("C01", "C02")
async def test_usage_and_state(ctx: WorkContext) -> None:
    when = datetime(2026, 11, 23, 17, 38, 2, tzinfo=UTC)
    assert await ctx.get_raw_usage() == rest.ActivityUsage([10.0, 5.0], when)
    assert await ctx.get_usage() == ActivityUsage(
        {"golem.usage.duration_sec": 10.0, "golem.usage.cpu_sec": 5.0}, when
    )
    assert (await ctx.get_raw_state()).state == ["Ready", None]


@pytest.mark.contract("C02")
async def test_cost(ctx: WorkContext, daemon: Daemon) -> None:
    cost = await ctx.get_cost()
    assert isinstance(cost, float)
    # exact: in floats 0.1 * 10 + 0.02 * 5 + 0.003 is a little more
    assert cost == 1.103
    daemon.usage["currentUsage"] = [0.3, 0.0]
    assert await ctx.get_cost() == 0.033


@pytest.mark.contract("C02")
async def test_no_usage_yet(ctx: WorkContext, daemon: Daemon) -> None:
    daemon.usage["currentUsage"] = []
    assert await ctx.get_cost() is None
    assert (await ctx.get_usage()).current_usage == {}
