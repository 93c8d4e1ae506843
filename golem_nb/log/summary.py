"""An event consumer that tells the story of a computation in a few lines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from golem_nb import events
from golem_nb.log.logger import get_logger
from golem_nb.log.text import plain_amount, pluralize, printable, str_capped
from golem_nb.props.base import InvalidPropertiesError

if TYPE_CHECKING:
    from golem_nb.events import Event

E = TypeVar("E", bound="Event")
Handler = Callable[["SummaryLogger", E], None]

#: Seconds in which new proposals are gathered for one line.
_PROPOSALS_EVERY = 3.0

_NAME_SHOWN = 60
_TASK_DATA_SHOWN = 200
_OUTPUT_SHOWN = 500

_handlers: dict[type[Event], Callable[[SummaryLogger, Any], None]] = {}


def _on(*event_classes: type[E]) -> Callable[[Handler[E]], Handler[E]]:
    def register(handler: Handler[E]) -> Handler[E]:
        _handlers.update(dict.fromkeys(event_classes, handler))
        return handler

    return register


@attrs.define
class _JobSummary:
    started: datetime
    proposing: set[str] = attrs.field(factory=set)
    proposing_reported: int = 0
    timer: asyncio.TimerHandle | None = None
    waiting: timedelta = timedelta(0)
    agreements: int = 0
    # By the provider's node id: names are not unique.
    names: dict[str, str] = attrs.field(factory=dict)
    computed: Counter[str] = attrs.field(factory=Counter)
    failures: Counter[str] = attrs.field(factory=Counter)
    has_tasks: bool = True


class SummaryLogger:
    """Gather events and log a summary of what happens.

    Its `log` method is an event consumer. Each event is first passed to `wrapped_emitter`, so that consumers
    can be chained. It needs no running event loop, and sets a timer only while there is something to tell.

    Parameters
    ----------
    wrapped_emitter
        Another event consumer.

    Examples
    --------
    >>> golem = Golem(budget=1, event_consumer=SummaryLogger(log_event_repr).log)
    """

    def __init__(self, wrapped_emitter: Callable[[Event], None] | None = None) -> None:
        self._wrapped_emitter = wrapped_emitter
        self._logger = get_logger("golem_nb.summary")
        self._jobs: dict[str, _JobSummary] = {}
        # The highest amount accepted in each agreement: debit notes are totals, and the invoice is the last.
        self._costs: dict[str, Decimal] = {}

    def log(self, event: Event) -> None:
        """Register an event."""
        if self._wrapped_emitter is not None:
            self._wrapped_emitter(event)
        handler = _handlers.get(type(event))
        if handler is not None:
            handler(self, event)

    def _job(self, event: events.JobEvent) -> _JobSummary:
        job = self._jobs.get(event.job_id)
        if job is None:
            job = self._jobs[event.job_id] = _JobSummary(event.timestamp)
        return job

    def _info(self, event: events.JobEvent, message: str, *args: object) -> None:
        self._logger.info(message, *args, job_id=event.job_id)

    def _warning(self, event: events.JobEvent, message: str, *args: object) -> None:
        self._logger.warning(message, *args, job_id=event.job_id)

    # Jobs

    @_on(events.JobStarted)
    def _job_started(self, event: events.JobStarted) -> None:
        self._jobs[event.job_id] = _JobSummary(event.timestamp)

    @_on(events.JobFinished)
    def _job_finished(self, event: events.JobFinished) -> None:
        self._report_proposals(event.job_id)
        job = self._jobs.pop(event.job_id, None) or _JobSummary(event.timestamp)
        if event.exception is None:
            self._info(event, "Job finished in %.1fs", (event.timestamp - job.started).total_seconds())
        else:
            self._logger.error("Job failed, reason: %s", _reason(event), job_id=event.job_id)
        self._info(
            event,
            "Negotiated %d agreements with %s",
            job.agreements,
            pluralize(len(job.names), "provider"),
        )
        for provider_id, name in job.names.items():
            if job.computed[provider_id]:
                self._info(
                    event, "Provider '%s' computed %s", name, pluralize(job.computed[provider_id], "task")
                )
            elif job.has_tasks:
                self._info(event, "Provider '%s' did not compute any tasks", name)
        for provider_id, failures in job.failures.items():
            self._info(
                event,
                "Activity failed %s on provider '%s'",
                pluralize(failures, "time"),
                job.names.get(provider_id, provider_id),
            )
        self._info(event, "The cost so far: %s", self._total_cost())

    @_on(events.ExecutionInterrupted)
    def _execution_interrupted(self, event: events.ExecutionInterrupted) -> None:
        self._logger.error("Golem was stopped by an unhandled exception: %s", _reason(event))

    @_on(events.ShutdownFinished)
    def _shutdown_finished(self, event: events.ShutdownFinished) -> None:
        self._logger.info("Total cost: %s", self._total_cost())
        self._costs.clear()
        if event.exception is None:
            self._logger.info("Golem engine has shut down")
        else:
            self._logger.error("Error when shutting down Golem engine: %s", _reason(event))

    # Offers

    @_on(events.SubscriptionFailed)
    def _subscription_failed(self, event: events.SubscriptionFailed) -> None:
        self._logger.error("Subscription failed: %s", _harmless(event.reason), job_id=event.job_id)

    @_on(events.CollectFailed)
    def _collect_failed(self, event: events.CollectFailed) -> None:
        self._warning(event, "Collecting offers failed: %s", _harmless(event.reason))

    @_on(events.ProposalReceived)
    def _proposal_received(self, event: events.ProposalReceived) -> None:
        job = self._job(event)
        job.proposing.add(event.provider_id)
        if job.timer is not None or len(job.proposing) == job.proposing_reported:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._report_proposals(event.job_id)
        else:
            job.timer = loop.call_later(_PROPOSALS_EVERY, self._report_proposals, event.job_id)

    def _report_proposals(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        if job is None:
            return
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if len(job.proposing) > job.proposing_reported:
            job.proposing_reported = len(job.proposing)
            self._logger.info(
                "Received proposals from %s so far",
                pluralize(job.proposing_reported, "provider"),
                job_id=job_id,
            )

    @_on(events.ProposalConfirmed)
    def _proposal_confirmed(self, event: events.ProposalConfirmed) -> None:
        self._job(event).waiting = timedelta(0)

    @_on(events.NoProposalsConfirmed)
    def _no_proposals_confirmed(self, event: events.NoProposalsConfirmed) -> None:
        job = self._job(event)
        job.waiting += event.timeout
        seconds = round(job.waiting.total_seconds())
        if job.proposing:
            found = (
                f"{pluralize(len(job.proposing), 'provider has', 'providers have')} made offers, but none has"
                f" confirmed one for {seconds}s. "
            )
        else:
            found = f"No offers have been collected from the market for {seconds}s. "
        self._warning(
            event,
            "%s",
            f"{found}Make sure you're using the latest released versions of yagna and golem_nb,"
            " and the correct subnet. ",
        )

    # Agreements

    @_on(events.AgreementCreated)
    def _agreement_created(self, event: events.AgreementCreated) -> None:
        self._report_proposals(event.job_id)
        self._info(event, "Agreement proposed to provider '%s' (%s)", _provider(event), event.provider_id)

    @_on(events.AgreementConfirmed)
    def _agreement_confirmed(self, event: events.AgreementConfirmed) -> None:
        job = self._job(event)
        job.agreements += 1
        job.names[event.provider_id] = _provider(event)
        self._info(event, "Agreement confirmed by provider '%s'", _provider(event))

    @_on(events.AgreementRejected)
    def _agreement_rejected(self, event: events.AgreementRejected) -> None:
        self._warning(event, "Agreement rejected by provider '%s'", _provider(event))

    @_on(events.AgreementTerminated)
    def _agreement_terminated(self, event: events.AgreementTerminated) -> None:
        if event.reason.get("golem.requestor.code") != "Success":
            self._info(
                event,
                "Terminated agreement with %s, reason: %s",
                _provider(event),
                _harmless(event.reason.get("message", "not given")),
            )

    # Work

    @_on(events.ActivityCreateFailed)
    def _activity_create_failed(self, event: events.ActivityCreateFailed) -> None:
        self._job(event).failures[event.provider_id] += 1
        self._warning(
            event, "Failed to create activity on provider '%s': %s", _provider(event), _reason(event)
        )

    @_on(events.WorkerFinished)
    def _worker_finished(self, event: events.WorkerFinished) -> None:
        # a worker that we have cancelled says nothing about its provider
        if event.exception is not None and not isinstance(event.exception, asyncio.CancelledError):
            self._job(event).failures[event.provider_id] += 1
            self._warning(
                event, "Activity failed on provider '%s', reason: %s", _provider(event), _reason(event)
            )

    @_on(events.TaskStarted)
    def _task_started(self, event: events.TaskStarted) -> None:
        self._info(event, "Task started on provider '%s', task data: %s", _provider(event), _task_data(event))

    @_on(events.TaskFinished)
    def _task_finished(self, event: events.TaskFinished) -> None:
        self._info(
            event, "Task finished by provider '%s', task data: %s", _provider(event), _task_data(event)
        )

    @_on(events.TaskAccepted)
    def _task_accepted(self, event: events.TaskAccepted) -> None:
        self._job(event).computed[event.provider_id] += 1

    @_on(events.TaskRejected)
    def _task_rejected(self, event: events.TaskRejected) -> None:
        self._warning(
            event,
            "Task rejected, provider: '%s', task data: %s, reason: %s",
            _provider(event),
            _task_data(event),
            _harmless(event.reason or "not given"),
        )

    @_on(events.ServiceStateChanged)
    def _service_state_changed(self, event: events.ServiceStateChanged) -> None:
        self._job(event).has_tasks = False

    @_on(events.CommandExecuted)
    def _command_executed(self, event: events.CommandExecuted) -> None:
        if not event.success:
            self._warning(
                event,
                "Command failed on provider '%s', command: %s, message: %s",
                _provider(event),
                _harmless(event.command),
                _harmless(event.message or "none"),
            )
        elif event.message and event.message.startswith("The output was longer"):
            self._warning(
                event,
                "Output was cut by provider '%s', command: %s, message: %s; print less, or download a file",
                _provider(event),
                _harmless(event.command),
                _harmless(event.message),
            )

    # Payments

    @_on(events.DebitNoteAccepted)
    def _debit_note_accepted(self, event: events.DebitNoteAccepted) -> None:
        self._add_cost(event.agr_id, event.amount)

    @_on(events.InvoiceAccepted)
    def _invoice_accepted(self, event: events.InvoiceAccepted) -> None:
        self._add_cost(event.agr_id, event.amount)
        self._info(
            event, "Accepted invoice from '%s', amount: %s", _provider(event), plain_amount(event.amount)
        )

    @_on(events.PaymentFailed)
    def _payment_failed(self, event: events.PaymentFailed) -> None:
        self._logger.error(
            "Payment to provider '%s' failed, reason: %s",
            _provider(event),
            _reason(event),
            job_id=event.job_id,
        )

    def _add_cost(self, agreement_id: str, amount: Decimal) -> None:
        self._costs[agreement_id] = max(self._costs.get(agreement_id, amount), amount)

    def _total_cost(self) -> str:
        return plain_amount(sum(self._costs.values(), Decimal(0)))


def log_summary(wrapped_emitter: Callable[[Event], None] | None = None) -> Callable[[Event], None]:
    """Return an event consumer that logs a summary: the `log` method of a new `SummaryLogger`.

    Parameters
    ----------
    wrapped_emitter
        Another event consumer, which gets each event first.
    """
    return SummaryLogger(wrapped_emitter).log


def _provider(event: events.AgreementEvent) -> str:
    """Return the name of the provider as it may be printed, or its node id where it has none."""
    try:
        name = event.provider_info.name
    except InvalidPropertiesError:
        name = None
    return printable(str_capped(name or event.provider_id, _NAME_SHOWN))


def _task_data(event: events.TaskEvent) -> str:
    return printable(str_capped(event.task_data, _TASK_DATA_SHOWN))


def _reason(event: Event) -> str:
    error = event.exception
    if error is None:
        return "unknown"
    # an entry of a log is a line
    return _harmless(" ".join(str(error).split()) or type(error).__name__)


def _harmless(value: object) -> str:
    return printable(str_capped(value, _OUTPUT_SHOWN))
