"""A task by itself."""

from __future__ import annotations

from typing import Any

import pytest

from golem_nb import Task
from golem_nb.events import TaskAccepted, TaskRejected


def begun(task: Task[Any, Any]) -> tuple[list[Any], list[bool]]:
    events: list[Any] = []
    reports: list[bool] = []
    task.begin(lambda event_class, **fields: events.append((event_class, fields)), reports.append)
    return events, reports


@pytest.mark.contract("T01", "T02")
def test_life_of_a_task() -> None:
    task: Task[dict[str, int], str] = Task(data={"frame": 7})
    assert int(task.id) > 0
    assert task.data == {"frame": 7}
    assert task.result is None
    assert task.running_time is None
    assert repr(task) == f"Task(id={task.id}, data={{'frame': 7}})"
    events, reports = begun(task)
    first = task.running_time
    assert first is not None
    task.accept_result("done")
    assert task.result == "done"
    assert [event for event, _ in events] == [TaskAccepted]
    assert reports == [False]
    took = task.running_time
    assert took is not None
    assert took >= first
    assert task.running_time == took


@pytest.mark.contract("T02")
def test_ids_grow() -> None:
    one: Task[None, None] = Task(None)
    two: Task[None, None] = Task(None)
    assert int(two.id) == int(one.id) + 1


@pytest.mark.contract("T03")
def test_accepting_or_rejecting_what_does_not_run() -> None:
    task: Task[None, None] = Task(None)
    with pytest.raises(AssertionError, match="Accepted task not running"):
        task.accept_result()
    with pytest.raises(AssertionError, match="Rejected task not running"):
        task.reject_result()
    begun(task)
    task.accept_result()
    with pytest.raises(AssertionError, match="Accepted task not running"):
        task.accept_result()


@pytest.mark.contract("T01", "T03")
@pytest.mark.parametrize("retry", [True, False])
def test_rejecting(retry: bool) -> None:
    task: Task[None, None] = Task(None)
    events, reports = begun(task)
    task.reject_result("blurred", retry=retry)
    assert events == [(TaskRejected, {"task": task, "reason": "blurred"})]
    assert reports == [retry]


def test_long_data_is_shortened_in_the_repr() -> None:
    assert len(repr(Task(data="x" * 10_000))) < 250
