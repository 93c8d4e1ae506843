"""The table of the states of services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from golem_nb.frames.columns import Flags, Labels, Moments, Names, Texts, spans
from golem_nb.frames.log import provider_names
from golem_nb.frames.table import Snapshot, Table, frame_of

if TYPE_CHECKING:
    import pandas as pd

    from golem_nb.frames.people import Register, Work

__all__ = ["ServiceTable"]

#: In these states an instance is over; one that is suspended goes on, and costs, until it is resumed.
OVER: Final = frozenset({"terminated", "unresponsive"})


class ServiceTable:
    """One row a state that an instance was in.

    Parameters
    ----------
    register
        The numbers of what instances refer to.
    """

    def __init__(self, register: Register) -> None:
        self._current: dict[str, int] = {}
        self._over: set[str] = set()
        self.service = Labels(Names())
        self.kind = Labels(Names())
        self.state = Labels(Names())
        self.job = Labels(register.jobs)
        self.provider = Labels(register.providers)
        self.agreement = Labels(register.agreements)
        self.activity = Labels(register.activities)
        self.start = Moments()
        self.end = Moments()
        self.current = Flags()
        self.message = Texts()
        self.table = Table(
            {
                "service": self.service,
                "class": self.kind,
                "job": self.job,
                "provider_id": self.provider,
                "agreement": self.agreement,
                "activity": self.activity,
                "state": self.state,
                "start": self.start,
                "end": self.end,
                "current": self.current,
                "message": self.message,
            }
        )

    def changed(self, service_id: str, kind: str, work: Work, state: str, time: float) -> None:
        """An instance has gone into another state."""
        before = self._current.get(service_id)
        if before is not None:
            self.end.values[before] = time
            self.current.values[before] = 0
        row = self._current[service_id] = self.table.new_row()
        self.service.values[row] = self.service.names.code(service_id)
        self.kind.values[row] = self.kind.names.code(kind)
        self.job.values[row], self.provider.values[row] = work.codes[:2]
        self.agreement.values[row], self.activity.values[row] = work.codes[2:]
        self.state.values[row] = self.state.names.code(state)
        self.start.values[row] = time
        if state in OVER:
            self.end.values[row] = time
            self._over.add(service_id)
        else:
            self._over.discard(service_id)
        self.current.values[row] = 1

    @property
    def running(self) -> int:
        """How many instances are not over."""
        return len(self._current) - len(self._over)

    def failed(self, service_id: str, error: str) -> None:
        """An instance has ended because of an error."""
        row = self._current.get(service_id)
        if row is not None:
            self.message.set(row, error)
            self.table.version += 1

    def build(self, snapshot: Snapshot, names: tuple[list[int], list[str]], now: float) -> pd.DataFrame:
        """Make the frame; states that go on have lasted until `now`."""
        import numpy as np

        raw = self.table.build(snapshot)
        start = self.start.numbers(snapshot.values["start"])
        end = self.end.numbers(snapshot.values["end"])
        columns: dict[str, Any] = {name: raw[name].array for name in ("service", "class", "job")}
        columns["provider"] = provider_names(self.provider.numbers(snapshot.values["provider_id"]), *names)
        for name in ("provider_id", "agreement", "activity", "state", "start", "end"):
            columns[name] = raw[name].array
        columns["duration"] = spans(np.where(np.isnan(end), now, end) - start)
        columns["current"] = self.current.numbers(snapshot.values["current"]) > 0
        columns["message"] = raw["message"].array
        return frame_of(columns, raw.index)
