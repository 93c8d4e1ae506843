"""The providers that a local network has unless it is told otherwise."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from golem_nb.localnet.errors import LocalNetworkError
from golem_nb.localnet.spec import ProviderSpec

__all__ = ["default_specs"]

#: One agent process serves all providers; beyond this its machine is the limit.
_MAX_PROVIDERS: Final = 200
_NAMES: Final = ("amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "harbor", "iris", "juniper")
# threads, memory and storage in GiB
_SIZES: Final = ((2, 2.0, 10.0), (4, 4.0, 20.0), (8, 8.0, 40.0), (4, 16.0, 80.0))


def default_specs(count: int) -> list[ProviderSpec]:
    """Return that many providers, of different names, sizes and prices: the larger, the dearer.

    Raises
    ------
    LocalNetworkError
        The count is negative or beyond 200.
    """
    if not 0 <= count <= _MAX_PROVIDERS:
        raise LocalNetworkError(f"a local network has 0 to {_MAX_PROVIDERS} providers, not {count}")
    return [_spec(index) for index in range(count)]


def _spec(index: int) -> ProviderSpec:
    round_, place = divmod(index, len(_NAMES))
    threads, memory, storage = _SIZES[index % len(_SIZES)]
    # a hundredth more each, so that no two providers cost the same
    factor = Decimal(threads) / 2 * (1 + Decimal(index) / 100)
    return ProviderSpec(
        name=_NAMES[place] + (f"-{round_ + 1}" if round_ else ""),
        cpu_threads=threads,
        cpu_cores=threads // 2,
        mem_gib=memory,
        storage_gib=storage,
        start_price=Decimal("0.0001") * (index % 3),
        price_per_second=Decimal("0.00002") * factor,
        price_per_cpu_second=Decimal("0.00005") * factor,
    )
