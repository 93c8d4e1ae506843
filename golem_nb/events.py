"""Everything that happens in a computation, as immutable objects.

Each event is passed to every event consumer (`Golem(event_consumer=…)`, `Golem.add_event_consumer`). Only
the leaves of the tree below are ever emitted; the classes named ``*Event`` are abstract and each adds one
object to its parent's::

    Event
        JobEvent
            SubscriptionFailed, NoProposalsConfirmed, JobStarted, JobFinished
            SubscriptionEvent
                SubscriptionCreated, CollectFailed
            ProposalEvent
                ProposalReceived, ProposalRejected, ProposalResponded, ProposalConfirmed, ProposalFailed
            AgreementEvent
                AgreementCreated, AgreementConfirmed, AgreementRejected, AgreementTerminated,
                ActivityCreateFailed, WorkerStarted, PaymentFailed
                ActivityEvent
                    ActivityCreated, WorkerFinished
                    TaskEvent
                        TaskStarted, TaskFinished, TaskAccepted, TaskRejected
                    ServiceEvent
                        ServiceStateChanged, ServiceFinished
                    ScriptEvent
                        ScriptSent, GettingResults, ScriptFinished
                        CommandEvent
                            CommandStarted, CommandStdOut, CommandStdErr, CommandExecuted,
                            DownloadStarted, DownloadFinished
                InvoiceEvent
                    InvoiceReceived, InvoiceAccepted
                DebitNoteEvent
                    DebitNoteReceived, DebitNoteAccepted
        ExecutionInterrupted
        ShutdownFinished

Consumers must treat events as read-only: one object is shared by all of them, and the engine works with what
it refers to.

Own events are subclasses, emitted with `WorkContext.emit`::

    @attr.s(auto_attribs=True, repr=False)
    class ActivityEvaluated(ActivityEvent):
        activity_score: float

    ctx.emit(ActivityEvaluated, activity_score=7.5)

The subclass is frozen too (attrs carries that on), and may have mandatory attributes, because `exc_info` is
keyword-only.
"""

# Classes of events keep a `__dict__`: attrs then fills a frozen instance without a `__setattr__` call for
# each attribute, which makes it faster to construct, and a subclass may be declared with or without slots.
# Events are compared by identity: they tell of one moment, and comparing by value would compare (and hash)
# the user's data.

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from decimal import Decimal
    from types import TracebackType

    from statemachine import State

    from golem_nb.engine import Job
    from golem_nb.executor.task import Task
    from golem_nb.props import NodeInfo
    from golem_nb.rest.activity import Activity
    from golem_nb.rest.market import Agreement, OfferProposal, Subscription
    from golem_nb.rest.payment import DebitNote, Invoice
    from golem_nb.script import Script
    from golem_nb.script.command import Command
    from golem_nb.services import Service

__all__ = [
    "ActivityCreateFailed",
    "ActivityCreated",
    "ActivityEvent",
    "AgreementConfirmed",
    "AgreementCreated",
    "AgreementEvent",
    "AgreementRejected",
    "AgreementTerminated",
    "CollectFailed",
    "CommandEvent",
    "CommandExecuted",
    "CommandStarted",
    "CommandStdErr",
    "CommandStdOut",
    "DebitNoteAccepted",
    "DebitNoteEvent",
    "DebitNoteReceived",
    "DownloadFinished",
    "DownloadStarted",
    "Event",
    "ExecutionInterrupted",
    "GettingResults",
    "InvoiceAccepted",
    "InvoiceEvent",
    "InvoiceReceived",
    "JobEvent",
    "JobFinished",
    "JobStarted",
    "NoProposalsConfirmed",
    "PaymentFailed",
    "ProposalConfirmed",
    "ProposalEvent",
    "ProposalFailed",
    "ProposalReceived",
    "ProposalRejected",
    "ProposalResponded",
    "ScriptEvent",
    "ScriptFinished",
    "ScriptSent",
    "ServiceEvent",
    "ServiceFinished",
    "ServiceStateChanged",
    "ShutdownFinished",
    "SubscriptionCreated",
    "SubscriptionEvent",
    "SubscriptionFailed",
    "TaskAccepted",
    "TaskEvent",
    "TaskFinished",
    "TaskRejected",
    "TaskStarted",
    "WorkerFinished",
    "WorkerStarted",
]

#: What `sys.exc_info()` returns inside an ``except`` block.
ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None]"


