"""The arguments of a session, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from decimal import Decimal
from types import CodeType, FunctionType
from typing import Any

import attrs

from golem_nb.arguments import amount, count, duration, instance
from golem_nb.localnet import LocalNetwork
from golem_nb.session.errors import SessionError
from golem_nb.session.places import LOCAL, LocalPlace, RealPlace, find_place
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
        if not instance("name", name, str, "a text").strip():
            raise ValueError("name must not be empty")
        exact = amount("budget", budget)
        price = None if max_price is None else amount("max_price", max_price)
        time = None if max_time is None else duration("max_time", max_time)
        tries = None if max_tries is None else count("max_tries", max_tries)
        if subnet is not None:
            instance("subnet", subnet, str, "a text")
        if strategy is not None:
            wanted = "a market strategy, such as LeastExpensiveLinearPayuMS()"
            instance("strategy", strategy, BaseMarketStrategy, wanted)  # type: ignore[type-abstract]
        if isinstance(providers, str):
            providers = [providers]
        if providers is not None and not isinstance(providers, int):
            instance("providers", providers, Collection, "names or node ids, or a number")  # type: ignore[type-abstract]
            for entry in providers:
                instance("providers", entry, str, "names or node ids, each a text")
            if not providers:
                raise ValueError("providers must name one at least: leave it out for all")
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
                ("budget", _print_of_amount(exact)),
                ("network", network.name if isinstance(network, LocalNetwork) else network.lower()),
                ("subnet", str(subnet)),
                ("strategy", _print_of(strategy)),
                ("providers", str(sorted(providers) if isinstance(providers, Collection) else providers)),
                ("max_price", str(price and _print_of_amount(price))),
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
            # one and the same strategy may have learned in the meantime
            if mine != theirs and not (name == "strategy" and self.strategy is other.strategy)
        ]


def _print_of_amount(amount: Decimal) -> str:
    """Tell amounts apart by their values: 1 and 1.0 are the same."""
    return f"{amount.normalize():f}"


def _print_of(value: Any, depth: int = 4) -> str:
    """Tell objects apart by what they are made of: a cell that is run again makes new ones of the same."""
    if value is None or isinstance(value, str | bytes | int | float | Decimal | bool):
        return repr(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__}({_print_of_code(value.__code__)})"
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if depth == 0:
        return name
    if isinstance(value, Mapping):
        parts = sorted(f"{_print_of(key)}: {_print_of(part, depth - 1)}" for key, part in value.items())
    elif isinstance(value, set | frozenset):
        parts = sorted(_print_of(part, depth - 1) for part in value)
    elif isinstance(value, list | tuple):
        parts = [_print_of(part, depth - 1) for part in value]
    else:
        made_of = sorted(getattr(value, "__dict__", {}).items())
        parts = [f"{key}={_print_of(part, depth - 1)}" for key, part in made_of]
    return f"{name}({', '.join(parts)})"


def _print_of_code(code: CodeType) -> str:
    """Tell code apart by what it does, not by the line of a cell on which it stands."""
    parts = [_print_of_code(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return f"{code.co_code.hex()}, {code.co_names}, {parts}"
