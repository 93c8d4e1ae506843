"""Handles: what a helper of a session returns at once, to look at, to wait for and to steer the work."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Generator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import attrs

from golem_nb.session.errors import JobCancelledError
from golem_nb.session.signal import Signal
from golem_nb.session.waiting import WaitLine
from golem_nb.ui.sources import JobFacts
from golem_nb.ui.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from golem_nb.session.core import Core
    from golem_nb.session.meter import Money
    from golem_nb.ui.panel import Panel
    from golem_nb.ui.sources import ErrorFact

__all__ = ["Handle", "JobState", "Progress"]

JobState = Literal["starting", "running", "done", "failed", "cancelled"]

#: What a job's iteration gives, and what its result is.
E = TypeVar("E")
R = TypeVar("R")


@attrs.frozen
class Progress:
    """How far a job is.

    Attributes
    ----------
    total
        Number of items; None where it is not known.
    done, failed, running, waiting
        How many of them are in that state. Of what a provider was given in one script, only the item that it
        is at is running; the others are waiting.
    seconds
        Since the job was begun, until its end.
    left
        Seconds that it will probably take from now on; None as long as nothing is done.
    """

    total: int | None
    done: int
    failed: int
    running: int
    waiting: int
    seconds: float
    left: float | None

    @property
    def fraction(self) -> float | None:
        """How much of it is over, from 0 to 1; None where the total is not known."""
        if self.total is None:
            return None
        return (self.done + self.failed) / self.total if self.total else 1.0


class Handle(ABC, Generic[E, R]):
    """A job of a session.

    It goes on whether or not anybody looks at it. ``await job`` and `result` wait for it and give its result;
    ``async for`` and ``for`` give what is finished, in the order in which it is finished.
    """

    #: What `repr` calls it.
    kind = "job"

    def __init__(self, core: Core, id: str, title: str) -> None:
        self._core = core
        self._id = id
        self._title = title
        self._state: JobState = "starting"
        self._error: BaseException | None = None
        self._finished: list[E] = []
        self._changed = Signal()
        self._begun = monotonic()
        self._ended: float | None = None
        self._task: asyncio.Task[None] | None = None
        #: What it was ended early for.
        self._reason: BaseException | None = None
        #: Ids of the engine's jobs that it consists of.
        self.engine_jobs: list[str] = []
        #: The most that it may cost, GLM.
        self.max_cost: Decimal | None = None
        #: The longest time that it may work.
        self.max_time: timedelta | None = None
        self._work_began: float | None = None
        #: What is worth knowing of it, beside its error.
        self.notes: list[str] = []

    # -- what it is ---------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Name of the job in its session."""
        return self._id

    @property
    def title(self) -> str:
        """What it does, in short."""
        return self._title

    @property
    def state(self) -> JobState:
        """Where it stands: ``"starting"``, ``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``."""
        return self._state

    @property
    def ended(self) -> bool:
        """Whether it is over, one way or the other."""
        return self._state in ("done", "failed", "cancelled")

    @property
    def working(self) -> float | None:
        """Seconds since its work has begun, this time; None if it has not."""
        return None if self._work_began is None else monotonic() - self._work_began

    @property
    def error(self) -> BaseException | None:
        """What has ended it early, or what `result` raises; None while it is well."""
        return self._error

    @property
    def cost(self) -> Decimal:
        """What it has cost so far, GLM: accepted, or what the known usage explains if that is more."""
        return self.money.spent

    @property
    def money(self) -> Money:
        """What was accepted for it, may still come, and runs up in an hour."""
        return self._core.money(self.engine_jobs)

    @property
    @abstractmethod
    def progress(self) -> Progress:
        """How far it is."""

    @property
    @abstractmethod
    def frame(self) -> Any:
        """A table of its parts."""

    def _job_facts(self, retries: int, errors: Sequence[ErrorFact]) -> JobFacts:
        progress, cost = self.progress, self.cost
        over = progress.done + progress.failed
        projected = None
        if progress.total and over and not self.ended:
            projected = cost / over * progress.total
        begun = datetime.now(UTC) - timedelta(seconds=monotonic() - self._begun)
        return JobFacts(
            name=self._name,
            state="running" if self._state == "starting" else self._state,
            total=progress.total,
            done=progress.done,
            failed=progress.failed,
            running=progress.running,
            retries=retries,
            cost=cost,
            projected=projected,
            limit=self.max_cost,
            started=begun,
            ended=None if self._ended is None else begun + timedelta(seconds=self._ended - self._begun),
            seconds_left=progress.left,
            errors=errors,
            outcome=None if self._error is None else str(self._error),
            what=self._title,
            engine_jobs=tuple(self.engine_jobs),
        )

    # -- faces --------------------------------------------------------------------------------------------

    @abstractmethod
    def _panel(self) -> Panel:
        """Return its live face."""

    @abstractmethod
    def _snapshot(self) -> str:
        """Return its static face."""

    def show(self) -> None:
        """Display it here; in a plain interpreter print its line of text."""
        self._panel().show()

    def _ipython_display_(self) -> None:
        self.show()

    def _repr_html_(self) -> str:
        return self._snapshot()

    # -- waiting ------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, and return whether it is.

        Interrupting the waiting leaves the job alone.

        Parameters
        ----------
        timeout
            Longest time to wait, seconds; None: as long as it takes.

        Examples
        --------
        >>> job = session.run("uname -m", payload=alpine)
        >>> job.wait(timeout=60)
        True
        """
        if self.ended:
            return True
        try:
            self._core.portal.wait(self._wait(), timeout, notice=self._notice, line=WaitLine(self._line))
        except TimeoutError:
            return self.ended
        return True

    def result(self, timeout: float | None = None) -> R:
        """Wait for the result and return it.

        Parameters
        ----------
        timeout
            Longest time to wait, seconds; None: as long as it takes.

        Raises
        ------
        TimeoutError
            Time is up; the job goes on.
        Exception
            What the job has failed with.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"{self._notice()} It is not over after {timeout} s.")
        return self._outcome()

    def __await__(self) -> Generator[Any, None, R]:
        return self._await().__await__()

    async def _await(self) -> R:
        if not self.ended:
            await self._core.portal.call(self._wait(), notice=self._notice, line=WaitLine(self._line))
        return self._outcome()

    async def __aiter__(self) -> AsyncIterator[E]:
        number = 0
        while await self._core.portal.call(
            self._iterate(number), notice=self._notice, line=WaitLine(self._line)
        ):
            for entry in self._finished[number:]:
                yield entry
                number += 1
        self._raise_early_end()

    def __iter__(self) -> Iterator[E]:
        number = 0
        while self._core.portal.wait(self._iterate(number), notice=self._notice, line=WaitLine(self._line)):
            for entry in self._finished[number:]:
                yield entry
                number += 1
        self._raise_early_end()

    def cancel(self) -> None:
        """End it now: what runs is ended, what is finished is kept; does nothing if it is over."""
        if not self.ended:
            self._core.post(self.end_early, JobCancelledError(f"{self._name} was cancelled"))

    # -- in the engine's thread ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Do the work; whatever goes wrong becomes the error of the job."""
        self._task = asyncio.current_task()
        error: BaseException | None = None
        try:
            # it may have been cancelled before it had begun
            if self._reason is None:
                error = await self._work()
        except asyncio.CancelledError:
            error = JobCancelledError(f"{self._name} was ended with its session")
        except Exception as failure:
            error = failure
        self._task = None
        error, self._reason = self._reason or error, None
        self._settle(error)

    @abstractmethod
    async def _work(self) -> BaseException | None:
        """Do the work; return, or raise, what has ended it early."""

    def end_early(self, reason: BaseException) -> None:
        """End it early, for a reason that becomes its error."""
        if self._reason is None and not self.ended:
            self._reason = reason
            self._interrupt(reason)

    def _interrupt(self, _reason: BaseException) -> None:
        """Interrupt the work, if it has begun."""
        if self._task is not None:
            self._task.cancel()

    def _settle(self, error: BaseException | None) -> None:
        """Note what has come of it."""
        if error is None:
            self._end("done", None)
        else:
            self._end("cancelled" if isinstance(error, JobCancelledError) else "failed", error)

    @abstractmethod
    def _outcome(self) -> R:
        """Return the result, or raise what it has failed with."""

    def _begin_work(self) -> None:
        """Note that its work has begun."""
        self._state, self._work_began = "running", monotonic()
        self._core.touched()
        self._changed.give()

    async def _wait(self) -> None:
        await self._changed.until(lambda: self.ended)

    async def _iterate(self, number: int) -> bool:
        await self._changed.until(lambda: self.ended or len(self._finished) > number)
        return len(self._finished) > number

    def _end(self, state: JobState, error: BaseException | None) -> None:
        """Note that it is over."""
        self._error = error
        self._state = state
        self._ended = monotonic()
        self._core.touched()
        self._changed.give()

    def _begin_again(self) -> None:
        """Compute what is left to be computed."""
        self._state, self._error, self._ended, self._work_began = "starting", None, None, None
        self._core.start(self)

    def _raise_early_end(self) -> None:
        """Let an iteration end with what has ended the job, if that left something undone."""
        if self._error is not None:
            raise self._error

    # -- words --------------------------------------------------------------------------------------------

    def _line(self, columns: int, unicode: bool) -> str:  # noqa: ARG002 - for those that draw a bar
        """Return how far it is as one line of a terminal."""
        return clean(self, columns)

    @property
    def _name(self) -> str:
        return f"{self.kind} {self._id}"

    @property
    def _seconds(self) -> float:
        return (self._ended or monotonic()) - self._begun

    def _notice(self) -> str:
        return (
            f"Stopped waiting. {self._name} goes on ({self.so_far}, {self.cost:.6f} GLM so far): "
            f"session.jobs[{self._id!r}].cancel() ends it."
        )

    @property
    @abstractmethod
    def so_far(self) -> str:
        """How far it is, in words."""
