"""Where a session works: the local network, or the daemon of a real one."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Protocol

import attrs

from golem_nb.config import ApiConfig
from golem_nb.engine.allocation import MAINNETS
from golem_nb.localnet import LocalNetwork, NetworkNotRunningError
from golem_nb.session.errors import SessionError

__all__ = ["LOCAL", "NETWORKS", "Daemon", "LocalPlace", "Place", "RealPlace", "find_place"]

LOCAL = "local"

#: Networks that money, or test money, is paid on; see `golem_nb.engine.allocation.MAINNETS`.
NETWORKS = (*MAINNETS, "hoodi", "holesky", "sepolia", "amoy", "mumbai", "goerli", "rinkeby")


@attrs.frozen
class Daemon:
    """What it takes to work with a daemon."""

    api_config: ApiConfig
    subnet: str
    payment_network: str
    payment_driver: str = "erc20"
    registry: str | None = None
    #: Name of the local network that it belongs to.
    localnet: str | None = None
    #: Whether that network ends with this process.
    owned: bool = False
    #: The socket of the daemon's service bus; None: the environment's, or the daemon's default.
    bus: Path | None = None


class Place(Protocol):
    """Where a session works."""

    @property
    def title(self) -> str:
        """What the session's card calls it."""

    @property
    def is_local(self) -> bool:
        """Whether it is a network on this machine, on which nothing costs anything."""

    async def open(self) -> Daemon:
        """Start what has to be started."""

    async def close(self) -> None:
        """End what was started."""

    def abandon(self) -> None:
        """End what was started, without waiting."""


class LocalPlace:
    """A Golem network on this machine.

    Parameters
    ----------
    network
        It; None: the one that `golem-nb up` has started if it is running, else one of the session's own.
    providers
        Providers of a network of the session's own.
    subnet
        Subnet of the providers; None: the network's.
    """

    is_local = True

    def __init__(self, network: LocalNetwork | None, providers: int, subnet: str | None) -> None:
        self._given = network
        self._network = network
        self._providers = providers
        self._subnet = subnet
        self._owned = False

    @property
    def title(self) -> str:
        """What the session's card calls it."""
        return "local network" if self._network is None else f"local network {self._network.name}"

    @property
    def network(self) -> LocalNetwork | None:
        """The network, when it was opened."""
        return self._network

    async def open(self) -> Daemon:
        """Start the network, or attach to the one that is running."""
        network = self._given
        if network is None:
            try:
                network = LocalNetwork.attach()
            except NetworkNotRunningError:
                network = LocalNetwork(providers=self._providers)
        self._network = network
        try:
            api_config = network.api_config
        except NetworkNotRunningError:
            await network.start()
            self._owned = True
            api_config = network.api_config
        return Daemon(
            api_config=api_config,
            subnet=self._subnet or network.env["YAGNA_SUBNET"],
            payment_network=network.env["YAGNA_PAYMENT_NETWORK"],
            registry=network.registry_url,
            localnet=network.name,
            owned=not network.is_shared,
            bus=Path(network.env["GSB_URL"].removeprefix("unix:")),
        )

    async def close(self) -> None:
        """End the network if it was started here."""
        if self._owned and self._network is not None:
            await self._network.stop()

    def abandon(self) -> None:
        """Leave the network to its supervisor, which ends it with this process and keeps what is unpaid."""


class RealPlace:
    """The daemon that the environment names, on a network that the user has named.

    Parameters
    ----------
    name
        The payment network.
    subnet
        Subnet of the providers; None: YAGNA_SUBNET, else ``"public"``.
    """

    is_local = False

    def __init__(self, name: str, subnet: str | None) -> None:
        self._name = name
        self._subnet = subnet
        # now, so that a missing key is an error of the call that names the network
        self._api_config = ApiConfig()

    @property
    def title(self) -> str:
        """What the session's card calls it."""
        money = "mainnet, real GLM" if self._name in MAINNETS else "test network"
        return f"{self._name} ({money})"

    async def open(self) -> Daemon:
        """Return the daemon."""
        return Daemon(
            api_config=self._api_config,
            subnet=self._subnet or os.environ.get("YAGNA_SUBNET") or "public",
            payment_network=self._name,
        )

    async def close(self) -> None:
        """Leave the daemon as it is."""

    def abandon(self) -> None:
        """Leave the daemon as it is."""


def find_place(network: str | LocalNetwork, providers: int, subnet: str | None) -> LocalPlace | RealPlace:
    """Return the place that `Session(network=...)` names.

    Raises
    ------
    SessionError
        There is no network of that name.
    MissingConfiguration
        A real network was named, and there is no application key.
    """
    if isinstance(network, LocalNetwork):
        return LocalPlace(network, providers, subnet)
    name = str(network).lower()
    if name == LOCAL:
        return LocalPlace(None, providers, subnet)
    if name in NETWORKS:
        return RealPlace(name, subnet)
    near = difflib.get_close_matches(name, [LOCAL, *NETWORKS], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise SessionError(
        f"There is no network {network!r}: {hint}{LOCAL!r} is on this machine and costs nothing; real ones "
        f"are {', '.join(map(repr, NETWORKS))}"
    )
