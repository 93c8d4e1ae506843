"""Frames of a real batch, beside what the engine itself says."""

from __future__ import annotations

from typing import Any

import pytest

from golem_nb import Golem, Task, vm
from golem_nb.frames import Recorder
from golem_nb.localnet import LocalNetwork
from golem_nb.rest import Configuration, Payment


async def test_a_batch(network: LocalNetwork) -> None:
    recorder = Recorder()

    async def worker(context: Any, tasks: Any) -> Any:
        async for task in tasks:
            script = context.new_script()
            result = script.run("/bin/echo", "-n", f"item {task.data}")
            yield script
            task.accept_result((await result).stdout)

    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=network.registry_url)
    golem = Golem(budget=1, api_config=network.api_config, event_consumer=recorder.take)
    async with golem:
        async for _ in golem.execute_tasks(worker, [Task(n) for n in range(6)], payload, max_workers=3):
            pass
        assert golem._engine is not None
        spending = golem._engine.payments._spending
    tasks = recorder.tasks()
    assert list(tasks["state"]) == ["accepted"] * 6
    assert sorted(tasks["stdout"]) == [f"item {n}" for n in range(6)]
    assert set(tasks["provider"]) <= {"amber", "birch", "cobalt"}
    assert (tasks["duration"].dt.total_seconds() > 0).all()
    # to the last digit
    totals = recorder.totals()
    assert totals.accepted == spending.total > 0
    assert totals.invoiced == totals.accepted
    costs = recorder.costs()
    assert costs.attrs["totals"]["accepted"] == spending.total
    assert costs["accepted"].sum() == pytest.approx(float(spending.total), rel=1e-12)
    # a worker for whom no task was left has cost something, too
    used = costs[costs["agreement"].isin(tasks["agreement"])]
    assert tasks["cost"].sum() == pytest.approx(used["accepted"].sum(), rel=1e-9)
    offers = recorder.offers()
    assert set(offers["provider"]) == {"amber", "birch", "cobalt"}
    assert (offers["price_full_hour"] > 0).all()
    assert set(recorder.agreements()["state"]) == {"terminated"}
    assert set(recorder.activities()["state"]) == {"ended"}
    events = recorder.events()
    assert events["time"].is_monotonic_increasing
    assert {"JobStarted", "InvoiceAccepted", "ShutdownFinished"} <= set(events["event"])
    async with Configuration(network.api_config) as configuration:
        recorder.add_payments(await Payment(configuration.payment()).payments())
    assert recorder.totals().settled <= totals.accepted
