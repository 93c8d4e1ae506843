"""The arguments of a session, checked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.arguments import amount, count, duration
from golem_nb.localnet import LocalNetwork
from golem_nb.session.errors import SessionError
from golem_nb.session.places import LOCAL, LocalPlace, RealPlace, find_place

if TYPE_CHECKING:
    from golem_nb.strategy import BaseMarketStrategy

__all__ = ["Settings"]

#: Providers of a local network of the session's own.
PROVIDERS = 3


@attrs.frozen
class Settings:
    """The arguments of `Session`."""

    name: str
    budget: Decimal
    network: str | LocalNetwork
    subnet: str | None
    strategy: BaseMarketStrategy | None
    providers: int | Collection[str] | None
    max_price: Decimal | None
    max_time: timedelta | None
    max_tries: int | None
    place: LocalPlace | RealPlace = attrs.field(eq=False)
    #: What tells the same arguments from others when the session is asked for again.
    print: tuple[tuple[str, str], ...] = attrs.field(eq=False)

    @classmethod
    def read(
        cls,
        name: str,
        budget: float | str | Decimal,
        network: str | LocalNetwork,
        subnet: str | None,
        strategy: BaseMarketStrategy | None,
        providers: int | Collection[str] | None,
        max_price: float | str | Decimal | None,
        max_time: float | timedelta | None = None,
        max_tries: int | None = None,
    ) -> Settings:
        """Check the arguments.

        Raises
        ------
        ValueError
            A number makes no sense.
        SessionError
            There is no such network, or something does not go together.
        MissingConfiguration
            A real network was named, and there is no application key.
        """
        if not str(name).strip():
            raise ValueError("name must not be empty")
        exact = amount("budget", budget)
        price = None if max_price is None else amount("max_price", max_price)
        time = None if max_time is None else duration("max_time", max_time)
        tries = None if max_tries is None else count("max_tries", max_tries)
        if isinstance(providers, str):
            providers = [providers]
        if isinstance(providers, int):
            if network != LOCAL:
                raise SessionError(
                    "A number of `providers` is for a local network of the session's own: give the names or "
                    "node ids of the providers to use, or leave it out"
                )
            if isinstance(providers, bool) or providers < 1:
                raise ValueError(f"providers must be at least 1, not {providers!r}")
        number = providers if isinstance(providers, int) else PROVIDERS
        return cls(
            name=name,
            budget=exact,
            network=network,
            subnet=subnet,
            strategy=strategy,
            providers=providers,
            max_price=price,
            max_time=time,
            max_tries=tries,
            place=find_place(network, number, subnet),
            print=(
                ("budget", str(exact)),
                ("network", network.name if isinstance(network, LocalNetwork) else network.lower()),
                ("subnet", str(subnet)),
                ("strategy", _print_of(strategy)),
                ("providers", str(sorted(providers) if isinstance(providers, Collection) else providers)),
                ("max_price", str(price)),
                ("max_time", str(time)),
                ("max_tries", str(tries)),
            ),
        )

    @property
    def provider_names(self) -> Collection[str] | None:
        """Names or node ids of the providers that may be used; None: all."""
        return None if self.providers is None or isinstance(self.providers, int) else self.providers

    def differences(self, other: Settings) -> list[str]:
        """Say in what another session's arguments differ."""
        return [
            f"{name}={theirs} (it has {mine})"
            for (name, mine), (_, theirs) in zip(self.print, other.print, strict=True)
            if mine != theirs
        ]


def _print_of(value: Any, depth: int = 3) -> str:
    """Tell objects apart by what they are made of: a cell that is run again makes new ones of the same."""
    if value is None or isinstance(value, str | bytes | int | float | Decimal | bool):
        return repr(value)
    if isinstance(value, type) or callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    kind = type(value)
    made_of = getattr(value, "__dict__", {})
    if depth == 0 or not made_of:
        return f"{kind.__module__}.{kind.__qualname__}"
    parts = ", ".join(f"{name}={_print_of(part, depth - 1)}" for name, part in sorted(made_of.items()))
    return f"{kind.__module__}.{kind.__qualname__}({parts})"
