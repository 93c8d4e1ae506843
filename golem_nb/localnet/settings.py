"""What a network's supervisor is told."""

from __future__ import annotations

from typing import Any

import attrs

from golem_nb.localnet.spec import ProviderSpec

__all__ = ["Settings"]


@attrs.frozen
class Settings:
    """What a supervisor is told.

    Parameters
    ----------
    name
        The network's name.
    providers
        Its providers.
    payment_interval
        Seconds between two batches of payments.
    subnet
        The subnet of the providers' offers.
    owner
        Process whose end is the network's; None: it runs until it is stopped.
    """

    name: str
    providers: tuple[ProviderSpec, ...]
    payment_interval: float
    subnet: str
    owner: int | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        return {
            "name": self.name,
            "providers": [spec.to_json() for spec in self.providers],
            "payment_interval": self.payment_interval,
            "subnet": self.subnet,
            "owner": self.owner,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        """Read what `to_json` wrote."""
        return cls(**{**data, "providers": tuple(ProviderSpec.from_json(spec) for spec in data["providers"])})
