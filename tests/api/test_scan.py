"""A script that only looks at the market, written with the names that such scripts import."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from golem_nb.config import ApiConfig
from golem_nb.props import Activity, NodeInfo
from golem_nb.props import inf as props_inf
from golem_nb.props.builder import DemandBuilder
from golem_nb.props.com import ComLinear, Counter
from golem_nb.rest import Configuration, Market
from golem_nb.rest.market import OfferProposal


@pytest.mark.localnet
@pytest.mark.contract("I03", "I06")
async def test_offers_are_listed(api_config: ApiConfig) -> None:
    demand = DemandBuilder()
    demand.add(NodeInfo(subnet_tag="public"))
    demand.add(Activity(expiration=datetime.now(UTC) + timedelta(minutes=30)))

    found: list[OfferProposal] = []
    configuration = Configuration(api_config=api_config)
    try:
        async with configuration.market() as client:
            market = Market(client)
            subscription = await market.subscribe(demand.properties, demand.constraints)
            async with asyncio.timeout(20):
                async for event in subscription.events():
                    found.append(event)
                    break
            await subscription.delete()
    finally:
        await configuration.close()

    (offer,) = found
    assert offer.issuer.startswith("0x")
    assert offer.is_draft is False
    assert offer.props[props_inf.INF_MEM] > 0
    assert NodeInfo.from_properties(offer.props).name
    prices = ComLinear.from_properties(offer.props)
    assert {Counter.TIME, Counter.CPU} <= set(prices.price_for)
    assert prices.fixed_price >= 0
    hour = [Decimal(3600) if counter == Counter.TIME else Decimal(0) for counter in prices.usage_vector]
    assert prices.calculate_cost(hour) == prices.start_price + 3600 * prices.prices[Counter.TIME]
