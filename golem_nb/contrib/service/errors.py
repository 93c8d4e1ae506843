"""What keeps a service from answering a request."""

from __future__ import annotations

from golem_nb.exceptions import GolemError

__all__ = ["UpstreamError"]


class UpstreamError(GolemError):
    """An instance did not answer.

    Parameters
    ----------
    status
        Status of the answer that the client gets: 502 or 504.
    reason
        What has happened, for the client.
    sent
        Whether the instance may have seen any of the request.
    lost
        Whether its node does not answer at all, so that others on the same provider are doubtful, too.
    """

    def __init__(self, status: int, reason: str, *, sent: bool, lost: bool = False) -> None:
        self.status = status
        self.reason = reason
        self.sent = sent
        self.lost = lost
        super().__init__(reason)
