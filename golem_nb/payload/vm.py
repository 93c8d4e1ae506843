"""Payloads of the VM runtime: images of a registry or of the web, and computation payload manifests.

`repo` and `manifest` check their arguments at once and return an awaitable; images are looked up when it is
awaited::

    package = await vm.repo(image_tag="golem/alpine:latest")
"""

# ruff: noqa: RUF009 - `prop` and `constraint` declare fields, as `dataclasses.field` does

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from golem_nb.arguments import number
from golem_nb.payload.package import Package, PackageException
from golem_nb.payload.registry import (
    DEFAULT_REPOSITORY_URL,
    DefaultUrl,
    Image,
    check_hash,
    check_image,
    check_tag,
    check_url,
    find_image,
    registry_url,
)
from golem_nb.payload.resolving import PackageRequest
from golem_nb.props.base import ConstraintException, constraint
from golem_nb.props.errors import shown
from golem_nb.props.grammar import clause
from golem_nb.props.inf import (
    INF_MEM,
    INF_RUNTIME_CAPABILITIES,
    INF_RUNTIME_NAME,
    INF_STORAGE,
    INF_THREADS,
    RUNTIME_VM,
    ExeUnitManifestRequest,
    VmPackageFormat,
    VmRequest,
)
from golem_nb.props.values import finite

if TYPE_CHECKING:
    from golem_nb.props.builder import DemandBuilder

__all__ = [
    "DEFAULT_REPOSITORY_URL",
    "VM_CAPS_MANIFEST_SUPPORT",
    "VM_CAPS_VPN",
    "VmCaps",
    "manifest",
    "repo",
]

VM_CAPS_VPN: Literal["vpn"] = "vpn"
VM_CAPS_MANIFEST_SUPPORT: Literal["manifest-support"] = "manifest-support"

VmCaps = Literal["vpn", "inet", "manifest-support"]


@dataclass
class _VmConstraints(Package):
    """What any VM package asks of a provider."""

    min_mem_gib: float = constraint(INF_MEM, operator=">=")
    min_storage_gib: float = constraint(INF_STORAGE, operator=">=")
    min_cpu_threads: int = constraint(INF_THREADS, operator=">=")
    capabilities: list[str] = constraint(INF_RUNTIME_CAPABILITIES)
    runtime: str = constraint(INF_RUNTIME_NAME, default=RUNTIME_VM)


@dataclass
class VmPackage(_VmConstraints):
    """A VM image, found and ready to be asked for."""

    image: Image = field(kw_only=True)

    async def resolve_url(self) -> str:
        """Return ``hash:sha3:<hash>:<url>`` of the image."""
        return self.image.package

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Add the image and the constraints to `demand`."""
        demand.add(
            VmRequest(package_url=await self.resolve_url(), package_format=VmPackageFormat.GVMKIT_SQUASH)
        )
        await super().decorate_demand(demand)


@dataclass
class VmManifestPackage(_VmConstraints):
    """A computation payload manifest."""

    request: ExeUnitManifestRequest = field(kw_only=True)

    async def resolve_url(self) -> str:
        """Return an empty text: the URLs stand in the manifest."""
        return ""

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Add the manifest and the constraints to `demand`."""
        demand.add(self.request)
        await super().decorate_demand(demand)


def repo(
    *,
    image_hash: str | None = None,
    image_tag: str | None = None,
    image_url: str | None = None,
    image_use_https: bool = False,
    repository_url: str = DefaultUrl(DEFAULT_REPOSITORY_URL),
    dev_mode: bool = False,
    min_mem_gib: float = 0.5,
    min_storage_gib: float = 2.0,
    min_cpu_threads: int = 1,
    capabilities: list[VmCaps] | None = None,
) -> Awaitable[Package]:
    """Describe a VM image.

    Give `image_tag` or `image_hash` of an image in the registry, or `image_url` and `image_hash` of an image
    anywhere on the web.

    Parameters
    ----------
    image_hash
        SHA3-224 of the image file, 56 hexadecimal digits, as ``sha3sum -a 224`` prints it.
    image_tag
        Tag of an image in the registry, e.g. ``golem/alpine:latest``.
    image_url
        URL of an image file.
    image_use_https
        Whether providers fetch a registry's image by HTTPS rather than HTTP.
    repository_url
        The registry. If not given, the environment variable ``GOLEM_REGISTRY_URL`` may name another.
    dev_mode
        Do not let the registry count this as a use of the image.
    min_mem_gib, min_storage_gib
        Memory and storage that a provider has to have, GiB.
    min_cpu_threads
        Processor threads that a provider has to have.
    capabilities
        What the provider's VM runtime must be capable of: ``"vpn"``, ``"inet"``, ``"manifest-support"``.

    Returns
    -------
    Awaitable[Package]
        Gives the package when awaited, any number of times. Then it raises `PackageException` if the image
        does not exist or cannot be looked up.

    Raises
    ------
    PackageException
        The arguments describe no image.

    Examples
    --------
    >>> package = await vm.repo(image_hash="d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376")
    """
    requirements = _requirements(min_mem_gib, min_storage_gib, min_cpu_threads, capabilities)
    if image_hash is not None:
        check_hash(image_hash)
    if image_tag is not None:
        check_tag(image_tag)
    if image_url is not None:
        check_url("image_url", image_url)
        if image_tag is not None:
            raise PackageException(
                "An image_tag can only be used with a registry: leave out image_url or image_tag."
            )
        if image_hash is None:
            raise PackageException("An image_url needs the image_hash of the image, which providers verify.")
        direct = Image(image_hash, image_url)

        async def resolve() -> Package:
            return VmPackage(**requirements, image=await check_image(direct))

        return PackageRequest("vm.repo", {"image_hash": image_hash, "image_url": image_url}, resolve)
    if image_hash is not None and image_tag is not None:
        raise PackageException("Give either image_hash or image_tag, not both.")
    by: Literal["tag", "hash"] = "hash" if image_tag is None else "tag"
    value = image_hash or image_tag
    if value is None:
        raise PackageException("Which image? Give image_tag, image_hash, or image_url and image_hash.")
    registry_url(repository_url)  # a bad one is an error here, not when it is awaited

    async def look_up() -> Package:
        image = await find_image(
            registry_url(repository_url), by, value, https=image_use_https, dev_mode=dev_mode
        )
        return VmPackage(**requirements, image=image)

    return PackageRequest("vm.repo", {f"image_{by}": value}, look_up)


