from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from golem_nb import events as ev
from golem_nb.script.command import Deploy
from golem_nb.ui.instances import Instances
from golem_nb.ui.lanes import MOST_LANES, Lanes
from golem_nb.ui.series import MOST_SAMPLES, Series
from tests.browser.rush import Rush, provider


@pytest.fixture
def rush() -> Rush:
    return Rush(["sun", "<b>moon</b>\x1b[31m"])


def invoice(rush: Rush, index: int, amount: str) -> ev.Event:
    bill: Any = SimpleNamespace(amount=Decimal(amount))
    return ev.InvoiceAccepted(rush.job, rush.agreements[index], bill)


def test_a_lane_goes_through_its_states(rush: Rush) -> None:
    lanes = Lanes()
    agreement, activity = rush.agreements[0], rush.activities[0]
    task: Any = SimpleNamespace(id="7", data=None)
    seen = []
    for event in (
        ev.AgreementCreated(rush.job, agreement),
        ev.AgreementConfirmed(rush.job, agreement),
        ev.ActivityCreated(rush.job, agreement, activity),
        ev.TaskStarted(rush.job, agreement, activity, task),
        ev.TaskAccepted(rush.job, agreement, activity, task),
        ev.WorkerFinished(rush.job, agreement, activity),
        ev.AgreementTerminated(rush.job, agreement, {}),
        invoice(rush, 0, "0.5"),
    ):
        assert lanes.take(event)
        seen.append(lanes.of("1")[0].state)
    assert seen == ["negotiating", "waiting", "deploying", "running", "waiting", "ended", "ended", "paid"]
    (lane,) = lanes.of("1")
    assert (lane.name, lane.done, lane.failed, lane.cost) == ("sun", 1, 0, Decimal("0.5"))


def test_a_lane_is_paid_whatever_comes_first(rush: Rush) -> None:
    lanes = Lanes()
    agreement, activity = rush.agreements[0], rush.activities[0]
    lanes.take(ev.ActivityCreated(rush.job, agreement, activity))
    lanes.take(invoice(rush, 0, "0.5"))
    (lane,) = lanes.of("1")
    assert not lane.open
    lanes.take(ev.AgreementTerminated(rush.job, agreement, {}))
    assert lane.state == "paid"


def test_a_lane_is_open_until_its_invoice_and_its_cost_stands_still(rush: Rush) -> None:
    lanes = Lanes()
    agreement, activity = rush.agreements[0], rush.activities[0]
    lanes.take(ev.ActivityCreated(rush.job, agreement, activity))
    (lane,) = lanes.of("1")
    price, since = lane.active[agreement.id]
    lane.active[agreement.id] = price, since - 100
    lanes.take(ev.AgreementTerminated(rush.job, agreement, {}))
    assert (lane.state, lane.open) == ("ended", True)
    owed = lane.cost
    assert Decimal("0.0099") < owed < Decimal("0.0102")
    assert lane.cost == owed
    lanes.take(invoice(rush, 0, "0.009"))
    assert (lane.state, lane.open, lane.cost) == ("paid", False, Decimal("0.009"))


def test_a_lane_with_two_agreements_is_paid_when_both_are(rush: Rush) -> None:
    lanes = Lanes()
    for agreement, activity in zip(rush.agreements, rush.activities, strict=True):
        agreement.details.provider_id = "0x1"
        lanes.take(ev.ActivityCreated(rush.job, agreement, activity))
        lanes.take(ev.AgreementTerminated(rush.job, agreement, {}))
    (lane,) = lanes.of("1")
    lanes.take(invoice(rush, 1, "0.1"))
    assert lane.state == "ended"
    lanes.take(invoice(rush, 0, "0.1"))
    assert lane.state == "paid"


