"""Agreements: used again where that is right, and each ended with the true reason, as the daemon tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from golem_nb import Task, WorkContext
from golem_nb.engine import TasksFailedError
from golem_nb.rest import Configuration, Market
from golem_nb.strategy import LeastExpensiveLinearPayuMS

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork
    from golem_nb.props import DemandBuilder

    from .conftest import Batch, Running

Tasks = AsyncIterator[Task[Any, Any]]
Worker = AsyncGenerator[Any, Any]

SUCCESS = {"message": "Successfully finished all work", "golem.requestor.code": "Success"}
CANCELLED = {"message": "Work cancelled", "golem.requestor.code": "Cancelled"}


@attrs.frozen
class Ends:
    """The terminations that the daemon tells of, from now on."""

    network: LocalNetwork
    since: Any = attrs.field(factory=lambda: datetime.now(UTC))

    async def told(self, count: int) -> dict[str, Any]:
        """Reason by agreement, once there are so many."""
        async with Configuration(self.network.api_config) as configuration, asyncio.timeout(10):
            market = Market(configuration.market())
            while True:
                events = await market.collect_agreement_events(self.since, timeout=0.1, max_events=100)
                ended = {event.agreement_id: event for event in events if event.kind == "terminated"}
                if len(ended) >= count:
                    break
                await asyncio.sleep(0.05)
        assert {event.terminator for event in ended.values()} == {"Requestor"}
        return {agreement_id: dict(event.reason or {}) for agreement_id, event in ended.items()}


@pytest.fixture
def ends(network: LocalNetwork) -> Ends:
    return Ends(network)


async def one_each(context: WorkContext, tasks: Tasks) -> Worker:
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/true")
        yield script
        task.accept_result(context.id)


@pytest.mark.contract("E09", "E12")
async def test_work_that_is_done(tame: Batch, ends: Ends) -> None:
    outcome = await tame(range(4), worker=one_each, max_workers=2)
    reasons = await ends.told(len(outcome.of("AgreementConfirmed")))
    assert reasons == {event.agr_id: SUCCESS for event in outcome.of("AgreementConfirmed")}
    assert [event.reason for event in outcome.of("AgreementTerminated")] == list(reasons.values())
    assert len(outcome.of("InvoiceAccepted")) == len(reasons)


@pytest.mark.contract("E09")
async def test_work_that_is_broken_off(running: Running, ends: Ends) -> None:
    tasks = running.golem.execute_tasks(one_each, [Task(n) for n in range(200)], running.payload)
    async for _ in tasks:
        break
    await tasks.aclose()
    await running.golem.stop()
    confirmed = running.heard.of("AgreementConfirmed")
    assert await ends.told(len(confirmed)) == {event.agr_id: CANCELLED for event in confirmed}


@pytest.mark.contract("E08", "E09")
async def test_a_worker_that_fails_costs_its_agreement(tame: Batch, ends: Ends) -> None:
    failed = False

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        nonlocal failed
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true" if failed else "/bin/false")
            failed = True
            yield script
            task.accept_result()

    outcome = await tame(["x"], worker=worker, max_workers=1)
    assert outcome.error is None
    bad, good = outcome.of("AgreementConfirmed")
    assert await ends.told(2) == {bad.agr_id: CANCELLED, good.agr_id: SUCCESS}
    assert bad.provider_id != good.provider_id


@pytest.mark.contract("E08")
async def test_an_agreement_is_used_for_several_activities(tame: Batch) -> None:
    # a task that was rejected is not given to the same activity again, but to another on the same agreement
    tries = 0

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        nonlocal tries
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            tries += 1
            if tries == 1:
                task.reject_result("not good enough", retry=True)
            else:
                task.accept_result(context.id)

    outcome = await tame(["x"], worker=worker, max_workers=1)
    assert outcome.error is None
    assert len(outcome.of("ActivityCreated")) == 2
    assert len(outcome.of("AgreementConfirmed")) == 1
    (invoice,) = [event.invoice for event in outcome.of("InvoiceAccepted")]
    assert len(invoice.activity_ids) == 2


@pytest.mark.contract("E08", "E10")
async def test_an_agreement_for_a_single_activity(tame: Batch, ends: Ends) -> None:
    class SingleActivity(LeastExpensiveLinearPayuMS):
        async def decorate_demand(self, demand: DemandBuilder) -> None:
            await super().decorate_demand(demand)
            demand.add_properties({"golem.srv.caps.multi-activity": False})

    tries = 0

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        nonlocal tries
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            tries += 1
            if tries == 1:
                task.reject_result("not good enough", retry=True)
            else:
                task.accept_result(context.id)

    outcome = await tame(["x"], worker=worker, max_workers=1, strategy=SingleActivity())
    assert outcome.error is None
    assert len(outcome.of("ActivityCreated")) == 2
    confirmed = outcome.of("AgreementConfirmed")
    assert len(confirmed) == 2
    assert await ends.told(2) == {event.agr_id: SUCCESS for event in confirmed}
    assert len(outcome.of("InvoiceAccepted")) == 2


@pytest.mark.contract("E09")
async def test_given_up_tasks_and_others(tame: Batch, ends: Ends) -> None:
    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true" if task.data else "/bin/false")
            yield script
            task.accept_result(task.data)

    outcome = await tame([1, 0], worker=worker, max_workers=1)
    assert outcome.results == [1]
    assert isinstance(outcome.error, TasksFailedError)
    confirmed = outcome.of("AgreementConfirmed")
    reasons = await ends.told(len(confirmed))
    assert set(reasons) == {event.agr_id for event in confirmed}
    assert all(reason == CANCELLED for reason in reasons.values())
