"""Servers in the sandboxes of the shared local network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Golem, vm
from golem_nb.contrib.service.http_proxy import HttpProxyService, LocalHttpProxy
from golem_nb.services import Cluster, ServiceState

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

SERVER = Path(__file__).with_name("web_server.py")
PORT = 8000


async def until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


class WebService(HttpProxyService):
    """An HTTP server of the standard library."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(PORT, **settings)

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])

    @property
    def restart_condition(self) -> bool:
        return self.exc_info[0] is not None

    async def start(self) -> AsyncGenerator[Any, Any]:
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.upload_file(SERVER, "/golem/work/server.py")
        serve = f"cd /golem/work; python3 server.py {PORT} {self.network_node.ip} >log 2>&1 &"
        script.run("/bin/sh", "-c", f"{serve} until grep -q listening log; do sleep 0.02; done")
        yield script


class Web:
    """A cluster, its network, and a proxy in front of it."""

    def __init__(self, cluster: Cluster[WebService], proxy: LocalHttpProxy) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.base = f"http://127.0.0.1:{proxy.port}"

    @property
    def addresses(self) -> set[str]:
        return {
            service.network_node.ip
            for service in self.cluster.instances
            if service.state == ServiceState.running and service.network_node
        }


@pytest.fixture
async def golem(on_network: LocalNetwork) -> AsyncIterator[Golem]:
    async with Golem(budget=2, event_consumer=lambda _: None) as golem:
        yield golem


async def start(golem: Golem, number: int, **settings: Any) -> Web:
    network = await golem.create_network("192.168.0.0/24")
    cluster = await golem.run_service(WebService, network=network, instance_params=[settings] * number)
    proxy = LocalHttpProxy(cluster, 0)
    await proxy.run()
    await until(lambda: all(service.state == ServiceState.running for service in cluster.instances))
    return Web(cluster, proxy)


@pytest.fixture
async def web(golem: Golem) -> AsyncIterator[Web]:
    """Two running instances."""
    web = await start(golem, 2)
    yield web
    await web.proxy.stop()


@pytest.fixture
async def single(golem: Golem) -> AsyncIterator[Web]:
    """One running instance with little patience."""
    web = await start(golem, 1, response_timeout=2.0)
    yield web
    await web.proxy.stop()
