"""Each misbehaviour, as a requestor meets it through its own daemon."""

from __future__ import annotations

import asyncio
import os
import time
from decimal import Decimal

import pytest

from golem_nb.localnet.provider.pricing import LinearPricing
from golem_nb.localnet.spec import Misbehaviour
from golem_nb.rest.agreements import AgreementRejectedError
from golem_nb.rest.errors import ActivityGoneError, RequestTimeoutError
from golem_nb.storage.errors import TransferError

pytestmark = pytest.mark.localnet


async def offers(requestor) -> int:
    """How many offers of the provider are on the market."""
    async with requestor.market.scan() as scan:
        found = await scan.collect(timeout=1)
    return sum(offer.issuer == requestor.provider.node_id for offer in found)


PRICING = LinearPricing((Decimal("0.0003"), Decimal("0.0007")), Decimal("0.001"))


async def test_refused_and_ignored_proposals(requestor) -> None:
    await requestor.provider.misbehave(Misbehaviour(kind="refuse-proposal", times=1))
    assert await requestor.negotiate() is None
    assert "No capacity available" in str(requestor.rejections[0].reason)
    # once was asked for
    assert await requestor.negotiate() is not None
    await requestor.provider.misbehave("ignore-proposal")
    assert await requestor.negotiate(wait=1) is None
    assert len(requestor.rejections) == 1


async def test_refused_and_ignored_agreements(requestor) -> None:
    await requestor.provider.misbehave("refuse-agreement")
    agreement = await requestor.propose()
    with pytest.raises(AgreementRejectedError):
        await agreement.wait_for_approval(5)
    await requestor.provider.misbehave("ignore-agreement")
    agreement = await requestor.propose()
    with pytest.raises(RequestTimeoutError):
        await agreement.wait_for_approval(1)
    await agreement.cancel()


async def test_no_exe_unit(requestor) -> None:
    agreement = await requestor.agreement()
    await requestor.provider.misbehave(Misbehaviour(kind="no-exe-unit", times=1))
    with pytest.raises(RequestTimeoutError):
        await requestor.activities.new_activity(agreement.id, timeout=2)
    await requestor.activities.new_activity(agreement.id, timeout=5)
    await requestor.end(agreement)


async def test_fail_deploy(requestor) -> None:
    agreement = await requestor.agreement()
    activity = await requestor.activities.new_activity(agreement.id)
    await requestor.provider.misbehave("fail-deploy")
    result = (await requestor.run(activity, {"deploy": {}}))[0]
    assert not result.success
    assert "image cannot be downloaded" in (result.message or "")
    await requestor.end(agreement)


async def test_death_in_a_task(requestor, sh) -> None:
    agreement, activity = await requestor.ready()
    await requestor.provider.misbehave(Misbehaviour(kind="die-in-task", after=0.2, times=1))
    batch = await activity.send([sh("sleep 20; echo done")])
    # a poll that waits at the end just runs out
    assert await activity.results(batch, command_index=0, timeout=1) == []
    with pytest.raises(ActivityGoneError):
        await activity.results(batch, command_index=0, timeout=1)
    state = await activity.state()
    assert state.current == "Terminated"
    assert "SIGKILL" in (state.error_message or "")
    # the agent lives, and the agreement too
    second = await requestor.activities.new_activity(agreement.id)
    results = await requestor.run(second, {"deploy": {}}, {"start": {}}, sh("echo again"))
    assert results[-1].stdout == "again\n"
    invoice = await requestor.end(agreement)
    assert invoice is not None
    assert set(invoice.activity_ids) == {activity.id, second.id}


async def test_vanishing_and_coming_back(requestor, sh) -> None:
    agreement, activity = await requestor.ready()
    await requestor.provider.vanish()
    with pytest.raises(ActivityGoneError):
        await requestor.run(activity, sh("echo"))
    await agreement.refresh()
    assert agreement.details.state == "Approved"  # nobody tells the requestor
    assert await requestor.negotiate(wait=1.5) is None
    await requestor.provider.come_back()
    again, activity = await requestor.ready(wait=10)
    assert (await requestor.run(activity, sh("echo back")))[0].stdout == "back\n"
    # what it offered before would go on taking proposals that nobody answers
    async with asyncio.timeout(5):
        while await offers(requestor) != 1:
            await asyncio.sleep(0.05)
    await requestor.end(again)
    await agreement.terminate({"message": "lost"})


