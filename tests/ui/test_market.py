from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from golem_nb.strategy import SCORE_REJECTED
from golem_nb.ui.market import CHUNK, NUMBERS, MarketExplorer
from golem_nb.ui.offers import Filters, job_cost, matching
from golem_nb.ui.pump import Pump
from tests.programs import needed

ROOT = Path(__file__).parent.parent.parent

CASES = [
    {},
    {"max_price": 1.0},
    {"min_threads": 8, "min_memory": 16},
    {"min_storage": 50, "runtime": "vm"},
    {"capability": "INET"},
    {"name": "PROVIDER-1"},
    {"name": "<img"},
    {"name": ".*"},
    {"subnet": "public", "cheapest": 7},
    {"subnet": "elsewhere"},
    {"seen": True},
    {"cheapest": 0},
]


class Heard(MarketExplorer):
    """An explorer that notes what it sends to the browser."""

    def __init__(self, market: Any) -> None:
        self.sent: list[tuple[dict[str, Any], Any]] = []
        super().__init__(market, Pump(), "default")

    def send(self, content: Any, buffers: Any = None) -> None:
        self.sent.append((content, buffers))

    @property
    def batches(self) -> list[tuple[dict[str, Any], Any]]:
        return [(content, buffers) for content, buffers in self.sent if content["kind"] == "offers"]


def test_the_browser_filters_as_python_does(stage: ModuleType, tmp_path: Path) -> None:
    node = needed("node", "nodejs")
    offers = stage.Stall(300).frame()
    values = offers[list(NUMBERS)].astype("float64")
    texts = {
        name: offers[name].astype(str).tolist() for name in ("provider", "runtime", "subnet", "capabilities")
    }
    program = tmp_path / "filter.mjs"
    program.write_text(
        f"""
import {{ Offers, matching, jobCost }} from {json.dumps((ROOT / "widgets" / "offers.js").as_uri())};
import {{ readFileSync }} from "node:fs";
const {{ columns, values, texts, cases }} = JSON.parse(readFileSync(0, "utf8"));
const offers = new Offers();
const count = texts.provider.length;
const rows = new Uint32Array(count).map((_, n) => n);
offers.put(rows, columns, new Float64Array(values.flat().map((value) => value ?? NaN)), texts);
const job = {{ items: 100, seconds: 60, threads: 4 }};
console.log(JSON.stringify({{
  found: cases.map((filters) => matching(offers, filters)),
  costs: Array.from(rows, (row) => jobCost(offers, row, job)),
}}));
"""
    )
    given = {
        "columns": list(NUMBERS),
        "values": [[None if np.isnan(v) else v for v in values[name]] for name in NUMBERS],
        "texts": texts,
        "cases": CASES,
    }
    done = subprocess.run(
        [node, str(program)], input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["found"] == [matching(offers, Filters.read(case)).tolist() for case in CASES]
    assert answer["costs"] == pytest.approx(job_cost(offers, 100, 60, 4).tolist())
    assert [len(found) for found in answer["found"]][:2] != [0, 0]


@pytest.mark.parametrize(
    "values",
    [
        {"max_price": "x", "name": 7, "cheapest": -3, "other": 1},
        {"max_price": float("nan"), "runtime": None, "min_threads": True},
        {"min_memory": float("inf")},
    ],
)
def test_nonsense_is_no_filter(values: dict[str, Any]) -> None:
    assert Filters.read(values) == Filters()


def test_offers_go_out_in_pieces_and_changes_alone(stage: ModuleType) -> None:
    stall = stage.Stall(CHUNK + 500)
    explorer = Heard(stall)
    while explorer.flush():
        pass
    sizes = [len(np.frombuffer(buffers[0], dtype=np.uint32)) for _, buffers in explorer.batches]
    assert sizes == [CHUNK, 500]
    explorer.sent.clear()
    stall.add(3)
    explorer.flush()
    ((content, buffers),) = explorer.batches
    assert np.frombuffer(buffers[0], dtype=np.uint32).tolist() == [CHUNK + 500, CHUNK + 501, CHUNK + 502]
    assert content["texts"]["provider"][0] == f"provider-{CHUNK + 500}"
    explorer.sent.clear()
    # a provider has another price
    offer = stage.Offer(
        id="again",
        issuer=f"0x{5:040x}",
        props={**stage.props_of(5), "golem.com.pricing.model.linear.coeffs": [1, 1, 1]},
        constraints="",
        timestamp=stage.datetime.now(stage.UTC),
    )
    stall.table.add(offer)
    explorer.flush()
    ((_, buffers),) = explorer.batches
    assert np.frombuffer(buffers[0], dtype=np.uint32).tolist() == [5]


def test_a_new_page_gets_everything(stage: ModuleType) -> None:
    explorer = Heard(stage.Stall(10))
    explorer.flush()
    explorer.sent.clear()
    explorer._on_message(explorer, {"kind": "want"}, [])
    explorer.flush()
    ((_, buffers),) = explorer.batches
    assert len(buffers[0]) == 40


def test_the_selection_is_what_was_picked_or_what_meets_the_filters(stage: ModuleType) -> None:
    explorer = Heard(stage.Stall(50))
    assert len(explorer.selection) == 50
    explorer._on_message(explorer, {"kind": "filters", "filters": {"min_threads": 12}}, [])
    assert 0 < len(explorer.selection) < 50
    assert explorer.selection["threads"].min() >= 12
    picks = np.array([7, 3, 3, 4000], dtype=np.uint32).tobytes()
    explorer._on_message(explorer, {"kind": "picks"}, [memoryview(picks)])
    assert explorer.selection["provider"].astype(str).tolist()[1] == "provider-7"
    assert len(explorer.selection) == 2
    assert explorer.figure.data


async def test_its_strategy_knows_only_the_selection(stage: ModuleType) -> None:
    explorer = Heard(stage.Stall(50))
    explorer.filters = Filters(cheapest=2)
    allowed = set(explorer.selection["provider_id"])
    strategy = explorer.strategy()
    for number in range(50):
        offer: Any = stage.Offer(
            id="x",
            issuer=f"0x{number:040x}",
            props=stage.props_of(number),
            constraints="",
            timestamp=stage.NOW,
        )
        score = await strategy.score_offer(offer)
        if offer.issuer not in allowed:
            assert score == SCORE_REJECTED
    explorer.filters = Filters(name="nobody")
    with pytest.raises(ValueError, match="No offer is selected"):
        explorer.strategy()


def test_it_stops_looking(stage: ModuleType) -> None:
    stall = stage.Stall(5)
    explorer = Heard(stall)
    explorer.close()
    assert stall.closed
    explorer.flush()
    assert explorer.state["closed"]


def test_an_empty_market(stage: ModuleType) -> None:
    explorer = Heard(stage.Stall(0))
    explorer.flush()
    assert explorer.selection.empty
    assert repr(explorer) == "Market of session default: 0 offers"
    assert "text/html" in explorer.bundle()
