"""A complete Golem network on this machine: real daemons, a chain, providers that run commands."""

from __future__ import annotations

from golem_nb.localnet.chain import Transfer
from golem_nb.localnet.errors import LocalNetworkError, NetworkNotRunningError, NetworkStartError
from golem_nb.localnet.network import ChainView, LocalNetwork, LocalProvider
from golem_nb.localnet.shared import NetworkStatus, down, kept, running_networks
from golem_nb.localnet.spec import Misbehaviour, MisbehaviourKind, ProviderSpec

__all__ = [
    "ChainView",
    "LocalNetwork",
    "LocalNetworkError",
    "LocalProvider",
    "Misbehaviour",
    "MisbehaviourKind",
    "NetworkNotRunningError",
    "NetworkStartError",
    "NetworkStatus",
    "ProviderSpec",
    "Transfer",
    "down",
    "kept",
    "running_networks",
]
