"""What each provider is doing for each job, counted from events as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import attrs

from golem_nb import events
from golem_nb.engine.charges import DURATION, LinearPrice
from golem_nb.script.command import (
    Command,
    Deploy,
    DownloadFromUrl,
    Run,
    Start,
    Terminate,
)
from golem_nb.ui.text import clean

__all__ = ["Lane", "Lanes"]

#: The jobs whose lanes are kept; the oldest ones go first.
MOST_JOBS = 200

#: The providers of one job that are kept.
MOST_LANES = 1000


@attrs.define
class Lane:
    """One provider, within one job."""

    provider_id: str
    name: str
    #: ``"negotiating"``, ``"deploying"``, ``"transferring"``, ``"running"``, ``"waiting"``, ``"failed"``,
    #: ``"cancelled"``, ``"ended"`` or ``"paid"``.
    state: str = "negotiating"
    #: In a few words, beside its tasks.
    doing: str = ""
    #: Ids of the engine's tasks that were handed to it and are not over, in the order in which they came.
    tasks: dict[str, None] = attrs.field(factory=dict)
    done: int = 0
    failed: int = 0
    #: What was accepted, by agreement, GLM.
    accepted: dict[str, Decimal] = attrs.field(factory=dict)
    #: Price and start of the activities that are running, by agreement.
    active: dict[str, tuple[LinearPrice | None, float]] = attrs.field(factory=dict)
    #: What the time explains of agreements that are over and whose invoices have not come, GLM.
    owed: dict[str, Decimal] = attrs.field(factory=dict)

    @property
    def cost(self) -> Decimal:
        """What it has cost so far: accepted, or explained by the time if that is more, GLM."""
        total = sum(self.accepted.values(), Decimal(0))
        explained = {
            **self.owed,
            **{agreement: self._explained(agreement) for agreement in list(self.active)},
        }
        for agreement, amount in explained.items():
            total += max(amount - self.accepted.get(agreement, Decimal(0)), Decimal(0))
        return total

    @property
    def open(self) -> bool:
        """Whether something is running, or an invoice is still to come."""
        return bool(self.active or self.owed)

    def _explained(self, agreement: str) -> Decimal:
        price, since = self.active.get(agreement, (None, 0.0))
        if price is None:
            return Decimal(0)
        gone = Decimal(repr(time.monotonic() - since))
        return price.fixed + price.per_unit.get(DURATION, Decimal(0)) * gone

    def end(self, agreement: str) -> None:
        """Note that an agreement is over: what it owes stands still, and its invoice comes."""
        if agreement in self.active:
            self.owed[agreement] = self._explained(agreement)
            del self.active[agreement]
        if self.state not in ("failed", "cancelled", "paid"):
            self.state, self.doing = "ended", ""
        self._settle()

    def release(self, task: str) -> None:
        """Note that a task is over, or was given back."""
        self.tasks.pop(task, None)
        # a script may have several: the others go on
        if not self.tasks and self.state in ("running", "transferring"):
            self.state, self.doing = "waiting", ""

    def pay(self, agreement: str, amount: Decimal) -> None:
        """Note that an invoice was accepted."""
        self.accepted[agreement] = amount
        self.active.pop(agreement, None)
        self.owed.pop(agreement, None)
        self._settle()

    def _settle(self) -> None:
        # the invoice of an agreement may come before or after the word that it is over
        if self.state == "ended" and self.accepted and not self.open:
            self.state = "paid"


class Lanes:
    """An event consumer that knows what each provider is doing.

    It looks only at the classes of events that change a lane; all others cost it one look-up.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, Lane]] = {}

    def take(self, event: events.Event) -> bool:
        """Take note of an event; return whether it was about a lane."""
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return False
        handler(self._lane(event), event)
        return True

    def of(self, *jobs: str) -> list[Lane]:
        """Return one lane a provider, over some jobs, in the order in which the providers came.

        Parameters
        ----------
        jobs
            Ids of the engine's jobs, the first one first: what a provider does is told by the last one that
            has it, what it has done and costs is the sum of all.
        """
        found: dict[str, list[Lane]] = {}
        for job in jobs:
            for lane in list(self._jobs.get(job, {}).values()):
                found.setdefault(lane.provider_id, []).append(lane)
        return [lanes[0] if len(lanes) == 1 else _joined(lanes) for lanes in found.values()]

    def _lane(self, event: Any) -> Lane:
        job = event.job.id
        lanes = self._jobs.get(job)
        if lanes is None:
            lanes = self._jobs[job] = {}
            if len(self._jobs) > MOST_JOBS:
                del self._jobs[next(iter(self._jobs))]
        provider = event.provider_id
        lane = lanes.get(provider)
        if lane is None:
            lane = lanes[provider] = Lane(provider, clean(event.provider_info.name or provider, 60))
            if len(lanes) > MOST_LANES:
                del lanes[next(iter(lanes))]
        return lane


