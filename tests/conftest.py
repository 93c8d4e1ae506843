"""The local Golem network that the tests share: one a test process, started when the first test wants it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from golem_nb.config import ApiConfig
    from golem_nb.localnet import LocalNetwork


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses the shared network needs daemons."""
    for item in items:
        if "network" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.localnet)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network of three well-behaved providers."""
    from golem_nb.localnet import LocalNetwork

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        with LocalNetwork(providers=3) as network:
            yield network


@pytest.fixture
def api_config(network: LocalNetwork) -> ApiConfig:
    """Address and key of the requestor's daemon."""
    return network.api_config


@pytest.fixture
def on_network(network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> LocalNetwork:
    """The environment that a program on the network has."""
    for name, value in network.env.items():
        monkeypatch.setenv(name, value)
    return network
