"""One unit of computation."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any, Generic, TypeVar

from golem_nb.events import TaskAccepted, TaskRejected

__all__ = ["Task", "TaskStatus"]

TaskData = TypeVar("TaskData")
TaskResult = TypeVar("TaskResult")


class TaskStatus(enum.Enum):
    """Where a task stands."""

    WAITING = enum.auto()
    RUNNING = enum.auto()
    ACCEPTED = enum.auto()
    REJECTED = enum.auto()


class Task(Generic[TaskData, TaskResult]):
    """One computation unit, for example the rendering of one frame.

    Parameters
    ----------
    data
        What the worker needs to prepare the commands for the provider.

    Attributes
    ----------
    id
        Number of the task as text, unique in this process.
    data
        As given.
    result
        As accepted by the worker; None before.
    rejection
        Why the worker has rejected the result last.

    Examples
    --------
    >>> from golem_nb import Task
    >>> Task(data={"frame": 7}).data
    {'frame': 7}
    """

    _ids = itertools.count(1)

    def __init__(self, data: TaskData) -> None:
        self.id = str(next(self._ids))
        self.data = data
        self.result: TaskResult | None = None
        self.rejection: str | None = None
        self.status = TaskStatus.WAITING
        self._started: float | None = None
        self._finished: float | None = None
        self._emit: Callable[..., Any] | None = None
        self._report: Callable[[bool], None] | None = None

    def __repr__(self) -> str:
        data = repr(self.data)
        return f"Task(id={self.id}, data={data if len(data) <= 200 else data[:197] + '...'})"

    @property
    def running_time(self) -> timedelta | None:
        """How long the task has been running, or took in the end; None before it was started."""
        if self._started is None:
            return None
        end = monotonic() if self._finished is None else self._finished
        return timedelta(seconds=end - self._started)

    def accept_result(self, result: TaskResult | None = None) -> None:
        """Mark the task as completed.

        Parameters
        ----------
        result
            What the computation gave; kept as `result`.

        Raises
        ------
        AssertionError
            The task is not running.
        """
        assert self.status is TaskStatus.RUNNING, "Accepted task not running"
        self.result = result
        self._emit_event(TaskAccepted)
        self._finish(TaskStatus.ACCEPTED, retry=False)

    def reject_result(self, reason: str | None = None, retry: bool = False) -> None:
        """Mark the result as not correct.

        Parameters
        ----------
        reason
            Why; part of the `TaskRejected` event.
        retry
            Compute the task again, on another agreement. Otherwise it is done, and is never handed over.

        Raises
        ------
        AssertionError
            The task is not running.
        """
        self._emit_event(TaskRejected, reason=reason)
        assert self.status is TaskStatus.RUNNING, "Rejected task not running"
        self.rejection = reason
        self._finish(TaskStatus.REJECTED, retry=retry)

    def begin(self, emit: Callable[..., Any], report: Callable[[bool], None]) -> None:
        """Note that a worker has the task.

        Parameters
        ----------
        emit
            Emits an event of the worker's activity.
        report
            Called once the result was accepted or rejected, with whether to try again.
        """
        self.status = TaskStatus.RUNNING
        self._started, self._finished = monotonic(), None
        self._emit, self._report = emit, report

    def give_back(self) -> None:
        """Note that the worker has ended without a result."""
        self.status = TaskStatus.WAITING
        self._finished = monotonic()
        self._emit = self._report = None

    def _emit_event(self, event_class: type[Any], **fields: Any) -> None:
        if self._emit is not None:
            self._emit(event_class, task=self, **fields)

    def _finish(self, status: TaskStatus, *, retry: bool) -> None:
        self.status = status
        self._finished = monotonic()
        report, self._report = self._report, None
        assert report is not None
        report(retry)
