"""Keeps what happens, and makes frames of it when they are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb import events as ev
from golem_nb.engine.charges import LinearPrice
from golem_nb.frames.deals import ActivityTable, AgreementTable, costs_frame, costs_rows
from golem_nb.frames.log import MESSAGE_LIMIT, EventLog
from golem_nb.frames.offers import OfferTable
from golem_nb.frames.people import Deal, Register, Work, parties
from golem_nb.frames.services import ServiceTable
from golem_nb.frames.tasks import TaskTable
from golem_nb.frames.text import OUTPUT_LIMIT, clean

if TYPE_CHECKING:
    import pandas as pd

    from golem_nb.ledger import ProviderRecord
    from golem_nb.rest.payment import PaymentRecord

__all__ = ["Recorder", "Totals"]


@attrs.frozen
class Totals:
    """Money, GLM, exactly.

    Attributes
    ----------
    expected
        What the agreed prices make of the usage, as far as it was reported, and of the time where it was not.
    due
        What debit notes ask for.
    invoiced
        What invoices ask for.
    accepted
        What was agreed to, of both.
    settled
        What was paid.
    """

    expected: Decimal = Decimal(0)
    due: Decimal = Decimal(0)
    invoiced: Decimal = Decimal(0)
    accepted: Decimal = Decimal(0)
    settled: Decimal = Decimal(0)


class Recorder:
    """Consumes the events of a `Golem` and gives them back as tables.

    Taking an event costs a few microseconds and keeps ids, numbers and at most 4096 characters of output,
    never a job, a script or a task's data. Frames are made when they are asked for, on any thread, and kept
    until something has changed.

    Parameters
    ----------
    known
        Records of providers, such as `Ledger.providers`, for the offers' column ``seen``.

    Examples
    --------
    ::

        recorder = Recorder()
        golem.add_event_consumer(recorder.take)
        ...
        recorder.costs()[["provider", "accepted"]]
    """

    def __init__(self, known: Mapping[str, ProviderRecord] | None = None) -> None:
        self._lock = threading.Lock()
        self._register = Register()
        self._log = EventLog(self._register)
        # found here by each event
        self._add = self._log.add
        self._works = self._register.works
        self._commands: dict[type[Any], int] = {}
        self._tasks = TaskTable(self._register)
        self._services = ServiceTable(self._register)
        self._agreements = AgreementTable(self._register)
        self._activities = ActivityTable(self._register)
        self._offers = OfferTable(known)
        self._payments: set[str] = set()
        self._money = 0
        self._kinds: dict[type[Any], tuple[Callable[[Recorder, Any, int, float], object], int]] = {}
        self._frames: dict[str, tuple[Any, pd.DataFrame]] = {}

    @property
    def version(self) -> int:
        """Changes with each event."""
        return self._log.version + self._money

    # -- what happens -------------------------------------------------------------------------------------

    def take(self, event: ev.Event) -> None:
        """Take note of an event; a consumer for `Golem.add_event_consumer`."""
        found = self._kinds.get(type(event))
        if found is None:
            found = self._learn(type(event))
        with self._lock:
            found[0](self, event, found[1], event.timestamp.timestamp())

    def add_payments(self, records: Iterable[PaymentRecord]) -> None:
        """Take note of payments, from `rest.Payment.payments`; each counts once however often it comes.

        Parameters
        ----------
        records
            The payments.
        """
        with self._lock:
            for record in records:
                if record.payment_id in self._payments:
                    continue
                self._payments.add(record.payment_id)
                for agreement, amount in record.agreement_payments.items():
                    if deal := self._register.deals.get(agreement):
                        deal.settled += amount
                for activity, amount in record.activity_payments.items():
                    if work := self._register.works.get(activity):
                        work.settled += amount
                self._money += 1

    # -- frames -------------------------------------------------------------------------------------------

    def events(self) -> pd.DataFrame:
        """Return all events, one a row; the oldest of more than two million are dropped.

        Columns: ``time`` (UTC), ``event`` (its class), ``job``, ``provider`` (name), ``provider_id``,
        ``agreement``, ``activity`` (ids; category), ``script`` (number), ``command`` (kind; category),
        ``task`` (number), ``success`` (of a command), ``amount`` (of a document, GLM), ``service`` (id),
        ``state`` (new state of a service), ``message`` (reason or error, 1000 characters), ``output`` (of a
        command, 4096 characters; those of both streams). Of outputs the last 32 million characters are kept.
        """
        return self._cached(
            "events",
            lambda: self._log.version,
            self._log.snapshot,
            self._log.build,
        )

    def tasks(self, job: str | None = None) -> pd.DataFrame:
        """Return tasks, one a row.

        Columns: ``job``, ``task`` (number), ``state`` (waiting, running, accepted, rejected or failed),
        ``tries``, ``provider``, ``provider_id``, ``agreement``, ``activity`` (of the last try), ``started``,
        ``finished`` (of the last try; UTC), ``duration`` (of the last try), ``cost`` (GLM: what its
        agreements cost so far, shared out by running time), ``stdout`` (of the last command, where the worker
        had no other task), ``message`` (why it was rejected or has failed).

        Parameters
        ----------
        job
            Only those of this job.
        """

        def snapshot() -> tuple[Any, list[float]]:
            now = time.time()
            deals = self._register.deals.values()
            return self._tasks.table.snapshot(), [float(deal.expected(now)) for deal in deals]

        frame = self._cached(
            "tasks",
            lambda: (self._tasks.table.version, self._money),
            snapshot,
            lambda taken, names: self._tasks.build(taken[0], names, taken[1]),
        )
        if job is None:
            return frame
        return frame[frame["job"] == job]

    def agreements(self) -> pd.DataFrame:
        """Return agreements, one a row.

        Columns: ``agreement``, ``job``, ``provider``, ``provider_id``, ``state`` (created, confirmed,
        rejected or terminated), ``created``, ``confirmed``, ``ended`` (UTC), ``duration`` (since it was
        confirmed), ``activities`` (number), ``price_start``, ``price_hour``, ``price_cpu_hour`` (GLM),
        ``expected``, ``accepted`` (GLM), ``message`` (why it was rejected or has ended).
        """
        return self._fresh(
            "agreements",
            lambda: (self._agreements.table.version, self._money),
            lambda: (self._agreements.table.snapshot(), self._agreements.money(time.time())),
            lambda taken, names, now: self._agreements.build(taken[0], taken[1], names, now),
        )

    def activities(self) -> pd.DataFrame:
        """Return activities, one a row.

        Columns: ``activity``, ``agreement``, ``job``, ``provider``, ``provider_id``, ``state`` (running,
        ended or failed), ``started``, ``ended`` (UTC), ``duration``, ``scripts``, ``commands``, ``failed``
        (numbers), ``usage`` (time, as reported), ``usage_cpu`` (time of processors, as reported), ``message``
        (why it has failed).
        """
        return self._fresh(
            "activities",
            lambda: (self._activities.table.version, self._money),
            lambda: (self._activities.table.snapshot(), self._activities.usage()),
            lambda taken, names, now: self._activities.build(taken[0], taken[1], names, now),
        )

    def services(self) -> pd.DataFrame:
        """Return the states that instances of services were in, one a row.

        Columns: ``service`` (id), ``class``, ``job``, ``provider``, ``provider_id``, ``agreement``,
        ``activity``, ``state``, ``start``, ``end`` (UTC; missing for a state that goes on), ``duration`` (so
        far), ``current`` (whether it is the instance's state now), ``message`` (what has ended it).
        """
        return self._fresh(
            "services",
            lambda: self._services.table.version,
            self._services.table.snapshot,
            lambda taken, names, now: self._services.build(taken, names, now),
        )

    def costs(self) -> pd.DataFrame:
        """Return what was used and what it costs, one agreement a row; amounts in GLM.

        Columns: ``job``, ``provider``, ``provider_id``, ``agreement``, ``activities`` (number), ``usage``
        (time of its activities, as reported, or as seen from here), ``usage_cpu`` (time of processors, as
        reported), ``price_start``, ``price_hour``, ``price_cpu_hour``, ``expected`` (what prices make of
        usage), ``due`` (debit notes), ``invoiced``, ``accepted``, ``settled``.

        The amounts are floats, for arithmetic and figures. The exact totals are `totals`, and in the frame's
        ``attrs["totals"]``.
        """

        def snapshot() -> tuple[list[Any], Totals]:
            now = time.time()  # one for both, so that the sums agree
            return costs_rows(self._register, now), self._totals(now)

        def build(taken: tuple[list[Any], Totals], names: Any, _now: float) -> pd.DataFrame:
            frame = costs_frame(self._register, taken[0], names)
            frame.attrs["totals"] = attrs.asdict(taken[1])
            return frame

        return self._fresh(
            "costs",
            lambda: (self._agreements.table.version, self._activities.table.version, self._money),
            snapshot,
            build,
        )

    def offers(self) -> pd.DataFrame:
        """Return the offers that jobs have met, one a row; see `OfferTable` for the columns."""
        return self._offers.frame()

    def totals(self) -> Totals:
        """Return the sums of all agreements, exactly."""
        with self._lock:
            return self._totals(time.time())

    def _totals(self, now: float) -> Totals:
        deals = list(self._register.deals.values())
        zero = Decimal(0)
        return Totals(
            expected=sum((deal.expected(now) for deal in deals), zero),
            due=sum((deal.due for deal in deals), zero),
            invoiced=sum((deal.invoiced or zero for deal in deals), zero),
            accepted=sum((deal.accepted for deal in deals), zero),
            settled=sum((deal.all_settled for deal in deals), zero),
        )

    def _cached(
        self,
        name: str,
        version: Callable[[], Any],
        snapshot: Callable[[], Any],
        build: Callable[[Any, Any], pd.DataFrame],
    ) -> pd.DataFrame:
        """Return a frame, the same as before if nothing has changed."""
        with self._lock:
            key = version()
            known = self._frames.get(name)
            if known is not None and known[0] == key:
                return known[1].copy(deep=False)
            taken = snapshot()
            names = list(self._register.name_of), list(self._register.names.texts)
        # made outside of the lock, since that is what takes long
        frame = build(taken, names)
        self._frames[name] = key, frame
        return frame.copy(deep=False)

    def _fresh(
        self,
        name: str,
        version: Callable[[], Any],
        snapshot: Callable[[], Any],
        build: Callable[[Any, Any, float], pd.DataFrame],
    ) -> pd.DataFrame:
        """Return a frame with times that go on while something runs, as of a second ago at most."""
        now = time.time()
        second = int(now) if self._activities.running or self._services.running else 0
        return self._cached(
            name, lambda: (version(), second), snapshot, lambda taken, names: build(taken, names, now)
        )

    # -- events -------------------------------------------------------------------------------------------

    def _learn(self, kind: type[Any]) -> tuple[Callable[[Recorder, Any, int, float], object], int]:
        """Choose what is done with a class of events: what is done with the closest of its bases."""
        handler = next(_HANDLERS[base] for base in kind.__mro__ if base in _HANDLERS)
        with self._lock:
            found = self._kinds[kind] = handler, self._log.kinds.code(kind.__name__)
        return found

    def _deal(self, event: ev.AgreementEvent, at: float) -> Deal:
        agreement = event.agreement
        deal = self._register.deals.get(agreement.id)
        if deal is None:
            codes = self._register.codes(event.job.id, agreement)
            price = LinearPrice.agreed(agreement.details.offer_props)
            deal = Deal(self._agreements.add(codes, at), codes, price)
            self._register.deals[agreement.id] = deal
        return deal

    def _work(self, event: ev.ActivityEvent, at: float) -> Work:
        work = self._register.works.get(event.activity.id)
        if work is None:
            deal = self._deal(event, at)
            codes = (*deal.codes, self._register.activities.code(event.activity.id))
            work = Work(deal, self._activities.add(codes, at), codes, at)
            deal.works.append(work)
            self._register.works[event.activity.id] = work
        return work

    def _event(self, event: ev.Event, kind: int, at: float) -> None:
        self._note_error(self._add(kind, at), event)

    def _job_event(self, event: ev.JobEvent, kind: int, at: float) -> None:
        row = self._add(kind, at, parties(self._register.jobs.code(event.job.id)))
        reason = getattr(event, "reason", None)
        if reason is not None:
            self._log.message.set(row, clean(reason, MESSAGE_LIMIT))
        self._note_error(row, event)

    def _job_finished(self, event: ev.JobFinished, kind: int, at: float) -> None:
        self._job_event(event, kind, at)
        self._tasks.job_finished(self._register.jobs.code(event.job.id))

    def _proposal_event(self, event: ev.ProposalEvent, kind: int, at: float) -> None:
        job = self._register.jobs.code(event.job.id)
        row = self._add(kind, at, parties(job, self._register.provider(event.proposal.issuer)))
        reason = getattr(event, "reason", None)
        if reason is not None:
            self._log.message.set(row, clean(reason, MESSAGE_LIMIT))
        self._note_error(row, event)

    def _proposal_received(self, event: ev.ProposalReceived, kind: int, at: float) -> None:
        proposal = event.proposal
        job = self._register.jobs.code(event.job.id)
        self._add(kind, at, parties(job, self._register.provider(proposal.issuer)))
        if not proposal.is_draft:
            self._offers.add(proposal)

    def _agreement_event(self, event: ev.AgreementEvent, kind: int, at: float) -> None:
        deal = self._deal(event, at)
        self._note_error(self._add(kind, at, deal.parties), event)

    def _agreement_confirmed(self, event: ev.AgreementConfirmed, kind: int, at: float) -> None:
        deal = self._deal(event, at)
        self._agreements.confirmed(deal.row, at)
        self._add(kind, at, deal.parties)

    def _agreement_rejected(self, event: ev.AgreementRejected, kind: int, at: float) -> None:
        deal = self._deal(event, at)
        self._agreements.rejected(deal.row, at, _error(event))
        self._note_error(self._add(kind, at, deal.parties), event)

    def _agreement_terminated(self, event: ev.AgreementTerminated, kind: int, at: float) -> None:
        deal = self._deal(event, at)
        message = clean(event.reason.get("message") or "", MESSAGE_LIMIT)
        self._agreements.terminated(deal.row, at, message)
        for work in deal.works:
            self._activities.ended(work, at)
        self._log.message.set(self._add(kind, at, deal.parties), message)

    def _invoice(self, event: ev.InvoiceEvent, kind: int, at: float) -> None:
        deal = self._deal(event, at)
        deal.invoiced = event.invoice.amount
        if isinstance(event, ev.InvoiceAccepted):
            deal.paid = event.invoice.amount
        self._money += 1
        self._log.amount.set(self._add(kind, at, deal.parties), float(event.invoice.amount))

    def _debit_note(self, event: ev.DebitNoteEvent, kind: int, at: float) -> None:
        deal = self._deal(event, at)
        note = event.debit_note
        work = self._register.works.get(note.activity_id)
        about = deal.parties
        if work is not None and work.deal is deal:
            about = work.parties
            work.due = max(work.due, note.total_amount_due)
            work.usage = note.usage_counter_vector or work.usage
            if isinstance(event, ev.DebitNoteAccepted):
                work.accepted = max(work.accepted, note.total_amount_due)
        self._money += 1
        self._log.amount.set(self._add(kind, at, about), float(note.total_amount_due))

    def _activity_event(self, event: ev.ActivityEvent, kind: int, at: float) -> None:
        work = self._work(event, at)
        self._note_error(self._add(kind, at, work.parties), event)

    def _worker_finished(self, event: ev.WorkerFinished, kind: int, at: float) -> None:
        work = self._work(event, at)
        row = self._add(kind, at, work.parties)
        if event.exc_info is not None:
            error = _error(event)
            self._log.message.set(row, error)
            self._tasks.worker_failed(work, error)
            self._activities.failed(work, at, error)
        else:
            self._activities.ended(work, at)

    def _task_event(self, event: ev.TaskEvent, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        self._add(kind, at, work.parties, -1, -1, _number(event.task.id))

    def _task_started(self, event: ev.TaskStarted, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        key = event.task.id
        number = _number(key)
        self._add(kind, at, work.parties, -1, -1, number)
        self._tasks.started_on(key, number, work, at)

    def _task_finished(self, event: ev.TaskFinished, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        key = event.task.id
        self._add(kind, at, work.parties, -1, -1, _number(key))
        self._tasks.finished_on(key, work, at)

    def _task_accepted(self, event: ev.TaskAccepted, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        key = event.task.id
        self._add(kind, at, work.parties, -1, -1, _number(key))
        self._tasks.decided(key, work, at, accepted=True)

    def _task_rejected(self, event: ev.TaskRejected, kind: int, at: float) -> None:
        work = self._work(event, at)
        key = event.task.id
        row = self._add(kind, at, work.parties, -1, -1, _number(key))
        reason = None if event.reason is None else clean(event.reason, MESSAGE_LIMIT)
        if reason is not None:
            self._log.message.set(row, reason)
        self._tasks.decided(key, work, at, accepted=False, reason=reason)

    def _service_event(self, event: ev.ServiceEvent, kind: int, at: float) -> None:
        work = self._work(event, at)
        service = event.service
        row = self._add(kind, at, work.parties)
        self._log.service.set_text(row, service.id)
        if isinstance(event, ev.ServiceStateChanged):
            name = str(event.new.value)
            self._log.state.set_text(row, name)
            self._services.changed(service.id, type(service).__name__, work, name, at)
        elif isinstance(event, ev.ServiceFinished):
            error = service.exc_info[1]
            if error is not None:
                self._services.failed(service.id, clean(f"{type(error).__name__}: {error}", MESSAGE_LIMIT))
        self._note_error(row, event)

    def _script_event(self, event: ev.ScriptEvent, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        self._add(kind, at, work.parties, event.script.id)

    def _script_sent(self, event: ev.ScriptSent, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        self._add(kind, at, work.parties, event.script.id)
        self._activities.scripts.values[work.row] += 1
        self._activities.table.version += 1

    def _command_event(self, event: ev.CommandEvent, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        command = self._command(event.command)
        self._add(kind, at, work.parties, event.script.id, command)

    def _command_executed(self, event: ev.CommandExecuted, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        command = self._command(event.command)
        success = event.success
        row = self._add(kind, at, work.parties, event.script.id, command, -1, success)
        activities = self._activities
        activities.commands.values[work.row] += 1
        activities.table.version += 1
        if not success:
            activities.failures.values[work.row] += 1
            if event.message is not None:
                self._log.message.set(row, clean(event.message, MESSAGE_LIMIT))
        if event.stdout:
            text = clean(event.stdout, OUTPUT_LIMIT)
            self._log.output.set(row, text)
            self._tasks.output(work, text)
        elif event.stderr:
            self._log.output.set(row, clean(event.stderr, OUTPUT_LIMIT))

    def _command_output(self, event: Any, kind: int, at: float) -> None:
        work = self._works.get(event.activity.id) or self._work(event, at)
        command = self._command(event.command)
        row = self._add(kind, at, work.parties, event.script.id, command)
        text = clean(event.output, OUTPUT_LIMIT)
        self._log.output.set(row, text)
        if type(event) is ev.CommandStdOut:
            self._tasks.output(work, text, more=True)

    def _command(self, command: object) -> int:
        """Return the number of a command's kind."""
        code = self._commands.get(type(command))
        if code is None:
            code = self._commands[type(command)] = self._log.commands.code(type(command).__name__)
        return code

    def _note_error(self, row: int, event: ev.Event) -> None:
        if event.exc_info is not None:
            self._log.message.set(row, _error(event))


def _number(task_id: str) -> int:
    return int(task_id) if task_id.isdecimal() else -1


def _error(event: ev.Event) -> str:
    error = event.exception
    return "" if error is None else clean(f"{type(error).__name__}: {error}", MESSAGE_LIMIT)


_HANDLERS: Mapping[type[Any], Callable[[Recorder, Any, int, float], object]] = {
    object: Recorder._event,
    ev.JobEvent: Recorder._job_event,
    ev.JobFinished: Recorder._job_finished,
    ev.ProposalEvent: Recorder._proposal_event,
    ev.ProposalReceived: Recorder._proposal_received,
    ev.AgreementEvent: Recorder._agreement_event,
    ev.AgreementConfirmed: Recorder._agreement_confirmed,
    ev.AgreementRejected: Recorder._agreement_rejected,
    ev.AgreementTerminated: Recorder._agreement_terminated,
    ev.InvoiceEvent: Recorder._invoice,
    ev.DebitNoteEvent: Recorder._debit_note,
    ev.ActivityEvent: Recorder._activity_event,
    ev.WorkerFinished: Recorder._worker_finished,
    ev.TaskEvent: Recorder._task_event,
    ev.TaskStarted: Recorder._task_started,
    ev.TaskFinished: Recorder._task_finished,
    ev.TaskAccepted: Recorder._task_accepted,
    ev.TaskRejected: Recorder._task_rejected,
    ev.ServiceEvent: Recorder._service_event,
    ev.ScriptEvent: Recorder._script_event,
    ev.ScriptSent: Recorder._script_sent,
    ev.CommandEvent: Recorder._command_event,
    ev.CommandExecuted: Recorder._command_executed,
    ev.CommandStdOut: Recorder._command_output,
    ev.CommandStdErr: Recorder._command_output,
}
