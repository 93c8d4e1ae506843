"""Tables of a job's parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from golem_nb.frames.text import clean
from golem_nb.session.item import Item

if TYPE_CHECKING:
    from golem_nb.executor import Task

__all__ = ["batch_frame", "tasks_frame"]

#: Characters of output and of errors that a table keeps.
KEPT = 4096

STATES = ["waiting", "running", "done", "failed", "cancelled"]


def batch_frame(items: Sequence[Item]) -> pd.DataFrame:
    """Return one row an item; the same columns when there is none."""
    columns: dict[str, Any] = {
        "item": pd.Series([_cut(_shown(item.data)) for item in items], dtype="str"),
        "state": pd.Categorical([item.state for item in items], categories=STATES),
        "tries": pd.array([len(item.tries) for item in items], dtype="int64"),
        # of texts, even where there is none
        "provider": pd.Categorical(pd.Series([_cut(item.provider) for item in items], dtype="str")),
        "started": pd.to_datetime(
            pd.Series([item.tries[-1].started if item.tries else None for item in items], dtype="object"),
            utc=True,
        ).dt.as_unit("us"),
        "seconds": pd.Series(
            [sum(entry.seconds or 0.0 for entry in item.tries) if item.tries else None for item in items],
            dtype="float64",
        ),
        "cost": pd.Series([float(item.cost) for item in items], dtype="float64"),
        "exit_code": pd.array([item.exit_code for item in items], dtype="Int64"),
        "stdout": pd.Series([_cut(item.stdout) for item in items], dtype="str"),
        "error": pd.Series([_cut(_said(item)) for item in items], dtype="str"),
    }
    frame = pd.DataFrame(columns)
    frame.index.name = "index"
    return frame


def tasks_frame(tasks: Sequence[Task[Any, Any]]) -> pd.DataFrame:
    """Return one row a task of the documented worker."""
    frame = pd.DataFrame(
        {
            "task": pd.Series([task.id for task in tasks], dtype="str"),
            "item": pd.Series([_cut(_shown(task.data)) for task in tasks], dtype="str"),
            "state": pd.Categorical(
                [task.status.name.lower() for task in tasks],
                categories=["waiting", "running", "accepted", "rejected"],
            ),
            "seconds": pd.Series(
                [None if task.running_time is None else task.running_time.total_seconds() for task in tasks],
                dtype="float64",
            ),
            "result": pd.Series([_cut(_shown(task.result)) for task in tasks], dtype="str"),
        }
    )
    frame.index.name = "index"
    return frame


def _said(item: Item) -> str | None:
    error = item.error or (item.tries[-1].error if item.tries else None)
    return None if error is None or item.state == "done" else str(error)


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value
    try:
        return repr(value)
    except Exception as error:  # of whatever class of the user's
        return f"<{type(value).__name__} whose repr has failed: {type(error).__name__}>"


def _cut(text: str | None) -> str | None:
    # a table is looked at: in a terminal, too
    return None if text is None else clean(text, KEPT)
