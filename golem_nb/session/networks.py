"""VPNs of a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from golem_nb.log import pluralize

if TYPE_CHECKING:
    from golem_nb.network import Network
    from golem_nb.session.core import Core

__all__ = ["SessionNetwork"]


class SessionNetwork:
    """A VPN that clusters are attached to: what `Session.create_network` returns.

    Examples
    --------
    >>> network = session.create_network("192.168.0.0/24")
    >>> cluster = session.cluster(WebService, network=network)
    >>> network.remove()
    """

    def __init__(self, core: Core, network: Network) -> None:
        self._core = core
        self._network = network

    @property
    def id(self) -> str:
        """Id of the network at the daemon."""
        return self._network.network_id

    @property
    def address(self) -> str:
        """The network's address, such as ``192.168.0.0``."""
        return self._network.network_address

    @property
    def owner_ip(self) -> str:
        """The requestor's own address in it."""
        return self._network.owner_ip

    @property
    def nodes(self) -> Mapping[str, str]:
        """Node ids by their addresses."""
        return self._network.nodes_dict

    def remove(self) -> None:
        """Remove it; instances that are attached to it lose their connection."""
        self._core.portal.wait(self._network.remove(), keep=True)

    async def found(self) -> Network:
        """Return the engine's network; for the engine's thread."""
        return self._network

    def __repr__(self) -> str:
        nodes = pluralize(len(self.nodes), "node")
        return f"<SessionNetwork {self.address}, {nodes}, requestor at {self.owner_ip}>"
