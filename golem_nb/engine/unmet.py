"""Why no offer meets a demand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from golem_nb.props.grammar import members

if TYPE_CHECKING:
    from golem_nb.rest import Market

__all__ = ["why_unmet"]

#: The market has so long to show an offer that meets one constraint, in seconds.
LOOK = 2.0

#: More offers than this are not counted.
MANY = 100


async def why_unmet(market: Market, constraints: str) -> str:
    """Return which constraint of a demand keeps all offers away; costs nothing and reserves nothing.

    Parameters
    ----------
    market
        The daemon's market API.
    constraints
        The demand's.

    Raises
    ------
    ApiError
        The daemon cannot be asked.
    """

    async def count(constraint: str) -> int:
        async with market.scan(constraint, timeout=2 * LOOK) as scan:
            return len(await scan.collect(LOOK, MANY))

    clauses = members(constraints)
    total, *met = await asyncio.gather(count(""), *(count(clause) for clause in clauses))
    if not total:
        return "there is no offer on the market at all"
    unmet = [clause for clause, number in zip(clauses, met, strict=True) if not number]
    offers = (
        "the one offer" if total == 1 else f"{total} offers" if total < MANY else f"{total} offers and more"
    )
    if not unmet:
        return f"each of its constraints is met by some of {offers} on the market, but none meets them all"
    return f"of {offers} on the market none meets {' nor '.join(unmet)}"
