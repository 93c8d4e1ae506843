"""`golem-nb offers`: a market scan as a table. It costs nothing and reserves nothing."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import attrs
from rich import box
from rich.console import Console
from rich.table import Table

from golem_nb.cli import interrupts
from golem_nb.cli.text import plain, shown
from golem_nb.config import ApiConfig
from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.props.grammar import clause
from golem_nb.props.inf import INF_MEM, INF_RUNTIME_NAME, INF_STORAGE, INF_THREADS
from golem_nb.props.node import NODE_NAME, SUBNET
from golem_nb.rest import Configuration, Market
from golem_nb.rest.scan import Offer

HOUR = 3600

#: Terminals with fewer columns see the beginnings of node ids only, of so many characters.
WIDE, SHORT_NODE = 116, 11


@attrs.frozen
class _Column:
    key: str
    heading: str
    number: bool = False
    width: int | None = None


COLUMNS = (
    _Column("provider", "provider", width=24),
    _Column("node_id", "node"),
    _Column("runtime", "runtime", width=12),
    _Column("threads", "threads", number=True),
    _Column("memory_gib", "mem GiB", number=True),
    _Column("storage_gib", "disk GiB", number=True),
    _Column("start_price", "start", number=True, width=12),
    _Column("per_hour", "hour", number=True, width=12),
    _Column("per_cpu_hour", "CPU hour", number=True, width=12),
    _Column("subnet", "subnet", width=12),
)


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
        return None if price is None else plain(per_unit.get(counter, Decimal(0)) * HOUR)

    return {
        "provider": offer.props.get(NODE_NAME),
        "node_id": offer.issuer,
        "runtime": offer.props.get(INF_RUNTIME_NAME),
        "threads": offer.props.get(INF_THREADS),
        "memory_gib": offer.props.get(INF_MEM),
        "storage_gib": offer.props.get(INF_STORAGE),
        "start_price": None if price is None else plain(price.fixed),
        "per_hour": hourly(DURATION),
        "per_cpu_hour": hourly(CPU),
        "subnet": offer.props.get(SUBNET),
    }


def main(
    *, api_config: ApiConfig, seconds: float, subnet: str | None, runtime: str | None, as_json: bool
) -> int:
    """Print the offers; return the exit status."""
    offers = interrupts.run(scan(api_config, seconds=seconds, subnet=subnet, runtime=runtime))
    rows = sorted(map(row, offers), key=lambda r: (Decimal(r["per_hour"] or "Infinity"), str(r["provider"])))
    if as_json:
        print(json.dumps(rows))
        return 0
    console = Console(highlight=False)
    if not rows:
        where = f" in subnet {shown(subnet)}" if subnet else ""
        console.print(
            f"No offers were heard{where} within {seconds:g} s; a real network may need `--seconds 30`."
        )
        return 0
    _print(console, rows)
    return 0


def _print(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print a table that fits: what all offers have in common is said once, below it."""
    common = {
        name: rows[0][key]
        for key, name in (("runtime", "runtime"), ("subnet", "subnet"))
        if len({repr(entry[key]) for entry in rows}) == 1
    }
    said = [f"{name} {shown(value)}" for name, value in common.items() if value is not None]
    table = Table(
        title="1 offer" if len(rows) == 1 else f"{len(rows)} offers",
        title_justify="left",
        caption="; ".join(["prices in GLM", *said]),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    columns = [column for column in COLUMNS if column.key not in common]
    narrow = console.width < WIDE
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            no_wrap=True,
            max_width=SHORT_NODE if narrow and column.key == "node_id" else column.width,
        )
    for entry in rows:
        table.add_row(*(_cell(entry[column.key]) for column in columns))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else shown(value, 42)
