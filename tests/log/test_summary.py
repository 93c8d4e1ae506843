from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from golem_nb import events
from golem_nb.log import SummaryLogger, log_event, log_event_repr, log_summary
from golem_nb.log import summary as summary_module
from golem_nb.props import InvalidPropertiesError, NodeInfo


def job(job_id: str = "1") -> Any:
    return SimpleNamespace(id=job_id)


def agreement(name: str | None = "alice", provider_id: str = "0xalice", agr_id: str = "agr") -> Any:
    details = SimpleNamespace(provider_id=provider_id, provider_node_info=NodeInfo(name=name))
    return SimpleNamespace(id=agr_id, details=details)


def failed(event_class: Any, *args: Any, error: Exception) -> Any:
    return event_class(*args, exc_info=(type(error), error, None))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().removeprefix("[Job 1] ") for record in caplog.records]


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.contract("L04")
def test_story_of_a_batch(caplog: pytest.LogCaptureFixture) -> None:
    """Texts that people search their logs for."""
    seen: list[events.Event] = []
    log = SummaryLogger(seen.append).log
    alice, bob = agreement(), agreement("bob", "0xbob", "agr-2")
    task = SimpleNamespace(id="1", data={"frame": 1})
    story = [
        events.JobStarted(job()),
        events.ProposalReceived(job(), SimpleNamespace(id="p", issuer="0xalice")),
        events.AgreementCreated(job(), alice),
        events.AgreementConfirmed(job(), alice),
        events.AgreementConfirmed(job(), bob),
        events.TaskStarted(job(), alice, None, task),
        events.TaskAccepted(job(), alice, None, task),
        events.TaskFinished(job(), alice, None, task),
        events.TaskAccepted(job(), alice, None, task),
        *[failed(events.WorkerFinished, job(), bob, None, error=ValueError("boom"))] * 3,
        events.AgreementTerminated(job(), alice, {"golem.requestor.code": "Success", "message": "done"}),
        events.AgreementTerminated(
            job(), bob, {"golem.requestor.code": "Cancelled", "message": "Work cancelled"}
        ),
        events.JobFinished(job()),
        events.InvoiceAccepted(job(), alice, SimpleNamespace(amount=Decimal("0.2500000000000000"))),
        events.ShutdownFinished(),
    ]
    for event in story:
        log(event)

    assert seen == story
    written = messages(caplog)
    for text in (
        "Received proposals from 1 provider so far",
        "Agreement proposed to provider 'alice' (0xalice)",
        "Agreement confirmed by provider 'alice'",
        "Task started on provider 'alice', task data: {'frame': 1}",
        "Task finished by provider 'alice', task data: {'frame': 1}",
        "Job finished in 0.0s",
        "Negotiated 2 agreements with 2 providers",
        "Provider 'alice' computed 2 tasks",
        "Provider 'bob' did not compute any tasks",
        "Activity failed 3 times on provider 'bob'",
        "The cost so far: 0",
        "Accepted invoice from 'alice', amount: 0.25",
        "Total cost: 0.25",
        "Golem engine has shut down",
    ):
        assert text in written, text
    assert any(text.startswith("Terminated agreement with bob") for text in written)
    assert not any(text.startswith("Terminated agreement with alice") for text in written)


@pytest.mark.contract("L04")
def test_waiting_without_offers_adds_up(caplog: pytest.LogCaptureFixture) -> None:
    log = SummaryLogger().log
    log(events.JobStarted(job()))
    log(events.NoProposalsConfirmed(job(), timedelta(seconds=20)))
    log(events.NoProposalsConfirmed(job(), timedelta(seconds=20)))
    assert messages(caplog) == [
        f"No offers have been collected from the market for {seconds}s. Make sure you're using the latest"
        " released versions of yagna and golem_nb, and the correct subnet. "
        for seconds in (20, 40)
    ]
    log(events.ProposalReceived(job(), SimpleNamespace(id="p", issuer="0xalice")))
    log(events.NoProposalsConfirmed(job(), timedelta(seconds=20)))
    assert "1 provider has made offers, but none has confirmed one for 60s. " in messages(caplog)[-1]


def test_costs_take_the_last_debit_note_until_the_invoice(caplog: pytest.LogCaptureFixture) -> None:
    log = SummaryLogger().log
    log(events.JobStarted(job()))
    for amount in ("0.1", "0.2"):
        note = SimpleNamespace(total_amount_due=Decimal(amount))
        log(events.DebitNoteAccepted(job(), agreement(), note))
    log(events.JobFinished(job()))
    assert messages(caplog)[-1] == "The cost so far: 0.2"
    log(events.InvoiceAccepted(job(), agreement(), SimpleNamespace(amount=Decimal("0.3"))))
    log(events.ShutdownFinished())
    assert messages(caplog)[-2] == "Total cost: 0.3"


