"""Agreements: from the signature to the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs

from golem_nb.rest import fields
from golem_nb.rest.client import LONG_POLL_MARGIN, RestClient, carried_through, ignore, retried
from golem_nb.rest.errors import GoneError
from golem_nb.rest.ids import AgreementId, NodeId, ProposalId, SubscriptionId

if TYPE_CHECKING:
    from golem_nb.props import NodeInfo

__all__ = [
    "Agreement",
    "AgreementDetails",
    "AgreementEvent",
    "AgreementRejectedError",
    "AgreementSummary",
    "agreement_details",
    "agreement_events",
    "agreement_summaries",
    "create_agreement",
    "read_agreement",
]

ModelT_co = TypeVar("ModelT_co", covariant=True)


class _ModelClass(Protocol[ModelT_co]):
    """A class of `golem_nb.props` that reads properties."""

    def from_properties(self, props: Mapping[str, Any]) -> ModelT_co:
        """Make a model from the properties of an offer."""


class AgreementRejectedError(GoneError):
    """The provider does not want the agreement, or it was cancelled, or nobody approved it in time."""

    @property
    def reason(self) -> str:
        """Why, in the daemon's words; the provider's own stand in the agreement's events."""
        return self.message


@attrs.frozen(eq=False)
class AgreementDetails:
    """What an agreement says."""

    agreement_id: AgreementId
    """Its id."""
    state: str
    """Proposal, Pending, Cancelled, Rejected, Approved, Expired or Terminated."""
    provider_id: NodeId
    """Node id of the provider."""
    requestor_id: NodeId
    """Our node id."""
    valid_to: dt.datetime
    """Until when it could be approved."""
    approved: dt.datetime | None
    """When the provider approved it, in UTC; None: it has not."""
    timestamp: dt.datetime
    """When it was made, in UTC."""
    app_session_id: str | None
    """The name that it was confirmed under, if it was."""
    offer_props: Mapping[str, Any] = attrs.field(repr=False)
    """The provider's properties, as they were agreed."""
    demand_props: Mapping[str, Any] = attrs.field(repr=False)
    """Our properties, as they were agreed."""
    offer_constraints: str = attrs.field(repr=False)
    """The provider's constraints."""
    demand_constraints: str = attrs.field(repr=False)
    """Our constraints."""
    demand_id: SubscriptionId = attrs.field(repr=False)
    """The demand that it comes from."""

    @property
    def provider_node_info(self) -> NodeInfo:
        """Who the provider says it is."""
        from golem_nb.props import NodeInfo

        return NodeInfo.from_properties(self.offer_props)

    @property
    def requestor_node_info(self) -> NodeInfo:
        """Who the requestor says it is."""
        from golem_nb.props import NodeInfo

        return NodeInfo.from_properties(self.demand_props)

    def extract(self, model_cls: _ModelClass[ModelT_co]) -> ModelT_co:
        """Read a model, such as `golem_nb.props.com.ComLinear`, from the provider's properties.

        Parameters
        ----------
        model_cls
            The model's class.
        """
        return model_cls.from_properties(self.offer_props)


@attrs.frozen
class AgreementSummary:
    """An entry in the list of agreements."""

    id: AgreementId
    timestamp: dt.datetime
    approved: dt.datetime | None
    role: str
    """Requestor or Provider."""


@attrs.frozen
class AgreementEvent:
    """Something that happened to an agreement."""

    kind: str
    """approved, rejected, cancelled or terminated; what a newer daemon may add keeps its own name."""
    agreement_id: AgreementId
    date: dt.datetime
    reason: Mapping[str, Any] | None
    """What the other side said, a ``message`` and whatever else it added."""
    terminator: str | None
    """terminated: Requestor or Provider."""


_EVENT_KINDS = {
    "AgreementApprovedEvent": "approved",
    "AgreementRejectedEvent": "rejected",
    "AgreementCancelledEvent": "cancelled",
    "AgreementTerminatedEvent": "terminated",
}


def agreement_details(value: Any) -> AgreementDetails:
    """Read an agreement."""
    source = fields.as_mapping(value)
    demand = fields.mapping(source, "demand")
    offer = fields.mapping(source, "offer")
    return AgreementDetails(
        agreement_id=AgreementId(fields.text(source, "agreementId")),
        state=fields.text(source, "state"),
        provider_id=NodeId(fields.text(offer, "providerId")),
        requestor_id=NodeId(fields.text(demand, "requestorId")),
        valid_to=fields.moment(source, "validTo"),
        approved=fields.optional_moment(source, "approvedDate"),
        timestamp=fields.moment(source, "timestamp"),
        app_session_id=fields.optional_text(source, "appSessionId"),
        offer_props=fields.mapping(offer, "properties"),
        demand_props=fields.mapping(demand, "properties"),
        offer_constraints=fields.text(offer, "constraints"),
        demand_constraints=fields.text(demand, "constraints"),
        demand_id=SubscriptionId(fields.text(demand, "demandId")),
    )


def _summary(value: Any) -> AgreementSummary:
    source = fields.as_mapping(value)
    return AgreementSummary(
        AgreementId(fields.identifier(source.get("id"))),
        fields.moment(source, "timestamp"),
        fields.optional_moment(source, "approvedDate"),
        fields.text(source, "role"),
    )


