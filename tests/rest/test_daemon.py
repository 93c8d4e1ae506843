"""The client against a real daemon, alone on loopback: no other node, no chain."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from decimal import Decimal
from pathlib import Path

import pytest

from golem_nb.config import ApiConfig
from golem_nb.localnet.bus.client import Bus
from golem_nb.rest import Activity, Configuration, Gsb, Identity, Market, Net, Payment
from golem_nb.rest.errors import (
    ApiError,
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    ServerError,
    UnauthorizedError,
)
from tests.ports import free_port

KEY = "the-very-secret-key"
YAGNA = Path(sys.executable).parent / "yagna"

pytestmark = pytest.mark.skipif(
    not YAGNA.exists(), reason="the golem-node wheel has no daemon for this system"
)


class Daemon:
    """A bare process of `yagna`, without what `golem_nb.node` does for it: that is tested elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.bus = f"unix:{folder}/bus.sock"
        self.log = folder / "yagna.log"
        environment = {
            **os.environ,
            "YAGNA_DATADIR": str(folder / "data"),
            "GSB_URL": self.bus,
            "YAGNA_API_URL": self.url,
            "YAGNA_AUTOCONF_APPKEY": KEY,
            "YA_CONSENT_STATS": "deny",
            # a net without a relay: nobody outside of this machine is spoken to
            "YA_NET_TYPE": "hybrid",
            "YA_NET_BIND_URL": f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
            "YA_NET_RELAY_HOST": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
        }
        command = [YAGNA, "service", "run", "--disable-metrics-push", "--log-dir", ""]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def configuration(self, key: str = KEY) -> Configuration:
        return Configuration(ApiConfig(app_key=key, api_url=self.url))

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def ready(daemon: Daemon) -> None:
    async with daemon.configuration() as configuration:
        while daemon.process.poll() is None:
            with suppress(ApiError):
                await Identity(configuration.root()).me()
                return
            await asyncio.sleep(0.05)
    raise AssertionError(daemon.log.read_text())


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    # not pytest's own folder: the path of a unix socket has 108 bytes at most
    with tempfile.TemporaryDirectory(prefix="gnb-") as folder:
        daemon = Daemon(Path(folder))
        try:
            asyncio.run(asyncio.wait_for(ready(daemon), 60))
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
async def configuration(daemon: Daemon) -> AsyncIterator[Configuration]:
    async with daemon.configuration() as configuration:
        yield configuration


async def test_identity_and_version(configuration: Configuration) -> None:
    identity = Identity(configuration.root())
    me = await identity.me()
    assert me.identity.startswith("0x")
    assert len(me.identity) == 42
    assert (await identity.version()).version.startswith("0.17.")


async def test_a_wrong_key_is_named_and_not_shown(daemon: Daemon) -> None:
    async with daemon.configuration("some-wrong-key") as configuration:
        with pytest.raises(UnauthorizedError, match="YAGNA_APPKEY") as caught:
            await Market(configuration.market()).subscriptions()
    assert "some-wrong-key" not in str(caught.value) + repr(caught.value)


async def test_a_demand_and_a_scan(configuration: Configuration) -> None:
    market = Market(configuration.market())
    async with market.subscribe({"golem.node.debug.subnet": "t"}, "(a=b)") as subscription:
        assert await subscription.collect(timeout=0.1) == []
        assert subscription.id in [known.id for known in await market.subscriptions()]
        with pytest.raises(NotFoundError):
            await subscription.proposal("R-" + "0" * 64)  # type: ignore[arg-type]
    assert await market.subscriptions() == []
    with pytest.raises(NotFoundError):
        await subscription.collect(timeout=0.1)
    await subscription.delete()  # twice is fine
    async with market.scan("(golem.runtime.name=vm)") as scan:
        assert await scan.collect(timeout=0.2) == []
        assert [offer async for offer in scan.offers(timeout=0.2)] == []
    with pytest.raises(BadRequestError, match="Invalid constraint"):
        async with market.scan("(&"):
            pass


async def test_a_long_poll_ends_with_its_task(configuration: Configuration) -> None:
    async with Market(configuration.market()).subscribe({}, "") as subscription:
        poll = asyncio.create_task(subscription.collect(timeout=30))
        await asyncio.sleep(0.2)
        started = time.perf_counter()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        assert time.perf_counter() - started < 0.05


