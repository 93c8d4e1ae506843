"""Suspended instances, taken up again by another process."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from golem_nb import Golem
from golem_nb.localnet import LocalNetwork, ProviderSpec
from golem_nb.rest import Configuration, Payment
from golem_nb.services import Cluster, ServiceResumeError, ServiceState

from .conftest import AlpineService, Record, all_in, running, terminated, until

OTHER_PROCESS = """
import asyncio, json, sys
from golem_nb import Golem
from golem_nb.localnet import LocalNetwork, ProviderSpec
from golem_nb.services import ServiceState
sys.path.insert(0, {folder!r})
from tests.services.conftest import AlpineService

class Reader(AlpineService):
    text = None
    async def run(self):
        script = self._ctx.new_script()
        read = script.run("/bin/cat", "/golem/work/left")
        yield script
        self.text = (await read).stdout
        async for script in super().run():
            yield script

async def main():
    handles = json.loads(sys.stdin.read())
    events = []
    async with Golem(budget=1, event_consumer=events.append) as golem:
        network = await golem.resume_network(handles[0]["network"])
        cluster = await golem.resume_service(Reader, handles, network=network)
        (service,) = cluster.instances
        while service.text is None or sum(type(e).__name__ == "DebitNoteAccepted" for e in events) < {notes}:
            await asyncio.sleep(0.05)
        activity, address = service._ctx.id, service.network_node.ip
        cluster.stop()
        while service.state != ServiceState.terminated:
            await asyncio.sleep(0.05)
    names = [type(event).__name__ for event in events]
    reason = next(e.reason for e in events if type(e).__name__ == "AgreementTerminated")
    print(json.dumps(dict(text=service.text, activity=activity, address=address, id=service.id, names=names,
                          code=reason["golem.requestor.code"])))

