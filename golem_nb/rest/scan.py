"""Looking at the market's offers without a demand."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any

import attrs

from golem_nb.rest import fields
from golem_nb.rest.client import RestClient, retried
from golem_nb.rest.errors import NotFoundError
from golem_nb.rest.ids import NodeId

__all__ = ["Offer", "Scan"]


@attrs.frozen(eq=False)
class Offer:
    """A provider's offer as it stands on the market."""

    id: str
    issuer: NodeId
    """The provider."""
    props: Mapping[str, Any] = attrs.field(repr=False)
    constraints: str = attrs.field(repr=False)
    timestamp: dt.datetime


def _offer(value: Any) -> Offer:
    source = fields.as_mapping(value)
    return Offer(
        fields.text(source, "offerId"),
        NodeId(fields.text(source, "providerId")),
        fields.mapping(source, "properties"),
        fields.text(source, "constraints"),
        fields.moment(source, "timestamp"),
    )


_offers = fields.as_list(_offer)


def _scan_id(value: Any) -> str:
    return fields.identifier(value)


class Scan:
    """A look at the offers on the market, each given once; comes from `Market.scan`, used as ``async with``.

    Parameters
    ----------
    client : RestClient
        Of the market's API.
    constraints : str
        What an offer must satisfy; all offers if empty.
    timeout : float
        Seconds after which the daemon forgets the scan.
    """

    def __init__(self, client: RestClient, constraints: str, timeout: float) -> None:
        self._client = client
        self._constraints = constraints
        self._timeout = timeout
        self._path: str | None = None

    async def __aenter__(self) -> Scan:
        body: dict[str, Any] = {"type": "offer", "timeout": max(1, round(self._timeout))}
        if self._constraints:
            body["constraints"] = self._constraints
        scan_id = await self._client.post("/scan", "Starting a scan of the market", _scan_id, body)
        self._path = f"/scan/{fields.segment(scan_id)}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        path, self._path = self._path, None
        if path is not None:
            try:
                await self._client.delete(path, "Ending a scan of the market")
            except NotFoundError:
                return

    def _events_path(self) -> str:
        if self._path is None:
            raise RuntimeError("A scan is used inside of `async with market.scan(...) as scan`")
        return f"{self._path}/events"

    async def collect(
        self, timeout: float, max_events: int = 100, peer_id: NodeId | None = None
    ) -> list[Offer]:
        """Wait for offers, once.

        Parameters
        ----------
        timeout : float
            Seconds that the daemon waits if there is nothing new.
        max_events : int
            From 1 to 100.
        peer_id : NodeId, optional
            Ask this node directly.

        Raises
        ------
        NotFoundError
            The scan's own time is over.
        ServerError
            The peer cannot be reached.
        """
        parameters = fields.query(timeout=timeout, maxEvents=max_events, peerId=peer_id)
        return await self._client.poll(
            self._events_path() + parameters, "Reading the offers on the market", _offers, wait=timeout
        )

    async def offers(self, timeout: float) -> AsyncGenerator[Offer, None]:
        """Give offers as they come, for `timeout` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            left = max(0.0, end - loop.time())
            for offer in await retried(lambda left=left: self.collect(left)):  # type: ignore[misc]
                yield offer
            if loop.time() >= end:
                return

    async def stream(self) -> AsyncGenerator[Offer, None]:
        """Give offers as they come, without end; close the generator to stop."""
        async with aclosing(
            self._client.parsed_stream(
                self._events_path(), "Following the offers on the market", "offer", _offer
            )
        ) as stream:
            async for offer in stream:
                yield offer
