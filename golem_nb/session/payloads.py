"""What jobs of a session run on: checked when it is given."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable

from golem_nb.arguments import instance
from golem_nb.payload import Payload

__all__ = ["checked_payload", "found_payload"]


def checked_payload(payload: Payload | Awaitable[Payload]) -> Payload | Awaitable[Payload]:
    """Return a payload, or what gives one when it is awaited.

    Raises
    ------
    TypeError
        It is neither.
    """
    return payload if inspect.isawaitable(payload) else found_payload(payload)


def found_payload(payload: object) -> Payload:
    """Return what has to be a payload by now.

    Raises
    ------
    TypeError
        It is none.
    """
    return instance(
        "payload", payload, Payload, 'a payload, such as vm.repo(image_tag="golem/alpine:latest")'
    )
