"""A complete Golem network on this machine: real daemons, a development chain, working providers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    "state_of",
]

# loaded when first used: supervisor and provider agent import their part of this package at every start
_HOMES = {
    "ChainView": "network",
    "LocalNetwork": "network",
    "LocalNetworkError": "errors",
    "LocalProvider": "network",
    "Misbehaviour": "spec",
    "MisbehaviourKind": "spec",
    "NetworkNotRunningError": "errors",
    "NetworkStartError": "errors",
    "NetworkStatus": "shared",
    "ProviderSpec": "spec",
    "Transfer": "chain",
    "down": "shared",
    "kept": "shared",
    "running_networks": "shared",
    "state_of": "shared",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'golem_nb.localnet' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"golem_nb.localnet.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
