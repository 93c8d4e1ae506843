"""Providers that do not keep to the rules: the results come all the same, and no money is lost."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Task, WorkContext
from golem_nb.engine import (
    JobTimeoutError,
    OverchargeError,
    TasksFailedError,
    agreements,
    offers,
    payments,
    scripts,
)
from golem_nb.engine import (
    worker as worker_module,
)
from golem_nb.events import AgreementTerminated
from golem_nb.localnet import Misbehaviour
from golem_nb.rest.activity import BatchError, BatchTimeoutError
from golem_nb.strategy import SCORE_NEUTRAL, SCORE_TRUSTED, MarketStrategy

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork, LocalProvider
    from golem_nb.rest.market import OfferProposal

    from .conftest import Batch

pytestmark = [pytest.mark.localnet, pytest.mark.xdist_group("unruly")]

ALL = ["0", "1", "2", "3"]


@pytest.mark.parametrize("kind", ["refuse-proposal", "ignore-proposal", "refuse-agreement"])
async def test_a_provider_that_does_not_want(batch: Batch, bad: LocalProvider, kind: str) -> None:
    await bad.misbehave(kind)
    outcome = await batch()
    assert outcome.error is None
    assert sorted(outcome.results) == ALL
    assert bad.node_id not in outcome.accepted
    assert outcome.seconds < 20


@pytest.mark.parametrize("kind", ["refuse-proposal", "ignore-proposal", "refuse-agreement"])
async def test_when_nobody_wants_the_job_ends_with_its_time(
    batch: Batch, bad: LocalProvider, kind: str
) -> None:
    await bad.misbehave(kind)
    outcome = await batch(only="bad", timeout=2)
    assert isinstance(outcome.error, JobTimeoutError)
    assert "timed out after 0:00:02: no agreement was made; " in str(outcome.error)
    assert outcome.results == []
    # nothing was bought, so that there is nothing to wait for
    assert outcome.seconds_to_stop < 1
    assert not outcome.of("InvoiceReceived", "PaymentFailed")


class Prefer(MarketStrategy):
    """Has one provider tried before all others."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id

    async def score_offer(self, offer: OfferProposal) -> float:
        """Score the one higher."""
        return SCORE_TRUSTED if offer.issuer == self._node_id else SCORE_NEUTRAL


