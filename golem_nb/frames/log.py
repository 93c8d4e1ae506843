"""The table of all events."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import attrs

from golem_nb.frames.columns import (
    Names,
    Sparse,
    SparseLabels,
    Texts,
    categories,
    flags,
    moments,
    wholes,
)
from golem_nb.frames.people import PARTIES, parties
from golem_nb.frames.table import frame_of

if TYPE_CHECKING:
    import pandas as pd

    from golem_nb.frames.people import Register

__all__ = ["EventLog", "provider_names"]

#: So many events are kept at least; from half as many more on, the oldest go.
KEPT: Final = 2_000_000

#: Of reasons and errors so many characters are kept.
MESSAGE_LIMIT: Final = 1000

#: What every event has, packed by one call into one buffer: a third of what a dozen columns cost.
_FIELDS: Final = (
    ("time", "d"),
    ("event", "h"),
    ("job", "i"),
    ("provider", "i"),
    ("agreement", "i"),
    ("activity", "i"),
    ("script", "q"),
    ("command", "h"),
    ("task", "q"),
    ("success", "b"),
)
#: The same, with what is packed already in one piece.
_RECORD: Final = struct.Struct(f"=dh{PARTIES.size}sqhqb")
_pack: Final = _RECORD.pack

#: Those of an event that is about nobody.
_NOBODY: Final = parties()


@attrs.frozen
class LogSnapshot:
    """All events at one moment."""

    first: int
    length: int
    records: bytes = attrs.field(repr=False)
    sparse: dict[str, Any] = attrs.field(repr=False)


class EventLog:
    """Rows of events.

    Parameters
    ----------
    register
        The numbers of what events refer to.
    """

    def __init__(self, register: Register) -> None:
        self._register = register
        self._records = bytearray()
        self._first = 0
        self._length = 0
        self.kinds = Names()
        self.commands = Names()
        self.amount = Sparse("d")
        self.service = SparseLabels(Names())
        self.state = SparseLabels(Names())
        self.message = Texts()
        self.output = Texts()
        self._sparse: dict[str, Sparse | Texts] = {
            "amount": self.amount,
            "service": self.service,
            "state": self.state,
            "message": self.message,
            "output": self.output,
        }

    @property
    def version(self) -> int:
        """Changes with each event."""
        return self._first + self._length

    def add(
        self,
        kind: int,
        time: float,
        about: bytes = _NOBODY,
        script: int = -1,
        command: int = -1,
        task: int = -1,
        success: int = -1,
    ) -> int:
        """Add a row; return its number, for what is long or seldom there.

        Parameters
        ----------
        kind
            Number of its class.
        time
            Seconds since 1970.
        about
            From `parties`.
        script, command, task
            Their numbers.
        success
            1 or 0; like all numbers -1 where there is none.
        """
        self._records += _pack(time, kind, about, script, command, task, success)
        row = self._length
        self._length = row + 1
        if row >= KEPT + KEPT // 2:
            row -= self._drop_oldest(KEPT // 2)
        return row

    def snapshot(self) -> LogSnapshot:
        """Return all rows as they are now."""
        return LogSnapshot(
            self._first,
            self._length,
            bytes(self._records),
            {name: column.snapshot() for name, column in self._sparse.items()},
        )

    def build(self, snapshot: LogSnapshot, names: tuple[list[int], list[str]]) -> pd.DataFrame:
        """Make the frame, with the names of the providers."""
        import numpy as np
        import pandas as pd

        records = np.frombuffer(snapshot.records, dtype=np.dtype(list(_FIELDS)))
        dense = {name: np.ascontiguousarray(records[name]) for name, _ in _FIELDS}
        register = self._register
        columns: dict[str, Any] = {
            "time": moments(dense["time"]),
            "event": categories(dense["event"], self.kinds.texts),
            "job": categories(dense["job"], register.jobs.texts),
            "provider": provider_names(dense["provider"], *names),
            "provider_id": categories(dense["provider"], register.providers.texts),
            "agreement": categories(dense["agreement"], register.agreements.texts),
            "activity": categories(dense["activity"], register.activities.texts),
            "script": wholes(dense["script"]),
            "command": categories(dense["command"], self.commands.texts),
            "task": wholes(dense["task"]),
            "success": flags(dense["success"]),
        }
        for name, column in self._sparse.items():
            columns[name] = column.build(snapshot.sparse[name], snapshot.length)
        return frame_of(columns, pd.RangeIndex(snapshot.first, snapshot.first + snapshot.length))

    def _drop_oldest(self, rows: int) -> int:
        del self._records[: rows * _RECORD.size]
        for column in self._sparse.values():
            column.drop_first(rows)
        self._first += rows
        self._length -= rows
        return rows


def provider_names(codes: Any, by_provider: list[int], texts: list[str]) -> Any:
    """Return the names of providers for their numbers."""
    import numpy as np

    # the last one stands for "no provider", which is what -1 finds
    lookup = np.array([*by_provider, -1], dtype=np.int32)
    return categories(lookup[codes], texts)
