"""The local network's image registry.

It answers like the public one, for the images that it knows, and 404 for all else. There is nothing to
download: a provider of the local network finds out by an image's hash what stands in for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from golem_nb.localnet.spec import Image, ImageKind, InvalidSpecError

__all__ = ["Registry"]

_ALPINE: Final = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"
_PYTHON: Final = hashlib.sha3_224(b"golem_nb/python:latest").hexdigest()
#: Images that the documentation names, and an interpreter for functions sent from a notebook.
_KNOWN: Final[Mapping[str, ImageKind]] = {
    _ALPINE: ImageKind.USERLAND,
    "d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376": ImageKind.USERLAND,
    _PYTHON: ImageKind.PYTHON,
}
_TAGS: Final[Mapping[str, str]] = {
    "golem/alpine:latest": _ALPINE,
    "golem_nb/python:latest": _PYTHON,
    "golem_nb/python": _PYTHON,
}
# what a download of an image gives; the real ones are SquashFS files of 10 MB and more
_CONTENT: Final = b"this image is a name only: providers of the local network know what stands in for it\n"


class Registry:
    """The images of one local network."""

    def __init__(self) -> None:
        self._images = {sha3: Image(sha3=sha3, kind=kind) for sha3, kind in _KNOWN.items()}
        self._tags = dict(_TAGS)

    @property
    def images(self) -> Iterable[Image]:
        """All images."""
        return self._images.values()

    def add(self, tag: str, folder: Path) -> Image:
        """Register a directory tree as an image.

        Raises
        ------
        InvalidSpecError
            The tag is no tag, or there is no such folder.
        """
        if not tag or len(tag) > 200 or any(character.isspace() for character in tag):
            raise InvalidSpecError(f"{tag!r} is no tag of an image: name it like 'me/tools:latest'")
        sha3 = hashlib.sha3_224(f"{tag}\0{folder}".encode()).hexdigest()
        image = Image(sha3=sha3, kind=ImageKind.ROOTFS, tag=tag, rootfs=folder)
        self._images[sha3] = image
        self._tags[tag] = sha3
        return image

    def routes(self) -> list[web.RouteDef]:
        """What the registry answers to."""
        return [
            web.get("/v1/image/info", self._info),
            web.get("/images/{sha3:[0-9a-f]+}.gvmi", self._content),
        ]

    async def _info(self, request: web.Request) -> web.Response:
        sha3 = request.query.get("hash") or self._tags.get(request.query.get("tag", ""), "")
        if sha3 not in self._images:
            raise web.HTTPNotFound(text="Image not found")
        # no TLS on loopback: "https" leads to the same place
        url = f"http://{request.host}/images/{sha3}.gvmi"
        return web.json_response({"http": url, "https": url, "sha3": sha3, "size": len(_CONTENT)})

    async def _content(self, request: web.Request) -> web.Response:
        if request.match_info["sha3"] not in self._images:
            raise web.HTTPNotFound(text="Image not found")
        return web.Response(body=_CONTENT, content_type="application/octet-stream")
