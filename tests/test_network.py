"""Networks: which address goes to whom, and what the daemon is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from statemachine.exceptions import TransitionNotAllowed

from golem_nb import ApiConfig, Golem
from golem_nb.network import Network, NetworkError, NetworkState, Node
from golem_nb.rest import Configuration, Net
from golem_nb.rest.errors import NotFoundError

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

OWNER = "0x" + "aa" * 20
ONE, TWO, THREE = ("0x" + digit * 40 for digit in "123")


@pytest.fixture
def unused() -> Net:
    """The API of a daemon that is not there: what only reckons must not ask it."""
    return Net(Configuration(ApiConfig(app_key="key", api_url="http://127.0.0.1:9")).net())


@pytest.fixture
async def net(network: LocalNetwork) -> AsyncIterator[Net]:
    async with Configuration(network.api_config) as configuration:
        yield Net(configuration.net())


@pytest.mark.contract("N01", "N02")
@pytest.mark.parametrize(
    ("ip", "mask", "address", "netmask", "owner"),
    [
        ("192.168.0.0/24", None, "192.168.0.0", "255.255.255.0", "192.168.0.1"),
        ("192.168.0.1/24", None, "192.168.0.0", "255.255.255.0", "192.168.0.1"),
        ("10.1.2.3", "255.255.0.0", "10.1.0.0", "255.255.0.0", "10.1.0.1"),
        ("10.1.2.3", "16", "10.1.0.0", "255.255.0.0", "10.1.0.1"),
        ("10.0.0.7/32", None, "10.0.0.7", "255.255.255.255", "10.0.0.7"),
    ],
)
def test_addresses(unused: Net, ip: str, mask: str | None, address: str, netmask: str, owner: str) -> None:
    network = Network(unused, ip, OWNER, mask=mask)
    assert (network.network_address, network.netmask, network.owner_ip) == (address, netmask, owner)
    assert network.gateway is None
    assert network.nodes_dict == {owner: OWNER}


@pytest.mark.contract("N01", "N02")
def test_owner_and_gateway_are_chosen(unused: Net) -> None:
    network = Network(unused, "192.168.0.0/29", OWNER, owner_ip="192.168.0.3", gateway="192.168.0.1")
    assert (network.owner_ip, network.gateway) == ("192.168.0.3", "192.168.0.1")
    assert [network.reserve() for _ in range(4)] == [f"192.168.0.{n}" for n in (2, 4, 5, 6)]
    with pytest.raises(NetworkError, match=r"No more addresses available in '192.168.0.0/29'\."):
        network.reserve()
    network.free("192.168.0.4")
    assert network.reserve() == "192.168.0.4"


@pytest.mark.contract("N02")
@pytest.mark.parametrize(
    ("ip", "mask", "message"),
    [
        ("192.168.0.0/33", None, "33"),
        ("no address", None, "no address"),
        ("192.168.0.0", "255.0.255.0", "255.0.255.0"),
        ("192.168.0.0/24", "255.255.255.0", "given twice"),
        ("fd00::/64", None, "fd00.*IPv4 only"),
        ("192.168.0.0", None, "'192.168.0.0/32' has no room for a node: give a netmask"),
        ("224.0.0.0/24", None, "cannot be a network of nodes"),
        ("127.0.0.0/24", None, "cannot be a network of nodes"),
        ("240.0.0.0/24", None, "cannot be a network of nodes"),
        ("0.0.0.0/0", None, "cannot be a network of nodes"),
    ],
)
def test_networks_that_cannot_be(unused: Net, ip: str, mask: str | None, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network(unused, ip, OWNER, mask=mask)


@pytest.mark.contract("N02")
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("192.168.1.5", r"The given IP \('192.168.1.5'\) address must belong to the network"),
        ("192.168.0.1", r"'192.168.0.1' has already been assigned in this network\."),
        ("192.168.0.0", "the network's own or its broadcast address"),
        ("192.168.0.255", "the network's own or its broadcast address"),
        ("192.168.0", "is not an IPv4 address"),
    ],
)
def test_addresses_that_cannot_be(unused: Net, address: str, message: str) -> None:
    network = Network(unused, "192.168.0.0/24", OWNER)
    with pytest.raises(NetworkError, match=message):
        network.reserve(address)
    if "assigned" not in message:
        with pytest.raises(NetworkError, match=message):
            Network(unused, "192.168.0.0/24", OWNER, owner_ip=address)


@pytest.mark.contract("N03")
async def test_a_network_that_was_not_made_cannot_be_used(unused: Net) -> None:
    network = Network(unused, "192.168.0.0/24", OWNER)
    assert network.state.current_state_value == "initialized"
    with pytest.raises(TransitionNotAllowed, match=r"network 192\.168\.0\.0 is initialized"):
        _ = network.network_id
    for use in (network.add_node(ONE), network.add_owner_address("192.168.0.9"), network.remove()):
        with pytest.raises(TransitionNotAllowed):
            await use
    assert network.nodes_dict == {"192.168.0.1": OWNER}


def test_dealing_out_all_addresses_is_quick(unused: Net) -> None:
    network = Network(unused, "10.0.0.0/16", OWNER)
    assert len({network.reserve() for _ in range(20_000)}) == 20_000


@pytest.mark.contract("N01", "N03", "N04", "N05")
async def test_the_life_of_a_network(net: Net) -> None:
    network = await Network.create(net, "192.168.3.0/24", OWNER, gateway="192.168.3.254")
    async with network:
        assert network.state.current_state_value == NetworkState.ready.value
        info = await net.network(network.network_id)
        assert (info.ip, info.gateway) == ("192.168.3.0/24", "192.168.3.254")
        assert await net.addresses(info.id) == ["192.168.3.1/24"]
        first = await network.add_node(ONE)
        second = await network.add_node(TWO, "192.168.3.77")
        assert isinstance(first, Node)
        assert (first.node_id, first.ip, first.network) == (ONE, "192.168.3.2", network)
        nodes = {"192.168.3.1": OWNER, "192.168.3.2": ONE, "192.168.3.77": TWO}
        assert network.nodes_dict == nodes
        assert second.get_deploy_args() == {
            "net": [
                {
                    "id": network.network_id,
                    "ip": "192.168.3.0",
                    "mask": "255.255.255.0",
                    "nodeIp": "192.168.3.77",
                    "nodes": nodes,
                    "gateway": "192.168.3.254",
                }
            ]
        }
        assert first.get_websocket_uri(80).endswith(f"/net-api/v1/net/{info.id}/tcp/192.168.3.2/80")
        assert first.get_websocket_uri(80).startswith("ws://127.0.0.1:")
        await network.refresh_nodes()
        await network.add_owner_address("192.168.3.100")
        assert network.nodes_dict["192.168.3.100"] == OWNER
        await network.remove_node(TWO)
        assert {node.ip for node in await net.nodes(info.id)} == {"192.168.3.2"}
        assert network.reserve("192.168.3.77")
    assert network.state.current_state_value == "removed"
    with pytest.raises(NotFoundError):
        await net.network(info.id)
    with pytest.raises(TransitionNotAllowed, match="is removed"):
        await network.add_node(ONE)
    await network.remove()


@pytest.mark.contract("N03")
async def test_a_provider_leaves_with_its_last_node(net: Net) -> None:
    async with await Network.create(net, "192.168.3.0/24", OWNER) as network:
        first = await network.add_node(ONE)
        second = await network.add_node(ONE)
        await network.leave(first)
        network.free(first.ip)
        assert {node.id for node in await net.nodes(network.network_id)} == {ONE}
        # the daemon keeps to the provider that it was told first for an address, unless that one has left
        third = await network.add_node(TWO, first.ip)
        found = {node.ip: node.id for node in await net.nodes(network.network_id)}
        assert found == {second.ip: ONE, third.ip: TWO}
        await network.leave(second)
        await network.leave(second)
        assert {node.id for node in await net.nodes(network.network_id)} == {TWO}


@pytest.mark.contract("N03", "G13")
async def test_another_process_takes_a_network_up(net: Net) -> None:
    network = await Network.create(net, "192.168.3.0/24", OWNER)
    node = await network.add_node(ONE)
    again = await Network.deserialize(net, network.serialize())
    assert again.nodes_dict == network.nodes_dict
    assert (again.network_id, again.owner_ip) == (network.network_id, network.owner_ip)
    assert again.node(node.ip).node_id == ONE
    assert (await again.add_node(TWO)).ip == "192.168.3.3"
    own = network.serialize()
    wider = {**own, "ip": "192.168.0.0/16"}
    with pytest.raises(
        NetworkError, match=r"daemon knows it as '192\.168\.3\.0/24', not as '192\.168\.0\.0/16'"
    ):
        await Network.deserialize(net, wider)  # type: ignore[typeddict-item]
    with pytest.raises(
        NetworkError, match=r"own address in it is 192\.168\.3\.1, not 192\.168\.3\.9\. Give what"
    ):
        await Network.deserialize(net, {**own, "owner_ip": "192.168.3.9"})
    await again.remove()
    with pytest.raises(NotFoundError):
        await Network.deserialize(net, network.serialize())
    for change in ({"ip": 7}, {"owner_ip": "10.0.0.1"}, {"nodes": {"192.168.3.2": 1}}, {"network_id": None}):
        with pytest.raises(NetworkError, match=r"cannot be resumed: .*Give what `Network\.serialize`"):
            await Network.deserialize(net, {**network.serialize(), **change})  # type: ignore[typeddict-item]
    with pytest.raises(NetworkError, match="'network_id' is missing"):
        await Network.deserialize(net, {})  # type: ignore[typeddict-item]


@pytest.mark.contract("G24")
async def test_a_golem_owns_its_networks_and_removes_them(on_network: LocalNetwork, net: Net) -> None:
    async with Golem(budget=1, event_consumer=lambda _: None) as golem:
        network = await golem.create_network("192.168.4.0/24", owner_ip="192.168.4.9")
        assert list(network.nodes_dict) == ["192.168.4.9"]
        network_id = network.network_id
        assert network_id in {info.id for info in await net.networks()}
        with pytest.raises(NetworkError):
            await golem.create_network("192.168.4.0/24", owner_ip="192.168.5.1")
    assert network_id not in {info.id for info in await net.networks()}
