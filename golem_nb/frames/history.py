"""What the ledger has kept of all sessions, as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from golem_nb.engine.charges import CPU, DURATION
from golem_nb.frames.columns import Names, categories, moments, spans, sparse_texts
from golem_nb.frames.people import HOUR, NAME_LIMIT
from golem_nb.frames.table import frame_of
from golem_nb.frames.text import clean
from golem_nb.ledger.records import price_from_json

if TYPE_CHECKING:
    import pandas as pd

    from golem_nb.engine.charges import LinearPrice
    from golem_nb.ledger import Ledger

__all__ = ["History", "history"]


def history(ledger: Ledger) -> History:
    """Return the tables of a ledger, as it is whenever one of them is asked for.

    Examples
    --------
    ::

        costs = history(ledger).costs
        costs.groupby("provider")["accepted"].sum()
    """
    return History(ledger)


class History:
    """What was reserved, bought and paid in all sessions of this user.

    Each attribute is a new frame. Times are in UTC, amounts in GLM; the exact sums of a frame's amounts are
    in its ``attrs["totals"]``.

    Parameters
    ----------
    ledger
        Where it was kept.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __repr__(self) -> str:
        return f"<History of {str(self._ledger.path)!r}: sessions, agreements, costs, items, providers>"

    @property
    def sessions(self) -> pd.DataFrame:
        """Sessions, one a row.

        Columns: ``session`` (id), ``name``, ``network``, ``started``, ``ended`` (missing for a living one,
        and for one that was killed and not recovered), ``budget``, ``agreements``, ``items`` (numbers),
        ``accepted``, ``settled``.
        """
        rows = self._ledger.select(
            "SELECT id, name, network, started, ended, budget, "
            "(SELECT count(*) FROM agreement WHERE session = session.id AND approved IS NOT NULL), "
            "(SELECT count(*) FROM item WHERE session = session.id) FROM session ORDER BY started"
        )
        sums: dict[str, tuple[Decimal, Decimal]] = {}
        for row in self._money():
            accepted, settled = sums.get(row["session"], (Decimal(0), Decimal(0)))
            sums[row["session"]] = accepted + row["accepted"], settled + row["settled"]
        money = [sums.get(row[0], (Decimal(0), Decimal(0))) for row in rows]
        return _frame(
            {
                "session": _labels(row[0] for row in rows),
                "name": _labels(row[1] for row in rows),
                "network": _labels(row[2] for row in rows),
                "started": _times(row[3] for row in rows),
                "ended": _times(row[4] for row in rows),
                "budget": _amounts(Decimal(row[5]) for row in rows),
                "agreements": _wholes(row[6] for row in rows),
                "items": _wholes(row[7] for row in rows),
                "accepted": _amounts(accepted for accepted, _ in money),
                "settled": _amounts(settled for _, settled in money),
            },
            accepted=sum((accepted for accepted, _ in money), Decimal(0)),
            settled=sum((settled for _, settled in money), Decimal(0)),
        )

    @property
    def agreements(self) -> pd.DataFrame:
        """Agreements that were confirmed, one a row.

        Columns: ``session`` (name), ``network``, ``job``, ``provider``, ``provider_id``, ``agreement``,
        ``made``, ``approved``, ``ended``, ``duration`` (since it was approved), ``message`` (why it has
        ended), ``settled`` (whether its invoice was dealt with).
        """
        rows = self._ledger.select(
            "SELECT session.name, network, job, provider, provider_id, agreement.id, made, approved, "
            "agreement.ended, reason, settled FROM agreement JOIN session "
            "ON session = session.id WHERE confirmed IS NOT NULL ORDER BY made"
        )
        approved, ended = _seconds(row[7] for row in rows), _seconds(row[8] for row in rows)
        return _frame(
            {
                "session": _labels(row[0] for row in rows),
                "network": _labels(row[1] for row in rows),
                "job": _labels(row[2] for row in rows),
                "provider": _labels(row[3] for row in rows),
                "provider_id": _labels(row[4] for row in rows),
                "agreement": _labels(row[5] for row in rows),
                "made": _times(row[6] for row in rows),
                "approved": moments(approved),
                "ended": moments(ended),
                "duration": spans(ended - approved),
                "message": _texts([row[9] for row in rows]),
                "settled": _flags(row[10] is not None for row in rows),
            }
        )

    @property
    def costs(self) -> pd.DataFrame:
        """What agreements have cost, one a row.

        Columns: ``session`` (name), ``network``, ``job``, ``provider``, ``provider_id``, ``agreement``,
        ``made``, ``usage``, ``usage_cpu`` (times, as last reported), ``price_start``, ``price_hour``,
        ``price_cpu_hour``, ``due`` (debit notes), ``invoiced``, ``accepted``, ``settled``.
        """
        rows = self._money()
        columns = {
            name: _labels(row[name] for row in rows)
            for name in ("name", "network", "job", "provider", "provider_id", "agreement")
        }
        columns["session"] = columns.pop("name")
        order = ("session", "network", "job", "provider", "provider_id", "agreement")
        amounts = ("due", "invoiced", "accepted", "settled")
        return _frame(
            {name: columns[name] for name in order}
            | {
                "made": _times(row["made"] for row in rows),
                "usage": spans(_floats(row["usage"] for row in rows)),
                "usage_cpu": spans(_floats(row["usage_cpu"] for row in rows)),
            }
            | {
                name: _floats(row[name] for row in rows)
                for name in ("price_start", "price_hour", "price_cpu_hour")
            }
            | {name: _amounts(row[name] for row in rows) for name in amounts},
            **{name: sum((row[name] or Decimal(0) for row in rows), Decimal(0)) for name in amounts},
        )

    @property
    def providers(self) -> pd.DataFrame:
        """What is known of providers, one a row.

        Columns: ``provider``, ``provider_id``, ``finished``, ``failed``, ``refused`` (numbers),
        ``reliability`` (0 to 1), ``seconds_per_task`` (time), ``price_full_hour`` (GLM an hour with all
        threads busy), ``first``, ``last``, ``last_failure``.
        """
        records = list(self._ledger.providers().values())
        return _frame(
            {
                "provider": _labels(record.name for record in records),
                "provider_id": _labels(record.id for record in records),
                "finished": _wholes(record.finished for record in records),
                "failed": _wholes(record.failed for record in records),
                "refused": _wholes(record.refused for record in records),
                "reliability": _floats(record.reliability for record in records),
                "seconds_per_task": spans(_floats(record.seconds_per_task for record in records)),
                "price_full_hour": _amounts(record.hourly for record in records),
                "first": _times(record.first for record in records),
                "last": _times(record.last for record in records),
                "last_failure": _times(record.last_failure for record in records),
            }
        )

    @property
    def items(self) -> pd.DataFrame:
        """Finished items of jobs, one a row.

        Columns: ``session`` (name), ``job``, ``index``, ``time``, ``exit_code``, ``provider_id``,
        ``duration``, ``tries``, ``stdout``, ``encoding``, ``size`` (of the value, bytes), ``files`` (number).
        """
        rows = self._ledger.select(
            "SELECT session.name, job, item.place, at, exit_code, provider_id, seconds, tries, stdout, "
            "encoding, length(value), files FROM item JOIN session ON session = session.id ORDER BY at"
        )
        return _frame(
            {
                "session": _labels(row[0] for row in rows),
                "job": _labels(row[1] for row in rows),
                "index": _wholes(row[2] for row in rows),
                "time": _times(row[3] for row in rows),
                "exit_code": _optional(row[4] for row in rows),
                "provider_id": _labels(row[5] for row in rows),
                "duration": spans(_floats(row[6] for row in rows)),
                "tries": _optional(row[7] for row in rows),
                "stdout": _texts([row[8] for row in rows]),
                "encoding": _labels(row[9] for row in rows),
                "size": _optional(row[10] for row in rows),
                "files": _wholes(len(json.loads(row[11])) for row in rows),
            }
        )

    def _money(self) -> list[dict[str, Any]]:
        """Sum up what is known of each agreement that was confirmed."""
        select = self._ledger.select
        due: dict[str, dict[str, Decimal]] = {}
        paid: dict[str, dict[str, Decimal]] = {}
        for agreement, activity, amount, accepted in select(
            "SELECT agreement, activity, amount, accepted FROM debit_note WHERE agreement IS NOT NULL"
        ):
            for sums in (due, paid) if accepted is not None else (due,):
                known = sums.setdefault(agreement, {})
                known[activity] = max(known.get(activity, Decimal(0)), Decimal(amount))
        invoices = {
            agreement: (Decimal(amount), accepted is not None)
            for agreement, amount, accepted in select(
                "SELECT agreement, amount, accepted FROM invoice WHERE agreement IS NOT NULL "
                "ORDER BY received"
            )
        }
        settled: dict[str, Decimal] = {}
        for agreement, amount in select(
            "SELECT coalesce(nullif(payment.agreement, ''), activity.agreement), amount FROM payment "
            "LEFT JOIN activity ON activity.id = payment.activity"
        ):
            if agreement is not None:
                settled[agreement] = settled.get(agreement, Decimal(0)) + Decimal(amount)
        usage: dict[str, list[list[float]]] = {}
        for agreement, counters in select("SELECT agreement, usage FROM activity WHERE usage IS NOT NULL"):
            usage.setdefault(agreement, []).append(json.loads(counters))
        rows = []
        for key, session, name, network, job, provider, provider_id, made, price_text in select(
            "SELECT agreement.id, session, session.name, network, job, provider, provider_id, made, price "
            "FROM agreement JOIN session ON session = session.id WHERE confirmed IS NOT NULL ORDER BY made"
        ):
            price = price_from_json(price_text)
            reports = usage.get(key, [])
            invoiced, accepted = invoices.get(key, (None, False))
            rows.append(
                {
                    "session": session,
                    "name": name,
                    "network": network,
                    "job": job,
                    "provider": provider,
                    "provider_id": provider_id,
                    "agreement": key,
                    "made": made,
                    "usage": _reported(price, reports, DURATION),
                    "usage_cpu": _reported(price, reports, CPU),
                    "price_start": None if price is None else float(price.fixed),
                    "price_hour": _hourly(price, DURATION),
                    "price_cpu_hour": _hourly(price, CPU),
                    "due": sum(due.get(key, {}).values(), Decimal(0)),
                    "invoiced": invoiced,
                    "accepted": invoiced
                    if accepted and invoiced is not None
                    else sum(paid.get(key, {}).values(), Decimal(0)),
                    "settled": settled.get(key, Decimal(0)),
                }
            )
        return rows


