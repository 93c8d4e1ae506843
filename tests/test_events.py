from __future__ import annotations

import inspect
import sys
import timeit
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import attr
import attrs
import pytest

from golem_nb import events

# The documented tree: class -> (parent, constructor parameters before the keyword-only `exc_info`).
AGREEMENT = ["job", "agreement"]
ACTIVITY = [*AGREEMENT, "activity"]
SCRIPT = [*ACTIVITY, "script"]
COMMAND = [*SCRIPT, "command"]
TREE = {
    "JobEvent": ("Event", ["job"]),
    "SubscriptionFailed": ("JobEvent", ["job", "reason"]),
    "SubscriptionEvent": ("JobEvent", ["job", "subscription"]),
    "SubscriptionCreated": ("SubscriptionEvent", ["job", "subscription"]),
    "CollectFailed": ("SubscriptionEvent", ["job", "subscription", "reason"]),
    "ProposalEvent": ("JobEvent", ["job", "proposal"]),
    "ProposalReceived": ("ProposalEvent", ["job", "proposal"]),
    "ProposalRejected": ("ProposalEvent", ["job", "proposal", "reason=None"]),
    "ProposalResponded": ("ProposalEvent", ["job", "proposal"]),
    "ProposalConfirmed": ("ProposalEvent", ["job", "proposal"]),
    "ProposalFailed": ("ProposalEvent", ["job", "proposal"]),
    "NoProposalsConfirmed": ("JobEvent", ["job", "timeout"]),
    "JobStarted": ("JobEvent", ["job"]),
    "JobFinished": ("JobEvent", ["job"]),
    "AgreementEvent": ("JobEvent", AGREEMENT),
    "AgreementCreated": ("AgreementEvent", AGREEMENT),
    "AgreementConfirmed": ("AgreementEvent", AGREEMENT),
    "AgreementRejected": ("AgreementEvent", AGREEMENT),
    "AgreementTerminated": ("AgreementEvent", [*AGREEMENT, "reason"]),
    "ActivityCreateFailed": ("AgreementEvent", AGREEMENT),
    "WorkerStarted": ("AgreementEvent", AGREEMENT),
    "ActivityEvent": ("AgreementEvent", ACTIVITY),
    "ActivityCreated": ("ActivityEvent", ACTIVITY),
    "TaskEvent": ("ActivityEvent", [*ACTIVITY, "task"]),
    "TaskStarted": ("TaskEvent", [*ACTIVITY, "task"]),
    "TaskFinished": ("TaskEvent", [*ACTIVITY, "task"]),
    "TaskAccepted": ("TaskEvent", [*ACTIVITY, "task"]),
    "TaskRejected": ("TaskEvent", [*ACTIVITY, "task", "reason"]),
    "ServiceEvent": ("ActivityEvent", [*ACTIVITY, "service"]),
    "ServiceStateChanged": ("ServiceEvent", [*ACTIVITY, "service", "old", "new"]),
    "ServiceFinished": ("ServiceEvent", [*ACTIVITY, "service"]),
    "ScriptEvent": ("ActivityEvent", SCRIPT),
    "ScriptSent": ("ScriptEvent", SCRIPT),
    "CommandEvent": ("ScriptEvent", COMMAND),
    "CommandStarted": ("CommandEvent", COMMAND),
    "CommandStdOut": ("CommandEvent", [*COMMAND, "output"]),
    "CommandStdErr": ("CommandEvent", [*COMMAND, "output"]),
    "CommandExecuted": (
        "CommandEvent",
        [*COMMAND, "success", "message", "stdout=None", "stderr=None"],
    ),
    "DownloadStarted": ("CommandEvent", COMMAND),
    "DownloadFinished": ("CommandEvent", COMMAND),
    "GettingResults": ("ScriptEvent", SCRIPT),
    "ScriptFinished": ("ScriptEvent", SCRIPT),
    "WorkerFinished": ("ActivityEvent", ACTIVITY),
    "InvoiceEvent": ("AgreementEvent", [*AGREEMENT, "invoice"]),
    "InvoiceReceived": ("InvoiceEvent", [*AGREEMENT, "invoice"]),
    "InvoiceAccepted": ("InvoiceEvent", [*AGREEMENT, "invoice"]),
    "DebitNoteEvent": ("AgreementEvent", [*AGREEMENT, "debit_note"]),
    "DebitNoteReceived": ("DebitNoteEvent", [*AGREEMENT, "debit_note"]),
    "DebitNoteAccepted": ("DebitNoteEvent", [*AGREEMENT, "debit_note"]),
    "PaymentFailed": ("AgreementEvent", AGREEMENT),
    "ExecutionInterrupted": ("Event", []),
    "ShutdownFinished": ("Event", []),
}