agreement_summaries = fields.as_list(_summary)


def _event(value: Any) -> AgreementEvent:
    source = fields.as_mapping(value)
    kind = fields.text(source, "eventType")
    return AgreementEvent(
        _EVENT_KINDS.get(kind, kind),
        AgreementId(fields.identifier(source.get("agreementId"))),
        fields.moment(source, "eventDate"),
        fields.optional_mapping(source, "reason"),
        fields.optional_text(source, "terminator"),
    )


agreement_events = fields.as_list(_event)


@attrs.define(eq=False)
class Agreement:
    """An agreement with a provider."""

    _client: RestClient = attrs.field(repr=False)
    id: AgreementId
    """Its id."""
    details: AgreementDetails = attrs.field(repr=False)
    """As of when it was read; see `refresh`."""

    @property
    def _path(self) -> str:
        return f"/agreements/{fields.segment(self.id)}"

    async def refresh(self) -> AgreementDetails:
        """Read the agreement again."""
        self.details = await self._client.get(self._path, f"Reading agreement {self.id}", agreement_details)
        return self.details

    async def confirm(self, app_session_id: str | None = None) -> None:
        """Sign it and send it to the provider, from when on it can cost money.

        Parameters
        ----------
        app_session_id : str, optional
            A name under which events can be asked for later.

        Raises
        ------
        GoneError
            It was confirmed before, or its time to be approved is over.
        """
        await self._client.post(
            f"{self._path}/confirm{fields.query(appSessionId=app_session_id)}",
            f"Confirming agreement {self.id}",
            ignore,
            None,
        )

    async def wait_for_approval(self, timeout: float = 15.0) -> None:
        """Wait until the provider has approved it.

        Parameters
        ----------
        timeout : float
            Seconds.

        Raises
        ------
        AgreementRejectedError
            The provider refused, or the agreement was cancelled or expired.
        RequestTimeoutError
            The provider has not answered in time; it may still do so, so cancel the agreement.
        """
        try:
            await self._client.request(
                "POST",
                f"{self._path}/wait{fields.query(timeout=timeout)}",
                f"Waiting for the approval of agreement {self.id}",
                ignore,
                b"null",
                timeout=timeout + LONG_POLL_MARGIN,
            )
        except GoneError as error:
            raise AgreementRejectedError(
                error.operation,
                error.message,
                error.method,
                error.path,
                error.status,
                "Negotiate with another provider.",
            ) from None

    async def terminate(self, reason: Mapping[str, Any] | None = None) -> None:
        """End the agreement; one that has ended already is fine.

        If the connection to the daemon is cut in the middle of it, the provider may have ended the agreement,
        and sends its invoice, while for the daemon it goes on: it then refuses to end it for good. Cancelling
        this therefore waits for the daemon's answer, a second at most.

        Parameters
        ----------
        reason : mapping, optional
            Why, a ``message`` and more, such as ``golem.requestor.code``; the provider gets to see it.

        Raises
        ------
        ConflictError
            It was never confirmed.
        NotFoundError
            This identity has no such agreement.
        CollisionError
            The provider is changing it, or has ended it already, and the daemon does not know.
        """
        body = None if reason is None else dict(reason)
        what = f"Terminating agreement {self.id}"
        try:
            await retried(
                lambda: carried_through(self._client.post(f"{self._path}/terminate", what, ignore, body))
            )
        except GoneError:
            return

    async def cancel(self, reason: str = "Cancelled") -> None:
        """Take back a confirmed agreement that the provider has not approved yet.

        Parameters
        ----------
        reason : str
            Why; the provider may read it.

        Raises
        ------
        GoneError
            The provider has approved it, or it has ended: terminate it.
        ServerError
            The provider does not answer.
        """
        what = f"Cancelling agreement {self.id}"
        await carried_through(self._client.post(f"{self._path}/cancel", what, ignore, {"message": reason}))

    async def termination_reason(self) -> AgreementEvent:
        """Ask who terminated it and why.

        Raises
        ------
        BadRequestError
            It is not terminated.
        """
        return await self._client.get(
            f"{self._path}/terminate/reason", f"Reading why agreement {self.id} was terminated", _event
        )


def _agreement_id(value: Any) -> AgreementId:
    return AgreementId(fields.identifier(value))


async def create_agreement(client: RestClient, proposal_id: ProposalId, valid_to: dt.datetime) -> Agreement:
    """Make an agreement of a draft, and read it."""
    agreement_id = await client.post(
        "/agreements",
        f"Creating an agreement for proposal {proposal_id}",
        _agreement_id,
        {"proposalId": proposal_id, "validTo": fields.moment_text(valid_to, "valid_to")},
    )
    return await read_agreement(client, agreement_id)


async def read_agreement(client: RestClient, agreement_id: AgreementId) -> Agreement:
    """Read an agreement."""
    details = await client.get(
        f"/agreements/{fields.segment(agreement_id)}", f"Reading agreement {agreement_id}", agreement_details
    )
    return Agreement(client, agreement_id, details)
