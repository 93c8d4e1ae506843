"""The infrastructure part of a demand or an offer: memory, storage, processors, runtime and its package."""

# ruff: noqa: RUF009 - `prop` declares a field, as `dataclasses.field` does

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from golem_nb.props.base import Model, prop

INF_MEM = "golem.inf.mem.gib"
INF_STORAGE = "golem.inf.storage.gib"
INF_CORES = "golem.inf.cpu.cores"
INF_THREADS = "golem.inf.cpu.threads"
INF_RUNTIME_NAME = "golem.runtime.name"
INF_RUNTIME_CAPABILITIES = "golem.runtime.capabilities"
TRANSFER_CAPS = "golem.activity.caps.transfer.protocol"

RUNTIME_VM = "vm"

TASK_PACKAGE = "golem.srv.comp.task_package"
VM_PACKAGE_FORMAT = "golem.srv.comp.vm.package_format"
MANIFEST = "golem.srv.comp.payload"
MANIFEST_SIG = "golem.srv.comp.payload.sig"
MANIFEST_SIG_ALGORITHM = "golem.srv.comp.payload.sig.algorithm"
MANIFEST_CERT = "golem.srv.comp.payload.cert"


class VmPackageFormat(StrEnum):
    """The format of a VM image."""

    GVMKIT_SQUASH = "gvmkit-squash"


@dataclass
class InfBase(Model):
    """What a provider offers to run on. Memory and storage are in GiB.

    Parameters
    ----------
    mem, storage
        GiB.
    runtime
        Name of the runtime, such as ``vm``.
    cores, threads
        Of the processor.
    capabilities
        Of the runtime, such as ``vpn``.
    transfers
        Protocols of transfers.
    """

    mem: float = prop(INF_MEM)
    runtime: str = prop(INF_RUNTIME_NAME)
    storage: float | None = prop(INF_STORAGE, default=None)
    cores: int | None = prop(INF_CORES, default=None)
    threads: int | None = prop(INF_THREADS, default=None)
    capabilities: list[str] | None = prop(INF_RUNTIME_CAPABILITIES, default=None)
    transfers: list[str] | None = prop(TRANSFER_CAPS, default=None)


@dataclass
class ExeUnitRequest(Model):
    """The package that the exe-unit has to run: ``hash:sha3:<hash>:<url>``.

    Parameters
    ----------
    package_url
        ``hash:sha3:<hash>:<url>``.
    """

    package_url: str = prop(TASK_PACKAGE)


@dataclass
class VmRequest(ExeUnitRequest):
    """A VM image that the exe-unit has to run.

    Parameters
    ----------
    package_url
        ``hash:sha3:<hash>:<url>``.
    package_format
        Format of the image.
    """

    package_format: VmPackageFormat = prop(VM_PACKAGE_FORMAT)


@dataclass
class ExeUnitManifestRequest(Model):
    """A computation payload manifest that the exe-unit has to run; all of it base64.

    Parameters
    ----------
    manifest
        The manifest.
    manifest_sig, manifest_sig_algorithm, manifest_cert
        Its signature, how that was made, and the certificate.
    package_format
        Format of the image.
    """

    manifest: str = prop(MANIFEST)
    manifest_sig: str | None = prop(MANIFEST_SIG, default=None)
    manifest_sig_algorithm: str | None = prop(MANIFEST_SIG_ALGORITHM, default=None)
    manifest_cert: str | None = prop(MANIFEST_CERT, default=None)
    package_format: VmPackageFormat = prop(VM_PACKAGE_FORMAT, default=VmPackageFormat.GVMKIT_SQUASH)
