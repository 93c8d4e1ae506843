"""One lane of a batch: an activity, and the scripts of several items each that are sent to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.events import TaskStarted
from golem_nb.rest.activity import CommandExecutionError
from golem_nb.session.errors import JobCancelledError, SessionError
from golem_nb.session.item import Item, Outcome, Try
from golem_nb.session.pace import Pace, Tempo
from golem_nb.storage import TransferError

if TYPE_CHECKING:
    from golem_nb.ctx import WorkContext
    from golem_nb.engine import Job
    from golem_nb.script import Script
    from golem_nb.session.queue import ItemQueue
    from golem_nb.session.settling import Settling
    from golem_nb.session.work import Parcel, Work

__all__ = ["Lane"]

#: A provider on which so many scripts in a row have failed is left.
MAX_FAILURES = 3

#: What may fail because of an item, so that the provider is worth another one.
ITEM_FAILURES = (CommandExecutionError, TransferError, SessionError, OSError)

#: Results that come closer together than this, in seconds, came with one answer of the daemon.
TOGETHER = 0.002


class Lane:
    """Computes items on one activity, as long as there are any for it.

    Parameters
    ----------
    job
        The engine's job.
    work
        What is done with the items.
    queue
        The items; the lane has claimed one of them.
    settling
        Counts the finished ones.
    lanes
        Tells how many lanes want items at the moment.
    tempo
        What items have taken on other lanes.
    """

    def __init__(
        self,
        job: Job,
        work: Work,
        queue: ItemQueue,
        settling: Settling,
        lanes: Callable[[], int],
        tempo: Tempo,
    ) -> None:
        self._job = job
        self._work = work
        self._queue = queue
        self._settling = settling
        self._lanes = lanes
        self._pace = Pace(work.most, tempo)
        self._claims = True
        self._shipment: _Shipment | None = None
        #: Whether an item was begun.
        self.begun = False

    @property
    def at_work(self) -> Item | None:
        """What is being computed at this moment: the items of a script are computed one after the other."""
        return None if self._shipment is None else self._shipment.current

    def arrive(self) -> None:
        """Give up the claim: the lane takes items from now on, or will never do so. May be called again."""
        if self._claims:
            self._claims = False
            self._queue.unclaim()

    async def scripts(self, context: WorkContext) -> AsyncGenerator[Script, Any]:
        """Yield the scripts for an activity, for `golem_nb.engine.worker.Worker`."""
        script = context.new_script()
        script.deploy()
        script.start()
        self._work.prepare(script)
        await (yield script)
        self.arrive()
        failures = 0
        while items := self._queue.take(
            context.id, self._pace.size(self._queue.waiting, self._queue.running, self._lanes())
        ):
            self.begun = True
            script = context.new_script()
            try:
                self._shipment = shipment = _Shipment(self, context, script, items)
            except Exception as error:
                for item in items:
                    self._queue.fail(item, error, context.id)
                continue
            try:
                await (yield script)
            except ITEM_FAILURES as error:
                await shipment.end(error)
                failures += 1
                if failures >= MAX_FAILURES:
                    raise
            except BaseException as error:
                await shipment.end(error)
                raise
            else:
                await shipment.end(None)
                failures = 0
        await self._settling.flush()

    # -- what became of items -----------------------------------------------------------------------------

    def finished(self, item: Item, outcome: Outcome) -> None:
        """Take note of a result."""
        self._settling.put(item, outcome)

    def failed(self, item: Item, error: BaseException, context: WorkContext) -> None:
        """Take note of a failed try."""
        item.tries[-1].error = error
        item.give_back()
        self._queue.fail(item, error, context.id)

    def interrupted(self, item: Item) -> None:
        """Take note of a try that nobody waits for any more: the job is over."""
        item.tries[-1].error = JobCancelledError("its job was over before")
        item.give_back()
        self._queue.interrupt(item)

    def not_begun(self, items: Sequence[Item]) -> None:
        """Give items back that the script has not come to."""
        for item in items:
            item.tries.pop()
            item.give_back()
        self._queue.put_back(items)

    def take_one_next(self) -> None:
        """Find out which of several items makes a script impossible."""
        self._pace.alone()

    def learn(self, items: int, seconds: float, parcel: Parcel) -> None:
        """Take note of how long a script has taken."""
        self._pace.took(items, seconds, parcel.overhead, warms_up=parcel.warms_up)

    def pack(self, script: Script, items: Sequence[Item]) -> Parcel:
        """Add the commands of items to a script."""
        return self._work.pack(script, items)

    def price(self, context: WorkContext) -> Decimal | None:
        """The price of a second with one busy thread, GLM."""
        price = LinearPrice.agreed(context._agreement.details.offer_props)
        if price is None:
            return None
        return price.per_unit.get(DURATION, Decimal(0)) + price.per_unit.get(CPU, Decimal(0))


class _Shipment:
    """The items of one script, from when it is written until it has ended."""

    def __init__(self, lane: Lane, context: WorkContext, script: Script, items: Sequence[Item]) -> None:
        self._lane = lane
        self._context = context
        self._items = items
        self._open = list(items)
        self._blamed = 0
        self._price = lane.price(context)
        self._started = self._previous = time.monotonic()
        #: Results that came together, when they came, and whether their time is still to be shared out.
        self._group: list[Try] = []
        self._arrival = self._started
        self._sharing = False
        self._parcel = lane.pack(script, items)
        for item in items:
            item.begin(
                Try(context.provider_name or context.provider_id, context.provider_id, context.id),
                context.emit,
            )
            context.emit(TaskStarted, task=item.task)
        self._collector = asyncio.create_task(self._collect(), name="results of items")

    @property
    def current(self) -> Item | None:
        """The first item that has no outcome yet; None when all have one, or the script has ended."""
        return next(iter(self._open), None)

    async def _collect(self) -> None:
        async for item, outcome in self._parcel.outcomes():
            self._open.remove(item)
            self._time(item.tries[-1], outcome)
            if isinstance(outcome, Outcome):
                self._lane.finished(item, outcome)
            else:
                self._blamed += 1
                self._lane.failed(item, outcome, self._context)

    def _time(self, attempt: Try, outcome: Outcome | Exception) -> None:
        """Note how long a try took; results that came together share the time since those before."""
        now = time.monotonic()
        if isinstance(outcome, Outcome) and outcome.seconds is not None:
            # what the provider's side says of it is believed as far as it can be true
            self._note([attempt], min(outcome.seconds, now - self._started))
            self._previous = now
            return
        if not self._group or now - self._arrival > TOGETHER:
            if self._group:
                self._share()
                self._previous = self._arrival
            self._group = []
        self._arrival = now
        self._group.append(attempt)
        if not self._sharing:
            # when all that have come are there, and before they are written down
            self._sharing = True
            asyncio.get_running_loop().call_soon(self._share)

    def _share(self) -> None:
        self._sharing = False
        if self._group:
            self._note(self._group, (self._arrival - self._previous) / len(self._group))

    def _note(self, attempts: Sequence[Try], seconds: float) -> None:
        cost = None if self._price is None else self._price * Decimal(str(round(seconds, 6)))
        for attempt in attempts:
            attempt.seconds = seconds
            attempt.cost = cost

    async def end(self, error: BaseException | None) -> None:
        """Settle what the script has not come to.

        Parameters
        ----------
        error
            What the script has failed with, if it has.
        """
        if error is not None and not isinstance(error, Exception):
            self._collector.cancel()
        (trouble,) = await asyncio.gather(self._collector, return_exceptions=True)
        if isinstance(trouble, Exception):
            error = error or trouble
        done = len(self._items) - len(self._open)
        if done:
            self._lane.learn(done, time.monotonic() - self._started, self._parcel)
        rest, self._open = self._open, []
        if error is not None and not isinstance(error, Exception) and rest:
            # computed, and paid for, up to now
            item = rest.pop(0)
            self._note([item.tries[-1]], time.monotonic() - self._previous)
            self._lane.interrupted(item)
        if isinstance(error, Exception) and not self._blamed and rest:
            if len(self._items) == 1:
                self._lane.failed(rest.pop(), error, self._context)
            else:
                self._lane.take_one_next()
        self._lane.not_begun(rest)
