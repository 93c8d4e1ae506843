"""What a service and its user send to each other."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["ServiceSignal"]


@attrs.define
class ServiceSignal:
    """One message to a service, or from it.

    Parameters
    ----------
    message
        What was sent.
    response_to
        The signal that it answers, if any.
    """

    message: Any
    response_to: ServiceSignal | None = None
