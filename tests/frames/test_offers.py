"""The table of offers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golem_nb.frames import OfferTable
from golem_nb.ledger import KnownProviders, ProviderRecord, ProviderRecords
from golem_nb.rest.ids import NodeId
from golem_nb.rest.scan import Offer

from .conftest import NOW, offer_props


def offer(number: int = 1, **props: Any) -> Offer:
    return Offer(f"offer-{number}", NodeId(f"0x{number:040x}"), offer_props(**props), "", NOW)


def test_one_row_an_offer() -> None:
    known = ProviderRecord(NodeId(f"0x{2:040x}"), "birch", 8, 0, 0, 80.0, Decimal("0.1"), NOW, NOW, None)
    table = OfferTable({known.id: known})
    table.add(offer(1))
    table.add(offer(2, name="birch"), score=12.5)
    assert len(table) == 2
    first, second = table.frame().to_dict("records")
    assert first["provider"] == "amber"
    assert (first["threads"], first["cores"], first["memory"], first["storage"]) == (4, 2, 8.0, 40.0)
    assert first["price_start"] == pytest.approx(0.001)
    assert first["price_hour"] == pytest.approx(0.36)
    assert first["price_cpu_hour"] == pytest.approx(0.72)
    assert first["price_full_hour"] == pytest.approx(0.36 + 4 * 0.72)
    assert first["capabilities"] == "vpn, inet"
    assert first["time"] == NOW
    assert (first["seen"], second["seen"]) == (False, True)
    assert second["score"] == 12.5
    assert second["reliability"] == 1.0


def test_who_works_meanwhile_is_seen_without_another_offer() -> None:
    # as a session has it: the records are there only when its ledger is
    known = KnownProviders()
    table = OfferTable(known)
    for number in (1, 2):
        table.add(offer(number))
    assert list(table.frame()["seen"]) == [False, False]
    records = ProviderRecords({})
    known.maps = [records]
    before = table.version
    assert table.frame() is not None
    assert table.version == before
    records.count(offer(2).issuer, finished=1, failed=3)
    assert table.version > before
    frame = table.frame()
    assert list(frame["seen"]) == [False, True]
    assert frame["reliability"].iloc[1] == pytest.approx(0.5)
    # and it goes on
    records.count(offer(2).issuer, failed=3)
    assert table.frame()["reliability"].iloc[1] == pytest.approx(1 / 3)


def test_a_newer_offer_takes_the_place_of_the_older_one() -> None:
    table = OfferTable()
    table.add(offer(1))
    before = table.version
    assert len(table.frame()) == 1
    table.add(offer(1, **{"golem.inf.mem.gib": 16}))
    table.add(offer(1, **{"golem.runtime.name": "wasmtime"}))
    assert table.version > before
    frame = table.frame()
    assert list(frame["runtime"]) == ["vm", "wasmtime"]
    assert list(frame["memory"]) == [16.0, 8.0]
    assert table.frame().equals(frame)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(offer_props())), anything))
def test_whatever_a_provider_offers_makes_a_row(props: dict[str, Any]) -> None:
    table = OfferTable()
    table.add(Offer("offer", NodeId("0x" + "1" * 40), offer_props() | props, "", NOW))
    frame = table.frame()
    assert len(frame) == 1
    frame.to_string().encode()
    assert {str(kind) for kind in frame.dtypes} == {str(kind) for kind in OfferTable().frame().dtypes}


def test_prices_that_are_not_linear_are_missing() -> None:
    table = OfferTable()
    table.add(offer(1, **{"golem.com.pricing.model": "auction"}))
    frame = table.frame()
    assert frame[["price_start", "price_hour", "price_cpu_hour", "price_full_hour"]].isna().all().all()