async def test_agreements_and_activities_that_do_not_exist(configuration: Configuration) -> None:
    market, activities = Market(configuration.market()), Activity(configuration.activity())
    assert await market.agreements() == []
    nobody = "0" * 64
    with pytest.raises(NotFoundError):
        await market.agreement(nobody)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        await activities.new_activity(nobody, timeout=1)  # type: ignore[arg-type]
    with pytest.raises(ServerError, match="Not found"):
        await activities.attach("0" * 32).send([{"deploy": {}}])  # type: ignore[arg-type]


async def test_money(configuration: Configuration) -> None:
    payment = Payment(configuration.payment())
    assert await payment.accounts() == []
    assert await payment.allocations() == []
    with pytest.raises(BadRequestError, match="there is no payment platform 'erc20-nowhere-tglm'"):
        await payment.create_allocation(Decimal("1"), "erc20-nowhere-tglm")
    with pytest.raises(NotFoundError):
        await payment.invoice("00000000-0000-0000-0000-000000000000")  # type: ignore[arg-type]


async def test_networks(configuration: Configuration) -> None:
    net = Net(configuration.net())
    me = (await Identity(configuration.root()).me()).identity
    network = await net.create_network("192.168.7.0/24", gateway="192.168.7.254")
    assert (network.ip, network.mask, network.gateway) == ("192.168.7.0/24", "255.255.255.0", "192.168.7.254")
    assert await net.networks() == [network]
    await net.add_address(network.id, "192.168.7.1")
    assert await net.addresses(network.id) == ["192.168.7.1/24"]
    await net.add_node(network.id, me, "192.168.7.2")
    assert [(node.id, node.ip) for node in await net.nodes(network.id)] == [(me, "192.168.7.2")]
    await net.remove_node(network.id, me)
    assert await net.nodes(network.id) == []
    with pytest.raises(BadRequestError):
        await net.connect(network.id, "nonsense", 80)
    await net.remove_network(network.id)
    await net.remove_network(network.id)
    with pytest.raises(NotFoundError, match="Network not found"):
        await net.network(network.id)
    with pytest.raises((NotFoundError, ForbiddenError)):
        await net.connect(network.id, "192.168.7.2", 80)


async def test_a_service_on_the_bus_is_called(daemon: Daemon, configuration: Configuration) -> None:
    gsb = Gsb(configuration.gsb())
    content = os.urandom(1 << 20)

    async def serve() -> None:
        async with (
            gsb.bind("/public/gftp/abc", ["GetMetadata", "GetChunk", "UploadChunk"]) as service,
            aclosing(service.requests()) as requests,
        ):
            with pytest.raises(BadRequestError, match="Duplicated service address"):
                await gsb.create_service("/public/gftp/abc", ["GetMetadata"])
            bound.set()
            async for request in requests:
                if request.component == "GetMetadata":
                    await service.reply(request, {"fileSize": len(content)})
                elif request.component == "GetChunk":
                    start = request.payload["offset"]
                    chunk = memoryview(content)[start : start + request.payload["size"]]
                    await service.reply(request, {"offset": start, "content": chunk})
                elif request.payload["chunk"]["content"] == content[:40960]:
                    await service.reply(request, None)
                else:
                    await service.reply_error(request, "that is not what was expected")

    bound = asyncio.Event()
    async with await Bus.connect(daemon.bus, "test") as bus, asyncio.TaskGroup() as group:
        task = group.create_task(serve())
        await asyncio.wait_for(bound.wait(), 10)
        prefix = "/public/gftp/abc/"
        assert await bus.call(prefix + "GetMetadata", {}) == {"fileSize": len(content)}
        for size in (40960, 65_000):
            answer = await bus.call(prefix + "GetChunk", {"offset": 7, "size": size})
            assert bytes(answer["content"]) == content[7 : 7 + size]
        # the daemon would close the channel for it
        with pytest.raises(Exception, match="ask for less at a time"):
            await bus.call(prefix + "GetChunk", {"offset": 0, "size": len(content)})
        assert (
            await bus.call(prefix + "UploadChunk", {"chunk": {"offset": 0, "content": content[:40960]}})
            is None
        )
        with pytest.raises(Exception, match="that is not what was expected"):
            await bus.call(prefix + "UploadChunk", {"chunk": {"offset": 0, "content": b"other"}})
        task.cancel()
    # the service ended with its block, so the address is free again
    await gsb.delete_service(await gsb.create_service("/public/gftp/abc", ["GetMetadata"]))
