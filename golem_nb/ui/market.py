"""The market explorer."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd

from golem_nb.contrib.strategy import ProviderFilter
from golem_nb.strategy import default_strategy
from golem_nb.ui import assets
from golem_nb.ui.faces import market_html, market_text
from golem_nb.ui.offers import Filters, matching
from golem_nb.ui.panel import Panel
from golem_nb.ui.pump import Pump
from golem_nb.ui.sources import MarketSource
from golem_nb.ui.text import clean

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from golem_nb.strategy import BaseMarketStrategy

__all__ = ["MarketExplorer"]

#: Columns that the browser gets as numbers, in this order …
NUMBERS = (
    "price_full_hour",
    "price_hour",
    "price_cpu_hour",
    "price_start",
    "threads",
    "cores",
    "memory",
    "storage",
    "score",
    "reliability",
    "seen",
)
#: … and as texts.
TEXTS = ("provider", "provider_id", "runtime", "subnet", "capabilities")

#: Offers that go to the browser at once.
CHUNK = 4000

#: Most offers that are shown; those that came first.
MOST_OFFERS = 50_000


class MarketExplorer(Panel):
    """The market as it is now: a table and a chart that are filtered, sorted and picked from.

    `selection` are the offers that were picked, or, if none was, all that meet the filters.

    Parameters
    ----------
    market
        A look at the market that goes on.
    pump
        Keeps the panel up to date.
    name
        Of the session.

    Examples
    --------
    ::

        explorer = session.market()
        explorer                        # filter, pick
        explorer.selection["price_full_hour"].median()
        cheap = Session(budget=1, name="cheap", network="hoodi", strategy=explorer.strategy())
    """

    _esm = assets.script("market.js")
    _css = assets.style("market.css")
    actions: ClassVar[Mapping[str, str]] = {"close": "close"}

    def __init__(self, market: MarketSource, pump: Pump, name: str = "") -> None:
        self._market = market
        self._name = name
        self._filters = Filters()
        self._picked: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._closed = False
        self._offers: pd.DataFrame = market.frame()
        self._seen_version = -1
        self._sent_numbers: npt.NDArray[np.float64] = np.zeros((0, len(NUMBERS)))
        self._sent = 0
        #: Whether the browser may lack something.
        self._behind = True
        super().__init__(pump)

    @property
    def offers(self) -> pd.DataFrame:
        """All offers that were seen."""
        offers: pd.DataFrame = self._market.frame()
        return offers

    @property
    def filters(self) -> Filters:
        """What offers have to be like; may be set."""
        return self._filters

    @filters.setter
    def filters(self, filters: Filters) -> None:
        self._filters = filters
        self._changed()

    @property
    def selection(self) -> pd.DataFrame:
        """The offers that were picked, or all that meet the filters if none was."""
        offers: pd.DataFrame = self._market.frame()
        picked = self._picked[self._picked < len(offers)]
        rows = picked if len(picked) else matching(offers, self._filters)
        return offers.iloc[rows].reset_index(drop=True)

    def strategy(self, base: BaseMarketStrategy | None = None) -> BaseMarketStrategy:
        """Return a strategy that knows only the providers of `selection`, as they are now.

        Parameters
        ----------
        base
            Chooses among them; the default strategy if None.

        Raises
        ------
        ValueError
            Nothing is selected.
        """
        allowed = frozenset(map(str, self.selection["provider_id"]))
        if not allowed:
            raise ValueError("No offer is selected: loosen the filters, or pick some")
        return ProviderFilter(base or default_strategy(), allowed.__contains__)

    @property
    def figure(self) -> go.Figure:
        """Price against size of the selection, as a plain plotly figure."""
        from golem_nb.figures import price_against_size

        return price_against_size(self.selection)

    def close(self) -> None:
        """Stop looking; what was seen stays."""
        self._closed = True
        self._market.close()
        self._pump.mark()

    def end(self, *, last: bool = True) -> None:
        """Stop looking, and show the last state."""
        self._closed = True
        with contextlib.suppress(Exception):
            self._market.close()
        super().end(last=last)

    def describe(self) -> dict[str, Any]:
        """Return the state for the browser; the offers themselves go beside it."""
        return {
            "name": clean(self._name, 60),
            "offers": len(self._offers),
            "closed": self._closed,
            "filters": {key: [value] for key, value in attrs.asdict(self._filters).items()},
            "picked": self._picked.tolist(),
        }

    def face_html(self) -> str:
        """Return a snapshot: the cheapest offers of the selection."""
        return market_html(self._name, len(self._offers), self.selection)

    def face_text(self) -> str:
        """Return one line."""
        return market_text(self._name, len(self._offers))

    @property
    def ticking(self) -> bool:
        """Whether it changes by itself: what is known of providers does, and no offer tells."""
        return not self._closed and super().ticking

    def _flush(self) -> bool:
        version = self._market.version
        if version != self._seen_version:
            self._seen_version = version
            self._offers = self._market.frame()
            self._behind = True
        sent = self._behind and self._send_offers()
        return super()._flush() or sent

    def _send_offers(self) -> bool:
        """Send the offers that the browser does not have yet, and those that have changed."""
        offers = self._offers.iloc[:MOST_OFFERS]
        numbers = np.column_stack(
            [offers[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in NUMBERS]
        )
        known = self._sent
        before = numbers[:known]
        changed = np.flatnonzero(
            ((before != self._sent_numbers) & ~(np.isnan(before) & np.isnan(self._sent_numbers))).any(axis=1)
        )
        rows = np.concatenate([changed, np.arange(known, len(offers))])[:CHUNK]
        self._behind = len(rows) == CHUNK
        if not len(rows):
            return False
        part = offers.iloc[rows]
        texts = [
            [clean("" if pd.isna(value) else value, 66) for value in part[name].astype(object)]
            for name in TEXTS
        ]
        self.send(
            {"kind": "offers", "columns": list(NUMBERS), "texts": dict(zip(TEXTS, texts, strict=True))},
            [rows.astype(np.uint32).tobytes(), np.ascontiguousarray(numbers[rows].T).tobytes()],
        )
        self._sent = max(known, int(rows[-1]) + 1)
        grown = numbers[: self._sent].copy()
        if len(changed) > len(rows):
            # what did not fit goes with the next ones
            left = changed[len(rows) :]
            grown[left] = self._sent_numbers[left]
        self._sent_numbers = grown
        if self._behind:
            self._pump.mark()
        return True

    def on_other(self, message: Mapping[str, Any], buffers: list[Any], /) -> None:
        """Take filters and picks of the browser, or send everything to a new page."""
        kind = message.get("kind")
        if kind == "want":
            with self._writing:
                self._sent = 0
                self._sent_numbers = np.zeros((0, len(NUMBERS)))
                self._behind = True
                if self._ended:
                    while self._send_offers():
                        pass
            self._changed()
        elif kind == "filters" and isinstance(message.get("filters"), dict):
            self.filters = Filters.read(message["filters"])
        elif kind == "picks" and buffers:
            picked = np.frombuffer(buffers[0], dtype=np.uint32).astype(np.intp)
            self._picked = np.unique(picked[picked < len(self._offers)])
            self._changed()
