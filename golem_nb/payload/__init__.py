"""Payloads: what a provider has to run."""

from __future__ import annotations

from golem_nb.payload import vm
from golem_nb.payload.base import Payload
from golem_nb.payload.package import Package, PackageException

__all__ = ["Package", "PackageException", "Payload", "vm"]
