"""What can go wrong with services, beyond what can go wrong with agreements."""

from __future__ import annotations

from golem_nb.exceptions import GolemError
from golem_nb.rest.activity import BatchError

__all__ = ["ServiceLostError", "ServiceResumeError"]


class ServiceLostError(BatchError):
    """The activity of an instance, or its agreement, has ended without the requestor's doing."""


class ServiceResumeError(GolemError):
    """A suspended instance is no more, or its handle does not fit what there is."""

    def __init__(
        self,
        service_id: str,
        activity_id: str,
        reason: str,
        remedy: str = "Run the service anew with `golem.run_service`.",
    ) -> None:
        self.service_id = service_id
        self.activity_id = activity_id
        super().__init__(
            f"Service {service_id} cannot be resumed on activity {activity_id}: "
            f"{reason.removesuffix('.')}. {remedy}"
        )
