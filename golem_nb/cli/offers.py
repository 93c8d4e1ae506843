"""`golem-nb offers`: a market scan as a table. It costs nothing and reserves nothing."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from golem_nb.cli.text import shown
from golem_nb.config import ApiConfig
from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.props.grammar import clause
from golem_nb.props.inf import INF_MEM, INF_RUNTIME_NAME, INF_STORAGE, INF_THREADS
from golem_nb.props.node import NODE_NAME, SUBNET
from golem_nb.rest import Configuration, Market
from golem_nb.rest.scan import Offer

HOUR = 3600


async def scan(
    api_config: ApiConfig, *, seconds: float, subnet: str | None, runtime: str | None
) -> list[Offer]:
    """Collect the offers that the daemon knows, or hears of within `seconds`."""
    clauses = [
        clause(key, "=", value) for key, value in ((SUBNET, subnet), (INF_RUNTIME_NAME, runtime)) if value
    ]
    constraints = f"(&{''.join(clauses)})" if clauses else ""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    offers: dict[str, Offer] = {}
    async with (
        Configuration(api_config) as configuration,
        Market(configuration.market()).scan(constraints) as collection,
    ):
        while (left := until - loop.time()) > 0:
            for offer in await collection.collect(timeout=left, max_events=100):
                offers[offer.id] = offer
    return list(offers.values())


def row(offer: Offer) -> dict[str, Any]:
    """What is worth knowing of an offer; prices in GLM an hour, as text."""
    price = LinearPrice.agreed(offer.props)
    per_unit = price.per_unit if price else {}

    def hourly(counter: str) -> str | None:
        return None if price is None else str(per_unit.get(counter, Decimal(0)) * HOUR)

    return {
        "provider": offer.props.get(NODE_NAME),
        "node_id": offer.issuer,
        "runtime": offer.props.get(INF_RUNTIME_NAME),
        "threads": offer.props.get(INF_THREADS),
        "memory_gib": offer.props.get(INF_MEM),
        "storage_gib": offer.props.get(INF_STORAGE),
        "start_price": None if price is None else str(price.fixed),
        "per_hour": hourly(DURATION),
        "per_cpu_hour": hourly(CPU),
        "subnet": offer.props.get(SUBNET),
    }


def main(
    *, api_config: ApiConfig, seconds: float, subnet: str | None, runtime: str | None, as_json: bool
) -> int:
    """Print the offers; return the exit status."""
    offers = asyncio.run(scan(api_config, seconds=seconds, subnet=subnet, runtime=runtime))
    rows = sorted(map(row, offers), key=lambda r: (Decimal(r["per_hour"] or "Infinity"), str(r["provider"])))
    if as_json:
        print(json.dumps(rows))
        return 0
    table = Table(
        title=f"{len(rows)} offers", title_justify="left", caption="prices in GLM", caption_justify="left"
    )
    for heading, right in (
        ("provider", False),
        ("node", False),
        ("runtime", False),
        ("threads", True),
        ("memory GiB", True),
        ("storage GiB", True),
        ("start", True),
        ("an hour", True),
        ("a CPU hour", True),
        ("subnet", False),
    ):
        table.add_column(heading, justify="right" if right else "left")
    for entry in rows:
        table.add_row(*("" if value is None else shown(value, 24) for value in entry.values()))
    Console(highlight=False).print(table)
    return 0
