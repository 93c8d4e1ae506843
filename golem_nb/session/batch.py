"""Batches: one command, or one function, over many items."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.engine.job import Job
from golem_nb.executor import Task
from golem_nb.executor.executor import MIN_EXPIRATION
from golem_nb.ledger import FinishedItem
from golem_nb.session.errors import ItemsFailedError, SessionError
from golem_nb.session.handle import Handle, Progress
from golem_nb.session.item import Item, Outcome
from golem_nb.session.lanes import HOPELESS, Lanes
from golem_nb.session.payloads import checked_payload
from golem_nb.session.queue import ItemQueue
from golem_nb.session.settling import Settling
from golem_nb.ui.faces import job_bar, job_html, job_text
from golem_nb.ui.sources import ErrorFact, JobFacts

if TYPE_CHECKING:
    from golem_nb.payload import Payload
    from golem_nb.session.core import Core
    from golem_nb.session.work import Work
    from golem_nb.ui.panel import Panel

__all__ = ["Batch"]

#: Output of an item that the ledger keeps, in characters.
KEPT_OUTPUT = 64 * 1024

#: Values up to so many bytes are kept by the ledger.
KEPT_VALUE = 1 << 20


class Batch(Handle[Item, list[Any]]):
    """A batch of items: what `Session.run` and `Session.map` return.

    Its result is a list in the order of the data: what the function has returned, or the standard output.
    If items were given up, `result` raises `ItemsFailedError`; what the others have given is in `values`.

    Examples
    --------
    >>> job = session.run("wc -w /golem/input/{}", files, payload=alpine)
    >>> for item in job:                      # as they are finished; in a coroutine `async for`
    ...     print(item.index, item.provider, item.stdout)
    >>> job.result()
    """

    def __init__(
        self,
        core: Core,
        id: str,
        title: str,
        work: Work,
        data: Sequence[Any],
        *,
        payload: Payload | Awaitable[Payload],
        max_workers: int,
        timeout: timedelta,
        max_tries: int,
        max_cost: Decimal | None,
    ) -> None:
        super().__init__(core, id, title)
        self.kind = work.kind
        self._what = work
        self._payload = checked_payload(payload)
        self._max_workers = max_workers
        self.max_time = timeout
        self._timeout = timeout
        self._max_tries = max_tries
        self.max_cost = max_cost
        self._counts: Counter[str] = Counter(waiting=len(data))
        self._items = [Item(index, entry, Task(entry), self._counts) for index, entry in enumerate(data)]
        self._retries = 0
        self._failures: deque[ErrorFact] = deque(maxlen=20)
        self._failed_on: Counter[str] = Counter()
        self._job: Job | None = None
        self._lanes: Lanes | None = None
        self._frame: tuple[int, Any] | None = None
        self._told_of_cuts = False

    # -- what came of it ----------------------------------------------------------------------------------

    @property
    def items(self) -> list[Item]:
        """All items, in the order of the data."""
        return list(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        return self._items[index]

    @property
    def values(self) -> list[Any]:
        """What the items have given so far, in the order of the data; None for those that are not done."""
        return [item.value for item in self._items]

    @property
    def errors(self) -> dict[int, BaseException]:
        """Why items were given up, by index."""
        return {
            item.index: item.error
            for item in self._items
            if item.state == "failed" and item.error is not None
        }

    @property
    def progress(self) -> Progress:
        """How far it is."""
        running, counts = len(self._at_work), self._counts
        over = counts["done"] + counts["failed"]
        left = None
        if over and not self.ended:
            left = self._seconds / over * (len(self._items) - over)
        return Progress(
            total=len(self._items),
            done=counts["done"],
            failed=counts["failed"],
            running=running,
            # a result that comes at this moment is counted neither here nor there
            waiting=max(counts["waiting"] + counts["running"] - running, 0),
            seconds=self._seconds,
            left=left,
        )

    @property
    def frame(self) -> Any:
        """One row an item: data, state, tries, provider, seconds, cost, exit code, output, error.

        A `pandas.DataFrame` of its own each time that something has changed. Seconds and cost (GLM; the price
        of the provider's time with one busy thread) are those of all tries together; data, output and error
        are kept up to 4 KiB, with escapes in place of controls: `items` have them as they came.
        """
        from golem_nb.session.tables import batch_frame  # pandas is loaded by those who look at a table

        version = sum(len(item.tries) for item in self._items) * 8 + len(self._finished) + self.ended
        if self._frame is None or self._frame[0] != version:
            self._frame = (version, batch_frame(self._items))
        return self._frame[1].copy()

    def facts(self) -> JobFacts:
        """Return where it stands, for its panel."""
        return attrs.evolve(
            self._job_facts(self._retries, list(self._failures)),
            at_work={item.task.id: f"item {item.index}" for item in self._at_work},
            # they are no events of their own
            failed_tries=dict(self._failed_on),
        )

    def _panel(self) -> Panel:
        return self._core.desk.progress(self)

    def _snapshot(self) -> str:
        return job_html(self.facts())

    def __repr__(self) -> str:
        return job_text(self.facts())

    def _line(self, columns: int, unicode: bool) -> str:
        return job_bar(self.facts(), columns=columns, unicode=unicode)

    def retry_failed(self) -> Batch:
        """Try the items again that were given up, or not done when it was ended; returns the same job.

        Raises
        ------
        SessionError
            It is not over yet, or nothing is left to do, or the session was stopped.
        """
        self._core.check_open()
        if not self.ended:
            raise SessionError(f"{self._name} is still running: what fails is tried again by itself")
        again = [item for item in self._items if item.state != "done"]
        if not again:
            raise SessionError(f"All items of {self._name} are done")
        for item in again:
            self._retries += item.state == "failed"
            item.turn("waiting")
            item.error, item.blamed = None, 0
            item.tried_on.clear()
        self._begin_again()
        return self

    @property
    def _at_work(self) -> list[Item]:
        lanes = self._lanes  # the engine's thread may take it away
        return [] if lanes is None else lanes.at_work

    # -- in the engine's thread ---------------------------------------------------------------------------

    async def _work(self) -> BaseException | None:
        items = [item for item in self._items if item.state == "waiting"]
        if not items:
            return None
        engine = await self._core.engine_for(self)
        # kept: a coroutine can be awaited once, and the job be tried again
        self._payload = payload = await self._core.resolve(self._payload)
        queue = ItemQueue(items, self._max_tries, self._item_ended, self._item_failed)
        settling = Settling(self._write, queue.finish)
        expiration = datetime.now(UTC) + max(self._timeout, MIN_EXPIRATION)
        job = Job(engine, expiration, payload, self._core.engine_job_id(self._id))
        self.engine_jobs.append(job.id)
        self._job = job
        number = min(self._max_workers, len(items))
        self._lanes = Lanes(job, self._what, queue, settling, number, self._timeout)
        engine.start_job(job, self._lanes.run)
        self._begin_work()
        self.notes.clear()
        error = await job.over
        if queue.failed >= HOPELESS and not queue.done:
            self.notes.append(f"the first {queue.failed} items have all failed, so the others were not tried")
        return error

    def _item_failed(self, item: Item, error: BaseException) -> None:
        if item.state != "failed":
            self._retries += 1
        self._failures.append(
            ErrorFact(f"item {item.index}", item.provider, str(error)[:2000], datetime.now(UTC))
        )
        if item.tries:
            self._failed_on[item.tries[-1].provider_id] += 1
        self._core.touched()

    def _item_ended(self, item: Item) -> None:
        self._finished.append(item)
        if item.cut is not None and not self._told_of_cuts:
            self._told_of_cuts = True
            self._core.warn(
                f"{self._name}: what item {item.index} has printed is not all there ({item.cut}): let it "
                "print less, or write a file and fetch that with `outputs`. `cut` of an item tells of it."
            )
        self._core.touched()
        self._changed.give()

    async def _write(self, finished: Sequence[tuple[Item, Outcome]]) -> None:
        await self._core.book.finished(self._id, [await _record(item, outcome) for item, outcome in finished])

    def _interrupt(self, reason: BaseException) -> None:
        if self._job is None:
            super()._interrupt(reason)
        else:
            self._job.stop(reason)

    def _settle(self, error: BaseException | None) -> None:
        self._job = self._lanes = None
        for item in self._items:
            if item.state in ("waiting", "running"):
                item.turn("cancelled")
        errors = self.errors
        if error is None and errors:
            error = ItemsFailedError(self._name, sorted(errors.items()), len(self._items), self.notes)
        super()._settle(error)

    def _outcome(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        return self.values

    @property
    def so_far(self) -> str:
        """How far it is, in words."""
        progress = self.progress
        text = f"{progress.done} of {progress.total} done"
        return text + (f", {progress.failed} failed" if progress.failed else "")


async def _record(item: Item, outcome: Outcome) -> FinishedItem:
    """What the ledger keeps of a finished item."""
    attempt = item.tries[-1]
    files: Mapping[str, str] = {}
    if outcome.files:
        files = {str(path.absolute()): await asyncio.to_thread(_hash, path) for path in outcome.files}
    return FinishedItem(
        index=item.index,
        exit_code=outcome.exit_code,
        stdout=_kept(outcome.stdout),
        stderr=_kept(outcome.stderr),
        files=files,
        encoding=outcome.encoding,
        value=None if outcome.encoded is None or len(outcome.encoded) > KEPT_VALUE else outcome.encoded,
        provider_id=attempt.provider_id,
        seconds=attempt.seconds,
        tries=len(item.tries),
    )


def _kept(text: str | None) -> str | None:
    return None if text is None else text[:KEPT_OUTPUT]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
