"""The table of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from golem_nb.frames.columns import Labels, Moments, Names, Numbers, Texts, Wholes, spans
from golem_nb.frames.log import provider_names
from golem_nb.frames.table import Snapshot, Table, frame_of
from golem_nb.frames.text import OUTPUT_LIMIT, clean

if TYPE_CHECKING:
    import pandas as pd

    from golem_nb.frames.people import Register, Work

__all__ = ["TaskTable"]

#: States of a task. One that was given back waits for another provider; it has failed when its job is over.
WAITING: Final = 0
RUNNING: Final = 1
ACCEPTED: Final = 2
REJECTED: Final = 3
FAILED: Final = 4

STATES: Final = ("waiting", "running", "accepted", "rejected", "failed")


class TaskTable:
    """One row a task, changed as the task goes on.

    Parameters
    ----------
    register
        The numbers of what tasks refer to.
    """

    def __init__(self, register: Register) -> None:
        self._rows: dict[str, int] = {}
        self._open: dict[int, set[int]] = {}
        self.job = Labels(register.jobs)
        self.task = Wholes()
        self.state = Labels(Names(*STATES))
        self.tries = Wholes()
        self.provider = Labels(register.providers)
        self.agreement = Labels(register.agreements)
        self.activity = Labels(register.activities)
        self.first = Moments()
        self.started = Moments()
        self.finished = Moments()
        self.spent = Numbers()
        self.stdout = Texts()
        self.message = Texts()
        self.table = Table(
            {
                "job": self.job,
                "task": self.task,
                "state": self.state,
                "tries": self.tries,
                "provider_id": self.provider,
                "agreement": self.agreement,
                "activity": self.activity,
                "first": self.first,
                "started": self.started,
                "finished": self.finished,
                "spent": self.spent,
                "stdout": self.stdout,
                "message": self.message,
            }
        )

    def started_on(self, task_id: str, number: int, work: Work, time: float) -> None:
        """A worker has taken a task."""
        row = self._rows.get(task_id)
        job, provider, agreement, activity = work.codes
        if row is None:
            row = self._rows[task_id] = self.table.new_row()
            self.task.values[row] = number
            self.first.values[row] = time
            self.tries.values[row] = 0
            self.spent.values[row] = 0.0
        else:
            # what has failed may be tried again by another job, and the end of the first one come after that
            self._open.get(self.job.values[row], set()).discard(row)
        self.job.values[row] = job
        self._open.setdefault(job, set()).add(row)
        self.state.values[row] = RUNNING
        self.tries.values[row] += 1
        self.provider.values[row] = provider
        self.agreement.values[row] = agreement
        self.activity.values[row] = activity
        self.started.values[row] = time
        self.finished.values[row] = float("nan")
        work.tasks.append(row)
        self.table.version += 1

    def decided(
        self, task_id: str, work: Work, time: float, *, accepted: bool, reason: str | None = None
    ) -> None:
        """A task's result was accepted, or rejected."""
        row = self._rows.get(task_id)
        if row is None:
            return
        self.state.values[row] = ACCEPTED if accepted else REJECTED
        if reason is not None:
            self.message.set(row, reason)
        if accepted:
            self._open[self.job.values[row]].discard(row)
        self._end(row, work, time)

    def finished_on(self, task_id: str, work: Work, time: float) -> None:
        """A worker is done with a task; without a result, it waits for another one."""
        row = self._rows.get(task_id)
        if row is None:
            return
        if self.state.values[row] == RUNNING and row in work.tasks:
            self.state.values[row] = WAITING
            work.given_back.append(row)
            self._end(row, work, time)

    def worker_failed(self, work: Work, error: str) -> None:
        """The worker of these tasks has failed."""
        for row in (*work.tasks, *work.given_back):
            self.message.set(row, error)
        work.given_back.clear()
        self.table.version += 1

    def job_finished(self, job: int) -> None:
        """What has no result by now will have none."""
        for row in self._open.pop(job, ()):
            if self.state.values[row] in (WAITING, RUNNING):
                self.state.values[row] = FAILED
        self.table.version += 1

    def output(self, work: Work, text: str, *, more: bool = False) -> None:
        """A command has said something; it is the task's where only one runs there."""
        if len(work.tasks) == 1:
            row = work.tasks[0]
            if more:
                text = clean((self.stdout.get(row) or "") + text, OUTPUT_LIMIT)
            self.stdout.set(row, text)
            self.table.version += 1

    def _end(self, row: int, work: Work, time: float) -> None:
        if row in work.tasks:
            work.tasks.remove(row)
            self.finished.values[row] = time
            self.spent.values[row] += time - self.started.values[row]
        self.table.version += 1

    def build(
        self,
        snapshot: Snapshot,
        names: tuple[list[int], list[str]],
        costs: list[float],
    ) -> pd.DataFrame:
        """Make the frame.

        Parameters
        ----------
        snapshot
            Of the table.
        names
            Of the providers.
        costs
            Of the agreements, by their numbers, GLM; shared out among their tasks by the time that these
            took.
        """
        import numpy as np

        raw = self.table.build(snapshot)
        started = self.started.numbers(snapshot.values["started"])
        finished = self.finished.numbers(snapshot.values["finished"])
        agreements = self.agreement.numbers(snapshot.values["agreement"])
        spent = self.spent.numbers(snapshot.values["spent"])
        totals = np.bincount(agreements, weights=spent, minlength=len(costs)) if len(spent) else np.zeros(0)
        share = np.array(costs)[agreements] if len(costs) else np.zeros(len(spent))
        total = totals[agreements] if len(spent) else spent
        cost = np.divide(spent * share, total, out=np.full(len(spent), np.nan), where=total > 0)
        columns: dict[str, Any] = {name: raw[name].array for name in ("job", "task", "state", "tries")}
        columns["provider"] = provider_names(self.provider.numbers(snapshot.values["provider_id"]), *names)
        columns.update((name, raw[name].array) for name in ("provider_id", "agreement", "activity"))
        columns["started"] = raw["started"].array
        columns["finished"] = raw["finished"].array
        columns["duration"] = spans(finished - started)
        columns["cost"] = cost
        columns["stdout"] = raw["stdout"].array
        columns["message"] = raw["message"].array
        return frame_of(columns, raw.index)