@pytest.mark.contract("V01")
@pytest.mark.parametrize("name", TREE)
def test_class_has_the_documented_parent_and_signature(name: str) -> None:
    parent, parameters = TREE[name]
    cls = getattr(events, name)
    assert cls.__bases__ == (getattr(events, parent),)
    written = [
        p.name if p.default is p.empty else f"{p.name}={p.default}"
        for p in inspect.signature(cls).parameters.values()
    ]
    assert written == [*parameters, "exc_info=None"]
    assert inspect.signature(cls).parameters["exc_info"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.contract("V01")
def test_exported_names_are_sorted_and_complete() -> None:
    assert events.__all__ == sorted(events.__all__)
    assert set(events.__all__) == {"Event", *TREE}


@pytest.mark.contract("V02")
def test_timestamp_is_the_time_of_construction() -> None:
    before = datetime.now(UTC)
    first = events.JobStarted(None)
    second = events.JobStarted(None)
    after = datetime.now(UTC)
    assert before <= first.timestamp <= second.timestamp <= after
    assert first.timestamp.utcoffset() == timedelta(0)
    assert "timestamp" not in inspect.signature(events.JobStarted).parameters


@pytest.mark.contract("V01")
def test_events_are_frozen_and_compared_by_identity() -> None:
    event = events.TaskRejected("job", "agreement", "activity", {"un": "hashable"}, None)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.job = "other"
    assert event != events.TaskRejected("job", "agreement", "activity", {"un": "hashable"}, None)
    assert {event: 1}[event] == 1


@pytest.mark.contract("V03")
def test_repr_has_the_fields_and_the_exception() -> None:
    assert (
        repr(events.ProposalRejected("j", "p", "no"))
        == "ProposalRejected(job='j', proposal='p', reason='no')"
    )
    assert str(events.ShutdownFinished()) == "ShutdownFinished()"
    try:
        raise ValueError("wrong")
    except ValueError as error:
        raised = error
        event = events.JobFinished("j", exc_info=sys.exc_info())
    assert event.exception is raised
    assert str(event) == "JobFinished(job='j', exception=ValueError('wrong'))"
    assert events.JobFinished("j").exception is None


@pytest.mark.contract("V04")
def test_helper_properties() -> None:
    info = SimpleNamespace(name="provider-1")
    job = SimpleNamespace(id="1")
    agreement = SimpleNamespace(
        id="a1", details=SimpleNamespace(provider_id="0xprovider", provider_node_info=info)
    )
    proposal = SimpleNamespace(id="p1", issuer="0xissuer")
    task = SimpleNamespace(id="7", data={"frame": 1}, result="done")

    offered = events.ProposalReceived(job, proposal)
    assert (offered.job_id, offered.prop_id, offered.provider_id) == ("1", "p1", "0xissuer")
    created = events.AgreementCreated(job, agreement)
    assert (created.agr_id, created.provider_id, created.provider_info.name) == (
        "a1",
        "0xprovider",
        "provider-1",
    )
    accepted = events.TaskAccepted(job, agreement, None, task)
    assert (accepted.task_id, accepted.task_data, accepted.result) == ("7", {"frame": 1}, "done")
    invoice = SimpleNamespace(amount=Decimal("0.5"))
    assert events.InvoiceAccepted(job, agreement, invoice).amount == Decimal("0.5")
    note = SimpleNamespace(total_amount_due=Decimal("0.25"))
    assert events.DebitNoteReceived(job, agreement, note).amount == Decimal("0.25")

    deploy = SimpleNamespace(evaluate=lambda: {"deploy": {}})
    script = SimpleNamespace(id=3, commands=[deploy])
    sent = events.ScriptSent(job, agreement, None, script)
    assert (sent.script_id, sent.cmds) == (3, [{"deploy": {}}])
    to_file = SimpleNamespace(src_path="/golem/out", dst_path="out.txt")
    in_memory = SimpleNamespace(src_path="/golem/out")
    assert events.DownloadStarted(job, agreement, None, script, to_file).path == "/golem/out"
    assert events.DownloadFinished(job, agreement, None, script, to_file).path == "out.txt"
    assert events.DownloadFinished(job, agreement, None, script, in_memory).path == "/golem/out"


@attr.s(auto_attribs=True, repr=False)
class ActivityEvaluated(events.ActivityEvent):
    activity_score: float


@attrs.define(repr=False)
class Scored(events.ActivityEvent):
    score: float
    scale: int = 10


@pytest.mark.contract("V07")
def test_own_event_written_as_documented() -> None:
    event = ActivityEvaluated("job", "agreement", "activity", activity_score=6.5)
    assert isinstance(event, events.ActivityEvent)
    assert str(event) == (
        "ActivityEvaluated(job='job', agreement='agreement', activity='activity', activity_score=6.5)"
    )
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.activity_score = 1.0
    signature = inspect.signature(ActivityEvaluated)
    assert list(signature.parameters) == ["job", "agreement", "activity", "activity_score", "exc_info"]
    assert signature.parameters["exc_info"].kind is inspect.Parameter.KEYWORD_ONLY
    assert abs(event.timestamp - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.contract("V07")
def test_own_event_with_modern_attrs_and_with_no_fields() -> None:
    assert Scored("j", "a", "act", 1.5).scale == 10

    class Ping(events.JobEvent):
        pass

    assert str(Ping("j")) == "Ping(job='j')"


def test_construction_is_cheap() -> None:
    number = 2_000

    def construct() -> None:
        events.CommandExecuted(None, None, None, None, None, True, "message", stdout="out")

    seconds = min(timeit.repeat(construct, number=number, repeat=5))
    assert seconds / number < 5e-6
