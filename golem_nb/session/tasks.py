"""Tasks with the documented worker."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.engine.errors import TasksFailedError
from golem_nb.executor import Task
from golem_nb.executor.task import TaskStatus
from golem_nb.session.errors import SessionError
from golem_nb.session.handle import Handle, Progress
from golem_nb.session.payloads import checked_payload
from golem_nb.ui.faces import job_bar, job_html, job_text
from golem_nb.ui.sources import ErrorFact, JobFacts

if TYPE_CHECKING:
    from golem_nb.executor.executor import WorkerFunction
    from golem_nb.payload import Payload
    from golem_nb.session.core import Core
    from golem_nb.ui.panel import Panel

__all__ = ["TasksJob"]


class TasksJob(Handle[Task[Any, Any], list[Any]]):
    """Tasks of a worker: what `Session.execute_tasks` returns.

    Its result is the list of the tasks' results, in the order of the data.

    Examples
    --------
    >>> job = session.execute_tasks(worker, range(10), payload=alpine)
    >>> for task in job:                      # as they are accepted; in a coroutine `async for`
    ...     print(task.data, task.result)
    """

    kind = "tasks"

    def __init__(
        self,
        core: Core,
        id: str,
        worker: WorkerFunction,
        data: Iterable[Any] | AsyncIterable[Any],
        *,
        payload: Payload | Awaitable[Payload],
        max_workers: int,
        timeout: timedelta,
        max_cost: Decimal | None,
        implicit_init: bool,
    ) -> None:
        super().__init__(core, id, getattr(worker, "__name__", repr(worker)))
        self._worker = worker
        self._payload = checked_payload(payload)
        self._max_workers = max_workers
        self.max_time = timeout
        self._timeout = timeout
        self._implicit_init = implicit_init
        self.max_cost = max_cost
        self._source: AsyncIterable[Any] | None = None
        self._tasks: list[Task[Any, Any]] = []
        if isinstance(data, AsyncIterable):
            self._source = data
        else:
            self._tasks = [_task(entry) for entry in data]
        self._todo: list[Task[Any, Any]] = list(self._tasks)

    # -- what came of it ----------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[Task[Any, Any]]:
        """All tasks that are known so far, in the order of the data."""
        return list(self._tasks)

    @property
    def values(self) -> list[Any]:
        """The results so far, in the order of the data; None for tasks that are not done."""
        return [task.result for task in self._tasks]

    @property
    def errors(self) -> dict[int, BaseException]:
        """Why tasks were given up, by their place in the data."""
        if not isinstance(self._error, TasksFailedError):
            return {}
        places = {task.id: index for index, task in enumerate(self._tasks)}
        return {places[failure.task.id]: failure for failure in self._error.failures}

    @property
    def progress(self) -> Progress:
        """How far it is."""
        counts = dict.fromkeys(TaskStatus, 0)
        for task in self._tasks:
            counts[task.status] += 1
        done, failed = counts[TaskStatus.ACCEPTED], len(self.errors) + counts[TaskStatus.REJECTED]
        total = None if self._source is not None and not self.ended else len(self._tasks)
        left = None
        if total is not None and done and not self.ended:
            left = self._seconds / done * (total - done)
        running = counts[TaskStatus.RUNNING]
        waiting = max(0, len(self._tasks) - done - failed - running)
        return Progress(total, done, failed, running, waiting, self._seconds, left)

    @property
    def frame(self) -> Any:
        """One row a task, a `pandas.DataFrame`: data, state, seconds, result (up to 4 KiB as text)."""
        from golem_nb.session.tables import tasks_frame  # pandas is loaded by those who look at a table

        return tasks_frame(self._tasks)

    def facts(self) -> JobFacts:
        """Return where it stands, for its panel."""
        failures = [
            ErrorFact(f"task {index}", None, str(error)[:2000]) for index, error in self.errors.items()
        ]
        running = {
            task.id: f"task {index}"
            for index, task in enumerate(list(self._tasks))
            if task.status is TaskStatus.RUNNING
        }
        return attrs.evolve(self._job_facts(0, failures[-20:]), at_work=running)

    def _panel(self) -> Panel:
        return self._core.desk.progress(self)

    def _snapshot(self) -> str:
        return job_html(self.facts())

    def __repr__(self) -> str:
        return job_text(self.facts())

    def _line(self, columns: int, unicode: bool) -> str:
        return job_bar(self.facts(), columns=columns, unicode=unicode)

    def retry_failed(self) -> TasksJob:
        """Compute the tasks again that were not accepted; returns the same job.

        Raises
        ------
        SessionError
            It is not over yet, or nothing is left to do, or the session was stopped.
        """
        self._core.check_open()
        if not self.ended:
            raise SessionError(f"{self._name} is still running: what fails is tried again by itself")
        self._todo = [task for task in self._tasks if task.status is not TaskStatus.ACCEPTED]
        if not self._todo:
            raise SessionError(f"All tasks of {self._name} are done")
        self._source = None
        self._begin_again()
        return self

    # -- in the engine's thread ---------------------------------------------------------------------------

    async def _work(self) -> BaseException | None:
        engine = await self._core.engine_for(self)
        del engine  # only whether it is there, and whether it may be used
        # kept: a coroutine can be awaited once, and the job be tried again
        self._payload = payload = await self._core.resolve(self._payload)
        job_id = self._core.engine_job_id(self._id)
        self.engine_jobs.append(job_id)
        data = self._wrapped() if self._source is not None else iter(self._todo)
        tasks = self._core.golem.execute_tasks(
            self._worker,
            data,
            payload,
            max_workers=self._max_workers,
            timeout=self._timeout,
            job_id=job_id,
            implicit_init=self._implicit_init,
        )
        self._begin_work()
        async with aclosing(tasks):
            async for task in tasks:
                self._finished.append(task)
                self._core.touched()
                self._changed.give()
        return None

    async def _wrapped(self) -> AsyncIterator[Task[Any, Any]]:
        assert self._source is not None
        async for entry in self._source:
            task = _task(entry)
            self._tasks.append(task)
            yield task

    def _outcome(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        return self.values

    @property
    def so_far(self) -> str:
        """How far it is, in words."""
        progress = self.progress
        of = "" if progress.total is None else f" of {progress.total}"
        return f"{progress.done}{of} done" + (f", {progress.failed} failed" if progress.failed else "")


def _task(entry: Any) -> Task[Any, Any]:
    return entry if isinstance(entry, Task) else Task(entry)