def manifest(
    manifest: str,
    manifest_sig: str | None = None,
    manifest_sig_algorithm: str | None = None,
    manifest_cert: str | None = None,
    min_mem_gib: float = 0.5,
    min_storage_gib: float = 2.0,
    min_cpu_threads: int = 1,
    capabilities: list[VmCaps] | None = None,
) -> Awaitable[Package]:
    """Describe a payload by a computation payload manifest.

    `golem_nb.payload.manifest.Manifest` makes one.

    Parameters
    ----------
    manifest
        The manifest, base64.
    manifest_sig
        Signature of the base64 manifest, base64.
    manifest_sig_algorithm
        Algorithm of the signature, e.g. ``sha256``.
    manifest_cert
        The public certificate (DER or PEM) of the key that signed, base64.
    min_mem_gib, min_storage_gib
        Memory and storage that a provider has to have, GiB.
    min_cpu_threads
        Processor threads that a provider has to have.
    capabilities
        What the provider's VM runtime must be capable of: ``"vpn"``, ``"inet"``, ``"manifest-support"``.

    Returns
    -------
    Awaitable[Package]
        Gives the package when awaited, any number of times.

    Raises
    ------
    PackageException
        The manifest is not base64 of a JSON object, or a signature lacks its algorithm.

    Examples
    --------
    >>> package = await vm.manifest(manifest=open("manifest.json.base64").read())
    """
    requirements = _requirements(min_mem_gib, min_storage_gib, min_cpu_threads, capabilities)
    _check_manifest(manifest)
    for name, value in (("manifest_sig", manifest_sig), ("manifest_cert", manifest_cert)):
        if value is not None:
            _decoded(name, value)
    if (manifest_sig is None) != (manifest_sig_algorithm is None):
        raise PackageException("manifest_sig and manifest_sig_algorithm must be given together.")
    if manifest_cert is not None and manifest_sig is None:
        raise PackageException(
            "manifest_cert verifies a signature: give manifest_sig and manifest_sig_algorithm."
        )
    package = VmManifestPackage(
        **requirements,
        request=ExeUnitManifestRequest(
            manifest=manifest,
            manifest_sig=manifest_sig,
            manifest_sig_algorithm=manifest_sig_algorithm,
            manifest_cert=manifest_cert,
        ),
    )

    async def resolve() -> Package:
        return package

    return PackageRequest("vm.manifest", {"manifest": f"{manifest[:16]}..."}, resolve)


def _requirements(
    min_mem_gib: float, min_storage_gib: float, min_cpu_threads: int, capabilities: list[VmCaps] | None
) -> dict[str, Any]:
    amounts = {
        "min_mem_gib": _requirement("min_mem_gib", min_mem_gib),
        "min_storage_gib": _requirement("min_storage_gib", min_storage_gib),
        "min_cpu_threads": _requirement("min_cpu_threads", min_cpu_threads),
    }
    wanted: Any = [] if capabilities is None else capabilities
    if not isinstance(wanted, list | tuple):
        raise PackageException(f"capabilities must be a list, e.g. ['vpn'], not {shown(capabilities)}.")
    try:
        for capability in wanted:
            clause(INF_RUNTIME_CAPABILITIES, "=", capability)
    except ConstraintException as error:
        raise PackageException(f"capabilities must be names such as 'vpn' or 'inet': {error}") from error
    return {**amounts, "capabilities": list(wanted)}


def _requirement(name: str, value: object) -> int | float | Decimal:
    amount = number(value)
    if amount is None or not finite(amount) or amount < 0:
        raise PackageException(f"{name} must be a number, zero or more, not {shown(value)}.")
    return amount


def _check_manifest(text: object) -> None:
    try:
        content = json.loads(_decoded("manifest", text))
    except (ValueError, RecursionError) as error:
        raise PackageException(
            "manifest must be JSON in base64, but inside the base64 is no JSON."
        ) from error
    if not isinstance(content, dict):
        raise PackageException(
            "manifest must be a JSON object in base64, but inside the base64 is something else."
        )


def _decoded(name: str, text: object) -> bytes:
    if not isinstance(text, str) or not text.strip():
        raise PackageException(f"{name} must be base64 text, not {shown(text)}.")
    try:
        # Line breaks are common in files with base64; the text itself is sent as it is, since it is signed.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PackageException(f"{name} must be base64, but is not: {error}.") from error
