"""The tables of agreements and activities, and of what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from golem_nb.engine.charges import CPU, DURATION
from golem_nb.frames.columns import Labels, Moments, Names, Texts, Wholes, categories, spans
from golem_nb.frames.log import provider_names
from golem_nb.frames.table import Snapshot, Table, frame_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from golem_nb.frames.people import Register, Work

    ProviderNames = tuple[list[int], list[str]]

__all__ = ["ActivityTable", "AgreementTable", "costs_frame", "costs_rows"]

_NAN: Final = float("nan")

CREATED: Final = 0
CONFIRMED: Final = 1
REJECTED: Final = 2
TERMINATED: Final = 3


class AgreementTable:
    """One row an agreement.

    Parameters
    ----------
    register
        The numbers of what agreements refer to, and their money.
    """

    def __init__(self, register: Register) -> None:
        self._register = register
        self.agreement = Labels(register.agreements)
        self.job = Labels(register.jobs)
        self.provider = Labels(register.providers)
        self.state = Labels(Names("created", "confirmed", "rejected", "terminated"))
        self.created = Moments()
        self.approved = Moments()
        self.ended = Moments()
        self.message = Texts()
        self.table = Table(
            {
                "agreement": self.agreement,
                "job": self.job,
                "provider_id": self.provider,
                "state": self.state,
                "created": self.created,
                "confirmed": self.approved,
                "ended": self.ended,
                "message": self.message,
            }
        )

    def add(self, codes: tuple[int, int, int], at: float) -> int:
        """Add an agreement; return its row."""
        row = self.table.new_row()
        self.job.values[row], self.provider.values[row], self.agreement.values[row] = codes
        self.state.values[row] = CREATED
        self.created.values[row] = at
        return row

    def confirmed(self, row: int, at: float) -> None:
        """The provider has approved it."""
        self._become(row, CONFIRMED)
        self.approved.values[row] = at

    def rejected(self, row: int, at: float, message: str) -> None:
        """The provider has refused it, or did not answer."""
        self._become(row, REJECTED)
        self.ended.values[row] = at
        self.message.set(row, message)

    def terminated(self, row: int, at: float, message: str) -> None:
        """It was ended."""
        self._become(row, TERMINATED)
        self.ended.values[row] = at
        self.message.set(row, message)

    def _become(self, row: int, state: int) -> None:
        self.state.values[row] = state
        self.table.version += 1

    def money(self, now: float) -> list[tuple[Any, ...]]:
        """Return what `build` needs of the money, a row each."""
        return [
            (len(deal.works), *deal.prices, float(deal.expected(now)), float(deal.accepted))
            for deal in self._register.deals.values()
        ]

    def build(
        self, snapshot: Snapshot, money: Sequence[tuple[Any, ...]], names: ProviderNames, now: float
    ) -> pd.DataFrame:
        """Make the frame."""
        import numpy as np

        raw = self.table.build(snapshot)
        approved = self.approved.numbers(snapshot.values["confirmed"])
        ended = self.ended.numbers(snapshot.values["ended"])
        columns: dict[str, Any] = {name: raw[name].array for name in ("agreement", "job")}
        columns["provider"] = provider_names(self.provider.numbers(snapshot.values["provider_id"]), *names)
        for name in ("provider_id", "state", "created", "confirmed", "ended"):
            columns[name] = raw[name].array
        columns["duration"] = spans(np.where(np.isnan(ended), now, ended) - approved)
        figures = np.array(money, dtype=float).reshape(len(money), 6)
        columns["activities"] = figures[:, 0].astype(np.int64)
        for place, name in enumerate(
            ("price_start", "price_hour", "price_cpu_hour", "expected", "accepted"), start=1
        ):
            columns[name] = figures[:, place]
        columns["message"] = raw["message"].array
        return frame_of(columns, raw.index)


class ActivityTable:
    """One row an activity.

    Parameters
    ----------
    register
        The numbers of what activities refer to, and their usage.
    """

    def __init__(self, register: Register) -> None:
        self._register = register
        #: How many are running.
        self.running = 0
        self.activity = Labels(register.activities)
        self.agreement = Labels(register.agreements)
        self.job = Labels(register.jobs)
        self.provider = Labels(register.providers)
        self.state = Labels(Names("running", "ended", "failed"))
        self.started = Moments()
        self.end = Moments()
        self.scripts = Wholes()
        self.commands = Wholes()
        self.failures = Wholes()
        self.message = Texts()
        self.table = Table(
            {
                "activity": self.activity,
                "agreement": self.agreement,
                "job": self.job,
                "provider_id": self.provider,
                "state": self.state,
                "started": self.started,
                "ended": self.end,
                "scripts": self.scripts,
                "commands": self.commands,
                "failed": self.failures,
                "message": self.message,
            }
        )

    def add(self, codes: tuple[int, int, int, int], at: float) -> int:
        """Add an activity; return its row."""
        row = self.table.new_row()
        self.job.values[row], self.provider.values[row] = codes[:2]
        self.agreement.values[row], self.activity.values[row] = codes[2:]
        self.state.values[row] = 0
        self.started.values[row] = at
        for column in (self.scripts, self.commands, self.failures):
            column.values[row] = 0
        self.running += 1
        return row

    def ended(self, work: Work, at: float) -> None:
        """It does nothing any more."""
        if work.ended is None:
            work.ended = at
            self.running -= 1
            self.state.values[work.row] = 1
            self.end.values[work.row] = at
            self.table.version += 1

    def failed(self, work: Work, at: float, message: str) -> None:
        """It does nothing any more, because of an error."""
        self.ended(work, at)
        self.state.values[work.row] = 2
        self.message.set(work.row, message)
        self.table.version += 1

    def usage(self) -> list[tuple[float, float]]:
        """Return the reported times, a row each."""
        return [
            (_or_nan(work.counted(DURATION)), _or_nan(work.counted(CPU)))
            for work in self._register.works.values()
        ]

    def build(
        self, snapshot: Snapshot, usage: Sequence[tuple[float, float]], names: ProviderNames, now: float
    ) -> pd.DataFrame:
        """Make the frame."""
        import numpy as np

        raw = self.table.build(snapshot)
        started = self.started.numbers(snapshot.values["started"])
        ended = self.end.numbers(snapshot.values["ended"])
        columns: dict[str, Any] = {name: raw[name].array for name in ("activity", "agreement", "job")}
        columns["provider"] = provider_names(self.provider.numbers(snapshot.values["provider_id"]), *names)
        for name in ("provider_id", "state", "started", "ended"):
            columns[name] = raw[name].array
        columns["duration"] = spans(np.where(np.isnan(ended), now, ended) - started)
        for name in ("scripts", "commands", "failed"):
            columns[name] = raw[name].array
        figures = np.array(usage, dtype=float).reshape(len(usage), 2)
        columns["usage"] = spans(figures[:, 0])
        columns["usage_cpu"] = spans(figures[:, 1])
        columns["message"] = raw["message"].array
        return frame_of(columns, raw.index)


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value


#: What `costs_rows` gives, after the numbers of job, provider and agreement.
_COSTS: Final = (
    "activities",
    "usage",
    "usage_cpu",
    "price_start",
    "price_hour",
    "price_cpu_hour",
    "expected",
    "due",
    "invoiced",
    "accepted",
    "settled",
)


def costs_rows(register: Register, now: float) -> list[tuple[float, ...]]:
    """Return what `costs_frame` makes a frame of, for the agreements that have activities or bills."""
    rows: list[tuple[float, ...]] = []
    for deal in register.deals.values():
        if not deal.works and deal.invoiced is None:
            continue
        times = [(work.counted(DURATION), work.counted(CPU), work.seconds(now)) for work in deal.works]
        rows.append(
            (
                *deal.codes,
                len(deal.works),
                sum(seen if reported is None else reported for reported, _, seen in times),
                sum(cpu or 0.0 for _, cpu, _ in times),
                *deal.prices,
                float(deal.expected(now)),
                float(deal.due),
                _NAN if deal.invoiced is None else float(deal.invoiced),
                float(deal.accepted),
                float(deal.all_settled),
            )
        )
    return rows


def costs_frame(register: Register, rows: Sequence[tuple[float, ...]], names: ProviderNames) -> pd.DataFrame:
    """Make the frame of costs."""
    import numpy as np

    figures = np.array(rows, dtype=float).reshape(len(rows), 3 + len(_COSTS))
    codes = figures[:, :3].astype(np.int32)
    columns: dict[str, Any] = {
        "job": categories(codes[:, 0], register.jobs.texts),
        "provider": provider_names(codes[:, 1], *names),
        "provider_id": categories(codes[:, 1], register.providers.texts),
        "agreement": categories(codes[:, 2], register.agreements.texts),
    }
    for place, name in enumerate(_COSTS, start=3):
        values = figures[:, place]
        if name == "activities":
            columns[name] = values.astype(np.int64)
        else:
            columns[name] = spans(values) if name.startswith("usage") else values
    return frame_of(columns)
