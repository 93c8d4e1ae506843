"""A published demand and the proposals that it brings."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import attrs

from golem_nb.rest import fields
from golem_nb.rest.agreements import Agreement, create_agreement
from golem_nb.rest.client import RestClient, ignore, retried
from golem_nb.rest.errors import NotFoundError
from golem_nb.rest.ids import NodeId, ProposalId, SubscriptionId

__all__ = ["DemandDetails", "OfferProposal", "ProposalRejection", "Subscription", "demand_details"]


@attrs.frozen
class DemandDetails:
    """What a demand says."""

    properties: Mapping[str, Any]
    constraints: str
    timestamp: dt.datetime | None
    """When it was published, if the daemon was asked."""


def demand_details(source: Mapping[str, Any]) -> DemandDetails:
    """Read a demand."""
    return DemandDetails(
        fields.mapping(source, "properties"),
        fields.text(source, "constraints"),
        fields.moment(source, "timestamp"),
    )


@attrs.frozen
class ProposalRejection:
    """The provider does not want what was proposed to it."""

    proposal_id: ProposalId
    """Our counter-proposal."""
    reason: str | None
    """In the provider's words."""


@attrs.frozen(eq=False)
class OfferProposal:
    """A provider's offer, or its answer to our counter-proposal."""

    _client: RestClient = attrs.field(repr=False)
    subscription_id: SubscriptionId = attrs.field(repr=False)
    """Our demand, which it answers."""
    id: ProposalId
    """Its id at the daemon; each answer has another one."""
    issuer: NodeId
    """The provider."""
    is_draft: bool
    """The provider has agreed to the terms of a counter-proposal of ours: an agreement can be made."""
    props: Mapping[str, Any] = attrs.field(repr=False)
    """The provider's properties, by the names of Golem's property language."""
    constraints: str = attrs.field(repr=False)
    """What the provider asks of a demand, in the language of constraints."""
    prev_id: ProposalId | None = attrs.field(repr=False)
    """The counter-proposal that this answers."""
    timestamp: dt.datetime = attrs.field(repr=False)
    """When it was made, in UTC."""

    @property
    def _path(self) -> str:
        return f"/demands/{fields.segment(self.subscription_id)}/proposals/{fields.segment(self.id)}"

    async def respond(self, props: Mapping[str, Any], constraints: str) -> ProposalId:
        """Make a counter-proposal; the provider's answer comes as a further proposal or a rejection.

        Parameters
        ----------
        props : mapping
            The demand's properties, with what was negotiated.
        constraints : str
            The demand's constraints.

        Raises
        ------
        GoneError
            It was answered already.
        BadRequestError
            The counter-proposal does not match the offer.
        NotFoundError
            The proposal, or its demand, is gone.
        """
        return await self._client.post(
            self._path,
            f"Answering proposal {self.id}",
            _proposal_id,
            {"properties": dict(props), "constraints": constraints},
        )

    async def reject(self, reason: str | Mapping[str, Any] = "Rejected") -> None:
        """Tell the provider that nothing will come of it.

        Parameters
        ----------
        reason : str or mapping
            Why; a mapping needs a ``message`` and may have more.
        """
        body = {"message": reason} if isinstance(reason, str) else dict(reason)
        await self._client.post(f"{self._path}/reject", f"Rejecting proposal {self.id}", ignore, body)

    async def create_agreement(self, timeout: dt.timedelta = dt.timedelta(hours=1)) -> Agreement:
        """Make an agreement of this draft, and read it.

        Parameters
        ----------
        timeout : timedelta
            How long the provider may take to approve it, once it is confirmed.

        Raises
        ------
        BadRequestError
            This is not a draft.
        ConflictError
            There is an agreement for it already.
        """
        return await create_agreement(self._client, self.id, dt.datetime.now(fields.UTC) + timeout)


def _proposal_id(value: Any) -> ProposalId:
    return ProposalId(fields.identifier(value))


@attrs.define(eq=False)
class Subscription:
    """A published demand."""

    _client: RestClient = attrs.field(repr=False)
    id: SubscriptionId
    details: DemandDetails = attrs.field(repr=False)

    @property
    def _path(self) -> str:
        return f"/demands/{fields.segment(self.id)}"

    async def collect(self, timeout: float, max_events: int = 50) -> list[OfferProposal | ProposalRejection]:
        """Wait for proposals and rejections, once; each is given once.

        Parameters
        ----------
        timeout : float
            Seconds that the daemon waits if there is nothing yet.
        max_events : int
            From 1 to 100.

        Raises
        ------
        NotFoundError
            The demand has expired, or was withdrawn.
        """
        path = f"{self._path}/events{fields.query(timeout=timeout, maxEvents=max_events)}"
        events = await self._client.poll(
            path, f"Reading the proposals of demand {self.id}", fields.as_list(self._event), wait=timeout
        )
        return [event for event in events if event is not None]

    async def events(
        self, timeout: float = 30.0, max_events: int = 50
    ) -> AsyncGenerator[OfferProposal, None]:
        """Give proposals as they come; rejections are left out.

        Parameters
        ----------
        timeout : float
            Seconds of each long poll.
        max_events : int
            From 1 to 100.

        Raises
        ------
        NotFoundError
            The demand has expired, or was withdrawn.
        """
        while True:
            for event in await retried(lambda: self.collect(timeout, max_events)):
                if isinstance(event, OfferProposal):
                    yield event

    async def proposal(self, proposal_id: ProposalId) -> OfferProposal:
        """Read a proposal again.

        Raises
        ------
        NotFoundError
            There is none of this number.
        """
        return await self._client.get(
            f"{self._path}/proposals/{fields.segment(proposal_id)}",
            f"Reading proposal {proposal_id}",
            self._proposal,
        )

    async def delete(self) -> None:
        """Withdraw the demand; one that is gone already is fine."""
        try:
            await self._client.delete(self._path, f"Withdrawing demand {self.id}")
        except NotFoundError:
            return

    def _event(self, value: Any) -> OfferProposal | ProposalRejection | None:
        source = fields.as_mapping(value)
        kind = fields.text(source, "eventType")
        if kind == "ProposalEvent":
            return self._proposal(source.get("proposal"))
        if kind == "ProposalRejectedEvent":
            reason = fields.optional_mapping(source, "reason")
            return ProposalRejection(
                ProposalId(fields.text(source, "proposalId")),
                None if reason is None else fields.optional_text(reason, "message"),
            )
        return None

    def _proposal(self, value: Any) -> OfferProposal:
        source = fields.as_mapping(value)
        prev_id = fields.optional_text(source, "prevProposalId")
        return OfferProposal(
            self._client,
            self.id,
            ProposalId(fields.identifier(source.get("proposalId"))),
            NodeId(fields.text(source, "issuerId")),
            fields.text(source, "state") == "Draft",
            fields.mapping(source, "properties"),
            fields.text(source, "constraints"),
            None if prev_id is None else ProposalId(prev_id),
            fields.moment(source, "timestamp"),
        )
