"""Services on the shared local network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Golem, vm
from golem_nb.events import Event
from golem_nb.services import Service, ServiceState

if TYPE_CHECKING:
    from statemachine import State

    from golem_nb.localnet import LocalNetwork
    from golem_nb.services import Cluster


class Record:
    """The events of one `Golem`, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, *names: str) -> list[Any]:
        return [event for event in self.events if type(event).__name__ in names]

    def changes(self, service: Service | None = None) -> list[str]:
        """The changes of state, as "old>new"."""
        return [
            f"{event.old.value}>{event.new.value}"
            for event in self.of("ServiceStateChanged")
            if service is None or event.service is service
        ]

    @property
    def reasons(self) -> list[str]:
        """The codes with which agreements have ended."""
        return [event.reason.get("golem.requestor.code") for event in self.of("AgreementTerminated")]


class AlpineService(Service):
    """A service on the image that every provider of the local network has."""

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])


async def until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


async def all_in(cluster: Cluster[Any], state: State, timeout: float = 30.0) -> None:
    await until(lambda: all(service.state == state for service in cluster.instances), timeout)


async def running(cluster: Cluster[Any], timeout: float = 30.0) -> None:
    await all_in(cluster, ServiceState.running, timeout)


async def terminated(cluster: Cluster[Any], timeout: float = 30.0) -> None:
    await all_in(cluster, ServiceState.terminated, timeout)


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
async def golem(on_network: LocalNetwork, record: Record) -> AsyncIterator[Golem]:
    """A running Golem; providers behave again when the test is over."""
    async with Golem(budget=2, event_consumer=record) as golem:
        yield golem
    for provider in on_network.providers:
        await provider.behave()
