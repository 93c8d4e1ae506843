"""One activity on one agreement, from its creation to its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from golem_nb.ctx import WorkContext
from golem_nb.engine.agreements import SUCCESS
from golem_nb.engine.journal import step
from golem_nb.engine.scripts import ScriptRunner
from golem_nb.events import (
    ActivityCreated,
    ActivityCreateFailed,
    ActivityEvent,
    AgreementEvent,
    Event,
    JobEvent,
    WorkerFinished,
    WorkerStarted,
)
from golem_nb.log import get_logger
from golem_nb.rest.errors import ApiError

if TYPE_CHECKING:
    from golem_nb.engine.agreements import HeldAgreement
    from golem_nb.engine.job import Job
    from golem_nb.engine.scripts import Scripts
    from golem_nb.rest.activity import Activity

logger = get_logger(__name__)

#: A provider must have its exe-unit ready by then, in seconds.
CREATE_TIMEOUT = 30.0

#: A provider must have ended its exe-unit by then, in seconds.
DESTROY_TIMEOUT = 10.0


class Worker:
    """Holds an activity and runs scripts on it.

    Parameters
    ----------
    job
        The job that the activity is for.
    held
        The agreement under which it is created; given back when the worker has ended.
    activity
        One that is there already; by default `begin` creates it.

    Attributes
    ----------
    held
        The agreement.
    activity
        What it holds, and …
    context
        … what scripts for it are made with: from the beginning, or from `begin` on.
    """

    activity: Activity
    context: WorkContext

    def __init__(self, job: Job, held: HeldAgreement, activity: Activity | None = None) -> None:
        self._job = job
        self._engine = job.engine
        self.held = held
        self._taken_up = activity is not None
        if activity is not None:
            self._take(activity)
        #: Whether another worker may follow on the agreement when this one has ended well.
        self.reuse = True

    async def run(self, scripts: Callable[[WorkContext], Scripts]) -> None:
        """Create the activity, run the scripts on it, and let it be ended in the background.

        Raises
        ------
        ApiError
            The provider could not create the activity; the agreement is given up.
        Exception
            What the scripts have failed with; the agreement is given up.
        """
        runner = await self.begin()
        failed = True
        try:
            await runner.run(scripts(self.context))
            failed = False
        finally:
            self.finish(sys.exc_info()[1] if failed else None)
            if failed:
                self._job.clean_up(self._give_up(self.activity))
            elif self.reuse and self.held.reusable:
                # the next worker need not wait for the end of this activity
                self._job.agreements.put_back(self.held)
                self._job.clean_up(self._destroy(self.activity))
            else:
                self.end(SUCCESS)

    async def begin(self) -> ScriptRunner:
        """Create the activity, unless it is there already, and return what scripts are run with.

        `finish` must follow, and then `end` unless the activity is to go on.

        Raises
        ------
        ApiError
            The provider could not create the activity; the agreement is given up.
        """
        self._job.emit(WorkerStarted, agreement=self.held.agreement)
        if not self._taken_up:
            self._take(await self._create())
        return ScriptRunner(self.activity, self.held, self.emit, stream_output=self._engine.stream_output)

    def finish(self, error: BaseException | None) -> None:
        """Note that no script will follow."""
        exc_info = None if error is None else (type(error), error, error.__traceback__)
        self.emit(WorkerFinished, exc_info=exc_info)

    def end(self, reason: Mapping[str, Any]) -> None:
        """Let the activity, and then the agreement with `reason`, be ended in the background."""
        self._job.clean_up(self._end(reason))

    def emit(self, event_class: type[Event], **fields: Any) -> Event:
        """Emit an event of this activity; `fields` are what it has beyond the activity's."""
        event: Event
        if issubclass(event_class, ActivityEvent):
            event = event_class(self._job, self.held.agreement, self.activity, **fields)
        elif issubclass(event_class, AgreementEvent):
            event = event_class(self._job, self.held.agreement, **fields)
        elif issubclass(event_class, JobEvent):
            event = event_class(self._job, **fields)
        else:
            event = event_class(**fields)
        self._engine.emit(event)
        return event

    def _take(self, activity: Activity) -> None:
        self.activity = activity
        self.context = WorkContext(activity, self.held.agreement, self._engine.storage, self.emit)

    async def _create(self) -> Activity:
        job, held = self._job, self.held
        creation = asyncio.create_task(self._ask_for_activity(), name="create activity")
        try:
            activity = await asyncio.shield(creation)
        except asyncio.CancelledError:
            # it may come into being all the same, and must not be left running
            job.clean_up(self._abort(creation))
            raise
        except Exception:
            job.emit(ActivityCreateFailed, agreement=held.agreement, exc_info=sys.exc_info())
            job.clean_up(job.agreements.give_up(held))
            raise
        job.emit(ActivityCreated, agreement=held.agreement, activity=activity)
        return activity

    async def _ask_for_activity(self) -> Activity:
        agreement_id = self.held.agreement.id
        async with step(self._engine.journal, "create_activity", agreement_id=agreement_id) as outcome:
            activity = await self._engine.activities.new_activity(agreement_id, timeout=CREATE_TIMEOUT)
            outcome["activity_id"] = activity.id
        self._engine.payments.activity_created(agreement_id, activity)
        return activity

    async def _abort(self, creation: asyncio.Task[Activity]) -> None:
        try:
            activity = await creation
        except Exception:
            await self._job.agreements.give_up(self.held)
        else:
            await self._give_up(activity)

    async def _give_up(self, activity: Activity) -> None:
        await self._destroy(activity)
        await self._job.agreements.give_up(self.held)

    async def _end(self, reason: Mapping[str, Any]) -> None:
        await self._destroy(self.activity)
        await self._job.agreements.terminate(self.held, reason)

    async def _destroy(self, activity: Activity) -> None:
        reachable = True
        try:
            async with step(self._engine.journal, "destroy_activity", activity_id=activity.id):
                await activity.destroy(timeout=DESTROY_TIMEOUT)
        except ApiError as error:
            reachable = False
            logger.warning("Activity %s on %s could not be ended: %s", activity.id, self.held.provider, error)
        self._engine.payments.activity_ended(self.held.agreement.id, activity, reachable=reachable)