def test_failures_say_why(caplog: pytest.LogCaptureFixture) -> None:
    log = SummaryLogger().log
    log(failed(events.JobFinished, job(), error=TimeoutError("Job timed out after 0:15:00")))
    log(failed(events.PaymentFailed, job(), agreement(), error=OSError("no route")))
    log(failed(events.ExecutionInterrupted, error=KeyError("x")))
    log(failed(events.ShutdownFinished, error=OSError()))
    log(events.CommandExecuted(job(), agreement(), None, None, "Run /bin/false", False, "exit\n1"))
    written = messages(caplog)
    assert "Job failed, reason: Job timed out after 0:15:00" in written
    assert "Payment to provider 'alice' failed, reason: no route" in written
    assert "Golem was stopped by an unhandled exception: 'x'" in written
    assert "Error when shutting down Golem engine: OSError" in written
    assert "Command failed on provider 'alice', command: Run /bin/false, message: exit\\n1" in written


def test_jobs_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    log = SummaryLogger().log
    for job_id in ("1", "2"):
        log(events.JobStarted(job(job_id)))
    log(events.AgreementConfirmed(job("2"), agreement()))
    log(events.JobFinished(job("1")))
    texts = [record.getMessage() for record in caplog.records]
    assert "[Job 1] Negotiated 0 agreements with 0 providers" in texts
    log(events.JobFinished(job("2")))
    texts = [record.getMessage() for record in caplog.records]
    assert "[Job 2] Negotiated 1 agreements with 1 provider" in texts


def test_provider_texts_are_harmless(caplog: pytest.LogCaptureFixture) -> None:
    log = SummaryLogger().log
    log(events.AgreementConfirmed(job(), agreement("x\n[ERROR] fake\x1b[31m%s" + "y" * 500)))
    text = messages(caplog)[0]
    assert text.startswith("Agreement confirmed by provider 'x\\n[ERROR] fake\\x1b[31m%syyy")
    assert text.isprintable()
    assert len(text) < 200

    class Unreadable:
        provider_id = "0xbad"

        @property
        def provider_node_info(self) -> NodeInfo:
            raise InvalidPropertiesError("name is a list")

    log(events.AgreementConfirmed(job(), SimpleNamespace(id="a", details=Unreadable())))
    log(events.AgreementConfirmed(job(), agreement(None)))
    assert messages(caplog)[1:] == [
        "Agreement confirmed by provider '0xbad'",
        "Agreement confirmed by provider '0xalice'",
    ]


@pytest.mark.contract("L04")
def test_task_data_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    SummaryLogger().log(
        events.TaskStarted(job(), agreement(), None, SimpleNamespace(id="1", data="d" * 1000))
    )
    assert messages(caplog)[0].endswith("task data: " + "d" * 197 + "...")


async def test_proposals_are_gathered_into_one_line_and_no_timer_stays(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary_module, "_PROPOSALS_EVERY", 0.05)
    log = SummaryLogger().log
    timers = []
    loop = asyncio.get_running_loop()
    real = loop.call_later
    monkeypatch.setattr(
        loop, "call_later", lambda delay, *args: timers.append(delay) or real(delay, *args), raising=False
    )
    log(events.JobStarted(job()))
    for n in range(5):
        log(events.ProposalReceived(job(), SimpleNamespace(id="p", issuer=f"0x{n}")))
        log(events.ProposalReceived(job(), SimpleNamespace(id="p", issuer=f"0x{n}")))
    assert messages(caplog) == []
    await asyncio.sleep(0.2)
    assert messages(caplog) == ["Received proposals from 5 providers so far"]
    assert timers.count(0.05) == 1


@pytest.mark.contract("L03", "G06")
def test_log_summary_wraps_log_event_repr(caplog: pytest.LogCaptureFixture) -> None:
    consumer = log_summary(log_event_repr)
    with caplog.at_level(logging.DEBUG, logger="golem_nb"):
        consumer(events.SubscriptionFailed(job(), "no\x1bnet"))
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("DEBUG", "SubscriptionFailed(job=namespace(id='1'), reason='no\\x1bnet')"),
        ("ERROR", "[Job 1] Subscription failed: no\\x1bnet"),
    ]


@pytest.mark.contract("L03")
def test_log_event_is_readable(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="golem_nb"):
        log_event(events.AgreementConfirmed(job(), agreement()))
        log_event(events.CommandStdOut(job(), agreement(), None, SimpleNamespace(id=3), "Run ls", "a\x1bb"))
        log_event(events.ShutdownFinished())
    assert messages(caplog) == [
        "Agreement confirmed; job_id = 1, agr_id = agr, provider_id = 0xalice",
        "Command std out; job_id = 1, agr_id = agr, provider_id = 0xalice, script_id = 3, command = Run ls,"
        " output = a\\x1bb",
        "Shutdown finished",
    ]
