"""Money: what is reserved, accepted, settled and given back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.engine import BudgetExceededError, allocation
from golem_nb.engine.spending import NotCoveredError, Spending
from golem_nb.localnet import LocalNetwork, ProviderSpec
from golem_nb.rest import Configuration, Payment
from golem_nb.rest.errors import ApiError, ConnectionDroppedError
from golem_nb.rest.ids import AgreementId
from golem_nb.strategy import LeastExpensiveLinearPayuMS

if TYPE_CHECKING:
    from golem_nb.rest.payment import AllocationDetails, DebitNote, Invoice

    from .conftest import Batch, Running

Tasks = AsyncIterator[Task[Any, Any]]
Worker = AsyncGenerator[Any, Any]


async def reservations(network: LocalNetwork) -> list[AllocationDetails]:
    async with Configuration(network.api_config) as configuration:
        payment = Payment(configuration.payment())
        return [await one.details() for one in await payment.allocations()]


async def sleepy(context: WorkContext, tasks: Tasks) -> Worker:
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/sleep", str(task.data))
        yield script
        task.accept_result()


async def run(golem: Golem, payload: Any, data: list[Any], **arguments: Any) -> list[Any]:
    tasks = golem.execute_tasks(sleepy, [Task(item) for item in data], payload, **arguments)
    return [task async for task in tasks]


# --- the reservation -------------------------------------------------------------------------------------


@pytest.mark.contract("E01")
async def test_one_reservation_of_the_whole_budget(network: LocalNetwork) -> None:
    golem = Golem(budget=Decimal("1.25"), api_config=network.api_config, event_consumer=lambda event: None)
    before = datetime.now(UTC)
    await golem.start()
    (reserved,) = await reservations(network)
    assert reserved.total_amount == reserved.remaining_amount == Decimal("1.25")
    assert reserved.payment_platform == "erc20-hoodi-tglm"
    assert reserved.address == network.requestor
    # soon after the end of a program that is killed now, the money is free again
    assert reserved.timeout is not None
    assert timedelta(minutes=29) < reserved.timeout - before < timedelta(minutes=31)
    await golem.stop()
    assert await reservations(network) == []


@pytest.mark.contract("E01")
async def test_the_reservation_lasts_longer_than_the_work(running: Running, network: LocalNetwork) -> None:
    seen: list[AllocationDetails] = []

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            seen.extend(await reservations(network))
            task.accept_result()
        return
        yield

    before = datetime.now(UTC)
    tasks = running.golem.execute_tasks(worker, [Task(0)], running.payload, timeout=timedelta(hours=3))
    assert len([task async for task in tasks]) == 1
    assert seen[0].timeout is not None
    assert seen[0].timeout - before > timedelta(hours=3, minutes=29)


@pytest.mark.contract("E01")
async def test_the_reservation_is_extended_while_the_engine_lives(
    network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocation, "MARGIN", timedelta(seconds=3))
    async with Golem(budget=1, api_config=network.api_config, event_consumer=lambda event: None):
        (first,) = await reservations(network)
        await asyncio.sleep(3.5)
        (later,) = await reservations(network)
        assert later.allocation_id == first.allocation_id
        assert later.timeout > first.timeout


# --- bills -----------------------------------------------------------------------------------------------


@pytest.mark.contract("E12")
async def test_invoices_are_accepted_once_and_in_full(tame: Batch, network: LocalNetwork) -> None:
    outcome = await tame([0.2, 0.2, 0.2], worker=sleepy, max_workers=3)
    received, accepted = outcome.of("InvoiceReceived"), outcome.of("InvoiceAccepted")
    assert {event.invoice.invoice_id for event in received} == {
        event.invoice.invoice_id for event in accepted
    }
    assert len(accepted) == len({event.agr_id for event in accepted}) == 3
    async with Configuration(network.api_config) as configuration:
        payment = Payment(configuration.payment())
        for event in accepted:
            invoice = await payment.invoice(event.invoice.invoice_id)
            assert invoice.status in ("ACCEPTED", "SETTLED")
            assert invoice.amount == event.amount > 0


async def curious(context: WorkContext, tasks: Tasks) -> Worker:
    """Looks at the usage at the beginning, and goes on until the bill is out of proportion to that."""
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/true")
        yield script
        early = await context.get_usage()
        script = context.new_script()
        # idle: the two seconds by which a bill may be inexact are the price of twelve of these
        script.run("/bin/sleep", "14")
        yield script
        task.accept_result(early.current_usage["golem.usage.duration_sec"])


@pytest.mark.contract("E12", "C02")
async def test_who_looks_at_the_usage_early_pays_for_what_came_later(tame: Batch) -> None:
    """The daemon answers with what it was told before the end, when it is asked after the end."""
    outcome = await tame([1], worker=curious, only="amber")
    assert outcome.results[0] < 5
    (received,) = outcome.of("InvoiceReceived")
    assert list(outcome.accepted.values()) == [received.invoice.amount]
    assert outcome.of("PaymentFailed") == []


class Stingy(LeastExpensiveLinearPayuMS):
    """Accepts less than what is due."""

    async def invoice_accepted_amount(self, invoice: Invoice) -> Decimal:
        return invoice.amount / 2

    async def debit_note_accepted_amount(self, debit_note: DebitNote) -> Decimal:
        return Decimal(0)


@pytest.mark.contract("E12", "E13")
async def test_what_the_strategy_does_not_accept_is_left(
    tame: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "golem_nb"):
        outcome = await tame([0.1], worker=sleepy, strategy=Stingy(), only="birch")
    assert outcome.error is None
    assert outcome.accepted == {}
    (received,) = outcome.of("InvoiceReceived")
    assert f"Ignored invoice {received.invoice.invoice_id} from 'birch'" in caplog.text
    assert not outcome.of("DebitNoteAccepted")
    # it was dealt with: nothing more is waited for
    assert outcome.seconds_to_stop < 5


@pytest.fixture(scope="module")
def noting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network with a provider that sends debit notes often, and another one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("noting")))
        specs = [
            ProviderSpec(name="noting", debit_note_interval=1, start_price=Decimal("0.01")),
            ProviderSpec(name="other", start_price=Decimal("0.002")),
        ]
        with LocalNetwork(providers=specs) as network:
            yield network


def golem_on(network: LocalNetwork, events: list[Any], **arguments: Any) -> Golem:
    return Golem(
        **{"budget": 1, "api_config": network.api_config, "event_consumer": events.append, **arguments}
    )


@pytest.mark.contract("E13")
@pytest.mark.xdist_group("noting")
async def test_debit_notes_are_accepted(noting: LocalNetwork) -> None:
    events: list[Any] = []
    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=noting.registry_url)
    async with golem_on(noting, events) as golem:
        await run(golem, payload, [3.5, 3.5], max_workers=2)
    received = [event for event in events if type(event).__name__ == "DebitNoteReceived"]
    accepted = [event for event in events if type(event).__name__ == "DebitNoteAccepted"]
    assert received
    assert accepted
    assert {event.debit_note.debit_note_id for event in accepted} <= {
        event.debit_note.debit_note_id for event in received
    }
    for event in accepted:
        assert event.amount == event.debit_note.total_amount_due
    invoices = [event.invoice for event in events if type(event).__name__ == "InvoiceAccepted"]
    assert len(invoices) == 2


@pytest.mark.contract("E13")
@pytest.mark.xdist_group("noting")
async def test_the_last_debit_notes_are_accepted_before_their_invoices(noting: LocalNetwork) -> None:
    """Each activity ends with one, which the daemon may tell of a second after the invoice."""
    events: list[Any] = []
    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=noting.registry_url)
    for _ in range(4):
        async with golem_on(noting, events) as golem:
            await run(golem, payload, [0.1, 0.1], max_workers=2)
    agreements = {event.agr_id for event in events if type(event).__name__ == "InvoiceAccepted"}
    assert len(agreements) >= 4
    async with Configuration(noting.api_config) as configuration:
        notes = await Payment(configuration.payment()).debit_notes()
    ours = [note for note in notes if note.agreement_id in agreements]
    assert {note.agreement_id for note in ours} == agreements
    assert {note.status for note in ours} <= {"ACCEPTED", "SETTLED"}
    told = [type(event).__name__ for event in events]
    assert told.count("DebitNoteReceived") == told.count("DebitNoteAccepted") == len(ours)


@pytest.mark.contract("E12")
@pytest.mark.xdist_group("noting")
async def test_accepted_amounts_are_settled_on_the_chain(noting: LocalNetwork) -> None:
    """Exactly what was accepted is what the accounts of the providers get, within half a minute."""
    events: list[Any] = []
    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=noting.registry_url)
    async with golem_on(noting, events) as golem:
        await run(golem, payload, [0.3, 0.3, 0.3, 0.3], max_workers=2)
    ours = {event.invoice.invoice_id for event in events if type(event).__name__ == "InvoiceAccepted"}
    assert len(ours) == 2
    deadline = time.monotonic() + 30
    async with Configuration(noting.api_config) as configuration:
        payment = Payment(configuration.payment())
        while True:
            # those of earlier tests are settled at the same time
            accepted: dict[str, Decimal] = defaultdict(Decimal)
            for invoice in await payment.invoices():
                if invoice.status in ("ACCEPTED", "SETTLED"):
                    accepted[invoice.issuer_id] += invoice.amount
            if await paid(noting) == accepted:
                break
            assert time.monotonic() < deadline, (await paid(noting), accepted)
            await asyncio.sleep(0.2)
        assert set(accepted) == {provider.node_id for provider in noting.providers}
        async with asyncio.timeout(10):
            while {(await payment.invoice(one)).status for one in ours} != {"SETTLED"}:
                await asyncio.sleep(0.2)


async def paid(network: LocalNetwork) -> dict[str, Decimal]:
    """What the chain says that our requestor has paid, by account."""
    total: dict[str, Decimal] = defaultdict(Decimal)
    for transfer in await network.chain.transfers():
        if transfer.sender == network.requestor:
            total[transfer.recipient] += transfer.amount
    return total


@pytest.mark.xdist_group("noting")
async def test_the_budget_is_never_exceeded(noting: LocalNetwork) -> None:
    events: list[Any] = []
    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=noting.registry_url)
    golem = golem_on(noting, events, budget=Decimal("0.001"))
    with pytest.raises(BudgetExceededError) as raised:
        async with golem:
            await run(golem, payload, [0.1, 3], max_workers=2)
    check_exceeded(raised.value, events, Decimal("0.001"))
    assert await reservations(noting) == []


def check_exceeded(error: BudgetExceededError, events: list[Any], budget: Decimal) -> None:
    """Nothing beyond the budget was accepted, and each bill that was not is told of once."""
    assert sum(event.amount for event in events if type(event).__name__ == "InvoiceAccepted") <= budget
    failed = [event for event in events if type(event).__name__ == "PaymentFailed"]
    assert failed
    assert all(isinstance(event.exception, BudgetExceededError) for event in failed)
    bills = [e for e in events if type(e).__name__ in ("InvoiceReceived", "DebitNoteReceived")]
    accepted = [e for e in events if type(e).__name__ in ("InvoiceAccepted", "DebitNoteAccepted")]
    assert len(failed) <= len(bills) - len(accepted)
    assert str(error) == str(failed[0].exception)
    assert str(error).startswith(f"The budget of {budget} GLM is used up: ")
    assert str(error).endswith("; start again with a larger `budget`.")
    done = any(type(e).__name__ == "JobFinished" and not e.exc_info for e in events)
    assert ("The work was done before and stays unpaid" if done else "Running work was ended") in str(error)


@pytest.mark.xdist_group("noting")
async def test_invoices_that_come_together_share_the_budget(
    noting: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone would fit; the stop raises what no job is there to raise any more."""
    both = asyncio.Barrier(2)

    async def together(invoice: Invoice) -> Decimal:
        async with asyncio.timeout(20):
            await both.wait()
        return invoice.amount

    events: list[Any] = []
    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=noting.registry_url)
    strategy = LeastExpensiveLinearPayuMS()
    monkeypatch.setattr(strategy, "invoice_accepted_amount", together)
    monkeypatch.setattr(strategy, "debit_note_accepted_amount", nothing)
    budget = Decimal("0.0111")  # the starts cost 0.01 and 0.002
    golem = golem_on(noting, events, budget=budget, strategy=strategy)
    await golem.start()
    meeting = asyncio.Barrier(2)

    async def worker(context: WorkContext, tasks: Tasks) -> Worker:
        async for task in tasks:
            script = context.new_script()
            script.run("/bin/true")
            yield script
            await meeting.wait()
            task.accept_result()

    tasks = golem.execute_tasks(worker, [Task(0), Task(1)], payload, max_workers=2)
    assert len([task async for task in tasks]) == 2
    with pytest.raises(BudgetExceededError, match="The work was done before and stays unpaid") as raised:
        await golem.stop()
    assert not golem.operative
    check_exceeded(raised.value, events, budget)
    (shutdown,) = [event for event in events if type(event).__name__ == "ShutdownFinished"]
    assert shutdown.exception is raised.value
    names = [type(event).__name__ for event in events]
    assert names.count("InvoiceAccepted") == names.count("PaymentFailed") == 1
    assert await reservations(noting) == []


async def nothing(debit_note: DebitNote) -> Decimal:
    return Decimal(0)


class Refusal(ApiError):
    pass


def test_a_reservation_is_given_back_only_where_the_refusal_is_certain() -> None:
    spending = Spending(Decimal(10))
    first, second = AgreementId("first"), AgreementId("second")
    with (
        spending.reserved(first, Decimal(6)),
        pytest.raises(NotCoveredError) as short,
        spending.reserved(second, Decimal(5)),
    ):
        pass
    assert (short.value.spoken_for, short.value.more) == (6, 5)
    with spending.reserved(first, Decimal(7)):
        pass
    assert spending.total == 7
    with pytest.raises(Refusal), spending.reserved(second, Decimal(3)):
        raise Refusal("Accepting", "no")
    assert spending.total == 7
    with pytest.raises(ConnectionDroppedError), spending.reserved(second, Decimal(2)):
        raise ConnectionDroppedError("Accepting", "no answer")
    assert spending.total == 9
    with spending.reserved(second, Decimal(3)):  # the next bill counts it once
        pass
    assert spending.total == 10
