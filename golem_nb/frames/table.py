"""Columns side by side, and the frame that is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.frames.columns import Buffered

if TYPE_CHECKING:
    import pandas as pd

    from golem_nb.frames.columns import Column

__all__ = ["Table"]


class Table:
    """Columns of equal length; whoever changes one changes `version`.

    Parameters
    ----------
    columns
        By name, in the order of the frame.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = dict(columns)
        buffered = (column for column in self.columns.values() if isinstance(column, Buffered))
        self._blanks = [(column.values.append, column.missing) for column in buffered]
        self.length = 0
        #: Changes with each change.
        self.version = 0

    def new_row(self) -> int:
        """Add a row without values; return its number."""
        for append, missing in self._blanks:
            append(missing)
        row = self.length
        self.length += 1
        self.version += 1
        return row

    def snapshot(self) -> Snapshot:
        """Return all values as they are now, to make a frame of while rows go on being added."""
        return Snapshot(
            self.length,
            {name: column.snapshot() for name, column in self.columns.items()},
        )

    def build(self, snapshot: Snapshot) -> pd.DataFrame:
        """Make a frame of a snapshot."""
        arrays = {
            name: column.build(snapshot.values[name], snapshot.length)
            for name, column in self.columns.items()
        }
        return frame_of(arrays)


@attrs.frozen
class Snapshot:
    """Values of a table at one moment."""

    length: int
    values: dict[str, Any] = attrs.field(repr=False)


def frame_of(arrays: Mapping[str, Any], index: Any = None) -> pd.DataFrame:
    """Make a frame of arrays, without copying them."""
    import pandas as pd

    return pd.DataFrame(dict(arrays), index=index, copy=False)