def test_one_lane_a_provider_over_all_jobs(rush: Rush) -> None:
    lanes = Lanes()
    sun, moon = rush.agreements
    again = provider(1, "sun")
    again.id = "agreement-again"
    other: Any = SimpleNamespace(id="2")
    task: Any = SimpleNamespace(id="7", data=None)
    for agreement, activity in zip((sun, moon), rush.activities, strict=True):
        lanes.take(ev.ActivityCreated(rush.job, agreement, activity))
        lanes.take(ev.TaskAccepted(rush.job, agreement, activity, task))
        lanes.take(ev.AgreementTerminated(rush.job, agreement, {}))
    lanes.take(invoice(rush, 1, "0.2"))
    lanes.take(ev.ActivityCreated(other, again, rush.activities[0]))
    lanes.take(ev.TaskStarted(other, again, rush.activities[0], task))
    assert [(lane.name, lane.state, lane.done) for lane in lanes.of("1", "2")] == [
        ("sun", "running", 1),
        ("<b>moon</b>", "paid", 1),
    ]
    lanes.take(ev.TaskAccepted(other, again, rush.activities[0], task))
    lanes.take(ev.AgreementTerminated(other, again, {}))
    lanes.take(ev.InvoiceAccepted(other, again, SimpleNamespace(amount=Decimal("0.3"))))
    lane = lanes.of("1", "2")[0]
    # the first one's invoice is still to come
    assert (lane.state, lane.open, lane.done) == ("ended", True, 2)
    lanes.take(invoice(rush, 0, "0.1"))
    lane = lanes.of("1", "2")[0]
    assert (lane.state, lane.open, lane.cost) == ("paid", False, Decimal("0.4"))
    # what is told of one job stays so
    assert [lane.cost for lane in lanes.of("1")] == [Decimal("0.1"), Decimal("0.2")]


def test_a_lane_runs_until_the_last_task_of_its_script_is_over(rush: Rush) -> None:
    lanes = Lanes()
    where = rush.job, rush.agreements[0], rush.activities[0]
    first, second, third = (SimpleNamespace(id=str(number), data=None) for number in range(3))
    for task in (first, second, third):
        lanes.take(ev.TaskStarted(*where, task))
    (lane,) = lanes.of("1")
    lanes.take(ev.TaskAccepted(*where, first))
    lanes.take(ev.TaskFinished(*where, first))
    assert (lane.state, list(lane.tasks), lane.done) == ("running", ["1", "2"], 1)
    lanes.take(ev.TaskRejected(*where, second, "wrong"))
    assert (lane.state, lane.doing, lane.failed) == ("running", "rejected: wrong", 1)
    lanes.take(ev.TaskFinished(*where, third))
    assert (lane.state, list(lane.tasks), lane.done) == ("waiting", [], 1)


def test_a_lane_whose_job_is_cancelled_has_not_failed(rush: Rush) -> None:
    lanes = Lanes()
    where = rush.job, rush.agreements[0], rush.activities[0]
    lanes.take(ev.ActivityCreated(*where))
    error = asyncio.CancelledError()
    lanes.take(ev.WorkerFinished(*where, exc_info=(type(error), error, None)))
    (lane,) = lanes.of("1")
    assert (lane.state, lane.doing, lane.failed) == ("cancelled", "", 0)
    lanes.take(ev.AgreementTerminated(rush.job, rush.agreements[0], {}))
    lanes.take(invoice(rush, 0, "0.1"))
    assert (lane.state, lane.open) == ("cancelled", False)


def test_what_a_provider_says_is_cleaned(rush: Rush) -> None:
    lanes = Lanes()
    lanes.take(ev.AgreementCreated(rush.job, rush.agreements[1]))
    error = RuntimeError("bad\x1b[2J\nthing")
    lanes.take(
        ev.WorkerFinished(
            rush.job, rush.agreements[1], rush.activities[1], exc_info=(RuntimeError, error, None)
        )
    )
    (lane,) = lanes.of("1")
    assert lane.name == "<b>moon</b>"
    assert (lane.state, lane.doing, lane.failed) == ("failed", "bad thing", 1)


def test_running_activities_cost_by_their_time(rush: Rush) -> None:
    lanes = Lanes()
    lanes.take(ev.ActivityCreated(rush.job, rush.agreements[0], rush.activities[0]))
    (lane,) = lanes.of("1")
    price, since = lane.active[rush.agreements[0].id]
    lane.active[rush.agreements[0].id] = price, since - 100
    assert Decimal("0.0099") < lane.cost < Decimal("0.0102")


def test_other_events_cost_one_look(rush: Rush) -> None:
    lanes, series, instances = Lanes(), Series(), Instances()
    event = ev.GettingResults(rush.job, rush.agreements[0], rush.activities[0], SimpleNamespace(id=1))
    started = time.perf_counter()
    for _ in range(20_000):
        lanes.take(event)
        series.take(event)
        instances.take(event)
    assert (time.perf_counter() - started) / 20_000 < 5e-6
    assert lanes.of("1") == []


def test_lanes_are_bounded() -> None:
    rush = Rush([f"p{n}" for n in range(MOST_LANES + 50)])
    lanes = Lanes()
    for event in rush.begin():
        lanes.take(event)
    assert len(lanes.of("1")) == MOST_LANES


