"""What a demo has cost, as a table, and what is still reserved."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table

from golem_nb.cli.text import shown
from golem_nb.rest import Configuration, Market, Payment

if TYPE_CHECKING:
    from golem_nb.cli.tally import Tally
    from golem_nb.localnet import LocalNetwork

__all__ = ["bill", "left_behind"]


#: A terminal of fewer columns has no room for prices.
_WITH_PRICES = 66


def bill(
    tally: Tally, unit: str, counts: Mapping[str, int], killed: Collection[str] = (), *, width: int
) -> Table:
    """Return a row for each provider.

    Parameters
    ----------
    tally
        What was accepted.
    unit
        What the providers have done, in the plural.
    counts
        How many of them each one has done, by its id.
    killed
        Providers that were killed, by id.
    width
        Columns of the terminal.
    """
    prices = width >= _WITH_PRICES
    table = Table(title="The bill", title_justify="left", show_footer=True)
    table.add_column("provider", "total", overflow="fold")
    table.add_column(unit, str(sum(counts.values())), justify="right", overflow="fold")
    if prices:
        table.add_column("GLM an hour", justify="right")
        table.add_column("GLM a CPU hour", justify="right")
    table.add_column("accepted, GLM", f"{tally.cost:.6f}", justify="right", min_width=8)
    for provider_id, provider in sorted(tally.providers.items(), key=lambda item: item[1].name):
        per_unit = provider.price.per_unit if provider.price else {}
        row = [
            shown(provider.name) + (" (killed)" if provider_id in killed else ""),
            str(counts.get(provider_id, 0)),
        ]
        if prices:
            counters = ("golem.usage.duration_sec", "golem.usage.cpu_sec")
            row += [f"{per_unit.get(counter, Decimal(0)) * 3600:.3f}" for counter in counters]
        table.add_row(*row, f"{provider.accepted:.6f}")
    return table


async def left_behind(network: LocalNetwork) -> tuple[int, int]:
    """Return how many allocations and how many agreements in force the requestor has."""
    async with Configuration(network.api_config) as configuration:
        allocations = await Payment(configuration.payment()).allocations()
        agreements = await Market(configuration.market()).agreements("Approved")
    return len(allocations), len(agreements)
