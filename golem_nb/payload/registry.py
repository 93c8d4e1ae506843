"""The image registry: where an image of a given tag or hash can be fetched.

It answers ``GET /v1/image/info?tag=…|hash=…`` with ``{"http": url, "https": url, "sha3": hash, …}``. The
answer goes into demands, so it is checked like anything that comes from outside.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import attrs

from golem_nb import foreign_json
from golem_nb.payload.package import PackageException
from golem_nb.props.errors import shown

DEFAULT_REPOSITORY_URL = "https://registry.golem.network"

#: Names another registry in the place of the default one.
REGISTRY_VARIABLE = "GOLEM_REGISTRY_URL"

#: The registry of the network that a package is being looked up for, where it has one of its own. Packages
#: are described before it is known where they will run.
NETWORK_REGISTRY: ContextVar[str | None] = ContextVar("NETWORK_REGISTRY", default=None)

#: The same for packages that are looked up outside of any network's context, such as in a notebook's cell.
_ambient: str | None = None

_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
_ANSWER_LIMIT = 64 * 1024
# SHA3-224, as `sha3sum -a 224` prints it.
_HASH = re.compile(r"[0-9a-fA-F]{56}\Z")
_TAG = re.compile(r"[\w.\-/]+(:[\w.\-]+)?\Z")


class DefaultUrl(str):
    """A URL that nobody has given: it yields to `REGISTRY_VARIABLE`."""

    __slots__ = ()


@attrs.frozen
class Image:
    """An image: the SHA3-224 of its file, and where to fetch it."""

    sha3: str
    url: str

    @property
    def package(self) -> str:
        """The image as exe-units want it: ``hash:sha3:<hash>:<url>``."""
        return f"hash:sha3:{self.sha3}:{self.url}"


def registry_url(given: str) -> str:
    """Return the registry to ask.

    That is `given`, unless it is only a default: then what the environment names, or the network's own, comes
    first.

    Raises
    ------
    PackageException
        It is not an HTTP URL.
    """
    url, source = given, "repository_url"
    if isinstance(given, DefaultUrl):
        if os.environ.get(REGISTRY_VARIABLE, "").strip():
            url, source = os.environ[REGISTRY_VARIABLE].strip(), REGISTRY_VARIABLE
        else:
            url = NETWORK_REGISTRY.get() or _ambient or given
    return check_url(source, url).rstrip("/")


def use_registry(url: str | None) -> None:
    """Have packages looked up in a network's own registry where nothing else is said.

    Parameters
    ----------
    url
        The registry of the only network that this process works with; None: the public one.
    """
    global _ambient
    _ambient = url


def check_hash(image_hash: object) -> str:
    """Return the hash of an image, or raise `PackageException`."""
    if not isinstance(image_hash, str) or not _HASH.match(image_hash):
        raise PackageException(
            f"image_hash must be the SHA3-224 of the image, 56 hexadecimal digits, not {shown(image_hash)}."
            " `sha3sum -a 224 image.gvmi` prints it."
        )
    return image_hash


def check_tag(image_tag: object) -> str:
    """Return the tag of an image, or raise `PackageException`."""
    if not isinstance(image_tag, str) or not _TAG.match(image_tag):
        raise PackageException(
            f"image_tag must be the name of an image, e.g. 'golem/alpine:latest', not {shown(image_tag)}."
        )
    return image_tag


def check_url(name: str, url: object) -> str:
    """Return the URL in the parameter `name`, or raise `PackageException`."""
    problem = PackageException(f"{name} must be an http or https URL, not {shown(url)}.")
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise problem
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise problem
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise problem from None
    return url


async def find_image(
    registry: str, by: Literal["tag", "hash"], value: str, *, https: bool, dev_mode: bool
) -> Image:
    """Ask a registry for an image.

    Parameters
    ----------
    registry
        Base URL of the registry.
    by, value
        What the image is known by.
    https
        Whether to fetch the image by its ``https`` URL rather than its ``http`` one.
    dev_mode
        Ask as a developer: the registry then does not count the request as a use of the image.

    Raises
    ------
    PackageException
        The registry does not know the image, cannot be reached, or gives an unusable answer.
    """
    query = {by: value, "dev" if dev_mode else "count": "true"}
    where = f"the image registry {registry}"
    status, reason, body = await _request("GET", f"{registry}/v1/image/info", query, where)
    if status == 404:
        raise PackageException(
            f"There is no image with the {by} {value!r} in {where}. Check the spelling, or give"
            " image_url and image_hash for an image that lies elsewhere."
        )
    if status != 200:
        raise PackageException(f"Failed to resolve image URL: {status} {reason} ({where}, {by} {value!r}).")
    return _image(body, where, by, value, https=https)


async def check_image(image: Image) -> Image:
    """Return the image if its URL can be fetched, else raise `PackageException`."""
    where = f"the image {image.url}"
    status, reason, _ = await _request("HEAD", image.url, {}, where)
    if status != 200:
        raise PackageException(
            f"Failed to resolve image URL: {status} {reason} ({where}). Providers could not fetch it either."
        )
    return image


async def _request(method: str, url: str, query: dict[str, str], where: str) -> tuple[int, str, bytes]:
    try:
        async with (
            # Not decompressed, and so not larger than what was counted.
            aiohttp.ClientSession(
                timeout=_TIMEOUT, auto_decompress=False, headers={"Accept-Encoding": "identity"}
            ) as session,
            session.request(method, url, params=query) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _ANSWER_LIMIT:
                    raise PackageException(f"The answer of {where} is too long: over {_ANSWER_LIMIT} bytes.")
            return response.status, response.reason or "", bytes(body)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise PackageException(
            f"Cannot reach {where}: {why}. Check the network connection and the URL"
            f" (repository_url, or the environment variable {REGISTRY_VARIABLE})."
        ) from error


def _image(body: bytes, where: str, by: str, value: str, *, https: bool) -> Image:
    answer = _json_object(body, where)
    scheme = "https" if https else "http"
    try:
        sha3, url = check_hash(answer.get("sha3")), check_url(scheme, answer.get(scheme))
    except PackageException as error:
        raise PackageException(
            f"The answer of {where} for the {by} {value!r} is unusable: {error}"
        ) from error
    if by == "hash" and sha3.lower() != value.lower():
        raise PackageException(f"Asked for the hash {value}, {where} gives an image with the hash {sha3}.")
    return Image(sha3, url)


def _json_object(body: bytes, where: str) -> dict[str, Any]:
    try:
        answer = foreign_json.loads(body.decode())
    except ValueError as error:
        raise PackageException(f"The answer of {where} is not JSON: {shown(body)}.") from error
    if not isinstance(answer, dict):
        raise PackageException(f"The answer of {where} is not a JSON object: {shown(body)}.")
    return answer
