"""Computation payload manifests: what may run on a provider, and which hosts it may reach.

A provider lets a payload out to the internet only for a manifest that lists the URLs. The format is Golem's
"Computation Payload Manifest": JSON with names in camel case, sent in base64::

    manifest = await Manifest.generate(
        image_hash="d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376",
        outbound_urls=["https://api.example.org"],
        **{"metadata.name": "prices"},
    )
    package = await vm.manifest(manifest.to_base64(), capabilities=["inet", "manifest-support"])
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from golem_nb.payload.registry import (
    DEFAULT_REPOSITORY_URL,
    DefaultUrl,
    check_hash,
    check_url,
    find_image,
    registry_url,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CompManifest",
    "CompManifestNet",
    "CompManifestNetInet",
    "CompManifestNetInetOut",
    "CompManifestScript",
    "Manifest",
    "ManifestMetadata",
    "ManifestPayload",
    "ManifestPayloadPlatform",
]

_VERSION = "0.1.0"
_LIFETIME = timedelta(days=3650)


@attrs.define
class ManifestMetadata:
    """What the manifest is about, for people.

    Parameters
    ----------
    name
        Name of the payload.
    description, version, authors, homepage
        More about it.
    """

    name: str
    description: str | None = None
    version: str = _VERSION
    authors: list[str] = attrs.field(factory=list)
    homepage: str | None = None


@attrs.define
class ManifestPayloadPlatform:
    """What an image runs on.

    Parameters
    ----------
    arch
        Processor, such as ``x86_64``.
    os, os_version
        Operating system.
    """

    arch: str = "x86_64"
    os: str = "linux"
    os_version: str | None = None


@attrs.define
class ManifestPayload:
    """An image: its hash with the name of the algorithm (``sha3:…``) and the URLs where it can be fetched.

    Parameters
    ----------
    hash
        Such as ``sha3:…``.
    urls
        Where it can be fetched.
    platform
        What it runs on.
    """

    hash: str
    urls: list[str] = attrs.field(factory=list)
    platform: ManifestPayloadPlatform = attrs.field(factory=ManifestPayloadPlatform)

    @classmethod
    async def from_hash(
        cls, image_hash: str, repository_url: str = DefaultUrl(DEFAULT_REPOSITORY_URL)
    ) -> ManifestPayload:
        """Look an image up in the registry.

        Parameters
        ----------
        image_hash
            SHA3-224 of the image file, 56 hexadecimal digits.
        repository_url
            The registry. If not given, the environment variable ``GOLEM_REGISTRY_URL`` may name another.

        Raises
        ------
        PackageException
            The registry does not know the image or cannot be reached.
        """
        image = await find_image(
            registry_url(repository_url), "hash", check_hash(image_hash), https=False, dev_mode=False
        )
        return cls(hash=f"sha3:{image.sha3}", urls=[image.url])


@attrs.define
class CompManifestScript:
    """The commands that the exe-unit may execute, and how they are matched: ``strict`` or ``regex``.

    Parameters
    ----------
    commands
        The commands.
    match
        ``strict`` or ``regex``.
    """

    commands: list[str] = attrs.field(factory=lambda: ["run .*"])
    match: str = "regex"


@attrs.define
class CompManifestNetInetOut:
    """The protocols and URLs that the payload may reach.

    Parameters
    ----------
    protocols
        Such as ``https``.
    urls
        Addresses; only their hosts count.
    """

    protocols: list[str] = attrs.field(factory=list)
    urls: list[str] = attrs.field(factory=list)


@attrs.define
class CompManifestNetInet:
    """Access to the internet.

    Parameters
    ----------
    out
        What may be reached; None: nothing.
    """

    out: CompManifestNetInetOut = attrs.field(factory=CompManifestNetInetOut)


@attrs.define
class CompManifestNet:
    """Access to networks.

    Parameters
    ----------
    inet
        Access to the internet; None: none.
    """

    inet: CompManifestNetInet = attrs.field(factory=CompManifestNetInet)


@attrs.define
class CompManifest:
    """What the payload may do.

    Parameters
    ----------
    version
        Of the format.
    script
        The commands that may be executed.
    net
        The access to networks; None: none.
    """

    version: str = _VERSION
    script: CompManifestScript = attrs.field(factory=CompManifestScript)
    net: CompManifestNet | None = None


@attrs.define
class Manifest:
    """A computation payload manifest.

    Parameters
    ----------
    payload
        The images.
    comp_manifest
        What the payload may do.
    metadata
        What it is about, for people.
    version
        Of the format.
    created_at
        When it was made, in UTC; now unless given.
    expires_at
        Until when it holds, in UTC; ten years after `created_at` unless given.
    """

    payload: list[ManifestPayload] = attrs.field(factory=list)
    comp_manifest: CompManifest = attrs.field(factory=CompManifest)
    metadata: ManifestMetadata | None = None
    version: str = _VERSION
    created_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    expires_at: datetime = attrs.field()

    @expires_at.default
    def _expires_at(self) -> datetime:
        return self.created_at + _LIFETIME

    @classmethod
    async def generate(
        cls, image_hash: str | None = None, outbound_urls: list[str] | None = None, **kwargs: Any
    ) -> Manifest:
        """Make a manifest for an image of the registry.

        Parameters
        ----------
        image_hash
            SHA3-224 of the image file, which is looked up in the registry (``GOLEM_REGISTRY_URL`` may name
            another one).
        outbound_urls
            The http and https URLs that the payload may reach.
        kwargs
            Any part of the manifest by its dotted path, e.g. ``**{"metadata.name": "prices"}`` or
            ``**{"comp_manifest.script.match": "strict"}``.

        Raises
        ------
        PackageException
            The image is not known or cannot be looked up, or one of the URLs is none.
        TypeError
            There is no such part.
        """
        manifest = cls()
        if outbound_urls is not None:
            out = manifest._at("comp_manifest.net.inet.out")
            out.urls = [check_url("Each of outbound_urls", url) for url in outbound_urls]
            out.protocols = sorted({urlsplit(url).scheme for url in outbound_urls})
        for path, value in kwargs.items():
            manifest._set(path, value)
        if image_hash is not None:
            manifest.payload.append(await ManifestPayload.from_hash(image_hash))
        return manifest

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON data, without the parts that are None."""
        written: dict[str, Any] = _camel(attrs.asdict(self, value_serializer=_json_value))
        return written

    def to_json(self) -> str:
        """Return the manifest as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_base64(self) -> str:
        """Return the manifest as `golem_nb.payload.vm.manifest` takes it."""
        return base64.b64encode(self.to_json().encode()).decode("ascii")

    def _at(self, path: str) -> Any:
        """Return the part at a dotted path; a part that is optional and not there yet is made."""
        part: Any = self
        for name in path.split(".") if path else ():
            _check_part(part, name, path)
            if getattr(part, name) is None and name in _OPTIONAL_PARTS:
                setattr(part, name, _OPTIONAL_PARTS[name]())
            part = getattr(part, name)
        return part

    def _set(self, path: str, value: Any) -> None:
        parent, _, name = path.rpartition(".")
        part = self._at(parent)
        _check_part(part, name, path)
        setattr(part, name, value)


_OPTIONAL_PARTS: dict[str, Callable[[], Any]] = {
    "net": CompManifestNet,
    "metadata": lambda: ManifestMetadata(name=""),
}


def _check_part(part: Any, name: str, path: str) -> None:
    names = [field.name for field in attrs.fields(type(part))] if attrs.has(type(part)) else []
    if name not in names:
        raise TypeError(
            f"A manifest has no part {path!r}; {type(part).__name__} has {', '.join(names) or 'no parts'}."
        )


def _json_value(_owner: Any, _field: Any, value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel_name(name): _camel(part) for name, part in value.items() if part is not None}
    return [_camel(part) for part in value] if isinstance(value, list) else value


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
