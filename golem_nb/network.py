"""Virtual private networks between the requestor and the nodes of its services."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import TYPE_CHECKING, Any, TypedDict

import attrs
from statemachine import State, StateMachine
from statemachine.exceptions import TransitionNotAllowed

from golem_nb.exceptions import GolemError
from golem_nb.rest import fields
from golem_nb.rest.ids import NetworkId, NodeId

if TYPE_CHECKING:
    from types import TracebackType

    import aiohttp

    from golem_nb.rest import Net

__all__ = ["Network", "NetworkError", "NetworkSerialization", "NetworkState", "Node"]

#: Nodes that are told to the daemon again at the same time.
ANNOUNCEMENTS = 8


class NetworkError(GolemError):
    """Exception raised by `Network` when an operation is not possible."""


class NetworkStateError(NetworkError, TransitionNotAllowed):
    """The network does not exist yet, or not any more."""

    def __init__(self, network: Network, operation: str) -> None:
        self.event = None
        self.configuration = network.state.configuration
        Exception.__init__(
            self,
            f"Cannot {operation}: network {network.network_address} is {network.state.current_state_value}. "
            "Make one with `await golem.create_network(...)` and use it before it is removed.",
        )


class NetworkState(StateMachine):
    """The life of a `Network`."""

    initialized = State("initialized", value="initialized", initial=True)
    """Described, but unknown to the daemon."""

    creating = State("creating", value="creating")
    """The daemon was asked to make it."""

    ready = State("ready", value="ready")
    """Nodes can be added and reached."""

    removing = State("removing", value="removing")
    """The daemon was asked to remove it."""

    removed = State("removed", value="removed", final=True)
    """It is gone."""

    create = initialized.to(creating)
    start = creating.to(ready)
    stop = ready.to(removing)
    remove = removing.to(removed)


class NetworkSerialization(TypedDict):
    """A network as JSON data, to be taken up by another process."""

    network_id: str
    ip: str
    owner_id: str
    owner_ip: str
    gateway: str | None
    nodes: dict[str, str]


@attrs.define(eq=False)
class Node:
    """Describes a node in a VPN, mapping a Golem node id to an IP address."""

    network: Network
    """The Network (the specific VPN) this node is part of."""

    node_id: str
    """Golem id of the node."""

    ip: str
    """IP address of this node in this particular VPN."""

    def get_deploy_args(self) -> dict[str, Any]:
        """Generate the arguments of the Deploy command that connect the runtime to the network.

        Returns
        -------
        dict
            ``{"net": [...]}``, for ``script.deploy(**node.get_deploy_args())``. It names all nodes that the
            network has at this moment.
        """
        network = self.network
        description: dict[str, Any] = {
            "id": network.network_id,
            "ip": network.network_address,
            "mask": network.netmask,
            "nodeIp": self.ip,
            "nodes": network.nodes_dict,
        }
        if network.gateway is not None:
            description["gateway"] = network.gateway
        return {"net": [description]}

    def get_websocket_uri(self, port: int) -> str:
        """Return the address of the daemon's websocket that is a TCP connection to a port of this node.

        Parameters
        ----------
        port
            TCP port on the node.
        """
        return self.network.websocket_uri(self.ip, port)


@attrs.define(eq=False)
class _Member:
    """A node in the network, and when the daemon was last told of it."""

    node: Node
    serial: int
    announced: float


class Network:
    """Describes a VPN created between the requestor and the provider nodes within Golem Network.

    Make one with `Golem.create_network`. As a context manager it is removed at the end.

    Parameters
    ----------
    net_api
        The daemon's network API.
    ip
        Address of the network, IPv4. May contain a netmask, e.g. ``"192.168.0.0/24"``.
    owner_id
        Node id of the owner of this VPN (the requestor).
    owner_ip
        The desired address of the requestor within the network; the first one by default.
    mask
        Netmask, only if it is not part of `ip`.
    gateway
        Address of the gateway within the network.

    Raises
    ------
    NetworkError
        An address makes no sense, is not one of the network, or is taken.

    Examples
    --------
    ::

        async with await golem.create_network("192.168.0.0/24") as network:
            cluster = await golem.run_service(WebService, network=network)
    """

    def __init__(
        self,
        net_api: Net,
        ip: str,
        owner_id: str,
        owner_ip: str | None = None,
        mask: str | None = None,
        gateway: str | None = None,
    ) -> None:
        self._net = net_api
        self._ip = _network(ip, mask)
        self._owner_id = owner_id
        self._network_id: NetworkId | None = None
        self._state = NetworkState()
        self._candidates = self._all_hosts()
        #: Address -> node id of what must not be assigned again: the owner's, those of nodes, reserved ones.
        self._taken: dict[IPv4Address, str | None] = {}
        self._members: dict[str, _Member] = {}
        #: Addresses that the daemon still gives to a provider, although its node there has left.
        self._stale: dict[str, str] = {}
        #: A provider that is being taken out must not be added at the same time.
        self._changing = asyncio.Lock()
        self._serials = itertools.count()
        self._seen: dict[Node, int] = {}
        self._announcing = asyncio.Lock()
        self._gateway = None if gateway is None else self._inside(gateway)
        if self._gateway is not None:
            self._taken[self._gateway] = None
        self._owner_ip = self._next_free() if owner_ip is None else self._free(owner_ip)
        self._taken[self._owner_ip] = owner_id
        self._owner_addresses = [self._owner_ip]

    @classmethod
    async def create(
        cls,
        net_api: Net,
        ip: str,
        owner_id: str,
        owner_ip: str | None = None,
        mask: str | None = None,
        gateway: str | None = None,
    ) -> Network:
        """Create a new VPN.

        Parameters
        ----------
        net_api
            The daemon's network API.
        ip
            Address of the network, IPv4. May contain a netmask, e.g. ``"192.168.0.0/24"``.
        owner_id
            Node id of the owner of this VPN (the requestor).
        owner_ip
            The desired address of the requestor within the network; the first one by default.
        mask
            Netmask, only if it is not part of `ip`.
        gateway
            Address of the gateway within the network.

        Raises
        ------
        NetworkError
            An address makes no sense, is not one of the network, or is taken.
        ApiError
            The daemon refuses.
        """
        network = cls(net_api, ip, owner_id, owner_ip, mask, gateway)
        network._state.create()
        info = await net_api.create_network(network.network_address, network.netmask, network.gateway)
        network._network_id = info.id
        network._state.start()
        try:
            await net_api.add_address(info.id, network.owner_ip)
        except BaseException:
            await network.remove()
            raise
        return network

    @classmethod
    async def deserialize(cls, net_api: Net, data: NetworkSerialization) -> Network:
        """Take up a network that another process has made.

        Parameters
        ----------
        net_api
            The daemon's network API.
        data
            From `serialize`.

        Raises
        ------
        NetworkError
            It lacks something, has what makes no sense, or is not the network that the daemon knows.
        NotFoundError
            The daemon does not know it any more.
        """
        try:
            source = fields.as_mapping(data)
            network_id = NetworkId(fields.identifier(fields.text(source, "network_id")))
            nodes = fields.mapping(source, "nodes")
            network = cls(
                net_api,
                fields.text(source, "ip"),
                fields.text(source, "owner_id"),
                fields.text(source, "owner_ip"),
                gateway=fields.optional_text(source, "gateway"),
            )
            for address in nodes:
                network._taken[network._free(address)] = fields.text(nodes, address)
            info = await net_api.network(network_id)
            if _network(info.ip, None) != network._ip:
                raise NetworkError(f"the daemon knows it as '{info.ip}', not as '{network._ip}'")
            addresses = [address.partition("/")[0] for address in await net_api.addresses(network_id)]
            if network.owner_ip not in addresses:
                known = ", ".join(addresses) or "none"
                raise NetworkError(f"the daemon's own address in it is {known}, not {network.owner_ip}")
        except (fields.MalformedField, NetworkError) as error:
            raise NetworkError(
                f"This network cannot be resumed: {str(error).removesuffix('.')}. Give what "
                '`Network.serialize` has returned, or `handle["network"]` of a service that is in one.'
            ) from error
        network._network_id = network_id
        network._state.create()
        network._state.start()
        for address, node_id in nodes.items():
            network._join(node_id, address)
        return network

    def serialize(self) -> NetworkSerialization:
        """Return the network as JSON data, for `Golem.resume_network` in another process."""
        return {
            "network_id": self.network_id,
            "ip": str(self._ip),
            "owner_id": self._owner_id,
            "owner_ip": self.owner_ip,
            "gateway": self.gateway,
            "nodes": {ip: member.node.node_id for ip, member in self._members.items()},
        }

    def __repr__(self) -> str:
        return f"<Network {self._ip} {self._state.current_state_value}, {len(self._members)} nodes>"

    async def __aenter__(self) -> Network:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.remove()

    @property
    def state(self) -> NetworkState:
        """In which part of its life the network is."""
        return self._state

    @property
    def owner_ip(self) -> str:
        """Return the IP address of the requestor node within the network."""
        return str(self._owner_ip)

    @property
    def network_address(self) -> str:
        """Return the network address of this network, without a netmask."""
        return str(self._ip.network_address)

    @property
    def netmask(self) -> str:
        """Return the netmask of this network."""
        return str(self._ip.netmask)

    @property
    def gateway(self) -> str | None:
        """Return the gateway address within this network, if provided."""
        return None if self._gateway is None else str(self._gateway)

    @property
    def nodes_dict(self) -> dict[str, str]:
        """Return mapping between the IP addresses and Node IDs of the nodes within this network."""
        nodes = {str(address): self._owner_id for address in self._owner_addresses}
        nodes.update((ip, member.node.node_id) for ip, member in self._members.items())
        return nodes

    @property
    def network_id(self) -> str:
        """Return the automatically-generated, unique ID of this VPN.

        Raises
        ------
        TransitionNotAllowed
            The network does not exist yet.
        """
        if self._network_id is None:
            raise NetworkStateError(self, "read the id of a network")
        return self._network_id

    async def add_owner_address(self, ip: str) -> None:
        """Assign the given IP address to the requestor in the network.

        Parameters
        ----------
        ip
            The address.

        Raises
        ------
        NetworkError
            The address makes no sense, is not one of the network, or is taken.
        """
        network_id = self._ready("add an address")
        address = self._free(ip)
        self._taken[address] = self._owner_id
        try:
            await self._net.add_address(network_id, str(address))
        except BaseException:
            del self._taken[address]
            raise
        self._owner_addresses.append(address)

    async def add_node(self, node_id: str, ip: str | None = None) -> Node:
        """Add a new node to the network.

        Parameters
        ----------
        node_id
            Golem id of the provider.
        ip
            Address of the node; the next free one by default.

        Returns
        -------
        Node
            Gives the arguments of the Deploy command that connect a runtime on that provider.

        Raises
        ------
        NetworkError
            The address makes no sense, is not one of the network, or is taken; or all are taken.
        """
        self._ready("add a node")
        reserved = self.reserve(ip)
        try:
            return await self.join(node_id, reserved)
        except BaseException:
            self.free(reserved)
            raise

    def reserve(self, ip: str | None = None) -> str:
        """Keep an address for a node that will come: nobody else gets it until it is given to `free`.

        Parameters
        ----------
        ip
            The address wanted; the next free one by default.

        Raises
        ------
        NetworkError
            The address makes no sense, is not one of the network, or is taken; or all are taken; or the
            network was removed.
        """
        if self._state.current_state_value in ("removing", "removed"):
            raise NetworkStateError(self, "give an address to a new instance")
        address = self._next_free() if ip is None else self._free(ip)
        self._taken[address] = None
        return str(address)

    def free(self, ip: str) -> None:
        """Give a reserved address back; one that a node still has stays with it.

        Parameters
        ----------
        ip
            The address.
        """
        if ip not in self._members:
            self._taken.pop(IPv4Address(ip), None)

    async def join(self, node_id: str, ip: str) -> Node:
        """Add a node at an address that was reserved for it.

        Parameters
        ----------
        node_id
            Node id of the provider.
        ip
            The address.
        """
        network_id = self._ready("add a node")
        node = self._join(node_id, ip)
        try:
            async with self._changing:
                before = self._stale.pop(ip, node_id)
                if before != node_id:
                    # the daemon keeps to the first node that it was told for an address
                    await self._take_out(before)
                    await self._announce(self._members_of(before))
                await self._net.add_node(network_id, NodeId(node_id), ip)
        except BaseException:
            self._forget(node)
            raise
        return node

    def node(self, ip: str) -> Node | None:
        """Return the node at an address, or None.

        Parameters
        ----------
        ip
            The address.
        """
        member = self._members.get(ip)
        return None if member is None else member.node

    async def leave(self, node: Node, *, free: bool = False) -> None:
        """Take a node out; its provider leaves the network with the last of its nodes.

        Parameters
        ----------
        node
            The node.
        free
            Let its address be assigned again.
        """
        member = self._members.get(node.ip)
        if member is None or member.node is not node:
            return
        self._forget(node)
        if free:
            self.free(node.ip)
        if self._network_id is None or self._state.current_state_value != "ready":
            return
        async with self._changing:
            if self._members_of(node.node_id):
                self._stale[node.ip] = node.node_id
            else:
                await self._take_out(node.node_id)

    async def remove_node(self, node_id: str) -> None:
        """Take a provider out of the network, with all addresses that it has.

        Parameters
        ----------
        node_id
            Golem id of the provider.
        """
        self._ready("remove a node")
        await self._take_out(node_id)
        for member in self._members_of(node_id):
            self._forget(member.node)
            self.free(member.node.ip)

    async def refresh_nodes(self) -> None:
        """Tell all nodes of the network of each other once more."""
        self._ready("refresh the nodes")
        await self._announce(list(self._members.values()))

    async def catch_up(self, node: Node) -> None:
        """Tell the network once more of the nodes that have come while `node` was being deployed.

        Its deploy arguments did not name them, and what the daemon sent then went to nobody.
        """
        since = self._seen.get(node)
        if since is None or self._state.current_state_value != "ready":
            return
        now = asyncio.get_running_loop().time()
        missed = []
        for member in reversed(self._members.values()):
            if member.serial <= since:
                break
            missed.append(member)
        # what comes in the meantime from others, with nearly the same nodes, finds them announced
        async with self._announcing:
            await self._announce([member for member in missed if member.announced < now])

    async def remove(self) -> None:
        """Remove the network; does nothing when that was done already.

        Raises
        ------
        TransitionNotAllowed
            The network does not exist yet.
        """
        if self._state.current_state_value in ("removing", "removed"):
            return
        if self._network_id is None:
            raise NetworkStateError(self, "remove a network")
        self._state.stop()
        try:
            await self._net.remove_network(self._network_id)
        finally:
            self._state.remove()

    async def connect(self, ip: str, port: int) -> aiohttp.ClientWebSocketResponse:
        """Open a TCP connection to a port of a node, as a websocket with binary messages.

        See `Net.connect` for what it does not do.

        Parameters
        ----------
        ip
            Address of the node.
        port
            TCP port.

        Raises
        ------
        BadRequestError
            Nobody listens on that port.
        RequestTimeoutError
            There is no node at that address, or it does not answer.
        """
        return await self._net.connect(self._ready("connect to a node"), ip, port)

    def websocket_uri(self, ip: str, port: int) -> str:
        """Return the address of the daemon's websocket that is a TCP connection to a port of a node.

        Parameters
        ----------
        ip
            Address of the node.
        port
            TCP port.
        """
        return self._net.websocket_uri(NetworkId(self.network_id), ip, port)

    # --------------------------------------------------------------------------------------------------

    def _ready(self, operation: str) -> NetworkId:
        if self._network_id is None or self._state.current_state_value != "ready":
            raise NetworkStateError(self, operation)
        return self._network_id

    def _join(self, node_id: str, ip: str) -> Node:
        node = Node(self, node_id, ip)
        serial = next(self._serials)
        self._members[ip] = _Member(node, serial, asyncio.get_running_loop().time())
        self._taken[IPv4Address(ip)] = node_id
        self._seen[node] = serial
        return node

    def _members_of(self, node_id: str) -> list[_Member]:
        return [member for member in self._members.values() if member.node.node_id == node_id]

    async def _take_out(self, node_id: str) -> None:
        self._stale = {ip: owner for ip, owner in self._stale.items() if owner != node_id}
        await self._net.remove_node(self._ready("remove a node"), NodeId(node_id))

    def _forget(self, node: Node) -> None:
        self._members.pop(node.ip, None)
        self._seen.pop(node, None)

    async def _announce(self, members: list[_Member]) -> None:
        network_id = self._ready("refresh the nodes")
        limit = asyncio.Semaphore(ANNOUNCEMENTS)

        async def announce(member: _Member) -> None:
            async with limit:
                member.announced = asyncio.get_running_loop().time()
                await self._net.add_node(network_id, NodeId(member.node.node_id), member.node.ip)

        await asyncio.gather(*(announce(member) for member in members))

    def _all_hosts(self) -> Iterator[IPv4Address]:
        return iter(self._ip.hosts())

    def _inside(self, ip: str) -> IPv4Address:
        try:
            address = IPv4Address(ip)
        except AddressValueError as error:
            raise NetworkError(f"{ip!r} is not an IPv4 address: {error}.") from error
        if address not in self._ip:
            raise NetworkError(f"The given IP ('{ip}') address must belong to the network ('{self._ip}').")
        if self._ip.prefixlen < 31 and address in (self._ip.network_address, self._ip.broadcast_address):
            raise NetworkError(
                f"The given IP ('{ip}') is the network's own or its broadcast address in '{self._ip}'."
            )
        return address

    def _free(self, ip: str) -> IPv4Address:
        address = self._inside(ip)
        if address in self._taken:
            raise NetworkError(f"'{ip}' has already been assigned in this network.")
        return address

    def _next_free(self) -> IPv4Address:
        # goes on after the last one, so that dealing out all addresses is not quadratic …
        for address in self._candidates:
            if address not in self._taken:
                return address
        # … and begins again at the first one for those that have been given back
        self._candidates = self._all_hosts()
        for address in self._candidates:
            if address not in self._taken:
                return address
        raise NetworkError(f"No more addresses available in '{self._ip}'.")


def _network(ip: str, mask: str | None) -> IPv4Network:
    if mask is not None and "/" in ip:
        raise NetworkError(f"The netmask is given twice: in {ip!r} and as {mask!r}; leave one of them out.")
    try:
        found = IPv4Network(ip if mask is None else f"{ip}/{mask}", strict=False)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        only = " Networks of nodes are IPv4 only." if ":" in str(ip) else ""
        raise NetworkError(f"{error}.{only}") from error
    if mask is None and "/" not in str(ip):
        raise NetworkError(f"'{found}' has no room for a node: give a netmask, as in '192.168.0.0/24'.")
    if found.is_multicast or found.is_loopback or found.is_reserved or not found.prefixlen:
        raise NetworkError(
            f"'{found}' cannot be a network of nodes; take a private one, such as '192.168.0.0/24'."
        )
    return found
