"""Events in, tables out."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import attr
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golem_nb import events as ev
from golem_nb.frames import Recorder, log
from golem_nb.frames.text import OUTPUT_LIMIT
from golem_nb.rest.notes import PaymentRecord
from golem_nb.services.state import ServiceState

from .conftest import NOW, World, offer_props

FRAMES = ("events", "tasks", "agreements", "activities", "services", "costs", "offers")
Clock = Callable[[Any, float], Any]
RUN = type("Run", (), {})()


def test_nothing_is_imported_before_a_frame_is_made() -> None:
    code = (
        "import sys; from golem_nb.frames import Recorder, OfferTable, history; from golem_nb.events import "
        "ShutdownFinished; r = Recorder(); r.take(ShutdownFinished()); OfferTable(); "
        "assert not {'pandas', 'numpy'} & set(sys.modules); r.events(); assert 'pandas' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", FRAMES)
def test_an_empty_frame_has_the_columns_and_kinds_of_a_full_one(name: str, world: World, at: Clock) -> None:
    full, empty = Recorder(), Recorder()
    fill(full, world, at)
    there, nothing = getattr(full, name)(), getattr(empty, name)()
    assert len(there) > 0
    assert nothing.empty
    assert list(nothing.columns) == list(there.columns)
    for column in there.columns:
        assert str(nothing[column].dtype) == str(there[column].dtype), column


@pytest.mark.parametrize("name", FRAMES)
def test_every_column_is_described(name: str) -> None:
    from golem_nb.frames import OfferTable

    text = (OfferTable if name == "offers" else getattr(Recorder, name)).__doc__
    missing = [column for column in getattr(Recorder(), name)().columns if f"``{column}``" not in text]
    assert missing == []


def fill(recorder: Recorder, world: World, at: Clock) -> None:
    """One of each: an agreement with an activity, a task, a service, an offer, a bill."""
    job, agreement = world.job(), world.agreement()
    activity, task = world.activity(agreement), world.task()
    three = (job, agreement, activity)
    proposal = SimpleNamespace(
        issuer=agreement.details.provider_id, props=offer_props(), is_draft=False, timestamp=NOW
    )
    service = SimpleNamespace(id="service-1", exc_info=(None, None, None))
    script = SimpleNamespace(id=1)
    for event, seconds in (
        (ev.JobStarted(job), 0),
        (ev.ProposalReceived(job, proposal), 0.1),
        (ev.AgreementCreated(job, agreement), 1),
        (ev.AgreementConfirmed(job, agreement), 2),
        (ev.ActivityCreated(*three), 3),
        (ev.ServiceStateChanged(*three, service, ServiceState.pending, ServiceState.starting), 3),
        (ev.TaskStarted(*three, task), 4),
        (ev.ScriptSent(*three, script), 4),
        (ev.CommandExecuted(*three, script, RUN, True, None, stdout="hello\n"), 5),
        (ev.TaskAccepted(*three, task), 6),
        (ev.TaskFinished(*three, task), 6),
        (ev.DebitNoteReceived(job, agreement, world.note(agreement, activity, "0.002", [10.0, 5.0])), 7),
    ):
        recorder.take(at(event, seconds))


def test_a_task(recorder: Recorder, world: World, at: Clock) -> None:
    fill(recorder, world, at)
    (row,) = recorder.tasks().to_dict("records")
    assert row["state"] == "accepted"
    assert row["tries"] == 1
    assert row["provider"] == "provider-1"
    assert row["started"] == pd.Timestamp(NOW) + timedelta(seconds=4)
    assert row["duration"] == timedelta(seconds=2)
    assert row["stdout"] == "hello\n"
    # it has all of the agreement's cost: 0.001 + 10 s at 0.0001 + 5 s at 0.0002
    assert row["cost"] == pytest.approx(0.003)
    assert recorder.tasks("1").equals(recorder.tasks())
    assert recorder.tasks("2").empty


def test_a_task_that_is_tried_twice(recorder: Recorder, world: World, at: Clock) -> None:
    job, task = world.job(), world.task()
    first, second = world.agreement(1), world.agreement(2)
    one, two = world.activity(first), world.activity(second)
    recorder.take(at(ev.TaskStarted(job, first, one, task), 0))
    recorder.take(at(ev.TaskFinished(job, first, one, task), 5))
    error = RuntimeError("no such file")
    recorder.take(at(ev.WorkerFinished(job, first, one, exc_info=(type(error), error, None)), 5))
    (row,) = recorder.tasks().to_dict("records")
    assert (row["state"], row["tries"], row["message"]) == ("waiting", 1, "RuntimeError: no such file")
    recorder.take(at(ev.TaskStarted(job, second, two, task), 6))
    recorder.take(at(ev.TaskRejected(job, second, two, task, "wrong"), 8))
    recorder.take(at(ev.TaskFinished(job, second, two, task), 8))
    (row,) = recorder.tasks().to_dict("records")
    assert (row["state"], row["tries"], row["message"]) == ("rejected", 2, "wrong")
    assert (row["provider"], row["duration"]) == ("provider-2", timedelta(seconds=2))


def test_tasks_without_a_result_have_failed_when_their_job_is_over(
    recorder: Recorder, world: World, at: Clock
) -> None:
    job, agreement = world.job(), world.agreement()
    activity = world.activity(agreement)
    for _ in range(2):
        recorder.take(ev.TaskStarted(job, agreement, activity, world.task()))
    recorder.take(ev.JobFinished(world.job("another")))
    assert set(recorder.tasks()["state"]) == {"running"}
    recorder.take(ev.JobFinished(job))
    assert set(recorder.tasks()["state"]) == {"failed"}


def test_a_task_that_another_job_tries_again_is_the_other_jobs(
    recorder: Recorder, world: World, at: Clock
) -> None:
    first, second = world.job("a"), world.job("b")
    agreement, other = world.agreement(1), world.agreement(2)
    activity, another = world.activity(agreement), world.activity(other)
    good, bad = world.task(), world.task()
    for task in (good, bad):
        recorder.take(ev.TaskStarted(first, agreement, activity, task))
        recorder.take(ev.TaskFinished(first, agreement, activity, task))
    recorder.take(ev.TaskStarted(second, other, another, good))
    # the first job still had agreements to end
    recorder.take(ev.JobFinished(first))
    assert list(recorder.tasks()["state"]) == ["running", "failed"]
    recorder.take(ev.TaskAccepted(second, other, another, good))
    recorder.take(ev.TaskStarted(second, other, another, bad))
    recorder.take(ev.TaskFinished(second, other, another, bad))
    recorder.take(ev.JobFinished(second))
    assert list(recorder.tasks()["state"]) == ["accepted", "failed"]
    assert len(recorder.tasks("b")) == 2


def test_tasks_share_the_cost_of_their_agreement_by_time(recorder: Recorder, world: World, at: Clock) -> None:
    job, agreement = world.job(), world.agreement()
    activity = world.activity(agreement)
    for start, seconds in ((0, 1), (1, 3)):
        task = world.task()
        recorder.take(at(ev.TaskStarted(job, agreement, activity, task), start))
        recorder.take(at(ev.TaskAccepted(job, agreement, activity, task), start + seconds))
    recorder.take(ev.InvoiceAccepted(job, agreement, world.invoice(agreement, "0.4")))
    assert list(recorder.tasks()["cost"]) == pytest.approx([0.1, 0.3])


def test_agreements_and_activities(recorder: Recorder, world: World, at: Clock) -> None:
    job = world.job()
    good, refused = world.agreement(1), world.agreement(2)
    activity = world.activity(good)
    error = RuntimeError("too busy")
    for event, seconds in (
        (ev.AgreementCreated(job, good), 0),
        (ev.AgreementCreated(job, refused), 0),
        (ev.AgreementRejected(job, refused, exc_info=(type(error), error, None)), 1),
        (ev.AgreementConfirmed(job, good), 1),
        (ev.ActivityCreated(job, good, activity), 2),
        (ev.WorkerFinished(job, good, activity), 5),
        (ev.AgreementTerminated(job, good, {"message": "done"}), 11),
    ):
        recorder.take(at(event, seconds))
    agreements = recorder.agreements().to_dict("records")
    assert [row["state"] for row in agreements] == ["terminated", "rejected"]
    assert [row["message"] for row in agreements] == ["done", "RuntimeError: too busy"]
    assert agreements[0]["duration"] == timedelta(seconds=10)
    assert agreements[0]["activities"] == 1
    assert agreements[0]["price_hour"] == pytest.approx(0.36)
    (row,) = recorder.activities().to_dict("records")
    assert (row["state"], row["duration"]) == ("ended", timedelta(seconds=3))


def test_what_goes_on_gets_longer(recorder: Recorder, world: World) -> None:
    job, agreement = world.job(), world.agreement()
    event = ev.ActivityCreated(job, agreement, world.activity(agreement))
    object.__setattr__(event, "timestamp", event.timestamp - timedelta(seconds=100))
    recorder.take(event)
    assert recorder.activities()["duration"][0] >= timedelta(seconds=99)
    assert recorder.costs()["usage"][0] >= timedelta(seconds=99)
    assert recorder.costs()["expected"][0] >= 0.001 + 99 * 0.0001


def test_states_of_services_are_intervals(recorder: Recorder, world: World, at: Clock) -> None:
    job, agreement = world.job(), world.agreement()
    activity = world.activity(agreement)
    error = RuntimeError("gone")
    service = SimpleNamespace(id="s", exc_info=(type(error), error, None))
    states = [
        ServiceState.pending,
        ServiceState.starting,
        ServiceState.running,
        ServiceState.stopping,
        ServiceState.terminated,
    ]
    for number, (old, new) in enumerate(itertools.pairwise(states)):
        recorder.take(at(ev.ServiceStateChanged(job, agreement, activity, service, old, new), 10 * number))
    recorder.take(at(ev.ServiceFinished(job, agreement, activity, service), 40))
    frame = recorder.services()
    assert list(frame["state"]) == ["starting", "running", "stopping", "terminated"]
    assert list(frame["duration"].dt.total_seconds()) == [10, 10, 10, 0]
    assert list(frame["current"]) == [False, False, False, True]
    assert list(frame["start"][1:]) == list(frame["end"][:-1])
    assert frame["message"][3] == "RuntimeError: gone"


def test_an_instance_is_suspended_until_it_is_resumed(recorder: Recorder, world: World, at: Clock) -> None:
    job, agreement = world.job(), world.agreement()
    activity = world.activity(agreement)
    first, again = (SimpleNamespace(id="s", exc_info=(None, None, None)) for _ in range(2))
    running, suspended = ServiceState.running, ServiceState.suspended
    recorder.take(
        at(ev.ServiceStateChanged(job, agreement, activity, first, ServiceState.starting, running), 0)
    )
    recorder.take(at(ev.ServiceStateChanged(job, agreement, activity, first, running, suspended), 10))
    frame = recorder.services()
    assert frame["end"].isna().tolist() == [False, True]
    assert frame["current"].tolist() == [False, True]
    recorder.take(at(ev.ServiceStateChanged(job, agreement, activity, again, suspended, running), 30))
    frame = recorder.services()
    assert frame["service"].nunique() == 1
    assert list(frame["state"]) == ["running", "suspended", "running"]
    assert list(frame["duration"].dt.total_seconds())[:2] == [10, 20]
    assert frame["current"].tolist() == [False, False, True]


amounts = st.decimals(min_value=0, max_value=10**6, places=18)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(amounts, amounts, st.booleans(), amounts), min_size=1, max_size=20))
def test_totals_are_exact(bills: list[tuple[Decimal, Decimal, bool, Decimal]]) -> None:
    world, recorder = World(), Recorder()
    job = world.job()
    due = invoiced = accepted = settled = Decimal(0)
    payments = []
    for note, invoice, taken, paid in bills:
        agreement = world.agreement()
        activity = world.activity(agreement)
        recorder.take(ev.ActivityCreated(job, agreement, activity))
        recorder.take(
            ev.DebitNoteAccepted(job, agreement, world.note(agreement, activity, str(note), [1.0, 1.0]))
        )
        recorder.take(ev.InvoiceReceived(job, agreement, world.invoice(agreement, str(invoice))))
        if taken:
            recorder.take(ev.InvoiceAccepted(job, agreement, world.invoice(agreement, str(invoice))))
        payments.append(payment(agreement.id, paid))
        due, invoiced, settled = due + note, invoiced + invoice, settled + paid
        accepted += invoice if taken else note
    recorder.add_payments(payments)
    recorder.add_payments(payments)
    totals = recorder.totals()
    assert (totals.due, totals.invoiced, totals.accepted, totals.settled) == (
        due,
        invoiced,
        accepted,
        settled,
    )
    frame = recorder.costs()
    assert frame.attrs["totals"]["accepted"] == accepted
    for column, total in (("accepted", accepted), ("due", due), ("settled", settled)):
        assert frame[column].sum() == pytest.approx(float(total), rel=1e-12)


def payment(agreement_id: str, amount: Decimal) -> PaymentRecord:
    return PaymentRecord(
        payment_id=f"payment of {agreement_id}",
        payer_address="",
        payee_id="",
        payee_address="",
        payment_platform="",
        amount=amount,
        timestamp=NOW,
        agreement_payments={agreement_id: amount},
        activity_payments={},
        details="",
    )


def test_the_same_frame_is_given_until_something_changes(recorder: Recorder, world: World, at: Clock) -> None:
    fill(recorder, world, at)
    first, second = recorder.events(), recorder.events()
    assert first is not second
    assert first["time"].array is second["time"].array or first.equals(second)
    first.loc[0, "event"] = None
    first["new"] = 1
    assert recorder.events().equals(second)
    recorder.take(ev.ShutdownFinished())
    assert len(recorder.events()) == len(second) + 1


def test_events_tell_what_happened_but_keep_no_objects(recorder: Recorder, world: World, at: Clock) -> None:
    fill(recorder, world, at)
    frame = recorder.events()
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert frame["time"][0] == pd.Timestamp(NOW)
    executed = frame[frame["event"] == "CommandExecuted"].iloc[0]
    assert (executed["command"], executed["success"], executed["output"]) == ("Run", True, "hello\n")
    assert frame["amount"].sum() == pytest.approx(0.002)
    assert set(frame.iloc[3].dropna().index) == {
        "time", "event", "job", "provider", "provider_id", "agreement",
    }  # fmt: skip


def test_events_of_ones_own(recorder: Recorder, world: World) -> None:
    @attr.s(auto_attribs=True, repr=False)
    class ActivityEvaluated(ev.ActivityEvent):
        activity_score: float

    agreement = world.agreement()
    recorder.take(ActivityEvaluated(world.job(), agreement, world.activity(agreement), 7.5))
    assert list(recorder.events()["event"]) == ["ActivityEvaluated"]
    assert list(recorder.events()["provider"]) == ["provider-1"]


def test_hostile_text_is_tamed_and_short(recorder: Recorder, world: World) -> None:
    job = world.job()
    agreement = world.agreement(props=offer_props("\x1b[2J\u202eevil" + "x" * 10_000))
    activity = world.activity(agreement)
    script = SimpleNamespace(id=1)
    flood = "\x1b]0;title\x07" + "y" * 10_000_000
    recorder.take(ev.CommandExecuted(job, agreement, activity, script, RUN, False, flood, stdout=flood))
    recorder.take(ev.CommandStdOut(job, agreement, activity, script, RUN, b"\xff\xfe" * 10_000))
    frame = recorder.events()
    assert frame["provider"][0].startswith("\\x1b[2J\\u202eevil")
    assert len(frame["provider"][0]) < 120
    assert len(frame["output"][0]) <= OUTPUT_LIMIT + 20
    assert "\x1b" not in repr(frame) + frame.to_string() + frame.to_html()
    assert len(frame["message"][0]) <= 1020
    assert isinstance(frame["output"][1], str)


@settings(max_examples=60, deadline=None)
@given(st.text(), st.one_of(st.text(), st.binary(), st.none()))
def test_any_text_is_taken(name: str, output: Any) -> None:
    world, recorder = World(), Recorder()
    agreement = world.agreement(props=offer_props(name))
    activity = world.activity(agreement)
    script = SimpleNamespace(id=1)
    recorder.take(
        ev.CommandExecuted(world.job(), agreement, activity, script, RUN, True, name, stdout=output)
    )
    recorder.events().to_string().encode()
    recorder.events().to_json(date_format="iso")


def test_streamed_output_belongs_to_the_task(recorder: Recorder, world: World) -> None:
    job, agreement, task = world.job(), world.agreement(), world.task()
    activity = world.activity(agreement)
    script = SimpleNamespace(id=1)
    recorder.take(ev.TaskStarted(job, agreement, activity, task))
    for piece in ("one\n", "two\n", "z" * 5000):
        recorder.take(ev.CommandStdOut(job, agreement, activity, script, RUN, piece))
    recorder.take(ev.CommandStdErr(job, agreement, activity, script, RUN, "not this"))
    (stdout,) = recorder.tasks()["stdout"]
    assert stdout.startswith("one\ntwo\nzzz")
    assert len(stdout) <= OUTPUT_LIMIT


def test_output_is_bounded_all_together(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr("golem_nb.frames.columns.TEXT_BUDGET", 10_000)
    recorder = Recorder()
    job, agreement = world.job(), world.agreement()
    activity = world.activity(agreement)
    for _ in range(10):
        recorder.take(
            ev.CommandStdOut(job, agreement, activity, SimpleNamespace(id=1), RUN, "z" * OUTPUT_LIMIT)
        )
    kept = recorder.events()["output"].notna()
    assert list(kept) == [False] * 8 + [True] * 2


def test_the_oldest_events_go_first(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(log, "KEPT", 100)
    recorder = Recorder()
    for number in range(1000):
        recorder.take(ev.SubscriptionFailed(world.job(str(number)), reason=str(number)))
        frame_is_right = len(recorder.events()) <= 152
        assert frame_is_right
    frame = recorder.events()
    assert list(frame.index)[-1] == 999
    assert list(frame["message"]) == [str(number) for number in frame.index]
    assert list(frame["job"]) == list(frame["message"])


def test_frames_are_consistent_while_events_go_on(world: World) -> None:
    recorder = Recorder()
    job, agreement = world.job(), world.agreement()
    activity = world.activity(agreement)
    stop = threading.Event()

    def produce() -> None:
        while not stop.is_set():
            task = world.task()
            recorder.take(ev.TaskStarted(job, agreement, activity, task))
            recorder.take(ev.TaskAccepted(job, agreement, activity, task))

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        for _ in range(8):
            tasks, events = recorder.tasks(), recorder.events()
            done = tasks[tasks["state"] == "accepted"]
            assert done["finished"].notna().all()
            assert (tasks["state"] == "running").sum() <= 1
            assert events["event"].notna().all()
    finally:
        stop.set()
        thread.join()
