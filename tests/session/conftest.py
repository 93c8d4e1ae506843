"""Kernels and sessions for the tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# helpers beside the tests: they are no package
sys.path.insert(0, str(Path(__file__).parent))

from kernels import Kernel

from golem_nb import Session, vm

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel without a network."""
    with Kernel(tmp_path, {"GOLEM_NB_DATA_DIR": str(tmp_path / "data")}) as kernel:
        yield kernel


@pytest.fixture
def session(network: LocalNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on the shared network, with a ledger of its own."""
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / "data"))
    session = Session(budget=1, network=network, name=tmp_path.name)
    yield session
    session.stop(wait_for_payments=False)


@pytest.fixture
def alpine() -> object:
    """A payload whose commands are those of this machine."""
    return vm.repo(image_tag="golem/alpine:latest")
