"""Packages: payloads that a provider downloads."""

from __future__ import annotations

from abc import abstractmethod

from golem_nb.exceptions import GolemError
from golem_nb.payload.base import Payload


class PackageException(GolemError):
    """A package is described wrongly, does not exist, or cannot be looked up."""


class Package(Payload):
    """Description of a package (e.g. a VM image) that is deployed on the providers' nodes."""

    @abstractmethod
    async def resolve_url(self) -> str:
        """Return what the exe-unit is told to fetch: ``hash:sha3:<hash>:<url>``.

        Raises
        ------
        PackageException
            There is no such package.
        """