async def test_vanishing_after_an_agreement(requestor) -> None:
    await requestor.provider.misbehave(Misbehaviour(kind="vanish", after=1.2))
    agreement, activity = await requestor.ready()
    await asyncio.sleep(1.5)
    with pytest.raises(ActivityGoneError):
        await activity.send([{"terminate": {}}])
    await requestor.provider.behave()
    await requestor.provider.come_back()
    assert await requestor.negotiate(wait=10) is not None
    await agreement.terminate({"message": "lost"})


async def test_silence_makes_an_activity_unresponsive(requestor) -> None:
    agreement, activity = await requestor.ready()
    await requestor.provider.misbehave("go-silent")
    end = time.monotonic() + 12
    current = ""
    while time.monotonic() < end and current != "Unresponsive":
        current = (await activity.state()).current
        await asyncio.sleep(0.3)
    assert current == "Unresponsive"
    await requestor.provider.behave()
    await requestor.end(agreement)


async def test_overcharging(requestor) -> None:
    agreement, activity = await requestor.ready()
    await requestor.provider.misbehave(Misbehaviour(kind="overcharge", factor=3))
    await activity.destroy()
    invoice = await requestor.end(agreement)
    assert invoice is not None
    note = (await requestor.debit_notes(agreement))[-1]
    explained = PRICING.cost(note.usage_counter_vector)
    assert explained * Decimal("2.99") < invoice.amount <= explained * 3


async def test_too_many_debit_notes(requestor) -> None:
    agreement, _ = await requestor.ready()
    await requestor.provider.misbehave(Misbehaviour(kind="too-many-debit-notes", interval=0.1))
    await asyncio.sleep(1.5)
    assert len(await requestor.debit_notes(agreement)) >= 6
    await requestor.provider.behave()
    await requestor.end(agreement)


async def test_no_invoice(requestor) -> None:
    agreement, activity = await requestor.ready()
    await requestor.provider.misbehave("no-invoice")
    await activity.destroy()
    await agreement.terminate({"message": "done"})
    assert await requestor.invoice(agreement, wait=2) is None


async def test_stalling_from_the_second_command_on(requestor, sh) -> None:
    agreement, activity = await requestor.ready()
    await requestor.provider.misbehave(Misbehaviour(kind="stall", after=1))
    assert (await requestor.run(activity, sh("echo 1")))[0].stdout == "1\n"
    assert await requestor.run(activity, sh("echo 2"), wait=1.5) == []
    await activity.destroy()
    assert (await activity.state()).current == "Terminated"
    await requestor.end(agreement)


async def test_hostile_text(requestor, sh) -> None:
    await requestor.provider.misbehave("hostile-text")
    agreement, activity = await requestor.ready(wait=10)
    assert "<script>" in agreement.details.provider_node_info.name
    assert "\x1b" in agreement.details.provider_node_info.name
    good = (await requestor.run(activity, sh("echo fine")))[0]
    assert good.stdout.endswith("fine\n")
    assert "\x1b[2J" in good.stdout
    bad = (await requestor.run(activity, sh("exit 1")))[0]
    assert bad.message.endswith("ExeScript command exited with code 1")
    assert len(bad.message) > 60_000
    await requestor.provider.behave()
    await requestor.end(agreement)


async def test_the_provider_terminates(requestor) -> None:
    await requestor.provider.misbehave(Misbehaviour(kind="terminate-agreement", after=1.5))
    agreement, activity = await requestor.ready()
    event = await requestor.terminated(agreement)
    assert event.terminator == "Provider"
    assert event.reason["golem.provider.code"] == "Shutdown"
    assert await requestor.invoice(agreement) is not None
    await requestor.gone(activity)


@pytest.mark.parametrize("kind", ["corrupt-checksum", "corrupt-short", "corrupt-long"])
async def test_corrupt_transfers(requestor, kind) -> None:
    agreement, activity = await requestor.ready()
    result = await requestor.upload(activity, os.urandom(700_000), "/golem/output/file")
    assert result.success
    await requestor.provider.misbehave(Misbehaviour(kind=kind, times=1))
    for good in (False, True):
        destination = await requestor.storage.new_destination()
        command = {"transfer": {"from": "container:/golem/output/file", "to": destination.upload_url}}
        result = (await requestor.run(activity, command))[0]
        if good:
            await destination.wait(5)
        else:
            with pytest.raises(TransferError):
                await destination.wait(5)
        assert result.success is good
        await destination.release()
    await requestor.end(agreement)
