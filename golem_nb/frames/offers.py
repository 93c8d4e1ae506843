"""The table of offers."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.frames.columns import Flags, Labels, Moments, Names, Numbers, Texts, Wholes
from golem_nb.frames.people import HOUR, NAME_LIMIT
from golem_nb.frames.table import Table
from golem_nb.frames.text import clean
from golem_nb.props.inf import (
    INF_CORES,
    INF_MEM,
    INF_RUNTIME_CAPABILITIES,
    INF_RUNTIME_NAME,
    INF_STORAGE,
    INF_THREADS,
)
from golem_nb.props.node import NODE_NAME, SUBNET

if TYPE_CHECKING:
    import pandas as pd

    from golem_nb.ledger import ProviderRecord
    from golem_nb.rest.market import OfferProposal
    from golem_nb.rest.scan import Offer

__all__ = ["OfferTable", "offer_key"]

_NAN: Final = float("nan")


def offer_key(offer: Offer | OfferProposal) -> str:
    """Return what later offers of the same provider and runtime have in common."""
    return f"{offer.issuer} {offer.props.get(INF_RUNTIME_NAME)!s:.100}"


class OfferTable:
    """One row an offer: adding one costs next to nothing, reading it is done when the frame is made.

    It may be added to and read on different threads.

    Parameters
    ----------
    known
        Records of providers, such as `Ledger.providers`, which tell who was seen before. If they go on, their
        ``version`` changes with each record, and the frame follows them.

    Notes
    -----
    Columns of the frame: ``provider`` and ``runtime`` and ``subnet`` (category), ``provider_id`` (category),
    ``threads``, ``cores`` (Int64), ``memory``, ``storage`` (GiB), ``price_start`` (GLM an activity),
    ``price_hour`` (GLM an hour, idle), ``price_cpu_hour`` (GLM an hour of one thread's time),
    ``price_full_hour`` (GLM an hour with all threads busy), ``capabilities`` (text, separated by commas),
    ``score`` (of the strategy, NaN if not scored), ``seen`` (whether a session of this user has used it),
    ``reliability`` (0 to 1, NaN if never seen), ``time`` (when the offer was made, UTC).

    Examples
    --------
    >>> OfferTable().frame().empty
    True
    """

    def __init__(self, known: Mapping[str, ProviderRecord] | None = None) -> None:
        self._known: Mapping[str, ProviderRecord] = known if known is not None else {}
        self._lock = threading.Lock()
        self._new: dict[str, tuple[Offer | OfferProposal, float | None]] = {}
        self._rows: dict[str, int] = {}
        #: The rows of each provider, and the version of the records by which they were filled in.
        self._rows_of: dict[str, list[int]] = {}
        self._judged = 0
        self._provider = Labels(Names())
        self._provider_id = Labels(Names())
        self._runtime = Labels(Names())
        self._subnet = Labels(Names())
        self._threads, self._cores = Wholes(), Wholes()
        self._memory, self._storage = Numbers(), Numbers()
        self._start, self._hour, self._cpu_hour, self._full_hour = (Numbers() for _ in range(4))
        self._capabilities = Texts()
        self._score, self._reliability = Numbers(), Numbers()
        self._seen = Flags()
        self._time = Moments()
        self._table = Table(
            {
                "provider": self._provider,
                "provider_id": self._provider_id,
                "runtime": self._runtime,
                "threads": self._threads,
                "cores": self._cores,
                "memory": self._memory,
                "storage": self._storage,
                "price_start": self._start,
                "price_hour": self._hour,
                "price_cpu_hour": self._cpu_hour,
                "price_full_hour": self._full_hour,
                "capabilities": self._capabilities,
                "subnet": self._subnet,
                "score": self._score,
                "seen": self._seen,
                "reliability": self._reliability,
                "time": self._time,
            }
        )
        self._version = 0
        self._built: tuple[int, pd.DataFrame] | None = None

    def __len__(self) -> int:
        with self._lock:
            return len(self._rows) + sum(key not in self._rows for key in self._new)

    @property
    def version(self) -> int:
        """Changes with each offer, and with what is known of providers."""
        return self._version + self._known_version

    def add(self, offer: Offer | OfferProposal, score: float | None = None) -> None:
        """Add an offer; it takes the place of an earlier one of the same provider and runtime.

        Parameters
        ----------
        offer
            From a scan, or a proposal.
        score
            What the strategy thinks of it.
        """
        key = offer_key(offer)
        with self._lock:
            self._new[key] = offer, score
            self._version += 1

    def frame(self) -> pd.DataFrame:
        """Return the offers; the columns are described with the class."""
        with self._lock:
            new, self._new = self._new, {}
            for key, (offer, score) in new.items():
                self._set(key, offer, score)
            self._judge()
            if self._built is None or self._built[0] != self._table.version:
                self._built = self._table.version, self._table.build(self._table.snapshot())
            return self._built[1].copy(deep=False)

    def _set(self, key: str, offer: Offer | OfferProposal, score: float | None) -> None:
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._table.new_row()
            self._rows_of.setdefault(offer.issuer, []).append(row)
        props = offer.props
        price = LinearPrice.agreed(props)
        threads = _whole(props.get(INF_THREADS))
        self._provider.values[row] = _label(self._provider, props.get(NODE_NAME))
        self._provider_id.values[row] = _label(self._provider_id, offer.issuer)
        self._runtime.values[row] = _label(self._runtime, props.get(INF_RUNTIME_NAME))
        self._subnet.values[row] = _label(self._subnet, props.get(SUBNET))
        self._threads.values[row] = threads
        self._cores.values[row] = _whole(props.get(INF_CORES))
        self._memory.values[row] = _number(props.get(INF_MEM))
        self._storage.values[row] = _number(props.get(INF_STORAGE))
        if price is None:
            start = hour = cpu_hour = _NAN
        else:
            start = float(price.fixed)
            hour = float(price.per_unit.get(DURATION, 0) * HOUR)
            cpu_hour = float(price.per_unit.get(CPU, 0) * HOUR)
        self._start.values[row] = start
        self._hour.values[row] = hour
        self._cpu_hour.values[row] = cpu_hour
        self._full_hour.values[row] = hour + cpu_hour * max(1, threads)
        capabilities = props.get(INF_RUNTIME_CAPABILITIES)
        if isinstance(capabilities, list):
            self._capabilities.set(row, clean(", ".join(str(each)[:50] for each in capabilities[:20]), 200))
        self._score.values[row] = _NAN if score is None else score
        self._remember(row, self._known.get(offer.issuer))
        self._time.values[row] = offer.timestamp.timestamp()
        self._table.version += 1

    @property
    def _known_version(self) -> int:
        # a plain mapping stays as it is
        return getattr(self._known, "version", 0)

    def _judge(self) -> None:
        """Fill in what has become known of providers since their offers came."""
        version = self._known_version
        if version == self._judged:
            return
        self._judged = version
        # of all offers there may be ten thousand, of those who have worked for somebody far fewer
        for provider in self._known:
            for row in self._rows_of.get(provider, ()):
                self._remember(row, self._known[provider])
        self._table.version += 1

    def _remember(self, row: int, record: ProviderRecord | None) -> None:
        self._seen.values[row] = record is not None
        self._reliability.values[row] = _NAN if record is None else record.reliability


def _label(column: Labels, value: Any) -> int:
    return column.names.code(clean(value, NAME_LIMIT)) if isinstance(value, str) else -1


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _NAN
    try:
        number = float(value)
    except OverflowError:
        return _NAN
    return number if math.isfinite(number) else _NAN


def _whole(value: Any) -> int:
    number = _number(value)
    return int(number) if 0 <= number < 2**31 else -1
