"""What a service is before it runs anywhere."""

from __future__ import annotations

import asyncio
import inspect
import uuid

import pytest

from golem_nb.services import Service, ServiceSignal, ServiceState


@pytest.mark.contract("S01", "S02")
def test_a_service_before_it_runs() -> None:
    service = Service()
    assert uuid.UUID(service.id).version == 4
    assert Service(_id="mine").id == "mine"
    assert service.state == ServiceState.pending
    assert not service.is_available
    for nothing in ("provider_name", "provider_id", "network", "network_node", "cluster"):
        assert getattr(service, nothing) is None
    assert service.exc_info == (None, None, None)
    assert service.get_deploy_args() == {}
    assert repr(service) == f"<Service pending [ {service.id} ]>"


@pytest.mark.contract("S01", "S03")
async def test_the_defaults() -> None:
    service = Service()
    assert await Service.get_payload() is None
    await service.reset()
    assert not await service.is_activity_responsive()
    assert not service.restart_condition
    for handler in (service.start, service.run, service.shutdown):
        assert inspect.isasyncgenfunction(handler)


@pytest.mark.contract("S01", "S02", "S04")
async def test_messages_go_both_ways() -> None:
    service = Service()
    assert service.receive_message_nowait() is None
    assert service._listen_nowait() is None
    await service.send_message("first")
    service.send_message_nowait({"second": 2})
    signal = await service._listen()
    assert (signal.message, signal.response_to) == ("first", None)
    second = service._listen_nowait()
    assert second == ServiceSignal({"second": 2})
    waiting = asyncio.create_task(service.receive_message())
    await service._respond("answer", signal)
    answer = await waiting
    assert answer.message == "answer"
    assert answer.response_to is signal
    service._respond_nowait("unasked")
    assert service.receive_message_nowait() == ServiceSignal("unasked")


@pytest.mark.contract("S02")
def test_only_a_suspended_service_has_a_handle() -> None:
    with pytest.raises(RuntimeError, match="belongs to no cluster"):
        Service().serialize()
