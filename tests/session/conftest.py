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


@pytest.fixture(scope="module")
def session(network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session on the shared network for all tests of a file, with a ledger of its own."""
    folder = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(folder))
        session = Session(budget=1, network=network, name=folder.name)
        yield session
        session.stop(wait_for_payments=False)


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger for one test."""
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="session")
def alpine() -> object:
    """A payload whose commands are those of this machine."""
    return vm.repo(image_tag="golem/alpine:latest")
