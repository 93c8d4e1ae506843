"""Who the daemon is."""

from __future__ import annotations

from typing import Any, Final

import attrs

from golem_nb.rest import fields
from golem_nb.rest.client import RestClient
from golem_nb.rest.ids import NodeId

__all__ = ["MINIMUM_VERSION", "Identity", "Me", "Version"]

#: The oldest release of the daemon whose API this package talks to.
MINIMUM_VERSION: Final = (0, 17)


@attrs.frozen
class Me:
    """The identity behind an application key."""

    identity: NodeId
    """The node id under which this key acts."""
    name: str
    """The key's name."""
    role: str


@attrs.frozen
class Version:
    """The daemon's release."""

    version: str
    """Such as ``0.17.6``."""
    name: str
    """Commit and date of the build."""
    pending: str | None
    """A newer release that the daemon has heard of, if any."""

    @property
    def too_old(self) -> bool:
        """Whether this package needs a newer one; builds that do not tell are taken to be new."""
        numbers = self.version.split(".")[:2]
        return all(number.isdecimal() for number in numbers) and tuple(map(int, numbers)) < MINIMUM_VERSION


def _me(value: Any) -> Me:
    source = fields.as_mapping(value)
    return Me(
        identity=NodeId(fields.text(source, "identity")),
        name=fields.optional_text(source, "name") or "",
        role=fields.optional_text(source, "role") or "",
    )


def _version(value: Any) -> Version:
    source = fields.as_mapping(value)
    current = fields.mapping(source, "current")
    pending = fields.optional_mapping(source, "pending")
    return Version(
        version=fields.text(current, "version"),
        name=fields.optional_text(current, "name") or "",
        pending=None if pending is None else fields.text(pending, "version"),
    )


class Identity:
    """The requests that concern the daemon itself.

    Parameters
    ----------
    client : RestClient
        From `Configuration.root`.
    """

    def __init__(self, client: RestClient) -> None:
        self._client = client

    async def me(self) -> Me:
        """Ask whose key this is.

        Raises
        ------
        UnauthorizedError
            The daemon does not know the key.
        DaemonUnreachableError
            Nobody listens there.
        """
        return await self._client.get("/me", "Asking the daemon for its identity", _me)

    async def version(self) -> Version:
        """Ask for the daemon's release."""
        return await self._client.get("/version/get", "Asking the daemon for its version", _version)
