"""Computes a sequence of tasks on providers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from golem_nb.arguments import count, duration
from golem_nb.engine.errors import (
    JobTimeoutError,
    TasksFailedError,
    WorkerFunctionError,
    WorkersFailedError,
)
from golem_nb.engine.job import Job
from golem_nb.engine.user_code import cancels_us, may_give_async_generator
from golem_nb.engine.worker import Worker
from golem_nb.exceptions import GolemError
from golem_nb.executor.queue import TaskQueue, WorkerTasks, is_local
from golem_nb.executor.task import Task
from golem_nb.log import get_logger, pluralize
from golem_nb.rest.activity import BatchError
from golem_nb.rest.errors import ApiError

if TYPE_CHECKING:
    from golem_nb.ctx import WorkContext
    from golem_nb.engine import Engine
    from golem_nb.engine.scripts import Scripts
    from golem_nb.executor.queue import Claim, TaskSource
    from golem_nb.payload import Payload
    from golem_nb.script import Script

__all__ = ["DEFAULT_MAX_WORKERS", "DEFAULT_TIMEOUT", "MAX_TRIES", "Executor"]

logger = get_logger(__name__)

D = TypeVar("D")
R = TypeVar("R")

WorkerFunction = Callable[["WorkContext", AsyncIterator[Task[Any, Any]]], AsyncGenerator["Script", Any]]

#: Workers at the same time, unless said otherwise.
DEFAULT_MAX_WORKERS = 5

#: Time for a job, unless said otherwise; also the life of its agreements.
DEFAULT_TIMEOUT = timedelta(minutes=15)

#: Providers refuse agreements that expire sooner; a job that has less time ends them early.
MIN_EXPIRATION = timedelta(minutes=5)

#: Agreements on which a task is tried before it is given up.
MAX_TRIES = 5


_NOT_A_WORKER = (
    "{!r} cannot be a worker: it must be an async generator function, `async def` with `yield script` in it"
)


class Executor:
    """Distributes tasks among providers; made by `Golem.execute_tasks`.

    Parameters
    ----------
    _engine
        The running engine.
    payload
        What the providers must offer.
    max_workers
        Most workers, each with an activity of its own, at the same time; None: 5.
    timeout
        Time for all tasks, as a `timedelta` or in seconds; None: 15 minutes. The agreements expire
        with it, but not within 5 minutes.
    """

    def __init__(
        self,
        *,
        _engine: Engine,
        payload: Payload,
        max_workers: int | None = None,
        timeout: timedelta | float | None = None,
    ) -> None:
        self._engine = _engine
        self._payload = payload
        self._max_workers = DEFAULT_MAX_WORKERS if max_workers is None else count("max_workers", max_workers)
        self._timeout = DEFAULT_TIMEOUT if timeout is None else duration("timeout", timeout)

    async def submit(
        self,
        worker: WorkerFunction,
        data: TaskSource,
        job_id: str | None = None,
        implicit_init: bool = True,
    ) -> AsyncGenerator[Task[Any, Any], None]:
        """Compute tasks; yields each one as soon as its result was accepted.

        Parameters
        ----------
        worker
            Async generator function of a context and the tasks that it is to compute; yields scripts.
        data
            The tasks.
        job_id
            Name of the job.
        implicit_init
            Send ``deploy()`` and ``start()`` before the worker's first script.

        Raises
        ------
        JobTimeoutError
            Time is up; what was finished before has been yielded.
        TasksFailedError
            Tasks were given up; all others have been yielded, unless not one has ever succeeded.
        WorkersFailedError
            Worker after worker has ended before it took a task.
        WorkerFunctionError
            `worker` is not an async generator function, or yields something else than scripts.
        """
        if not may_give_async_generator(worker):
            raise WorkerFunctionError(_NOT_A_WORKER.format(worker))
        run = _Run(
            self._engine, self._payload, self._max_workers, self._timeout, worker, data, job_id, implicit_init
        )
        try:
            async for task in run.results():
                yield task
        finally:
            run.cancel()


class _Run:
    """One job of an executor."""

    def __init__(
        self,
        engine: Engine,
        payload: Payload,
        max_workers: int,
        timeout: timedelta,
        worker: WorkerFunction,
        data: TaskSource,
        job_id: str | None,
        implicit_init: bool,
    ) -> None:
        self._engine = engine
        self._max_workers = max_workers
        self._timeout = timeout
        self._worker = worker
        self._implicit_init = implicit_init
        self._results: asyncio.Queue[Task[Any, Any] | None] = asyncio.Queue()
        self._queue = TaskQueue(data, MAX_TRIES, self._results.put_nowait)
        #: What workers have failed with, in a row, before they could be given a task.
        self._barren: list[BaseException] = []
        expiration = datetime.now(UTC) + max(timeout, MIN_EXPIRATION)
        self._job = Job(engine, expiration, payload, job_id)
        self._job.over.add_done_callback(lambda _: self._results.put_nowait(None))
        engine.start_job(self._job, self._compute)

    async def results(self) -> AsyncIterator[Task[Any, Any]]:
        """Yield the accepted tasks, then raise what has ended the job early."""
        while (task := await self._results.get()) is not None:
            yield task
        error = self._job.over.result()
        if error is not None:
            raise error

    def cancel(self) -> None:
        """End the job; its clean-up goes on under the engine."""
        if not self._job.over.done():
            self._job.stop(asyncio.CancelledError("the results are not wanted any more"))

    async def _compute(self) -> None:
        try:
            async with asyncio.timeout(self._timeout.total_seconds()) as scope, asyncio.TaskGroup() as group:
                feeder = group.create_task(self._queue.feed(), name="task data")
                async with asyncio.TaskGroup() as workers:
                    for number in range(1, self._max_workers + 1):
                        workers.create_task(self._work_off(), name=f"worker {number} of job {self._job.id}")
                feeder.cancel()
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise JobTimeoutError(self._timeout, self._progress()) from error
        if self._queue.failures:
            raise TasksFailedError(self._queue.failures, self._queue.done)

    def _progress(self) -> str:
        if not self._job.agreements.made:
            return f"no agreement was made; {self._job.negotiation.summary()}"
        done = f"{pluralize(self._queue.done, 'task')} {'was' if self._queue.done == 1 else 'were'} done"
        if troubles := self._queue.troubles.most_common(3):
            failed = "; ".join(
                f"{pluralize(number, 'try', 'tries')} failed: {what}" for what, number in troubles
            )
            return f"{done}; {failed}"
        return f"{done}; pass a longer `timeout` or more `max_workers`"

    async def _work_off(self) -> None:
        """Be one of the workers, on one activity after the other, until nothing is left to do."""
        while (claim := await self._queue.claim()) is not None:
            try:
                held = await self._job.agreements.acquire()
                await self._work(Worker(self._job, held), claim)
            finally:
                claim.release()
            if self._queue.hopeless:
                raise TasksFailedError(self._queue.failures, self._queue.done)

    async def _work(self, worker: Worker, claim: Claim) -> None:
        tasks: WorkerTasks | None = None

        def scripts(context: WorkContext) -> Scripts:
            nonlocal tasks
            tasks = WorkerTasks(self._queue, context, claim)
            return self._scripts(worker, context, tasks)

        error: BaseException | None = None
        try:
            await worker.run(scripts)
        except WorkerFunctionError as failure:
            error = failure
            raise
        except Exception as failure:
            # what the worker itself has raised is shown with its place; what its provider did, events tell
            ours = not isinstance(failure, BatchError | ApiError)
            logger.log(
                logging.WARNING if ours else logging.DEBUG,
                "Worker for job %s has failed: %s: %s",
                self._job.id,
                type(failure).__name__,
                failure,
                exc_info=failure if ours else None,
            )
            error = failure
        except asyncio.CancelledError as cancelled:
            error = cancelled
            if cancels_us(cancelled):
                raise
            error = GolemError("the worker has waited for something that was cancelled")
            error.__cause__ = cancelled
            logger.warning("Worker for job %s has failed: %s", self._job.id, error, exc_info=cancelled)
        finally:
            if tasks is not None:
                tasks.end(error)
        if error is None and tasks is not None and not (tasks.taken or tasks.exhausted):
            error = GolemError("the worker has ended without taking a task: loop over `tasks`")
        if error is None or (tasks is not None and tasks.taken):
            self._barren.clear()
        else:
            self._barren.append(error)
            if len(self._barren) >= MAX_TRIES + self._max_workers or is_local(error):
                raise WorkersFailedError(self._barren)

    async def _scripts(self, worker: Worker, context: WorkContext, tasks: WorkerTasks) -> Scripts:
        if self._implicit_init:
            script = context.new_script()
            script.deploy()
            script.start()
            yield script
        generator = self._worker(context, tasks)
        if not isinstance(generator, AsyncGenerator):
            raise WorkerFunctionError(_NOT_A_WORKER.format(self._worker))
        try:
            script = await anext(generator)
            while True:
                try:
                    results = yield script
                except BaseException as error:
                    script = await generator.athrow(error)
                else:
                    script = await generator.asend(results)
        except StopAsyncIteration:
            # who leaves early wants no more of this provider
            worker.reuse = tasks.exhausted
        finally:
            await generator.aclose()
