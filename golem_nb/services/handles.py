"""Handles of suspended instances, read: whatever is wrong with them is found here, or at the daemon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs

from golem_nb import arguments
from golem_nb.rest import fields
from golem_nb.rest.ids import ActivityId, AgreementId, AllocationId
from golem_nb.services.errors import ServiceResumeError

__all__ = ["SuspendedInstance", "read_handles"]

STATES = ("starting", "running", "stopping")


@attrs.frozen
class SuspendedInstance:
    """What a `ServiceSerialization` says, with the types that it stands for."""

    id: str
    state: str
    agreement_id: AgreementId
    activity_id: ActivityId
    session_id: str
    created: datetime
    since: datetime
    expiration: datetime
    allocation_id: AllocationId | None
    accepted: Decimal
    network_id: str | None
    ip: str | None


def read_handles(handles: Sequence[Any]) -> list[SuspendedInstance]:
    """Read the handles of instances that are to be taken up together.

    Parameters
    ----------
    handles
        From `Service.serialize` or `Golem.stop`, possibly by way of a file.

    Raises
    ------
    TypeError
        They are no list.
    ValueError
        There is none, one lacks something or has what makes no sense, or two are of one instance.
    ServiceResumeError
        The time of one is over.
    """
    wanted = "a list of handles, such as golem.stop() returns"
    arguments.instance("instances", handles, Sequence, wanted)  # type: ignore[type-abstract]
    if not handles:
        raise ValueError("There are no instances to resume")
    found: list[SuspendedInstance] = []
    for number, handle in enumerate(handles, start=1):
        try:
            instance = _read(handle)
            for before, other in enumerate(found, start=1):
                if other.activity_id == instance.activity_id:
                    raise fields.MalformedField(f"field 'activity_id' is that of handle {before}, too")
                if other.agreement_id == instance.agreement_id:
                    raise fields.MalformedField(f"field 'agreement_id' is that of handle {before}, too")
        except fields.MalformedField as error:
            raise ValueError(
                f"Handle {number} of {len(handles)} cannot be resumed: {error}. Give each handle once, as "
                "`golem.stop()` or `Service.serialize()` has returned it."
            ) from error
        found.append(instance)
    for instance in found:
        if instance.expiration <= datetime.now(UTC):
            reason = f"its agreement has expired at {instance.expiration.isoformat()}"
            raise ServiceResumeError(instance.id, instance.activity_id, reason)
    return found


def _read(handle: Any) -> SuspendedInstance:
    source = fields.as_mapping(handle)
    state = fields.text(source, "state")
    if state not in STATES:
        raise fields.MalformedField(f"field 'state': expected one of {', '.join(STATES)}, got {state!r:.80}")
    accepted = fields.money(source, "accepted")
    if accepted < 0:
        raise fields.MalformedField(f"field 'accepted': expected an amount that was paid, got {accepted}")
    network = fields.optional_mapping(source, "network")
    allocation_id = fields.optional_text(source, "allocation_id")
    return SuspendedInstance(
        id=fields.text(source, "id"),
        state=state,
        agreement_id=AgreementId(_identifier(source, "agreement_id")),
        activity_id=ActivityId(_identifier(source, "activity_id")),
        session_id=fields.text(source, "session_id"),
        created=fields.moment(source, "created"),
        since=fields.moment(source, "since"),
        expiration=fields.moment(source, "expiration"),
        allocation_id=None if allocation_id is None else AllocationId(allocation_id),
        accepted=accepted,
        network_id=None if network is None else _identifier(network, "network_id"),
        ip=fields.optional_text(source, "ip"),
    )


def _identifier(source: Mapping[str, Any], key: str) -> str:
    value = fields.text(source, key)
    try:
        return fields.identifier(value)
    except fields.MalformedField as error:
        raise fields.MalformedField(f"field {key!r}: {error}") from None
