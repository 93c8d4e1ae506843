from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import aiohttp
import psutil
import pytest

from golem_nb.localnet import (
    LocalNetwork,
    LocalNetworkError,
    NetworkNotRunningError,
    NetworkStartError,
    ProviderSpec,
    down,
    running_networks,
)
from golem_nb.node import Commands, describe_daemon, find_yagna
from golem_nb.payload import vm
from golem_nb.rest import Configuration, Identity, Market

pytestmark = pytest.mark.localnet


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    return tmp_path / "localnet"


def commands(network: LocalNetwork) -> Commands:
    bus = Path(network.env["GSB_URL"].removeprefix("unix:"))
    return Commands(find_yagna().path, bus, Path(network.env["YAGNA_DATADIR"]), {})


async def names_on_the_market(network: LocalNetwork, count: int) -> set[str]:
    names: set[str] = set()
    async with (
        Configuration(network.api_config) as configuration,
        Market(configuration.market()).scan() as scan,
        contextlib.aclosing(scan.offers(timeout=10)) as offers,
    ):
        async for offer in offers:
            names.add(offer.props["golem.node.id.name"])
            if len(names) == count:
                break
    return names


async def test_offers_are_there_when_it_is_ready(network: LocalNetwork) -> None:
    names = {provider.name for provider in network.providers}
    assert len(names) == 3
    async with Configuration(network.api_config) as configuration:
        assert (await Identity(configuration.root()).me()).identity == network.requestor
        async with Market(configuration.market()).scan() as scan:
            offers = await scan.collect(timeout=5)
    assert {offer.props["golem.node.id.name"] for offer in offers} == names
    assert {offer.issuer for offer in offers} == {provider.node_id for provider in network.providers}
    prices = {tuple(offer.props["golem.com.pricing.model.linear.coeffs"]) for offer in offers}
    assert len(prices) == 3
    assert len({offer.props["golem.inf.mem.gib"] for offer in offers}) == 3


