"""The journal knows of everything before the daemon does."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from golem_nb import Golem, Task, WorkContext
from golem_nb.engine import JournalEntry
from golem_nb.rest import Configuration, Payment
from golem_nb.rest.errors import ApiError

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

    from .conftest import Batch, Meddler

#: The request that each step is about.
REQUESTS = {
    "create_allocation": ("POST", r"/allocations$"),
    "amend_allocation": ("PUT", r"/allocations/"),
    "release_allocation": ("DELETE", r"/allocations/"),
    "subscribe": ("POST", r"/demands$"),
    "unsubscribe": ("DELETE", r"/demands/"),
    "create_agreement": ("POST", r"/agreements$"),
    "confirm_agreement": ("POST", r"/agreements/\w+/confirm$"),
    "terminate_agreement": ("POST", r"/agreements/\w+/terminate$"),
    "create_activity": ("POST", r"/activity$"),
    "destroy_activity": ("DELETE", r"/activity/\w+$"),
    "accept_debit_note": ("POST", r"/debitNotes/[\w-]+/accept$"),
    "accept_invoice": ("POST", r"/invoices/[\w-]+/accept$"),
    "reject_invoice": ("POST", r"/invoices/[\w-]+/reject$"),
    "create_network": ("POST", r"/net$"),
    "remove_network": ("DELETE", r"/net/\w+$"),
}


@attrs.define
class Line:
    """What the journal was told, and how many requests of that kind had reached the daemon by then."""

    what: str
    action: str
    entry: JournalEntry
    outcome: Mapping[str, str] | None
    error: BaseException | None
    requests: int


class Recorder:
    """A journal that looks at what has reached the daemon."""

    def __init__(self, meddler: Meddler) -> None:
        self._meddler = meddler
        self.lines: list[Line] = []

    def _requests(self, action: str) -> int:
        method, path = REQUESTS[action]
        return sum(m == method and bool(re.search(path, p)) for m, p in self._meddler.requests)

    async def intent(self, entry: JournalEntry) -> None:
        requests = self._requests(entry.action)
        self.lines.append(Line("intent", entry.action, entry, None, None, requests))

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        requests = self._requests(entry.action)
        self.lines.append(Line("done", entry.action, entry, dict(outcome), error, requests))

    def of(self, action: str, what: str = "done") -> list[Line]:
        return [line for line in self.lines if line.action == action and line.what == what]


async def worker(context: WorkContext, tasks: AsyncIterator[Task[Any, Any]]) -> AsyncGenerator[Any, Any]:
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/sleep", "0.2")
        yield script
        task.accept_result()


async def test_each_step_is_written_down_before_it_is_taken(
    tame: Batch, meddler: Meddler, network: LocalNetwork
) -> None:
    journal = Recorder(meddler)
    outcome = await tame(
        ["x"],
        worker=worker,
        only="amber",
        journal=journal,
        api_config=meddler.api_config,
        timeout=timedelta(hours=1),
    )
    assert outcome.error is None
    # no request without an intent before it, and one outcome for each
    for action in REQUESTS:
        intents, dones = journal.of(action, "intent"), journal.of(action)
        assert [line.entry for line in intents] == [line.entry for line in dones]
        for number, (intent, done) in enumerate(zip(intents, dones, strict=True)):
            assert intent.requests <= number < done.requests
        assert journal._requests(action) == len(intents)
        assert all(line.error is None for line in dones)
    actions = [line.action for line in journal.lines if line.what == "intent"]
    steps = [action for action in actions if action not in ("accept_debit_note", "unsubscribe")]
    assert steps == [
        "create_allocation",
        "amend_allocation",
        "subscribe",
        "create_agreement",
        "confirm_agreement",
        "create_activity",
        "destroy_activity",
        "terminate_agreement",
        "accept_invoice",
        "release_allocation",
    ]
    # the market is left at the same time as the activity
    assert "unsubscribe" in actions[actions.index("create_activity") :]
    # ids are in the outcome of what makes the thing, and in the subject of what ends it
    (made,) = journal.of("create_allocation")
    assert made.entry.subject == {"amount": "1", "platform": "erc20-hoodi-tglm"}
    (released,) = journal.of("release_allocation")
    assert released.entry.subject == made.outcome
    (agreement,) = [event.agr_id for event in outcome.of("AgreementConfirmed")]
    assert journal.of("create_agreement")[0].outcome == {"agreement_id": agreement}
    for action in ("confirm_agreement", "create_activity", "terminate_agreement"):
        assert journal.of(action)[0].entry.subject["agreement_id"] == agreement
    (activity,) = outcome.of("ActivityCreated")
    assert journal.of("create_activity")[0].outcome == {"activity_id": activity.activity.id}
    assert journal.of("destroy_activity")[0].entry.subject == {"activity_id": activity.activity.id}
    subscription = journal.of("subscribe")[0].outcome
    assert journal.of("unsubscribe")[0].entry.subject == subscription
    (invoice,) = outcome.of("InvoiceAccepted")
    assert journal.of("accept_invoice")[0].entry.subject == {
        "invoice_id": invoice.invoice.invoice_id,
        "amount": str(invoice.amount),
    }


async def test_networks_are_written_down(network: LocalNetwork, meddler: Meddler) -> None:
    journal = Recorder(meddler)
    golem = Golem(budget=1, api_config=meddler.api_config, event_consumer=lambda event: None)
    golem.journal = journal
    async with golem:
        made = await golem.create_network("192.168.7.0/24")
        number = made.network_id
    assert journal.of("create_network")[0].outcome == {"network_id": number}
    assert journal.of("remove_network")[0].entry.subject == {"network_id": number}
    assert journal.of("create_network", "intent")[0].requests == 0
    with pytest.raises(AttributeError, match="journal of a running Golem"):
        async with golem:
            golem.journal = journal


async def test_what_fails_is_written_down(tame: Batch, meddler: Meddler) -> None:
    meddler.spoil("POST", r"/activity-api/v1/activity(\?|$)", body='{"message": "no"}')
    journal = Recorder(meddler)
    outcome = await tame(["x"], worker=worker, max_workers=1, journal=journal, api_config=meddler.api_config)
    assert outcome.error is None
    failed, created = journal.of("create_activity")
    assert isinstance(failed.error, ApiError)
    assert failed.outcome == {}
    assert created.error is None


class Full:
    """A journal whose disk is full from some step on."""

    def __init__(self, action: str) -> None:
        self._action = action

    async def intent(self, entry: JournalEntry) -> None:
        if entry.action == self._action:
            raise OSError(28, "No space left on device")

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        pass


@pytest.mark.parametrize("action", ["subscribe", "create_agreement", "create_activity"])
async def test_nothing_is_begun_that_cannot_be_written_down(tame: Batch, action: str) -> None:
    outcome = await tame(["x"], worker=worker, max_workers=1, journal=Full(action), timeout=20)
    assert isinstance(outcome.error, Exception)
    assert "No space left on device" in str(outcome.error)
    if action != "create_activity":
        assert not outcome.of("AgreementConfirmed")
    assert not outcome.of("ActivityCreated")


ENDS = ["destroy_activity", "terminate_agreement", "unsubscribe", "release_allocation"]


@pytest.mark.parametrize("action", ENDS)
async def test_what_is_to_be_ended_is_ended_even_unwritten(
    tame: Batch, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    # tame looks whether anything is left
    outcome = await tame(["x"], worker=worker, max_workers=1, journal=Full(action), timeout=20)
    assert outcome.error is None
    assert len(outcome.results) == 1
    assert len(outcome.of("AgreementTerminated")) == 1
    assert len(outcome.of("InvoiceAccepted")) == 1
    assert f"The journal cannot be written ({action})" in caplog.text


async def test_nothing_is_paid_that_cannot_be_written_down(tame: Batch) -> None:
    outcome = await tame(["x"], worker=worker, max_workers=1, journal=Full("accept_invoice"), timeout=20)
    assert outcome.error is None
    assert outcome.accepted == {}
    (failed,) = outcome.of("PaymentFailed")
    assert "No space left on device" in str(failed.exception)


class Forgetful(Full):
    """A journal whose disk is full when the daemon has answered."""

    async def intent(self, entry: JournalEntry) -> None:
        pass

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        await super().intent(entry)


@pytest.mark.parametrize("action", ["subscribe", "create_agreement", "confirm_agreement", "create_activity"])
async def test_what_was_begun_is_ended_when_its_outcome_cannot_be_written_down(
    tame: Batch, action: str
) -> None:
    # tame looks whether anything is left
    outcome = await tame(["x"], worker=worker, max_workers=1, journal=Forgetful(action), timeout=20)
    assert "No space left on device" in str(outcome.error)
    assert not outcome.of("ActivityCreated")


async def test_a_budget_is_released_when_its_outcome_cannot_be_written_down(network: LocalNetwork) -> None:
    golem = Golem(budget=1, api_config=network.api_config, event_consumer=lambda event: None)
    golem.journal = Forgetful("create_allocation")
    with pytest.raises(OSError, match="No space left on device"):
        await golem.start()
    async with Configuration(network.api_config) as configuration:
        assert await Payment(configuration.payment()).allocations() == []