@pytest.fixture
def bad_first(batch: Batch, bad: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Run tasks as `batch` does, and be sure that the unruly provider is the first that is tried."""
    monkeypatch.setattr(offers, "PREFERENCE_WAIT", 30.0)
    return partial(batch, strategy=Prefer(bad.node_id))


async def test_a_provider_that_never_approves(
    bad_first: Batch, bad: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreements, "APPROVAL_TIMEOUT", 1.0)
    await bad.misbehave("ignore-agreement")
    outcome = await bad_first()
    assert outcome.error is None
    assert sorted(outcome.results) == ALL
    assert {event.provider_id for event in outcome.of("AgreementRejected")} == {bad.node_id}
    assert bad.node_id not in outcome.accepted


async def test_a_provider_that_starts_no_activity(
    bad_first: Batch, bad: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "CREATE_TIMEOUT", 1.0)
    await bad.misbehave("no-exe-unit")
    outcome = await bad_first()
    assert outcome.error is None
    assert sorted(outcome.results) == ALL
    # the other one may be slow too on a busy machine
    assert bad.node_id in {event.provider_id for event in outcome.of("ActivityCreateFailed")}
    assert not [event for event in outcome.of("ActivityCreated") if event.provider_id == bad.node_id]


class TakesAll(MarketStrategy):
    """A strategy that looks at nothing, as the shortest one that can be written does."""

    async def score_offer(self, offer: OfferProposal) -> float:
        return 1.0


async def test_an_offer_whose_price_cannot_be_read_is_refused(
    batch: Batch, bad: LocalProvider, unruly: LocalNetwork
) -> None:
    good = unruly.provider("good")
    # else it could ask for anything
    await bad.misbehave("unreadable-price", Misbehaviour(kind="overcharge", factor=Decimal(1000)))
    outcome = await batch(strategy=TakesAll())
    assert outcome.error is None
    assert sorted(outcome.results) == ALL
    assert {event.provider_id for event in outcome.of("AgreementCreated")} == {good.node_id}
    alone = await batch(only="bad", strategy=TakesAll(), timeout=5)
    assert isinstance(alone.error, JobTimeoutError)
    assert "no agreement was made; " in str(alone.error)
    assert "Unreadable price: " in str(alone.error)
    assert " is no price" in str(alone.error)
    reasons = {event.reason for event in alone.of("ProposalRejected") if event.provider_id == bad.node_id}
    assert reasons
    assert all(reason.startswith("Unreadable price: ") for reason in reasons)
    assert all(reason.endswith(" is no price") for reason in reasons)
    assert not alone.of("AgreementCreated", "InvoiceReceived")


async def test_an_image_that_the_provider_cannot_fetch(bad_first: Batch, bad: LocalProvider) -> None:
    await bad.misbehave("fail-deploy")
    outcome = await bad_first()
    assert outcome.error is None
    assert sorted(outcome.results) == ALL
    failed = [event for event in outcome.of("WorkerFinished") if event.exception]
    assert {event.provider_id for event in failed} == {bad.node_id}
    assert "Deploy" in str(failed[0].exception)


async def test_deploys_that_fail_everywhere_end_the_job(batch: Batch, bad: LocalProvider) -> None:
    await bad.misbehave("fail-deploy")
    outcome = await batch(only="bad", max_workers=1)
    assert outcome.error is not None
    assert "before the first task" in str(outcome.error)
    assert "Deploy" in str(outcome.error)


async def test_an_exe_unit_that_dies_in_mid_task(bad_first: Batch, bad: LocalProvider) -> None:
    await bad.misbehave(Misbehaviour(kind="die-in-task", after=0.0))
    outcome = await bad_first(worker=sleepy)
    assert outcome.error is None
    assert sorted(outcome.results) == ALL
    failed = [event for event in outcome.of("WorkerFinished") if event.exception]
    assert {event.provider_id for event in failed} == {bad.node_id}
    assert all(isinstance(event.exception, BatchError) for event in failed)


async def sleepy(context: WorkContext, tasks: AsyncIterator[Task[Any, Any]]) -> AsyncGenerator[Any, Any]:
    async for task in tasks:
        script = context.new_script(timeout=timedelta(seconds=30))
        result = script.run("/bin/sh", "-c", f"sleep 0.5; echo -n {task.data}")
        yield script
        task.accept_result((await result).stdout)


async def test_a_provider_that_vanishes_in_mid_task(
    bad_first: Batch, bad: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow_there(context: WorkContext, tasks: AsyncIterator[Any]) -> AsyncGenerator[Any, Any]:
        async for task in tasks:
            seconds = 60 if context.provider_id == bad.node_id else 0
            script = context.new_script(timeout=timedelta(seconds=90))
            result = script.run("/bin/sh", "-c", f"sleep {seconds}; echo -n {task.data}")
            yield script
            task.accept_result((await result).stdout)

    monkeypatch.setattr(worker_module, "DESTROY_TIMEOUT", 2.0)
    monkeypatch.setattr(payments, "UNREACHABLE_WAIT", 1.0)
    await bad.misbehave(Misbehaviour(kind="vanish", after=1.0, times=1))
    try:
        outcome = await bad_first(worker=slow_there, timeout=90)
    finally:
        await bad.come_back()
    assert outcome.error is None
    assert sorted(outcome.results) == ALL
    failed = [event for event in outcome.of("WorkerFinished") if event.exception]
    assert {event.provider_id for event in failed} == {bad.node_id}
    assert all(isinstance(event.exception, BatchError) for event in failed)


async def test_a_provider_that_falls_silent(
    batch: Batch, bad: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "FIRST_POLL", 0.5)
    monkeypatch.setattr(scripts, "POLL", 1.0)
    await bad.misbehave(Misbehaviour(kind="go-silent", after=1.0))
    outcome = await batch(only="bad", data=["x"], max_workers=1, timeout=15, worker=endless)
    assert isinstance(outcome.error, TasksFailedError | JobTimeoutError)
    failed = [event.exception for event in outcome.of("WorkerFinished") if event.exception]
    assert any(isinstance(error, BatchError) for error in failed)


async def endless(context: WorkContext, tasks: AsyncIterator[Task[Any, Any]]) -> AsyncGenerator[Any, Any]:
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/sleep", "1000")
        yield script
        task.accept_result()


async def test_a_provider_that_asks_for_too_much(batch: Batch, bad: LocalProvider) -> None:
    await bad.misbehave(Misbehaviour(kind="overcharge", factor=Decimal(1000)))
    outcome = await batch(only="bad", max_workers=1)
    assert sorted(outcome.results) == ALL
    assert outcome.accepted == {}
    assert not outcome.of("DebitNoteAccepted")
    failures = [event.exception for event in outcome.of("PaymentFailed")]
    assert failures
    assert all(isinstance(failure, OverchargeError) for failure in failures)
    assert "usage and agreed price explain at most" in str(failures[0])
    assert outcome.seconds_to_stop < 5


async def test_a_debit_note_that_asks_for_too_much_ends_the_agreement(
    batch: Batch, bad: LocalProvider
) -> None:
    # the first note comes while the task runs; a second one would be one too many
    await bad.misbehave(
        Misbehaviour(kind="overcharge", factor=Decimal(1000)),
        Misbehaviour(kind="too-many-debit-notes", interval=1.0),
    )
    outcome = await batch(only="bad", max_workers=1, worker=endless, timeout=60, data=["x"])
    assert isinstance(outcome.error, TasksFailedError)
    assert outcome.of("DebitNoteReceived")
    assert not outcome.of("DebitNoteAccepted")
    assert outcome.accepted == {}
    reasons = [event.reason for event in outcome.of("AgreementTerminated") if event.reason]
    assert {reason["golem.requestor.code"] for reason in reasons} == {"Overcharged"}
    assert all(reason["message"].startswith("Debit note ") for reason in reasons)
    failures = [event.exception for event in outcome.of("PaymentFailed")]
    assert failures
    assert all(isinstance(failure, OverchargeError) for failure in failures)


@pytest.mark.contract("E14")
async def test_a_provider_that_sends_too_many_debit_notes(batch: Batch, bad: LocalProvider) -> None:
    await bad.misbehave(Misbehaviour(kind="too-many-debit-notes", interval=0.1))
    outcome = await batch(only="bad", max_workers=1, worker=endless, timeout=timedelta(hours=6), data=["x"])
    ended = [e for e in outcome.of("AgreementTerminated") if e.reason]
    assert isinstance(outcome.error, TasksFailedError)
    assert ended[0].reason["golem.requestor.code"] == "TooManyDebitNotes"
    assert ended[0].reason["message"].startswith("Too many debit notes: ")


@pytest.mark.contract("E18")
async def test_a_provider_that_sends_no_invoice(
    batch: Batch, bad: LocalProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(payments, "INVOICE_WAIT", 2.0)
    await bad.misbehave("no-invoice")
    with caplog.at_level(logging.INFO, "golem_nb"):
        outcome = await batch(only="bad", max_workers=1)
    assert sorted(outcome.results) == ALL
    assert 1.5 < outcome.seconds_to_stop < 5
    assert "agreements still unpaid, waiting for invoices..." in caplog.text
    assert "Unpaid agreements: " in caplog.text
    assert bad.node_id in caplog.text


async def test_a_command_that_never_ends(batch: Batch, bad: LocalProvider) -> None:
    async def impatient(context: WorkContext, tasks: AsyncIterator[Any]) -> AsyncGenerator[Any, Any]:
        async for task in tasks:
            script = context.new_script(timeout=timedelta(seconds=1.5))
            result = script.run("/bin/echo", "-n", str(task.data))
            yield script
            task.accept_result((await result).stdout)

    await bad.misbehave(Misbehaviour(kind="stall", times=1))
    outcome = await batch(worker=impatient, only="bad", max_workers=1)
    assert outcome.error is None
    assert sorted(outcome.results) == ALL
    failed = [event.exception for event in outcome.of("WorkerFinished") if event.exception]
    assert failed
    assert all(isinstance(error, BatchTimeoutError) for error in failed)


async def test_hostile_text_is_text(
    batch: Batch, bad: LocalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    await bad.misbehave("hostile-text")
    with caplog.at_level(logging.DEBUG, "golem_nb"):
        outcome = await batch(only="bad", max_workers=1)
    assert outcome.error is None
    assert len(outcome.results) == 4
    assert "\x1b" not in caplog.text


@pytest.mark.contract("E11")
async def test_a_provider_that_ends_the_agreement(batch: Batch, bad: LocalProvider) -> None:
    await bad.misbehave(Misbehaviour(kind="terminate-agreement", after=1.2, times=1))
    outcome = await batch(only="bad", worker=endless_once(), max_workers=1, data=["x"])
    assert outcome.error is None
    assert outcome.results == ["x"]
    ended = outcome.of("AgreementTerminated")
    assert isinstance(ended[0], AgreementTerminated)
    (failed, *_) = [event for event in outcome.of("WorkerFinished") if event.exception]
    assert "has ended: terminated by the provider" in str(failed.exception)
    # noticed at once, not by a time limit
    gap = failed.timestamp - ended[0].timestamp
    assert abs(gap.total_seconds()) < 0.5


def endless_once() -> Any:
    """A worker whose first task never ends and whose second is quick."""
    calls = 0

    async def worker(context: WorkContext, tasks: AsyncIterator[Any]) -> AsyncGenerator[Any, Any]:
        nonlocal calls
        async for task in tasks:
            calls += 1
            script = context.new_script()
            if calls == 1:
                script.run("/bin/sleep", "1000")
            result = script.run("/bin/echo", "-n", str(task.data))
            yield script
            task.accept_result((await result).stdout)

    return worker


@pytest.mark.parametrize("kind", ["corrupt-checksum", "corrupt-short", "corrupt-long"])
async def test_corrupt_downloads_are_noticed(
    batch: Batch, bad: LocalProvider, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "result"

    async def download(context: WorkContext, tasks: AsyncIterator[Any]) -> AsyncGenerator[Any, Any]:
        async for task in tasks:
            script = context.new_script(timeout=timedelta(seconds=20))
            script.run("/bin/sh", "-c", "head -c 100000 /dev/zero > /golem/output/result")
            script.download_file("/golem/output/result", str(target))
            yield script
            task.accept_result(target.stat().st_size)

    await bad.misbehave(kind)
    outcome = await batch(["x"], only="bad", worker=download, max_workers=1)
    assert isinstance(outcome.error, TasksFailedError)
    assert not target.exists()
    assert list(tmp_path.iterdir()) == []


def test_limits_are_what_the_documentation_says(unruly: LocalNetwork) -> None:
    assert agreements.APPROVAL_TIMEOUT == 15
    assert payments.INVOICE_WAIT == 30
    assert scripts.POLL == 5
