"""A program that owns a local network, to be ended in ways that a test process cannot survive.

usage: owner_program.py NAME [fork] [agreement] [early]
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from decimal import Decimal
from typing import Any

from golem_nb.localnet import LocalNetwork
from golem_nb.rest import Configuration, Market, Payment


async def agree(network: LocalNetwork) -> str:
    """Come to an agreement with the first provider that answers; return its id."""
    async with Configuration(network.api_config) as configuration:
        payment = Payment(configuration.payment())
        allocation = await payment.create_allocation(Decimal(1), "erc20-hoodi-tglm")
        decoration = await payment.decorate_demand([allocation.id])
        properties: dict[str, Any] = {
            **decoration.properties,
            "golem.srv.comp.expiration": int((time.time() + 600) * 1000),
            "golem.node.debug.subnet": "public",
        }
        constraints = f"(&(golem.runtime.name=vm){''.join(decoration.constraints)})"
        async with Market(configuration.market()).subscribe(properties, constraints) as demand:
            async for proposal in demand.events():
                if proposal.is_draft:
                    agreement = await proposal.create_agreement()
                    await agreement.confirm()
                    await agreement.wait_for_approval(15)
                    return agreement.id
                chosen = {"golem.com.payment.chosen-platform": "erc20-hoodi-tglm"}
                await proposal.respond({**properties, **chosen}, constraints)
    raise AssertionError("no proposal")


def main() -> None:
    name, *ways = sys.argv[1:]
    network = LocalNetwork(providers=1, name=name)
    if "early" in ways:
        process = network._launch(owned=True)
        say({"supervisor": process.pid})
        time.sleep(600)
    with network:
        said: dict[str, Any] = {"supervisor": network._process.pid, "api_url": network.api_config.api_url}
        if "agreement" in ways:
            said["agreement"] = asyncio.run(agree(network))
        if "fork" in ways:
            said["fork"] = os.fork()
            if not said["fork"]:
                time.sleep(600)
        say(said)
        time.sleep(600)


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