asyncio.run(main())
"""


class Writer(AlpineService):
    async def run(self) -> Any:
        script = self._ctx.new_script()
        script.run("/bin/sh", "-c", "echo -n something > /golem/work/left")
        yield script
        self.written = True
        async for script in super().run():
            yield script

    written = False


async def suspend(cluster: Cluster[Any]) -> None:
    """Suspend all instances of a cluster, as soon as they run."""
    await running(cluster)
    cluster.suspend()
    await all_in(cluster, ServiceState.suspended)


async def allocations(network: LocalNetwork) -> list[Any]:
    async with Configuration(network.api_config) as configuration:
        return await Payment(configuration.payment()).allocations()


def resume_elsewhere(handles: list[Any], notes: int = 0) -> dict[str, Any]:
    folder = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS.format(folder=folder, notes=notes)],
        input=json.dumps(handles), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.contract("S12", "S02", "S07", "G13")
async def test_another_process_takes_a_suspended_instance_up(
    golem: Golem, record: Record, on_network: LocalNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    network = await golem.create_network("192.168.9.0/24")
    cluster = await golem.run_service(Writer, 2, network=network)
    await running(cluster)
    kept, other = cluster.instances
    await until(lambda: kept.written)
    activity = kept._ctx.id
    with pytest.raises(RuntimeError, match="Only suspended instances"):
        kept.serialize()
    cluster.suspend_instance(kept)
    await until(lambda: kept.state == ServiceState.suspended)
    assert kept.serialize()["activity_id"] == activity
    cluster.stop_instance(other)
    await until(lambda: other.state == ServiceState.terminated)
    handles = await golem.stop()
    (handle,) = handles
    assert "goes on until" in caplog.text
    assert f"at most {handle['cost_per_hour']} GLM an hour" in caplog.text
    assert record.changes(kept)[-1] == "running>suspended"
    assert record.reasons == ["Success"]
    assert len(record.of("InvoiceAccepted")) == 1
    (allocation,) = await allocations(on_network)
    assert allocation.id == handle["allocation_id"]
    assert datetime.fromisoformat(handle["expiration"]) > datetime.now(UTC) + timedelta(hours=2)

    found = await asyncio.to_thread(resume_elsewhere, handles)
    assert found["text"] == "something"
    assert (found["activity"], found["id"]) == (activity, kept.id)
    assert found["address"] == handle["ip"] == "192.168.9.2"
    assert found["code"] == "Success"
    assert "InvoiceAccepted" in found["names"]
    assert "ActivityCreated" not in found["names"]
    assert await allocations(on_network) == []

    async with Golem(budget=1, event_consumer=record) as later:
        with pytest.raises(ServiceResumeError, match=f"Service {kept.id} cannot be resumed"):
            await later.resume_service(Writer, handles)


@pytest.mark.contract("S12")
async def test_a_whole_cluster_is_suspended_and_resumed_in_the_same_process(
    golem: Golem, record: Record, on_network: LocalNetwork
) -> None:
    cluster = await golem.run_service(Writer, 2)
    await running(cluster)
    activities = {service._ctx.id for service in cluster.instances}
    await suspend(cluster)
    handles = await golem.stop()
    assert len(handles) == 2
    assert record.reasons == []
    again = Record()
    async with Golem(budget=1, event_consumer=again) as golem:
        cluster = await golem.resume_service(Writer, handles)
        await until(lambda: all(service.is_available and service.written for service in cluster.instances))
        assert {service._ctx.id for service in cluster.instances} == activities
        assert {
            event.activity.id
            for event in again.of("WorkerStarted", "ScriptSent")
            if hasattr(event, "activity")
        } == (activities)
        assert again.changes() == ["suspended>running"] * 2
        cluster.stop()
        await terminated(cluster)
    assert again.reasons == ["Success", "Success"]
    assert len(again.of("InvoiceAccepted")) == 2
    assert await allocations(on_network) == []


@pytest.mark.contract("S12")
async def test_what_the_same_golem_has_taken_up_is_left_by_nobody(
    golem: Golem, record: Record, on_network: LocalNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = await golem.run_service(Writer)
    await suspend(cluster)
    (kept,) = cluster.instances
    handle = kept.serialize()
    again = await golem.resume_service(Writer, [handle])
    (taken_up,) = again.instances
    # it is running, and has what a running one has
    assert taken_up.state == ServiceState.running
    assert (taken_up._ctx.id, taken_up.provider_name) == (kept._ctx.id, kept.provider_name)
    await until(lambda: again.instances[0].written)
    again.stop()
    await terminated(again)
    assert await golem.stop() == []
    assert "goes on until" not in caplog.text
    assert record.reasons == ["Success"]
    assert len(record.of("InvoiceAccepted")) == 1
    assert await allocations(on_network) == []


@pytest.mark.localnet
@pytest.mark.contract("S12", "G13")
async def test_a_minute_later_the_debit_notes_that_have_come_are_accepted(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens for a minute, in which the provider asks for money five times."""
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("data")))
    async with LocalNetwork([ProviderSpec(name="patient", debit_note_interval=10.0)]) as network:
        for name, value in network.env.items():
            monkeypatch.setenv(name, value)
        record = Record()
        async with Golem(budget=1, event_consumer=record) as golem:
            vpn = await golem.create_network("192.168.9.0/24")
            cluster = await golem.run_service(Writer, network=vpn)
            await running(cluster)
            (kept,) = cluster.instances
            await until(lambda: kept.written)
            activity = kept._ctx.id
            await suspend(cluster)
            handles = await golem.stop()
        assert not record.of("AgreementTerminated", "InvoiceReceived")
        heard = len(record.of("DebitNoteAccepted"))
        await asyncio.sleep(60)

        async def notes() -> dict[str, str]:
            async with Configuration(network.api_config) as configuration:
                notes = await Payment(configuration.payment()).debit_notes()
            return {note.debit_note_id: note.status for note in notes if note.activity_id == activity}

        before = await notes()
        waiting = [key for key, status in before.items() if status == "RECEIVED"]
        assert len(waiting) >= 4
        assert len(before) - len(waiting) == heard
        found = await asyncio.to_thread(resume_elsewhere, handles, len(waiting))
        assert (found["activity"], found["id"], found["text"]) == (activity, kept.id, "something")
        assert "ActivityCreated" not in found["names"]
        assert found["code"] == "Success"
        assert "InvoiceAccepted" in found["names"]
        assert "PaymentFailed" not in found["names"]
        # every one of them, not only the last; what comes at the end with the invoice is covered by that
        after = await notes()
        assert {after[key] for key in waiting} <= {"ACCEPTED", "SETTLED"}
        assert await allocations(network) == []


@pytest.mark.contract("G13")
async def test_handles_that_do_not_fit_are_refused_before_anything_is_changed(
    golem: Golem, on_network: LocalNetwork
) -> None:
    network = await golem.create_network("192.168.9.0/24")
    cluster = await golem.run_service(AlpineService, 2, network=network)
    await suspend(cluster)
    handles = await golem.stop()
    before = [allocation.id for allocation in await allocations(on_network)]
    record = Record()
    async with Golem(budget=1, event_consumer=record) as golem:
        swapped = copy.deepcopy(handles)
        swapped[0]["agreement_id"] = handles[1]["agreement_id"]
        swapped[1]["agreement_id"] = handles[0]["agreement_id"]
        belongs = f"belongs to agreement {handles[0]['agreement_id']}.*as `golem.stop"
        with pytest.raises(ServiceResumeError, match=belongs):
            await golem.resume_service(AlpineService, swapped)
        unknown = copy.deepcopy(handles[0])
        unknown["agreement_id"] = "0" * 64
        with pytest.raises(ServiceResumeError, match=r"404\)\. Run the service anew"):
            await golem.resume_service(AlpineService, [unknown])
        other = await golem.create_network("10.1.0.0/24")
        with pytest.raises(ServiceResumeError, match=r"no node 192\.168\.9\.2 in .*10\.1.*resume_network"):
            await golem.resume_service(AlpineService, handles, network=other)
        elsewhere = copy.deepcopy(handles)
        elsewhere[0]["ip"], elsewhere[1]["ip"] = handles[1]["ip"], handles[0]["ip"]
        network = await golem.resume_network(handles[0]["network"])
        with pytest.raises(ServiceResumeError, match="its provider has no node"):
            await golem.resume_service(AlpineService, elsewhere, network=network)
        assert record.of("JobStarted", "AgreementTerminated") == []
        assert {allocation.id for allocation in await allocations(on_network)} > set(before)
        cluster = await golem.resume_service(AlpineService, handles, network=network)
        await running(cluster)
        cluster.stop()
        await terminated(cluster)
    assert record.reasons == ["Success", "Success"]
    assert await allocations(on_network) == []


