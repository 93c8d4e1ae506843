"""One call of `execute_tasks` or `run_service`: a demand, the agreements made for it, and its clean-up."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from golem_nb.engine.agreements import CANCELLED, SUCCESS, AgreementPool
from golem_nb.engine.negotiation import Negotiation
from golem_nb.engine.offers import OfferPool
from golem_nb.events import JobFinished, JobStarted

if TYPE_CHECKING:
    from golem_nb.engine.engine import Engine
    from golem_nb.events import JobEvent
    from golem_nb.payload import Payload
    from golem_nb.props.builder import DemandBuilder

E = TypeVar("E", bound="JobEvent")


class Job:
    """The highest-level unit of a computation.

    Parameters
    ----------
    engine
        The engine that runs it.
    expiration_time
        When its agreements expire, timezone-aware.
    payload
        What its providers must offer.
    id
        Name of the job, unique in this process; numbered if None.

    Raises
    ------
    ValueError
        The id is taken.

    Examples
    --------
    Jobs come with events::

        golem.add_event_consumer(lambda event: print(event.job.id), ["JobStarted"])
    """

    _numbers = itertools.count(1)
    _used_ids: ClassVar[set[str]] = set()

    def __init__(
        self, engine: Engine, expiration_time: datetime, payload: Payload, id: str | None = None
    ) -> None:
        if id is None:
            id = next(name for name in map(str, self._numbers) if name not in self._used_ids)
        elif id in self._used_ids:
            raise ValueError(
                f"Non unique job id {id}: every job of a process needs an id of its own, or None"
            )
        self._used_ids.add(id)
        self.id = id
        self.engine = engine
        self.expiration_time = expiration_time
        self.payload = payload
        self.demand: DemandBuilder
        self.offers = OfferPool(engine.strategy)
        self.agreements = AgreementPool(self)
        self.negotiation = Negotiation(self)
        #: Lets the work end by itself when the engine stops; it is stopped at once where there is none.
        self.wind_down: Callable[[], Coroutine[Any, Any, None]] | None = None
        #: Whether `stop` can still end the work.
        self.working = True
        self._cleanup: asyncio.TaskGroup
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: Done when the work is over, with what ended it early or None; the clean-up may still be going on.
        self.over: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"Job(id={self.id!r})"

    def emit(self, event_class: type[E], *args: Any, **fields: Any) -> E:
        """Emit an event of this job."""
        event = event_class(self, *args, **fields)
        self.engine.emit(event)
        return event

    def clean_up(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let something be ended in the background; the job is finished only when that is done."""
        self._cleanup.create_task(coroutine, name=f"clean-up of job {self.id}")

    @property
    def stop_reason(self) -> BaseException | None:
        """Why the work was ended early; None if `stop` was not called."""
        return self._stop.exception() if self._stop.done() else None

    def stop(self, reason: BaseException) -> None:
        """End the work early; does nothing when it is over."""
        if not self._stop.done():
            self._stop.set_exception(reason)
            self._stop.exception()  # it is looked at only while the work is not over

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Put the demand on the market, do the work, then end every agreement.

        Never raises what the work or the market raised: `over` holds it, and the `JobFinished` event.

        Parameters
        ----------
        work
            Takes agreements from `agreements`; is cancelled when the market fails or the job is stopped.
        """
        self.emit(JobStarted)
        error: BaseException | None = asyncio.CancelledError("the event loop was closed")
        try:
            async with asyncio.TaskGroup() as self._cleanup:
                try:
                    self.demand = await self.engine.create_demand(self.payload, self.expiration_time)
                    error = await self._run(work)
                except Exception as failure:
                    error = failure
                self.working = False
                self.over.set_result(error)
        finally:
            # also when the loop is torn down under us: what is not ended goes on costing
            await self.agreements.terminate_all(CANCELLED if error else SUCCESS)
            if not self.over.done():
                self.over.set_result(error)
            exc_info = (type(error), error, error.__traceback__) if error else None
            self.emit(JobFinished, exc_info=exc_info)

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> BaseException | None:
        """Run market and work side by side until one of them ends, or `stop`; return what ended it early."""
        market = asyncio.create_task(self.negotiation.run(), name=f"market of job {self.id}")
        worker = asyncio.create_task(work(), name=f"work of job {self.id}")
        try:
            await asyncio.wait({market, worker, self._stop}, return_when=asyncio.FIRST_COMPLETED)
            stopped = self._stop.done()
            finished = worker.done()
        finally:
            self.working = False
            market.cancel()
            worker.cancel()
            outcomes = await asyncio.gather(market, worker, return_exceptions=True)
        if stopped:
            return self._stop.exception()
        if finished:
            return _single(outcomes[1])
        return _single(outcomes[0])


def _single(error: BaseException | None) -> BaseException | None:
    """The one error in a group; the first of several that say the same."""
    while isinstance(error, BaseExceptionGroup) and len({type(e) for e in error.exceptions}) == 1:
        error = error.exceptions[0]
    return error