def _joined(lanes: Sequence[Lane]) -> Lane:
    """Return the lane of one provider over several jobs."""
    joined = attrs.evolve(
        lanes[-1],
        done=sum(lane.done for lane in lanes),
        failed=sum(lane.failed for lane in lanes),
        # no two jobs have an agreement in common
        accepted={key: value for lane in lanes for key, value in lane.accepted.copy().items()},
        active={key: value for lane in lanes for key, value in lane.active.copy().items()},
        owed={key: value for lane in lanes for key, value in lane.owed.copy().items()},
    )
    if joined.state == "paid" and joined.open:
        joined.state = "ended"
    return joined


def _set(state: str) -> Callable[[Lane, Any], None]:
    def handle(lane: Lane, _: Any) -> None:
        lane.state, lane.doing = state, ""

    return handle


def _rejected(lane: Lane, _: events.AgreementRejected) -> None:
    lane.state, lane.doing = "failed", "did not take the agreement"


def _created(lane: Lane, event: events.ActivityCreated) -> None:
    lane.state, lane.doing = "deploying", ""
    price = LinearPrice.agreed(event.agreement.details.offer_props)
    lane.active[event.agr_id] = price, time.monotonic()


def _not_created(lane: Lane, event: events.ActivityCreateFailed) -> None:
    lane.state, lane.doing = "failed", f"no activity: {clean(event.exception or '', 120)}"


def _sent(lane: Lane, event: events.ScriptSent) -> None:
    commands = event.script.commands
    if any(isinstance(command, Deploy) for command in commands):
        lane.state, lane.doing = "deploying", ""
    elif commands:
        _command(lane, next((c for c in commands if isinstance(c, Run)), commands[0]))


def _started(lane: Lane, event: events.CommandStarted) -> None:
    _command(lane, event.command)


def _command(lane: Lane, command: Command) -> None:
    if isinstance(command, Deploy | Start):
        lane.state = "deploying"
    elif isinstance(command, Run):
        lane.state = "running"
    elif not isinstance(command, Terminate):
        lane.state = "transferring"
        if isinstance(command, DownloadFromUrl):
            lane.doing = "downloads from the web"


def _transferring(lane: Lane, _: events.DownloadStarted) -> None:
    lane.state = "transferring"


def _task_started(lane: Lane, event: events.TaskStarted) -> None:
    lane.state, lane.doing = "running", ""
    lane.tasks[event.task_id] = None


def _task_accepted(lane: Lane, event: events.TaskAccepted) -> None:
    lane.release(event.task_id)
    lane.done += 1


def _task_rejected(lane: Lane, event: events.TaskRejected) -> None:
    lane.release(event.task_id)
    lane.doing = f"rejected: {clean(event.reason or 'no reason given', 120)}"
    lane.failed += 1


def _task_finished(lane: Lane, event: events.TaskFinished) -> None:
    lane.release(event.task_id)


def _worker_finished(lane: Lane, event: events.WorkerFinished) -> None:
    if isinstance(event.exception, asyncio.CancelledError):
        # its job was over before it was: nothing has gone wrong with it
        lane.state, lane.doing = "cancelled", ""
    elif event.exception is not None:
        lane.state, lane.doing = "failed", clean(event.exception, 200)
        lane.failed += 1
    elif lane.state != "failed":
        lane.state, lane.doing = "ended", ""


def _terminated(lane: Lane, event: events.AgreementTerminated) -> None:
    lane.end(event.agr_id)


def _note_accepted(lane: Lane, event: events.DebitNoteAccepted) -> None:
    agreement = event.agr_id
    lane.accepted[agreement] = max(lane.accepted.get(agreement, Decimal(0)), event.amount)


def _invoice_accepted(lane: Lane, event: events.InvoiceAccepted) -> None:
    lane.pay(event.agr_id, event.amount)


def _payment_failed(lane: Lane, event: events.PaymentFailed) -> None:
    lane.doing = f"not paid: {clean(event.exception or '', 200)}"


_HANDLERS: dict[type[events.Event], Callable[[Lane, Any], None]] = {
    events.AgreementCreated: _set("negotiating"),
    events.AgreementConfirmed: _set("waiting"),
    events.AgreementRejected: _rejected,
    events.ActivityCreated: _created,
    events.ActivityCreateFailed: _not_created,
    events.ScriptSent: _sent,
    events.CommandStarted: _started,
    events.DownloadStarted: _transferring,
    events.TaskStarted: _task_started,
    events.TaskAccepted: _task_accepted,
    events.TaskRejected: _task_rejected,
    events.TaskFinished: _task_finished,
    events.WorkerFinished: _worker_finished,
    events.AgreementTerminated: _terminated,
    events.DebitNoteAccepted: _note_accepted,
    events.InvoiceAccepted: _invoice_accepted,
    events.PaymentFailed: _payment_failed,
}
