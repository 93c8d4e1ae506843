"""Tables across sessions."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from golem_nb import figures
from golem_nb.engine.journal import step
from golem_nb.frames import History, history
from golem_nb.ledger import FinishedItem, Ledger, Place

TABLES = ("sessions", "agreements", "costs", "providers", "items")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    with Ledger() as ledger:
        yield ledger


async def fill(ledger: Ledger) -> None:
    """Two sessions, each with an agreement, a bill and an item."""
    for number in (1, 2):
        book = ledger.begin(f"session {number}", "0x1", "hoodi", Decimal(2), Place("http://127.0.0.1:1"))
        async with step(book, "create_agreement", proposal_id="p", provider_id="0x2") as outcome:
            outcome["agreement_id"] = key = f"agreement {number}"
        async with step(book, "confirm_agreement", agreement_id=key):
            pass
        async with step(book, "create_activity", agreement_id=key) as outcome:
            outcome["activity_id"] = f"activity {number}"
        price = (
            '{"fixed": "0.5", "per_unit": {"golem.usage.duration_sec": "0.001", "golem.usage.cpu_sec": '
            '"0.002"}, "threads": 2}'
        )
        await ledger.write(
            ("UPDATE agreement SET provider = 'amber', job = '1', price = ?, approved = made", (price,)),
            ("UPDATE activity SET usage = '[10.0, 4.0]'", ()),
            (
                "INSERT INTO invoice (id, session, agreement, amount, received) VALUES (?, ?, ?, ?, '2026')",
                (f"invoice {number}", book.session_id, key, "0.123456789012345678"),
            ),
            (
                "INSERT INTO payment VALUES (?, '', ?, '0.1', '2026')",
                (f"payment {number}", f"activity {number}"),
            ),
            (
                "INSERT INTO payment VALUES (?, ?, '', '0.01', '2026')",
                (f"payment {number}", key),
            ),
        )
        async with step(
            book, "accept_invoice", invoice_id=f"invoice {number}", amount="0.123456789012345678"
        ):
            pass
        await book.finished("job", [FinishedItem(number, 0, "out", value=b"1234", seconds=1.5)])
        await book.close()


@pytest.mark.parametrize("name", TABLES)
async def test_empty_tables_are_as_full_ones(ledger: Ledger, name: str) -> None:
    empty = getattr(history(ledger), name)
    await fill(ledger)
    full = getattr(history(ledger), name)
    assert empty.empty
    assert list(empty.columns) == list(full.columns)
    assert [str(kind) for kind in empty.dtypes] == [str(kind) for kind in full.dtypes]
    text = getattr(History, name).__doc__
    assert [column for column in full.columns if f"``{column}``" not in text] == []


async def test_its_costs_make_the_figure_by_provider(ledger: Ledger) -> None:
    await fill(ledger)
    bars = {bar.name: list(bar.x) for bar in figures.cost_by_provider(history(ledger).costs).data}
    # two agreements, all billed
    assert bars["settled"] == pytest.approx([0.22])
    assert bars["accepted"] == pytest.approx([2 * 0.123456789 - 0.22])
    assert bars["not billed yet"] == pytest.approx([0])


async def test_costs(ledger: Ledger) -> None:
    await fill(ledger)
    frame = history(ledger).costs
    first: dict[str, Any] = frame.to_dict("records")[0]
    assert (first["session"], first["provider"], first["network"]) == ("session 1", "amber", "hoodi")
    assert first["usage"].total_seconds() == 10
    assert first["usage_cpu"].total_seconds() == 4
    assert (first["price_start"], first["price_hour"]) == (0.5, pytest.approx(3.6))
    assert first["settled"] == pytest.approx(0.11)
    assert frame.attrs["totals"]["accepted"] == 2 * Decimal("0.123456789012345678")
    assert frame.attrs["totals"]["settled"] == Decimal("0.22")


async def test_sessions_and_items(ledger: Ledger) -> None:
    await fill(ledger)
    sessions = history(ledger).sessions
    assert list(sessions["name"]) == ["session 1", "session 2"]
    assert list(sessions["agreements"]) == [1, 1]
    assert list(sessions["items"]) == [1, 1]
    assert sessions["ended"].notna().all()
    assert (sessions["started"] <= sessions["ended"]).all()
    items = history(ledger).items
    assert list(items["index"]) == [1, 2]
    assert list(items["size"]) == [4, 4]
    assert list(items["duration"].dt.total_seconds()) == [1.5, 1.5]
    agreements = history(ledger).agreements
    assert list(agreements["settled"]) == [True, True]
    assert str(history(ledger)).startswith("<History of ")
