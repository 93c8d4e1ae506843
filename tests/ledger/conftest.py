"""A ledger in a folder of its own, and sessions in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from golem_nb.ledger import Book, Ledger, Place

NODE = "0x" + "1" * 40
PLACE = Place("http://127.0.0.1:1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the ledger of this test is."""
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    return tmp_path / "ledger"


@pytest.fixture
def ledger(folder: Path) -> Iterator[Ledger]:
    with Ledger() as ledger:
        yield ledger


@pytest.fixture
def begin(ledger: Ledger) -> Callable[..., Book]:
    def begin(name: str = "default", budget: str = "1") -> Book:
        return ledger.begin(name, NODE, "hoodi", Decimal(budget), PLACE)

    return begin
