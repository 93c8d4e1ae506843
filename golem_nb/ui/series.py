"""What a dashboard draws over time: counted from events as they come, sampled when it is drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from golem_nb import events
from golem_nb.frames.offers import offer_key
from golem_nb.ui.text import clean

__all__ = ["Series"]

#: Samples that are kept of each series; when there are more, every other one of the older half is dropped.
MOST_SAMPLES = 2000

#: Agreements whose documents are remembered; the oldest are final by then.
MOST_AGREEMENTS = 20_000


class Samples:
    """Rows with a time, at most `MOST_SAMPLES` of them, the newest most densely."""

    def __init__(self, columns: int) -> None:
        self.columns: list[list[Any]] = [[] for _ in range(columns)]

    def add(self, *row: Any) -> None:
        """Add a row."""
        for column, value in zip(self.columns, row, strict=True):
            column.append(value)
        if len(self.columns[0]) > MOST_SAMPLES:
            half = MOST_SAMPLES // 2
            for column in self.columns:
                column[:half] = column[0:half:2]


class Series:
    """An event consumer: offers, costs by provider, and tasks by state."""

    def __init__(self) -> None:
        self.accepted = 0
        self._offers: set[str] = set()
        #: By the id of the task: the job that has it, and whether it is being computed.
        self._open: dict[str, tuple[str, bool]] = {}
        self._rejected: set[str] = set()
        self._failed: set[str] = set()
        self._due: dict[str, dict[str, Decimal]] = {}
        self._cost: dict[str, Decimal] = {}
        self._names: dict[str, str] = {}
        self._offer_samples = Samples(2)
        self._task_samples = Samples(2)
        self._cost_samples = Samples(3)
        self._sampled: tuple[int, int] = (-1, -1)
        #: Changes whenever there is something new to draw.
        self.version = 0

    def take(self, event: events.Event) -> None:
        """Take note of an event."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
            self.version += 1

    def sample(self) -> None:
        """Note how many offers and finished tasks there are now."""
        now = time.time() * 1000
        offers, accepted = self.offers, self.accepted
        if offers != self._sampled[0]:
            self._offer_samples.add(now, float(offers))
        if accepted != self._sampled[1]:
            self._task_samples.add(now, float(accepted))
        self._sampled = offers, accepted

    @property
    def offers(self) -> int:
        """How many offers were seen; one that is made anew, or to another job, is no other one."""
        return len(self._offers)

    @property
    def offer_rows(self) -> Sequence[list[Any]]:
        """Columns: time, offers."""
        return _aligned(self._offer_samples)

    @property
    def task_rows(self) -> Sequence[list[Any]]:
        """Columns: time, finished tasks."""
        return _aligned(self._task_samples)

    @property
    def cost_rows(self) -> Sequence[list[Any]]:
        """Columns: time, name of the provider, its cost so far."""
        return _aligned(self._cost_samples)

    @property
    def tasks(self) -> dict[str, int]:
        """Tasks by state."""
        states = list(self._open.values())
        running = sum(busy for _, busy in states)
        return {
            "waiting": len(states) - running,
            "running": running,
            "accepted": self.accepted,
            "rejected": len(self._rejected),
            "failed": len(self._failed),
        }

    def _proposal(self, event: events.ProposalReceived) -> None:
        self._offers.add(offer_key(event.proposal))

    def _task_started(self, event: events.TaskStarted) -> None:
        task = event.task_id
        self._open[task] = event.job.id, True
        # tried again, maybe by another job
        self._rejected.discard(task)
        self._failed.discard(task)

    def _task_accepted(self, event: events.TaskAccepted) -> None:
        self._open.pop(event.task_id, None)
        self.accepted += 1

    def _task_rejected(self, event: events.TaskRejected) -> None:
        self._open.pop(event.task_id, None)
        self._rejected.add(event.task_id)

    def _task_finished(self, event: events.TaskFinished) -> None:
        # accepted and rejected ones are out already: this one was given back
        if event.task_id in self._open:
            self._open[event.task_id] = event.job.id, False

    def _job_finished(self, event: events.JobFinished) -> None:
        # what is still waiting then was tried in vain
        lost = [task for task, (job, _) in self._open.items() if job == event.job.id]
        for task in lost:
            del self._open[task]
        self._failed.update(lost)

    def _note(self, event: events.DebitNoteAccepted) -> None:
        self._document(event, event.debit_note.activity_id, event.amount)

    def _invoice(self, event: events.InvoiceAccepted) -> None:
        self._document(event, None, event.amount)

    def _document(self, event: events.AgreementEvent, activity: str | None, amount: Decimal) -> None:
        known = self._due.setdefault(event.agr_id, {})
        before = sum(known.values(), Decimal(0))
        if activity is None:
            # an invoice asks for all that its agreement owes
            known.clear()
        known[activity or ""] = amount
        if len(self._due) > MOST_AGREEMENTS:
            del self._due[next(iter(self._due))]
        provider = event.provider_id
        cost = self._cost.get(provider, Decimal(0)) + sum(known.values(), Decimal(0)) - before
        self._cost[provider] = cost
        if provider not in self._names:
            self._names[provider] = clean(event.provider_info.name or provider, 40)
        at = event.timestamp.timestamp() * 1000
        self._cost_samples.add(at, self._names[provider], float(cost))


def _aligned(samples: Samples) -> list[list[Any]]:
    """Return the columns as they are now, although the engine may be adding to them."""
    columns = [list(column) for column in samples.columns]
    length = min(map(len, columns))
    return [column[:length] for column in columns]


_HANDLERS: dict[type[events.Event], Callable[[Series, Any], None]] = {
    events.ProposalReceived: Series._proposal,
    events.TaskStarted: Series._task_started,
    events.TaskAccepted: Series._task_accepted,
    events.TaskRejected: Series._task_rejected,
    events.TaskFinished: Series._task_finished,
    events.JobFinished: Series._job_finished,
    events.DebitNoteAccepted: Series._note,
    events.InvoiceAccepted: Series._invoice,
}
