"""The market: demands, negotiation and agreements."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any, Literal

from golem_nb.rest import fields
from golem_nb.rest.agreements import (
    Agreement,
    AgreementDetails,
    AgreementEvent,
    AgreementRejectedError,
    AgreementSummary,
    agreement_events,
    agreement_summaries,
    create_agreement,
    read_agreement,
)
from golem_nb.rest.client import RestClient
from golem_nb.rest.ids import AgreementId, ProposalId, SubscriptionId
from golem_nb.rest.proposals import (
    DemandDetails,
    OfferProposal,
    ProposalRejection,
    Subscription,
    demand_details,
)
from golem_nb.rest.scan import Offer, Scan

__all__ = [
    "Agreement",
    "AgreementDetails",
    "AgreementEvent",
    "AgreementRejectedError",
    "AgreementSummary",
    "DemandDetails",
    "Market",
    "Offer",
    "OfferProposal",
    "ProposalRejection",
    "Scan",
    "Subscription",
]


def _subscription_id(value: Any) -> SubscriptionId:
    return SubscriptionId(fields.identifier(value))


class _Subscribing:
    """A demand about to be published: awaited it gives the subscription, entered it also ends it."""

    def __init__(self, client: RestClient, props: Mapping[str, Any], constraints: str) -> None:
        self._client = client
        self._props = dict(props)
        self._constraints = constraints
        self._subscription: Subscription | None = None

    async def _subscribe(self) -> Subscription:
        subscription_id = await self._client.post(
            "/demands",
            "Publishing a demand",
            _subscription_id,
            {"properties": self._props, "constraints": self._constraints},
        )
        details = DemandDetails(self._props, self._constraints, None)
        return Subscription(self._client, subscription_id, details)

    def __await__(self) -> Generator[Any, None, Subscription]:
        return self._subscribe().__await__()

    async def __aenter__(self) -> Subscription:
        self._subscription = await self._subscribe()
        return self._subscription

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._subscription is not None:
            await self._subscription.delete()


class Market:
    """The requestor's side of the market.

    Parameters
    ----------
    client : RestClient
        From `Configuration.market`.
    """

    def __init__(self, client: RestClient) -> None:
        self._client = client

    def subscribe(self, props: Mapping[str, Any], constraints: str) -> _Subscribing:
        """Publish a demand.

        ``await`` gives the `Subscription`; ``async with`` gives it and withdraws the demand at the end.  The
        daemon checks neither properties nor constraints, and drops a demand an hour after it came, whatever
        its expiration says: reading its events then raises `NotFoundError`.

        Parameters
        ----------
        props : mapping
            Properties, flat with dots.
        constraints : str
            What an offer must satisfy.

        Examples
        --------
        >>> async def first_offer(market):
        ...     async with market.subscribe({}, "(golem.runtime.name=vm)") as subscription:
        ...         async for proposal in subscription.events():
        ...             return proposal.props["golem.node.id.name"]
        """
        return _Subscribing(self._client, props, constraints)

    async def subscriptions(self) -> list[Subscription]:
        """List the demands that this identity has published."""

        def read(value: Any) -> Subscription:
            source = fields.as_mapping(value)
            subscription_id = SubscriptionId(fields.identifier(source.get("demandId")))
            return Subscription(self._client, subscription_id, demand_details(source))

        return await self._client.get("/demands", "Listing the demands", fields.as_list(read))

    async def create_agreement(self, proposal_id: ProposalId, valid_to: dt.datetime) -> Agreement:
        """Make an agreement of a proposal that the provider has answered, and read it.

        It binds nobody before `Agreement.confirm`.

        Parameters
        ----------
        proposal_id : ProposalId
            A draft: the provider's answer to a counter-proposal.
        valid_to : datetime
            Until when the provider may approve it, with a time zone.

        Raises
        ------
        BadRequestError
            The proposal is not a draft, or unknown.
        ConflictError
            There is an agreement for it already.
        """
        return await create_agreement(self._client, proposal_id, valid_to)

    async def agreement(self, agreement_id: AgreementId) -> Agreement:
        """Read an agreement.

        Parameters
        ----------
        agreement_id
            Id of the agreement.

        Raises
        ------
        NotFoundError
            This identity has no such agreement.
        """
        return await read_agreement(self._client, agreement_id)

    async def agreements(
        self,
        state: Literal["Proposal", "Pending", "Cancelled", "Rejected", "Approved", "Expired", "Terminated"]
        | None = None,
        before: dt.datetime | None = None,
        after: dt.datetime | None = None,
        app_session_id: str | None = None,
    ) -> list[AgreementSummary]:
        """List agreements.

        Parameters
        ----------
        state : str, optional
            Only those in this state.
        before, after : datetime, optional
            Only those made before, or after.
        app_session_id : str, optional
            Only those confirmed with this session.
        """
        parameters = fields.query(
            state=state,
            beforeDate=fields.optional_moment_text(before, "before"),
            afterDate=fields.optional_moment_text(after, "after"),
            appSessionId=app_session_id,
        )
        return await self._client.get(
            f"/agreements{parameters}", "Listing the agreements", agreement_summaries
        )

    async def collect_agreement_events(
        self,
        after: dt.datetime,
        timeout: float,
        max_events: int = 50,
        app_session_id: str | None = None,
    ) -> list[AgreementEvent]:
        """Wait for something to happen to agreements, once.

        Parameters
        ----------
        after : datetime
            Only what happened later; give the date of the last event seen.
        timeout : float
            Seconds that the daemon waits if there is nothing yet.
        max_events : int
            From 1 to 100.
        app_session_id : str, optional
            Only agreements confirmed with this session.
        """
        parameters = fields.query(
            afterTimestamp=fields.moment_text(after, "after"),
            timeout=timeout,
            maxEvents=max_events,
            appSessionId=app_session_id,
        )
        return await self._client.poll(
            f"/agreementEvents{parameters}", "Reading the agreements' events", agreement_events, wait=timeout
        )

    def scan(self, constraints: str = "", timeout: float = 600.0) -> Scan:
        """Look at the offers on the market, without a demand and without money.

        Parameters
        ----------
        constraints : str
            What an offer must satisfy; all offers if empty.
        timeout : float
            Seconds after which the daemon forgets the scan.

        Examples
        --------
        >>> async def names(market):
        ...     async with market.scan("(golem.runtime.name=vm)") as scan:
        ...         return [offer.props["golem.node.id.name"] for offer in await scan.collect(timeout=5)]
        """
        return Scan(self._client, constraints, timeout)
