"""Clusters of services on the local network."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from golem_nb import ApiConfig, Golem, vm
from golem_nb.network import NetworkError
from golem_nb.services import Cluster, Service, ServiceState

from .conftest import AlpineService, Record, all_in, running, terminated, until

Scripts = AsyncGenerator[Any, Any]


class Talker(AlpineService):
    """Says what it was given, then answers messages."""

    def __init__(self, word: str = "nothing") -> None:
        super().__init__()
        self.word = word
        self.said: str | None = None

    async def run(self) -> Scripts:
        script = self._ctx.new_script()
        said = script.run("/bin/sh", "-c", f"echo -n {self.word}")
        yield script
        self.said = (await said).stdout
        while True:
            signal = await self._listen()
            script = self._ctx.new_script()
            answer = script.run("/bin/sh", "-c", f"echo -n {signal.message}")
            yield script
            await self._respond((await answer).stdout, signal)


@pytest.mark.contract("G20", "S03", "S13", "V06", "S09")
async def test_a_service_lives_and_ends(golem: Golem, record: Record) -> None:
    cluster = await golem.run_service(Talker)
    (service,) = cluster.instances
    assert isinstance(cluster, Cluster)
    assert (cluster.service_class, cluster.network) == (Talker, None)
    assert service.cluster is cluster
    await running(cluster)
    await until(lambda: service.said == "nothing")
    await service.send_message("hello")
    answer = await service.receive_message()
    assert (answer.message, answer.response_to.message) == ("hello", "hello")
    assert service.provider_name in repr(service)
    assert service.is_available
    assert await service.is_activity_responsive()
    cluster.stop()
    await terminated(cluster)
    assert service.exc_info == (None, None, None)
    await golem.stop()
    changes = ["pending>starting", "starting>running", "running>stopping", "stopping>terminated"]
    assert record.changes() == changes
    assert record.reasons == ["Success"]
    names = [type(event).__name__ for event in record.events]
    interesting = [
        "JobStarted", "AgreementConfirmed", "WorkerStarted", "ActivityCreated", "ServiceStateChanged",
        "ServiceFinished", "WorkerFinished", "AgreementTerminated", "InvoiceAccepted", "JobFinished",
        "ShutdownFinished",
    ]  # fmt: skip
    order = [name for name in names if name in interesting]
    assert order[:5] == interesting[:5]
    ended = order[-8:]
    # the invoice may come before the job is over, or after
    assert [name for name in ended if name != "InvoiceAccepted"] == [
        "ServiceStateChanged", "ServiceStateChanged", "ServiceFinished", "WorkerFinished",
        "AgreementTerminated", "JobFinished", "ShutdownFinished",
    ]  # fmt: skip
    first_script = names.index("ScriptSent")
    states = [index for index, name in enumerate(names) if name == "ServiceStateChanged"]
    assert states[0] < first_script < states[1]


@pytest.mark.contract("G21", "S13")
async def test_instances_get_their_parameters(golem: Golem) -> None:
    cluster = await golem.run_service(Talker, instance_params=[{"word": "one"}, {"word": "two"}])
    assert [service.word for service in cluster.instances] == ["one", "two"]
    cluster.spawn_instances(1, ({"word": str(number)} for number in range(100)))
    assert [service.word for service in cluster.instances] == ["one", "two", "0"]
    await running(cluster)
    await until(lambda: [service.said for service in cluster.instances] == ["one", "two", "0"])
    assert len({service.provider_id for service in cluster.instances}) == 3
    first = cluster.instances[0]
    cluster.stop_instance(first)
    await until(lambda: first.state == ServiceState.terminated)
    assert [service.state.value for service in cluster.instances[1:]] == ["running", "running"]
    with pytest.raises(ValueError, match="not an instance of this cluster"):
        cluster.stop_instance(Talker())


@pytest.mark.contract("G21", "G22", "S14")
async def test_numbers(golem: Golem, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="`instance_params` iterable depleted after 1 spawned instances"):
        await golem.run_service(Talker, num_instances=2, instance_params=[{}])
    with caplog.at_level(logging.WARNING):
        cluster = await golem.run_service(Talker, num_instances=0)
    assert "num_instances is 0" in caplog.text
    assert cluster.instances == []
    cluster.instances.append(Talker())
    assert cluster.instances == []


@pytest.mark.contract("G22", "S15")
async def test_payloads(golem: Golem) -> None:
    with pytest.raises(ValueError, match=r"No payload returned from Service.get_payload\(\)"):
        await golem.run_service(Service)
    other = await vm.repo(image_tag="golem/alpine:latest", min_mem_gib=0.25)
    with pytest.raises(ValueError, match="is not what Talker"):
        await golem.run_service(Talker, payload=other)
    same = await Talker.get_payload()
    cluster = await golem.run_service(Talker, num_instances=0, payload=same)
    assert cluster.payload == same


@pytest.mark.contract("G22")
async def test_addresses_need_a_network(golem: Golem) -> None:
    with pytest.raises(ValueError, match="`network_addresses` provided without a `network`"):
        await golem.run_service(Talker, network_addresses=["192.168.0.5"])


@pytest.mark.contract("G23")
async def test_expiration(golem: Golem) -> None:
    cluster = await golem.run_service(Talker, num_instances=0)
    assert abs(cluster.expiration - datetime.now(UTC) - timedelta(minutes=180)) < timedelta(seconds=5)
    naive = datetime.now() + timedelta(minutes=10)
    cluster = await golem.run_service(Talker, num_instances=0, expiration=naive)
    assert cluster.expiration == naive.astimezone(UTC)
    with pytest.raises(ValueError, match="expiration must be in the future"):
        await golem.run_service(Talker, expiration=datetime.now())


async def test_a_golem_that_does_not_run_has_no_services() -> None:
    golem = Golem(budget=1, api_config=ApiConfig(app_key="x"))
    with pytest.raises(RuntimeError, match="not running"):
        await golem.run_service(Talker)
    with pytest.raises(RuntimeError, match="not running"):
        await golem.create_network("192.168.0.0/24")


async def test_a_constructor_must_call_its_base(golem: Golem) -> None:
    class Forgetful(AlpineService):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"`Forgetful.__init__` must call `super\(\).__init__\(\)`"):
        await golem.run_service(Forgetful)


@pytest.mark.contract("S12")
async def test_terminate_ends_the_cluster(golem: Golem, record: Record) -> None:
    cluster = await golem.run_service(Talker, 2)
    await running(cluster)
    await cluster.terminate()
    assert all(service.state == ServiceState.terminated for service in cluster.instances)
    await until(lambda: bool(record.of("JobFinished")))
    assert record.of("JobFinished")[0].exception is None
    assert record.reasons == ["Success", "Success"]
    with pytest.raises(RuntimeError, match="cluster was terminated"):
        cluster.spawn_instances()
    assert len(cluster.instances) == 2
    await cluster.terminate()


@pytest.mark.contract("S02", "S12")
async def test_instances_of_the_same_id_are_told_apart(golem: Golem) -> None:
    class Namesake(AlpineService):
        def __init__(self) -> None:
            super().__init__(_id="same")

    cluster = await golem.run_service(Namesake, 2)
    await running(cluster)
    first, second = cluster.instances
    cluster.stop_instance(first)
    await until(lambda: first.state == ServiceState.terminated)
    assert second.state == ServiceState.running
    cluster.stop()
    await terminated(cluster)


@pytest.mark.contract("S12")
async def test_terminate_does_not_wait_for_ever(
    golem: Golem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, record: Record
) -> None:
    class Stubborn(AlpineService):
        async def shutdown(self) -> Scripts:
            await asyncio.Event().wait()
            yield self._ctx.new_script()

    monkeypatch.setattr("golem_nb.services.cluster.STOP_LIMIT", 0.5)
    cluster = await golem.run_service(Stubborn)
    await running(cluster)
    async with asyncio.timeout(5):
        await asyncio.gather(cluster.terminate(), cluster.terminate())
    assert cluster.instances[0].state == ServiceState.terminated
    assert caplog.text.count("has not stopped within 0.5 s and is ended") == 1
    await until(lambda: record.reasons == ["Cancelled"])


@pytest.mark.contract("S12", "S06")
async def test_a_stop_before_there_is_an_agreement(golem: Golem, record: Record) -> None:
    class Impossible(Service):
        @staticmethod
        async def get_payload() -> Any:
            return await vm.repo(image_tag="golem/alpine:latest", min_mem_gib=100_000)

    cluster = await golem.run_service(Impossible, 3)
    await asyncio.sleep(0.2)
    assert {service.state.value for service in cluster.instances} == {"pending"}
    cluster.stop()
    await terminated(cluster, timeout=1.0)
    assert not record.of("AgreementCreated")


@pytest.mark.contract("S16", "N04", "G24")
async def test_instances_are_nodes_of_their_network(golem: Golem) -> None:
    async with await golem.create_network("192.168.7.0/24") as network:
        cluster = await golem.run_service(
            Talker, 3, network=network, network_addresses=["192.168.7.40", "192.168.7.30"]
        )
        await running(cluster)
        addresses = ["192.168.7.40", "192.168.7.30", "192.168.7.2"]
        assert [service.network_node.ip for service in cluster.instances] == addresses
        assert network.nodes_dict == {network.owner_ip: golem._engine.node_id} | {
            service.network_node.ip: service.provider_id for service in cluster.instances
        }
        first, second, _ = cluster.instances
        assert first.network is network
        assert "@ 192.168.7.40" in repr(first)
        # the nodes reach each other, in both directions, in whichever order they have come
        for one, other in ((first, second), (second, first)):
            connect = f'import socket; print(socket.socket().connect_ex(("{other.network_node.ip}", 1)))'
            await one.send_message(f"$(timeout 5 python3 -c '{connect}')")
            # refused, by the other end
            assert (await one.receive_message()).message == str(errno.ECONNREFUSED)
        cluster.stop_instance(first)
        await until(lambda: first.network_node is None and "192.168.7.40" not in network.nodes_dict)
        cluster.spawn_instances(network_addresses=["192.168.7.40"])
        await running_again(cluster)
    assert network.state.current_state_value == "removed"


async def running_again(cluster: Cluster[Any]) -> None:
    await until(lambda: cluster.instances[-1].state == ServiceState.running)
    assert cluster.instances[-1].network_node.ip == "192.168.7.40"


@pytest.mark.contract("S16", "N02")
@pytest.mark.parametrize(
    ("addresses", "number", "message"),
    [
        (["192.168.7.9", "192.168.7.9"], 2, "has already been assigned"),
        (["192.168.8.9"], 1, "must belong to the network"),
        (["192.168.7.1"], 1, "has already been assigned"),
        ([], 6, "No more addresses available"),
    ],
)
async def test_addresses_that_cannot_be(
    golem: Golem, record: Record, addresses: list[str], number: int, message: str
) -> None:
    network = await golem.create_network("192.168.7.0/29" if not addresses else "192.168.7.0/24")
    with pytest.raises(NetworkError, match=message):
        await golem.run_service(Talker, number, network=network, network_addresses=addresses)
    assert network.nodes_dict == {network.owner_ip: golem._engine.node_id}
    assert not record.of("JobStarted")
    # what had been reserved is free again
    assert network.reserve() == "192.168.7.2"


@pytest.mark.parametrize("number", ["2", 1.5])
async def test_a_number_that_is_none(golem: Golem, record: Record, number: Any) -> None:
    with pytest.raises(TypeError, match="num_instances must be a whole number, not"):
        await golem.run_service(Talker, number)
    assert not record.of("JobStarted")


async def test_a_network_that_was_removed(golem: Golem, record: Record) -> None:
    network = await golem.create_network("192.168.7.0/24")
    await network.remove()
    with pytest.raises(NetworkError, match=r"is removed\. Make one with"):
        await golem.run_service(Talker, network=network)
    assert not record.of("JobStarted")


@pytest.mark.contract("S09", "S13")
async def test_many_instances_at_once(golem: Golem, record: Record) -> None:
    cluster = await golem.run_service(AlpineService, 9)
    await running(cluster, timeout=20)
    cluster.stop()
    await terminated(cluster)
    await golem.stop()
    assert record.reasons == ["Success"] * 9
    assert len({event.agreement.id for event in record.of("AgreementTerminated")}) == 9
    assert len(record.of("InvoiceAccepted")) == 9


@pytest.mark.contract("S12", "V06")
async def test_a_golem_that_is_stopped_lets_services_stop(golem: Golem, record: Record) -> None:
    cluster = await golem.run_service(Talker)
    await running(cluster)
    assert await golem.stop() == []
    await all_in(cluster, ServiceState.terminated)
    assert record.changes()[-2:] == ["running>stopping", "stopping>terminated"]
    assert record.reasons == ["Success"]