def _reported(price: LinearPrice | None, reports: Iterable[Sequence[float]], counter: str) -> float | None:
    """Sum up what the activities of an agreement have reported of a counter."""
    if price is None or counter not in price.per_unit:
        return None
    place = list(price.per_unit).index(counter)
    found = [report[place] for report in reports if place < len(report)]
    return sum(found) if found else None


def _hourly(price: LinearPrice | None, counter: str) -> float | None:
    return None if price is None else float(price.per_unit.get(counter, Decimal(0)) * HOUR)


# -- columns -------------------------------------------------------------------------------------------------


def _frame(columns: dict[str, Any], **totals: Decimal) -> pd.DataFrame:
    frame = frame_of(columns)
    if totals:
        frame.attrs["totals"] = totals
    return frame


def _labels(values: Iterable[str | None]) -> Any:
    import numpy as np

    names = Names()
    codes = [-1 if value is None else names.code(clean(value, NAME_LIMIT)) for value in values]
    return categories(np.array(codes, dtype=np.int32), names.texts)


def _seconds(values: Iterable[str | datetime | None]) -> Any:
    return _floats(
        None
        if value is None
        else (datetime.fromisoformat(value) if isinstance(value, str) else value).timestamp()
        for value in values
    )


def _times(values: Iterable[str | datetime | None]) -> Any:
    return moments(_seconds(values))


def _floats(values: Iterable[float | None]) -> Any:
    import numpy as np

    return np.array([float("nan") if value is None else value for value in values], dtype=float)


def _amounts(values: Iterable[Decimal | None]) -> Any:
    return _floats(None if value is None else float(value) for value in values)


def _wholes(values: Iterable[int]) -> Any:
    import numpy as np

    return np.array(list(values), dtype=np.int64)


def _optional(values: Iterable[int | None]) -> Any:
    import pandas as pd

    return pd.array([pd.NA if value is None else value for value in values], dtype="Int64")


def _flags(values: Iterable[bool]) -> Any:
    import numpy as np

    return np.array(list(values), dtype=bool)


def _texts(values: Sequence[str | None]) -> Any:
    kept = [(row, clean(text)) for row, text in enumerate(values) if text is not None]
    return sparse_texts([row for row, _ in kept], [text for _, text in kept], len(values))