@pytest.mark.contract("G13", "S12")
async def test_an_activity_is_taken_up_once(golem: Golem, record: Record, on_network: LocalNetwork) -> None:
    """Whoever had it twice would end it under itself."""
    cluster = await golem.run_service(AlpineService)
    await suspend(cluster)
    (kept,) = cluster.instances
    handle = kept.serialize()
    # both at once: only one finds it free
    both = await asyncio.gather(
        *(golem.resume_service(AlpineService, [handle]) for _ in range(2)), return_exceptions=True
    )
    refused = [each for each in both if isinstance(each, ServiceResumeError)]
    (again,) = [each for each in both if not isinstance(each, BaseException)]
    assert len(refused) == 1
    async with Golem(budget=1, event_consumer=lambda _: None) as other:
        with pytest.raises(ServiceResumeError, match="another instance in this process has taken it up"):
            await other.resume_service(AlpineService, [handle])
    with pytest.raises(RuntimeError, match="was taken up"):
        kept.serialize()
    # suspended once more it is free; and whoever takes it up finds the bills, which the daemon files under
    # the engine that has made the agreement
    await suspend(again)
    (handle,) = await golem.stop()
    second = Golem(budget=1, event_consumer=lambda _: None)
    await second.start()
    again = await second.resume_service(AlpineService, [handle])
    await suspend(again)
    (handle,) = await second.stop()
    record = Record()
    async with Golem(budget=1, event_consumer=record) as golem:
        cluster = await golem.resume_service(AlpineService, [handle])
        await running(cluster)
        cluster.stop()
        await terminated(cluster)
    assert record.reasons == ["Success"]
    assert len(record.of("InvoiceAccepted")) == 1
    assert await allocations(on_network) == []


@pytest.mark.contract("S12")
async def test_a_suspended_instance_can_be_stopped(
    golem: Golem, record: Record, on_network: LocalNetwork
) -> None:
    network = await golem.create_network("192.168.9.0/24")
    cluster = await golem.run_service(AlpineService, 3, network=network)
    await running(cluster)
    one, two, three = cluster.instances
    cluster.suspend_instance(one)
    cluster.suspend_instance(two)
    await until(lambda: one.state == two.state == ServiceState.suspended)
    address = one.network_node.ip
    cluster.stop_instance(one)
    assert one.state == ServiceState.terminated
    cluster.stop_instance(one)
    await until(lambda: len(record.of("InvoiceAccepted")) == 1)
    assert record.reasons == ["Success"]
    assert record.changes(one)[-2:] == ["running>suspended", "suspended>terminated"]
    assert address not in network.nodes_dict
    assert [event.service for event in record.of("ServiceFinished")] == [one]
    # the last order counts, before it is suspended as well as after
    cluster.suspend_instance(three)
    cluster.stop()
    assert two.state == ServiceState.terminated
    await terminated(cluster)
    assert "stopping>terminated" in record.changes(three)
    assert await golem.stop() == []
    assert record.reasons == ["Success"] * 3
    assert len(record.of("InvoiceAccepted")) == 3
    assert await allocations(on_network) == []


@pytest.mark.contract("S12")
async def test_the_end_of_its_cluster_leaves_a_suspended_instance(golem: Golem, record: Record) -> None:
    cluster = await golem.run_service(AlpineService)
    await running(cluster)
    (kept,) = cluster.instances
    cluster.suspend()
    await cluster.terminate()
    assert kept.state == ServiceState.suspended
    await until(lambda: len(record.of("JobFinished")) == 1)
    with pytest.raises(RuntimeError, match=r"take it up with `golem\.resume_service`, and stop it there"):
        cluster.stop()
    again = await golem.resume_service(AlpineService, [kept.serialize()])
    again.stop()
    await terminated(again)
    assert await golem.stop() == []
    assert record.reasons == ["Success"]
