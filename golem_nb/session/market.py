"""Looks at the market: once, or for as long as somebody looks on."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from golem_nb.frames import OfferTable
from golem_nb.log import get_logger
from golem_nb.props.builder import DemandBuilder
from golem_nb.props.grammar import clause
from golem_nb.props.node import SUBNET
from golem_nb.rest import Configuration, Market
from golem_nb.rest.errors import ApiError
from golem_nb.strategy import SCORE_NEUTRAL

if TYPE_CHECKING:
    from golem_nb.payload import Payload
    from golem_nb.rest.scan import Offer
    from golem_nb.session.core import Core

__all__ = ["MarketWatch", "constraints_of", "scan"]

logger = get_logger(__name__)

#: A look is over when nothing new has come for so long, in seconds, and something has.
QUIET = 0.6

#: The daemon forgets a look that is not asked about for so long, in seconds.
LIFE = 600.0


async def constraints_of(core: Core, payload: Payload | None) -> str:
    """Return what offers of the session's network have to meet, for a payload or in general."""
    demand = DemandBuilder()
    if core.daemon.subnet:
        demand.ensure(clause(SUBNET, "=", core.daemon.subnet))
    if payload is not None:
        await demand.decorate(payload)
    return demand.constraints


async def scan(core: Core, payload: Payload | None, seconds: float) -> list[Offer]:
    """Collect the offers that are there, or come within some seconds; newest of each provider.

    Parameters
    ----------
    core
        Of the session.
    payload
        Only offers that can run it; None: all.
    seconds
        Longest time to look; less where nothing more comes.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    offers: dict[str, Offer] = {}
    constraints = await constraints_of(core, payload)
    async with (
        Configuration(core.daemon.api_config) as configuration,
        Market(configuration.market()).scan(constraints, timeout=LIFE) as look,
    ):
        while (left := until - loop.time()) > 0:
            found = await look.collect(timeout=min(left, QUIET if offers else left), max_events=100)
            if not found and offers:
                break
            for offer in found:
                known = offers.get(offer.issuer)
                if known is None or known.timestamp <= offer.timestamp:
                    offers[offer.issuer] = offer
    return list(offers.values())


async def fill(core: Core, table: OfferTable, offers: list[Offer]) -> None:
    """Add offers to a table, scored by the session's strategy; refused ones have a score below zero."""
    for offer in offers:
        table.add(offer, await score(core, offer))


async def score(core: Core, offer: Any) -> float | None:
    """Score an offer as the session's own strategy does; None where it needs more than an offer."""
    if not core.strategy.allows(offer.issuer, offer.props):
        return SCORE_NEUTRAL - 1
    try:
        return await core.strategy.base_strategy.score_offer(offer)
    except Exception:
        logger.debug("The strategy cannot score an offer of %s", offer.issuer, exc_info=True)
        return None


class MarketWatch:
    """A look at the market that goes on until it is closed; fills a table on the engine's loop.

    Parameters
    ----------
    core
        Of the session.
    payload
        Only offers that can run it; None: all.
    changed
        Called, in the engine's thread, when offers have come in.
    """

    def __init__(self, core: Core, payload: Any, changed: Callable[[], None]) -> None:
        self._core = core
        self._payload = payload
        self._changed = changed
        self.table = OfferTable(core.known)
        self._task: concurrent.futures.Future[None] = core.portal.start(self._run())

    @property
    def version(self) -> int:
        """Changes whenever offers have come in."""
        return self.table.version

    def frame(self) -> Any:
        """Return the offers so far, as `golem_nb.frames.OfferTable` has them."""
        return self.table.frame()

    def seen(self, provider_id: str) -> bool:
        """Whether a session of this user has used a provider before."""
        return provider_id in self._core.known

    def close(self) -> None:
        """End the look."""
        self._task.cancel()

    async def _run(self) -> None:
        await self._core.ready()
        payload = None if self._payload is None else await self._core.resolve(self._payload)
        constraints = await constraints_of(self._core, payload)
        async with Configuration(self._core.daemon.api_config) as configuration:
            while True:
                try:
                    async with Market(configuration.market()).scan(constraints, timeout=LIFE) as look:
                        while True:
                            offers = await look.collect(timeout=30.0, max_events=100)
                            if offers:
                                await fill(self._core, self.table, offers)
                                self._changed()
                except ApiError as error:
                    logger.debug("The look at the market is begun anew: %s", error)
                    await asyncio.sleep(1.0)
