"""The panel of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from golem_nb.ui import assets
from golem_nb.ui.faces import job_html, job_text
from golem_nb.ui.lanes import Lane, Lanes
from golem_nb.ui.panel import Panel
from golem_nb.ui.pump import Pump
from golem_nb.ui.sources import JobFacts, JobSource
from golem_nb.ui.text import amount, clean, lines, milliseconds

__all__ = ["BatchProgress"]

#: Lanes and errors that are shown.
MOST_LANES, MOST_ERRORS = 100, 30

#: After the end of a batch its panel waits for invoices no longer than that: a provider may never send one.
PATIENCE = timedelta(seconds=60)


class BatchProgress(Panel):
    """How far a batch is: a bar, a lane a provider, cost and time, errors, and buttons to cancel and retry.

    Parameters
    ----------
    job
        The batch.
    lanes
        Knows what the providers do.
    pump
        Keeps the panel up to date.
    """

    _esm = assets.script("progress.js")
    _css = assets.style("progress.css")
    actions: ClassVar[Mapping[str, str]] = {"cancel": "cancel", "retry_failed": "retry_failed"}

    def __init__(self, job: JobSource, lanes: Lanes, pump: Pump) -> None:
        self._job = job
        self._lanes = lanes
        self._facts = job.facts()
        super().__init__(pump)

    @property
    def over(self) -> bool:
        """Whether the batch has ended, and its agreements are paid."""
        job = self._facts
        if job.state == "running":
            return False
        patient = job.ended is None or datetime.now(UTC) - job.ended < PATIENCE
        return not (patient and any(lane.open for lane in self._shown()))

    @property
    def useful(self) -> bool:
        """Whether items that are not done can be computed."""
        job = self._facts
        return job.failed > 0 or (job.total is not None and job.done < job.total)

    def cancel(self) -> None:
        """Cancel the batch."""
        self._job.cancel()

    def retry_failed(self) -> None:
        """Compute the failed items again, and show that here."""
        self._job.retry_failed()
        self._pump.mark()

    def describe(self) -> dict[str, Any]:
        """Return the state for the browser."""
        job = self._facts = self._job.facts()
        return {
            "name": clean(job.name, 60),
            "what": clean(job.what, 120),
            "state": job.state,
            "total": job.total,
            "done": job.done,
            "failed": job.failed,
            "running": job.running,
            "retries": job.retries,
            "cost": float(job.cost),
            "projected": None if job.projected is None else float(job.projected),
            "limit": None if job.limit is None else float(job.limit),
            "started": milliseconds(job.started),
            "ended": milliseconds(job.ended),
            "left": None if job.seconds_left is None else round(job.seconds_left, 1),
            "outcome": None if job.outcome is None else lines(job.outcome, 800),
            "lanes": {
                lane.provider_id: {
                    "name": lane.name,
                    "state": lane.state,
                    "doing": self._doing(lane),
                    "done": lane.done,
                    "failed": self._failed(lane),
                    "cost": float(lane.cost),
                }
                for lane in self._shown()
            },
            "errors": self._errors(job),
        }

    def face_html(self) -> str:
        """Return a snapshot."""
        rows = [
            (lane.name, lane.state, lane.done, self._failed(lane), amount(lane.cost))
            for lane in self._shown()
        ]
        return job_html(self._facts, rows)

    def face_text(self) -> str:
        """Return one line."""
        return job_text(self._facts)

    def _doing(self, lane: Lane) -> str:
        at_work = self._facts.at_work
        return ", ".join(
            [*(at_work[task] for task in list(lane.tasks) if task in at_work), *filter(None, [lane.doing])]
        )

    def _failed(self, lane: Lane) -> int:
        tries = self._facts.failed_tries
        return lane.failed if tries is None else tries.get(lane.provider_id, 0)

    def _shown(self) -> list[Lane]:
        lanes = self._lanes.of(*self._facts.engine_jobs)
        if len(lanes) > MOST_LANES:
            # those that are at work, then the ones that have done most
            lanes.sort(key=lambda lane: (not lane.open, -lane.done))
        return lanes[:MOST_LANES]

    def _errors(self, job: JobFacts) -> dict[str, dict[str, str | None]]:
        first = max(len(job.errors) - MOST_ERRORS, 0)
        return {
            str(number): {
                "item": None if error.item is None else clean(error.item, 80),
                "provider": None if error.provider is None else clean(error.provider, 60),
                "text": lines(error.text, 2000),
            }
            for number, error in enumerate(job.errors[first:], first)
        }
