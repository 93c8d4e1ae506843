"""Virtual private networks."""

from __future__ import annotations

from typing import Any

import aiohttp
import attrs

from golem_nb.rest import fields
from golem_nb.rest.client import RestClient, ignore, retried
from golem_nb.rest.errors import BadRequestError, NotFoundError
from golem_nb.rest.ids import NetworkId, NodeId

__all__ = ["Net", "NetworkInfo", "NetworkNode"]


@attrs.frozen
class NetworkInfo:
    """A virtual private network as the daemon knows it."""

    id: NetworkId
    ip: str
    """With the length of the prefix, such as ``192.168.0.0/24``."""
    mask: str
    gateway: str | None


@attrs.frozen
class NetworkNode:
    """A node of a virtual private network."""

    id: NodeId
    ip: str


def _network(value: Any) -> NetworkInfo:
    source = fields.as_mapping(value)
    return NetworkInfo(
        NetworkId(fields.identifier(source.get("id"))),
        fields.text(source, "ip"),
        fields.text(source, "mask"),
        fields.optional_text(source, "gateway"),
    )


def _node(value: Any) -> NetworkNode:
    source = fields.as_mapping(value)
    return NetworkNode(NodeId(fields.text(source, "id")), fields.text(source, "ip"))


def _address(value: Any) -> str:
    return fields.text(fields.as_mapping(value), "ip")


class Net:
    """Virtual private networks of the requestor.

    Parameters
    ----------
    client : RestClient
        From `Configuration.net`.
    """

    def __init__(self, client: RestClient) -> None:
        self._client = client

    @staticmethod
    def _path(network_id: NetworkId) -> str:
        return f"/net/{fields.segment(network_id)}"

    async def create_network(
        self, ip: str, mask: str | None = None, gateway: str | None = None
    ) -> NetworkInfo:
        """Create a network.

        Parameters
        ----------
        ip : str
            The network's address, with or without a length: ``192.168.0.0/24``.
        mask, gateway : str, optional
            The daemon's choice if not given.

        Raises
        ------
        BadRequestError
            The address makes no sense.
        """
        body = {"ip": ip}
        if mask is not None:
            body["mask"] = mask
        if gateway is not None:
            body["gateway"] = gateway
        return await self._client.post("/net", f"Creating network {ip}", _network, body)

    async def networks(self) -> list[NetworkInfo]:
        """List the networks."""
        return await self._client.get("/net", "Listing the networks", fields.as_list(_network))

    async def network(self, network_id: NetworkId) -> NetworkInfo:
        """Read a network.

        Parameters
        ----------
        network_id
            Id of the network.

        Raises
        ------
        NotFoundError
            There is none of this number.
        """
        return await self._client.get(self._path(network_id), f"Reading network {network_id}", _network)

    async def remove_network(self, network_id: NetworkId) -> None:
        """Remove a network; one that is gone already is fine.

        Parameters
        ----------
        network_id
            Id of the network.
        """
        try:
            await self._client.delete(self._path(network_id), f"Removing network {network_id}")
        except NotFoundError:
            return

    async def add_address(self, network_id: NetworkId, ip: str) -> None:
        """Give the requestor an address in the network; twice is the same as once.

        Parameters
        ----------
        network_id
            Id of the network.
        ip
            The address.

        Raises
        ------
        BadRequestError
            The address is not one of the network.
        """
        await retried(
            lambda: self._client.post(
                f"{self._path(network_id)}/addresses",
                f"Adding address {ip} to network {network_id}",
                ignore,
                {"ip": ip},
            )
        )

    async def addresses(self, network_id: NetworkId) -> list[str]:
        """List the requestor's addresses in the network, with the length of the prefix.

        Parameters
        ----------
        network_id
            Id of the network.
        """
        return await self._client.get(
            f"{self._path(network_id)}/addresses",
            f"Listing the addresses in network {network_id}",
            fields.as_list(_address),
        )

    async def add_node(self, network_id: NetworkId, node_id: NodeId, ip: str) -> None:
        """Give a provider an address in the network; twice is the same as once.

        The daemon checks neither that the node exists nor that the address is free.

        Parameters
        ----------
        network_id
            Id of the network.
        node_id
            Node id of the provider.
        ip
            The address.

        Raises
        ------
        BadRequestError
            The address is not one of the network.
        """
        await retried(
            lambda: self._client.post(
                f"{self._path(network_id)}/nodes",
                f"Adding node {node_id} to network {network_id}",
                ignore,
                {"id": node_id, "ip": ip},
            )
        )

    async def nodes(self, network_id: NetworkId) -> list[NetworkNode]:
        """List the nodes of the network.

        Parameters
        ----------
        network_id
            Id of the network.
        """
        return await self._client.get(
            f"{self._path(network_id)}/nodes",
            f"Listing the nodes of network {network_id}",
            fields.as_list(_node),
        )

    async def remove_node(self, network_id: NetworkId, node_id: NodeId) -> None:
        """Take a node out of the network; one that is not in it is fine.

        Parameters
        ----------
        network_id
            Id of the network.
        node_id
            Node id of the provider.
        """
        try:
            await self._client.delete(
                f"{self._path(network_id)}/nodes/{fields.segment(node_id)}",
                f"Removing node {node_id} from network {network_id}",
            )
        except NotFoundError:
            return

    def _tcp_path(self, network_id: NetworkId, ip: str, port: int) -> str:
        return f"{self._path(network_id)}/tcp/{fields.segment(ip)}/{int(port)}"

    def websocket_uri(self, network_id: NetworkId, ip: str, port: int) -> str:
        """Write the address of the websocket that is a TCP connection to a node; it needs the key in a
        header.

        Parameters
        ----------
        network_id
            Id of the network.
        ip
            Address of the node.
        port
            TCP port.
        """
        return self._client.websocket_uri(self._tcp_path(network_id, ip, port))

    async def connect(self, network_id: NetworkId, ip: str, port: int) -> aiohttp.ClientWebSocketResponse:
        """Open a TCP connection to a node, as a websocket with binary messages.

        Keep receiving: the daemon drops a client that does not answer its pings for 10 s.  The end of the TCP
        connection is not passed on by the daemon, in either direction.

        Parameters
        ----------
        network_id
            Id of the network.
        ip
            Address of the node.
        port
            TCP port.

        Raises
        ------
        BadRequestError
            Nobody listens on that port, or the address makes no sense.
        NotFoundError, ForbiddenError
            There is no such network.
        RequestTimeoutError
            There is no node at that address.
        """
        path = self._tcp_path(network_id, ip, port)
        operation = f"Connecting to {ip}:{port} in network {network_id}"
        try:
            return await self._client.websocket(path, operation)
        except BadRequestError as error:  # that is all that the daemon says
            said = f"nothing accepts connections on port {port} of {ip}"
            raise BadRequestError(operation, said, error.method, error.path, error.status) from None
