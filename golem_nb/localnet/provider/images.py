"""Which image stands in for an agreement's package."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from golem_nb.localnet.provider.sandbox.layout import ImageError
from golem_nb.localnet.spec import Image, ImageKind

__all__ = ["Images"]

_TIMEOUT: Final = 10.0


class Images:
    """The images of a local network.

    Parameters
    ----------
    images
        Those that are known; others are looked for at the address of the package.
    """

    def __init__(self, images: Iterable[Image]) -> None:
        self._images = {image.sha3: image for image in images}

    def add(self, image: Image) -> None:
        """Make an image known; one of the same hash is replaced."""
        self._images[image.sha3] = image

    async def find(self, demand: Mapping[str, Any]) -> Image:
        """Return the image for a demand's package.

        A package that is not known, but can be had at its address, gets the machine's userland; a demand
        without a package (of a custom runtime) too.

        Raises
        ------
        ImageError
            There is no such package.
        """
        package = self._package(demand)
        if package is None:
            return Image(sha3="0", kind=ImageKind.USERLAND)
        sha3, url = package
        if (image := self._images.get(sha3)) is not None:
            return image
        await self._look(sha3, url)
        image = Image(sha3=sha3, kind=ImageKind.USERLAND)
        self.add(image)
        return image

    @staticmethod
    def _package(demand: Mapping[str, Any]) -> tuple[str, str] | None:
        text = demand.get("golem.srv.comp.task_package")
        if isinstance(text, str):
            found = re.fullmatch(r"hash:sha3:([0-9a-fA-F]+):(.*)", text, re.DOTALL)
            if not found:
                raise ImageError(f"Local service error: Invalid package: {text[:200]}")
            return found[1].lower(), found[2]
        manifest = demand.get("golem.srv.comp.payload")
        if not isinstance(manifest, str):
            return None
        try:
            payload = json.loads(base64.b64decode(manifest, validate=True))["payload"][0]
            return str(payload["hash"]).rpartition(":")[2].lower(), str((payload.get("urls") or [""])[0])
        except (binascii.Error, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ImageError(
                f"Local service error: Invalid manifest: {type(error).__name__}: {error}"
            ) from error

    @staticmethod
    async def _look(sha3: str, url: str) -> None:
        known = "register it with the network (a folder, or the machine's userland), or use a documented tag"
        host = urlsplit(url).hostname or ""
        try:
            loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise ImageError(
                f"Local service error: the local network knows no image {sha3}, and fetches none from "
                f"{host!r}: {known}"
            )
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.head(url) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ImageError(f"Local service error: the image {url} cannot be fetched: {error}") from error
        if status != 200:
            raise ImageError(
                f"Local service error: the image {url} cannot be fetched: HTTP {status}; {known}"
            )