def test_series_count_tasks_offers_and_money(rush: Rush) -> None:
    series = Series()
    for event in rush.begin():
        series.take(event)
    for number in range(3):
        series.take(rush.proposal(number))
        for event in rush.turn():
            series.take(event)
        series.sample()
    assert series.tasks == {"waiting": 0, "running": 0, "accepted": 6, "rejected": 0, "failed": 0}
    assert series.offer_rows[1] == [1.0, 2.0, 3.0]
    assert series.task_rows[1] == [2.0, 4.0, 6.0]
    series.take(invoice(rush, 0, "0.0005"))
    names, costs = series.cost_rows[1:]
    assert names[-1] == "sun"
    assert costs[-1] == pytest.approx(0.0005)


def test_tasks_that_nobody_could_do_have_failed_when_their_job_is_over(rush: Rush) -> None:
    series = Series()
    task: Any = SimpleNamespace(id="1", data=None)
    series.take(ev.TaskStarted(rush.job, rush.agreements[0], rush.activities[0], task))
    assert series.tasks["running"] == 1
    series.take(ev.TaskFinished(rush.job, rush.agreements[0], rush.activities[0], task))
    assert series.tasks["waiting"] == 1
    series.take(ev.JobFinished(rush.job))
    assert series.tasks == {"waiting": 0, "running": 0, "accepted": 0, "rejected": 0, "failed": 1}


def test_tasks_that_are_tried_again_by_another_job_count_once(rush: Rush) -> None:
    series = Series()
    where = rush.agreements[0], rush.activities[0]
    again: Any = SimpleNamespace(id="2")
    good, bad, wrong = (SimpleNamespace(id=str(number), data=None) for number in range(3))
    for job in (rush.job, again):
        for task in (good, bad, wrong):
            series.take(ev.TaskStarted(job, *where, task))
        assert series.tasks["running"] == sum(series.tasks.values()) == 3
        series.take(ev.TaskRejected(job, *where, wrong, "wrong"))
        if job is again:
            series.take(ev.TaskAccepted(job, *where, good))
        series.take(ev.JobFinished(job))
    assert series.tasks == {"waiting": 0, "running": 0, "accepted": 1, "rejected": 1, "failed": 1}


def test_series_are_thinned_but_keep_their_ends(rush: Rush) -> None:
    series = Series()
    for number in range(MOST_SAMPLES * 3):
        series.accepted = number
        series.sample()
    times, tasks = series.task_rows
    assert len(times) == len(tasks) <= MOST_SAMPLES
    assert (tasks[0], tasks[-1]) == (0.0, MOST_SAMPLES * 3 - 1)


def test_an_offer_counts_once_however_often_it_is_made(rush: Rush) -> None:
    series = Series()
    for job in ("1", "2", "3", "4"):
        rush.job.id = job
        for number in range(12):
            series.take(rush.proposal(number))
    assert series.offers == 12
    # another runtime is another offer
    other: Any = rush.proposal(5)
    other.proposal.props["golem.runtime.name"] = "wasmtime"
    series.take(other)
    assert series.offers == 13


def test_instances_remember_states_and_the_end_of_their_output(rush: Rush) -> None:
    instances = Instances()
    service = SimpleNamespace(id="s1")
    for event in rush.service(service, 0, "pending", "starting", "running"):
        instances.take(event)
    command: Any = None
    script: Any = SimpleNamespace(id=1)
    for done, text in (
        (Deploy(), '{"valid": "for programs"}'),
        (command, "<script>\x1b[31m"),
        (command, "x" * 50_000),
        (command, b"\xff last\x1e/\x1e0"),
        (command, "\x1e/\x1e0"),
    ):
        instances.take(
            ev.CommandExecuted(
                rush.job, rush.agreements[0], rush.activities[0], script, done, True, None, text
            )
        )
    # of an activity that belongs to no instance
    instances.take(
        ev.CommandExecuted(
            rush.job, rush.agreements[1], rush.activities[1], script, command, True, None, "other"
        )
    )
    trail = instances.of("s1")
    assert [state for state, _ in trail.states] == ["starting", "running"]
    assert trail.output.startswith("<script>\n…x")
    assert trail.output.endswith("x\n� last")
    assert len(trail.output) <= 8000
    assert "other" not in trail.output
    assert instances.of("nobody").output == ""