def _now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen(eq=False, repr=False, slots=False)
class Event:
    """Base of all events.

    Parameters
    ----------
    exc_info
        The exception that belongs to the event, as `sys.exc_info()` gives it, or None.
    """

    exc_info: ExcInfo | None = attrs.field(default=None, kw_only=True)
    #: When the event happened: an aware datetime in UTC, taken at construction.
    timestamp: datetime = attrs.field(factory=_now, init=False)

    @property
    def exception(self) -> BaseException | None:
        """The exception that belongs to this event, or None."""
        return None if self.exc_info is None else self.exc_info[1]

    def __repr__(self) -> str:
        parts = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in attrs.fields(type(self))
            if field.name not in ("exc_info", "timestamp")
        ]
        if self.exception is not None:
            parts.append(f"exception={self.exception!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


@attrs.frozen(eq=False, repr=False, slots=False)
class JobEvent(Event):
    """Something about one job: one call of `execute_tasks` or `run_service`."""

    job: Job

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.job.id


@attrs.frozen(eq=False, repr=False, slots=False)
class SubscriptionEvent(JobEvent):
    """Something about a demand that is published on the market."""

    subscription: Subscription


@attrs.frozen(eq=False, repr=False, slots=False)
class ProposalEvent(JobEvent):
    """Something about one offer of a provider."""

    proposal: OfferProposal

    @property
    def prop_id(self) -> str:
        """Id of the proposal."""
        return self.proposal.id

    @property
    def provider_id(self) -> str:
        """Node id of the provider that made the offer."""
        return self.proposal.issuer


@attrs.frozen(eq=False, repr=False, slots=False)
class AgreementEvent(JobEvent):
    """Something about an agreement (not necessarily a confirmed one)."""

    agreement: Agreement

    @property
    def agr_id(self) -> str:
        """Id of the agreement."""
        return self.agreement.id

    @property
    def provider_id(self) -> str:
        """Node id of the agreement's provider."""
        return self.agreement.details.provider_id

    @property
    def provider_info(self) -> NodeInfo:
        """What the provider says of its node, e.g. its name: unverified text."""
        return self.agreement.details.provider_node_info


@attrs.frozen(eq=False, repr=False, slots=False)
class ActivityEvent(AgreementEvent):
    """Something about a provider's activity within an agreement."""

    activity: Activity


@attrs.frozen(eq=False, repr=False, slots=False)
class TaskEvent(ActivityEvent):
    """Something about one task."""

    task: Task[Any, Any]

    @property
    def task_id(self) -> str:
        """Id of the task."""
        return self.task.id

    @property
    def task_data(self) -> Any:
        """The data that the task was made with."""
        return self.task.data


@attrs.frozen(eq=False, repr=False, slots=False)
class ServiceEvent(ActivityEvent):
    """Something about one instance of a service."""

    service: Service


@attrs.frozen(eq=False, repr=False, slots=False)
class ScriptEvent(ActivityEvent):
    """Something about one script, a batch of commands."""

    script: Script

    @property
    def script_id(self) -> int:
        """Id of the script."""
        return self.script.id


@attrs.frozen(eq=False, repr=False, slots=False)
class CommandEvent(ScriptEvent):
    """Something about one command of a script."""

    command: Command


@attrs.frozen(eq=False, repr=False, slots=False)
class InvoiceEvent(AgreementEvent):
    """Something about the final invoice of an agreement."""

    invoice: Invoice

    @property
    def amount(self) -> Decimal:
        """The amount of the invoice, GLM."""
        return self.invoice.amount


@attrs.frozen(eq=False, repr=False, slots=False)
class DebitNoteEvent(AgreementEvent):
    """Something about a debit note."""

    debit_note: DebitNote

    @property
    def amount(self) -> Decimal:
        """The total amount due so far by the debit note, GLM."""
        return self.debit_note.total_amount_due


@attrs.frozen(eq=False, repr=False, slots=False)
class JobStarted(JobEvent):
    """A job was started."""


@attrs.frozen(eq=False, repr=False, slots=False)
class JobFinished(JobEvent):
    """A job is done: it succeeded if `exception` is None and failed otherwise."""


@attrs.frozen(eq=False, repr=False, slots=False)
class SubscriptionCreated(SubscriptionEvent):
    """The job's demand was published on the market."""


@attrs.frozen(eq=False, repr=False, slots=False)
class SubscriptionFailed(JobEvent):
    """The job's demand could not be published."""

    reason: str


@attrs.frozen(eq=False, repr=False, slots=False)
class CollectFailed(SubscriptionEvent):
    """Offers for the demand could not be fetched."""

    reason: str


@attrs.frozen(eq=False, repr=False, slots=False)
class ProposalReceived(ProposalEvent):
    """A provider's offer, or its answer to ours, came in."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ProposalRejected(ProposalEvent):
    """We decided to reject a provider's proposal because of `reason`."""

    reason: str | None = None


@attrs.frozen(eq=False, repr=False, slots=False)
class ProposalResponded(ProposalEvent):
    """We answered a provider's offer with a counter-proposal."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ProposalConfirmed(ProposalEvent):
    """The provider agreed to our counter-proposal: an agreement may be made of it."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ProposalFailed(ProposalEvent):
    """Answering a provider's proposal failed."""


@attrs.frozen(eq=False, repr=False, slots=False)
class NoProposalsConfirmed(JobEvent):
    """No proposal was confirmed for a period of `timeout`."""

    timeout: timedelta


@attrs.frozen(eq=False, repr=False, slots=False)
class AgreementCreated(AgreementEvent):
    """An agreement was made of a confirmed proposal and is to be sent to the provider."""


@attrs.frozen(eq=False, repr=False, slots=False)
class AgreementConfirmed(AgreementEvent):
    """The provider approved the agreement."""


@attrs.frozen(eq=False, repr=False, slots=False)
class AgreementRejected(AgreementEvent):
    """The provider rejected the agreement or did not answer."""


@attrs.frozen(eq=False, repr=False, slots=False)
class AgreementTerminated(AgreementEvent):
    """The agreement was ended, by us or by the provider, for `reason`."""

    reason: Mapping[str, Any]


@attrs.frozen(eq=False, repr=False, slots=False)
class DebitNoteReceived(DebitNoteEvent):
    """A debit note came in."""


@attrs.frozen(eq=False, repr=False, slots=False)
class DebitNoteAccepted(DebitNoteEvent):
    """A debit note was accepted."""


@attrs.frozen(eq=False, repr=False, slots=False)
class PaymentFailed(AgreementEvent):
    """An invoice or a debit note of the agreement could not be accepted."""


@attrs.frozen(eq=False, repr=False, slots=False)
class InvoiceReceived(InvoiceEvent):
    """The invoice came in."""


@attrs.frozen(eq=False, repr=False, slots=False)
class InvoiceAccepted(InvoiceEvent):
    """The invoice was accepted."""


@attrs.frozen(eq=False, repr=False, slots=False)
class WorkerStarted(AgreementEvent):
    """A worker (of tasks or of a service instance) got an agreement."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ActivityCreated(ActivityEvent):
    """The provider created an activity."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ActivityCreateFailed(AgreementEvent):
    """The provider did not create an activity."""


@attrs.frozen(eq=False, repr=False, slots=False)
class TaskStarted(TaskEvent):
    """A worker took the task."""


@attrs.frozen(eq=False, repr=False, slots=False)
class TaskFinished(TaskEvent):
    """The worker is done with the task."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ServiceStateChanged(ServiceEvent):
    """A service instance went from state `old` to state `new`."""

    old: State
    new: State


@attrs.frozen(eq=False, repr=False, slots=False)
class ServiceFinished(ServiceEvent):
    """A service instance has ended."""


@attrs.frozen(eq=False, repr=False, slots=False)
class WorkerFinished(ActivityEvent):
    """A worker ended; `exception` is set if it failed."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ScriptSent(ScriptEvent):
    """A script was sent to the provider."""

    @property
    def cmds(self) -> list[dict[str, Any]]:
        """The commands as they were sent."""
        return [command.evaluate() for command in self.script.commands]


@attrs.frozen(eq=False, repr=False, slots=False)
class GettingResults(ScriptEvent):
    """The worker waits for the results of a script."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ScriptFinished(ScriptEvent):
    """All commands of a script were executed."""


@attrs.frozen(eq=False, repr=False, slots=False)
class CommandExecuted(CommandEvent):
    """A command was executed. The output is None where it was streamed.

    A provider keeps a limited amount of output, a local one the first 4 MiB of each stream; `message` then
    says that there was more, although the command has succeeded.
    """

    success: bool
    message: str | None
    stdout: str | bytes | None = None
    stderr: str | bytes | None = None


@attrs.frozen(eq=False, repr=False, slots=False)
class CommandStarted(CommandEvent):
    """The provider began to execute a command."""


@attrs.frozen(eq=False, repr=False, slots=False)
class CommandStdOut(CommandEvent):
    """A piece of a command's standard output."""

    output: str | bytes


@attrs.frozen(eq=False, repr=False, slots=False)
class CommandStdErr(CommandEvent):
    """A piece of a command's standard error output."""

    output: str | bytes


@attrs.frozen(eq=False, repr=False, slots=False)
class TaskAccepted(TaskEvent):
    """The worker accepted the result of a task."""

    @property
    def result(self) -> Any:
        """The accepted result."""
        return self.task.result


@attrs.frozen(eq=False, repr=False, slots=False)
class TaskRejected(TaskEvent):
    """The worker rejected the result of a task, because of `reason`."""

    reason: str | None


@attrs.frozen(eq=False, repr=False, slots=False)
class DownloadStarted(CommandEvent):
    """A download from the provider began."""

    @property
    def path(self) -> str:
        """Path of the file on the provider."""
        return str(getattr(self.command, "src_path", ""))


@attrs.frozen(eq=False, repr=False, slots=False)
class DownloadFinished(CommandEvent):
    """A download from the provider is complete."""

    @property
    def path(self) -> str:
        """Local path of the file; of a download into memory, its path on the provider."""
        return str(getattr(self.command, "dst_path", None) or getattr(self.command, "src_path", ""))


@attrs.frozen(eq=False, repr=False, slots=False)
class ShutdownFinished(Event):
    """Golem completed the shutdown sequence and is no longer operative."""


@attrs.frozen(eq=False, repr=False, slots=False)
class ExecutionInterrupted(Event):
    """Golem was stopped by an unhandled exception in code that is not golem_nb's."""
