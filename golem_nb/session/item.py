"""One item of a batch, and what has become of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import attrs

from golem_nb.events import TaskFinished
from golem_nb.executor import Task

__all__ = ["Item", "ItemState", "Outcome", "Try"]

ItemState = Literal["waiting", "running", "done", "failed", "cancelled"]


@attrs.define(eq=False)
class Try:
    """One try of an item on one provider.

    Attributes
    ----------
    provider
        Name of the provider: unverified text.
    provider_id
        Node id of the provider.
    started
        When, UTC.
    seconds
        How long it took; None while it runs.
    cost
        What the provider's time for it costs, GLM; None while it runs.
    error
        What it has failed with.
    """

    provider: str
    provider_id: str
    activity_id: str
    started: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    seconds: float | None = None
    cost: Decimal | None = None
    error: BaseException | None = None


@attrs.frozen(eq=False)
class Outcome:
    """What a try has given.

    Attributes
    ----------
    value
        What the item's `value` will be.
    stdout, stderr
        Output as text; None where there is none.
    exit_code
        Of the command.
    files
        Files that were fetched.
    encoded, encoding
        The value as it came over the wire, for the ledger.
    seconds
        How long it took, where the provider's side has measured that.
    cut
        What the provider says of output that it has not kept; None where it has kept all, or does not tell.
    """

    value: Any = None
    stdout: str | None = None
    stderr: str | None = None
    exit_code: int | None = None
    files: tuple[Path, ...] = ()
    encoded: bytes | None = None
    encoding: str | None = None
    seconds: float | None = None
    cut: str | None = None


@attrs.define(eq=False, repr=False)
class Item:
    """One item of a batch.

    Attributes
    ----------
    index
        Its place in the data, from 0.
    data
        The item as it was given.
    counts
        How many items of the batch are in which state; kept by its items.
    state
        ``"waiting"``, ``"running"`` (a provider has it, which may have others to compute first), ``"done"``,
        ``"failed"`` (given up), or ``"cancelled"``.
    tries
        Every try, the last one last.
    value
        Of `Session.map`, what the function returned; of `Session.run`, the standard output.
    stdout, stderr
        What was printed, as text.
    exit_code
        Of the command; 0 where it succeeded.
    files
        Files that were fetched.
    error
        Why it was given up; None unless it was.
    cut
        What the provider says of output that it has not kept; None where it has kept all, or does not tell.
    """

    index: int
    data: Any
    task: Task[Any, Any]
    counts: Counter[str]
    state: ItemState = "waiting"
    tries: list[Try] = attrs.field(factory=list)
    value: Any = None
    stdout: str | None = None
    stderr: str | None = None
    exit_code: int | None = None
    files: tuple[Path, ...] = ()
    error: BaseException | None = None
    cut: str | None = None
    #: Tries that count: those that have failed because of the item, or of the provider while it was at it.
    blamed: int = 0
    #: Activities that it has failed on.
    tried_on: set[str] = attrs.field(factory=set)
    _emit: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        where = f" on {self.provider!r}" if self.provider else ""
        seconds = "" if self.seconds is None else f", {self.seconds:.2f} s"
        said = f", {self.error}" if self.error is not None else ""
        return f"<Item {self.index}: {self.state}{where}{seconds}{said}>"

    @property
    def provider(self) -> str | None:
        """Name of the provider of the last try: unverified text."""
        return self.tries[-1].provider if self.tries else None

    @property
    def seconds(self) -> float | None:
        """How long the last try took."""
        return self.tries[-1].seconds if self.tries else None

    @property
    def cost(self) -> Decimal:
        """What the providers' time for it costs so far, GLM, all tries together."""
        return sum((entry.cost for entry in self.tries if entry.cost is not None), Decimal(0))

    def turn(self, state: ItemState) -> None:
        """Get into another state."""
        self.counts[self.state] -= 1
        self.counts[state] += 1
        self.state = state

    # -- told by the lane that works on it, in the engine's thread ----------------------------------------

    def begin(self, attempt: Try, emit: Callable[..., Any]) -> None:
        """Note that a provider is at it.

        Parameters
        ----------
        attempt
            The try.
        emit
            Emits events of it.
        """
        self.turn("running")
        self.tries.append(attempt)
        self._emit = emit
        self.task.begin(emit, lambda _: None)

    def accept(self, outcome: Outcome) -> None:
        """Note what it has given.

        Parameters
        ----------
        outcome
            What it has given.
        """
        self.value, self.files = outcome.value, outcome.files
        self.stdout, self.stderr, self.exit_code = outcome.stdout, outcome.stderr, outcome.exit_code
        self.error, self.cut = None, outcome.cut
        self.turn("done")
        self.task.accept_result(outcome.value)
        self._finished()

    def give_back(self) -> None:
        """Note that it was not computed, through no fault of its own."""
        self.turn("waiting")
        self.task.give_back()
        self._finished()

    def _finished(self) -> None:
        emit, self._emit = self._emit, None
        if emit is not None:
            emit(TaskFinished, task=self.task)
