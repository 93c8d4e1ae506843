"""Networks that are made and removed with an entry in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from golem_nb.engine.journal import step
from golem_nb.rest import Net

if TYPE_CHECKING:
    from golem_nb.engine.journal import Journal
    from golem_nb.rest.client import RestClient
    from golem_nb.rest.ids import NetworkId
    from golem_nb.rest.net import NetworkInfo


class JournaledNet(Net):
    """The daemon's network API, with a journal that knows of every network before the daemon does.

    Parameters
    ----------
    client
        Client of the daemon's network API.
    journal
        Is told of each network that is made or removed.
    """

    def __init__(self, client: RestClient, journal: Journal) -> None:
        super().__init__(client)
        self._journal = journal

    async def create_network(
        self, ip: str, mask: str | None = None, gateway: str | None = None
    ) -> NetworkInfo:
        """Create a network; see `Net.create_network`."""
        async with step(self._journal, "create_network", ip=ip) as outcome:
            info = await super().create_network(ip, mask, gateway)
            outcome["network_id"] = info.id
        return info

    async def remove_network(self, network_id: NetworkId) -> None:
        """Remove a network; see `Net.remove_network`."""
        async with step(self._journal, "remove_network", network_id=network_id):
            await super().remove_network(network_id)