async def test_money(network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    # what it holds is asked for over the bus that the environment names
    monkeypatch.setenv("GSB_URL", network.env["GSB_URL"])
    assert await network.chain.balance(network.requestor) > 900
    report = await describe_daemon(network.api_config)
    assert {account.platform for account in report.accounts} == {"erc20-hoodi-tglm", "erc20-holesky-tglm"}
    assert {balance.platform: balance.amount > 900 for balance in report.balances} == {
        "erc20-hoodi-tglm": True,
        "erc20-holesky-tglm": True,
    }
    poor = await commands(network).create_identity("poor")
    await commands(network).payment_init("hoodi", poor, sender=True)
    assert (await commands(network).balance("hoodi", poor)).amount == 0
    await network.chain.fund(poor, Decimal("1.5"))
    balance = await commands(network).balance("hoodi", poor)
    assert (balance.address, balance.amount) == (poor, Decimal("1.5"))
    assert balance.gas > 1


async def test_the_daemon_s_own_faucet_command(network: LocalNetwork) -> None:
    begger = await commands(network).create_identity("begger")
    await commands(network).payment_init("hoodi", begger, sender=True)
    await commands(network).fund("hoodi", begger)
    assert await network.chain.balance(begger) == 1000
    (minted,) = [one for one in await network.chain.transfers() if one.recipient == begger]
    assert minted.amount == 1000


async def test_the_environment_leads_other_programs_here(network: LocalNetwork) -> None:
    process = await asyncio.create_subprocess_exec(
        find_yagna().path, "id", "show", "--json", env={**os.environ, **network.env}, stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert network.requestor in output.decode()


async def test_images(network: LocalNetwork, tmp_path: Path) -> None:
    payload = await vm.repo(image_tag="golem/alpine:latest", repository_url=network.registry_url)
    assert payload is not None
    sha3 = await network.add_image("me/tools:latest", tmp_path)
    async with aiohttp.ClientSession() as session:
        url = f"{network.registry_url}/v1/image/info"
        async with session.get(url, params={"tag": "me/tools:latest", "count": "true"}) as answer:
            assert (await answer.json())["sha3"] == sha3
        async with session.get(url, params={"tag": "me/other"}) as answer:
            assert answer.status == 404
    with pytest.raises(LocalNetworkError, match="no folder"):
        await network.add_image("me/absent:latest", tmp_path / "absent")


async def test_handles_of_providers(network: LocalNetwork) -> None:
    provider = network.providers[0]
    assert network.provider(provider.name).node_id == provider.node_id
    await provider.misbehave("refuse-proposal")
    await provider.behave()
    with pytest.raises(LocalNetworkError, match="no provider is named 'nobody'"):
        network.provider("nobody")
    with pytest.raises(ValueError, match="swear"):
        await provider.misbehave("swear")


async def test_nothing_secret_shows_and_nothing_is_open_to_others(network: LocalNetwork) -> None:
    key = network.api_config.app_key
    assert key not in repr(network)
    for log in network.logs.iterdir():
        assert key not in log.read_text(), log
    supervisor = psutil.Process((await network.status())["processes"]["supervisor"])
    for process in [supervisor, *supervisor.children(recursive=True)]:
        assert key not in " ".join(process.cmdline())
    assert network.folder.stat().st_mode & 0o077 == 0
    assert (network.folder / "network.json").stat().st_mode & 0o077 == 0


async def test_two_side_by_side_with_several_loops(data: Path) -> None:
    async with asyncio.TaskGroup() as group:
        networks = [
            LocalNetwork([ProviderSpec(name="left")]),
            LocalNetwork([ProviderSpec(name="right-1"), ProviderSpec(name="right-2")]),
        ]
        for network in networks:
            group.create_task(network.start())
    left, right = networks
    try:
        assert left.api_config.api_url != right.api_config.api_url
        assert left.requestor != right.requestor
        assert await names_on_the_market(left, 1) == {"left"}
        assert await names_on_the_market(right, 2) == {"right-1", "right-2"}
        # it belongs to no loop: another one, in another thread, may use it too
        names = await asyncio.to_thread(asyncio.run, names_on_the_market(left, 1))
        assert names == {"left"}
        assert {one.name for one in running_networks()} == {left.name, right.name}
        with pytest.raises(LocalNetworkError, match="running already"):
            await left.start()
        with pytest.raises(NetworkStartError, match=f"{left.folder} is in use by process"):
            await LocalNetwork(0, name=left.name).start()
        assert await names_on_the_market(left, 1) == {"left"}
    finally:
        await left.stop()
        await right.stop()
    await left.stop()
    assert running_networks() == []
    with pytest.raises(NetworkNotRunningError, match="is not running"):
        _ = left.env


def test_one_for_all(data: Path) -> None:
    with pytest.raises(NetworkNotRunningError, match="golem-nb up"):
        LocalNetwork.attach()
    network = LocalNetwork.up(1)
    try:
        assert network.seconds
        again = LocalNetwork.up(5)
        assert again.requestor == network.requestor
        with LocalNetwork.attach() as guest:
            assert len(guest.providers) == 1
            assert asyncio.run(guest.chain.balance(guest.requestor)) == 1000
        (status,) = running_networks()  # the guest's leaving has not ended it
        assert (status.name, status.answers, status.providers) == ("shared", True, ("amber",))
        supervisor = psutil.Process(status.supervisor)
    finally:
        assert down()
    assert not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE
    assert not network.folder.exists()
    assert not down()
    with pytest.raises(NetworkNotRunningError):
        asyncio.run(network.chain.balance(network.requestor))


def test_several_ask_for_the_shared_one_at_once(data: Path) -> None:
    with ThreadPoolExecutor() as pool:
        networks = list(pool.map(lambda _: LocalNetwork.up(0), range(3)))
    assert len({network.requestor for network in networks}) == 1
    assert len(running_networks()) == 1
    assert down()


def test_what_cannot_be_a_network(data: Path) -> None:
    with pytest.raises(LocalNetworkError, match="0 to 200 providers"):
        LocalNetwork(-1)
    with pytest.raises(LocalNetworkError, match="several providers are named 'twin'"):
        LocalNetwork([ProviderSpec(name="twin"), ProviderSpec(name="twin")])
    with pytest.raises(LocalNetworkError, match="cannot name a network"):
        LocalNetwork(1, name="../escape")
    with pytest.raises(LocalNetworkError, match="payment_interval"):
        LocalNetwork(1, payment_interval=0)
    with pytest.raises(TypeError, match=r"providers must be a number, or some ProviderSpec.*, not '3'"):
        LocalNetwork("3")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="payment_interval must be a number of seconds, not '5'"):
        LocalNetwork(1, payment_interval="5")  # type: ignore[arg-type]


async def test_a_start_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / "file"))
    network = LocalNetwork(1)
    with pytest.raises(NetworkStartError, match=r"could not be started: .*Not a directory"):
        await network.start()
    with pytest.raises(NetworkStartError, match="Not a directory"), network:
        pass
