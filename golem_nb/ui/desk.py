"""Everything that a session shows: one pump, one consumer of events, panels made when first asked for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from golem_nb.ui.pump import Pump

if TYPE_CHECKING:
    from golem_nb.events import Event
    from golem_nb.frames import Recorder
    from golem_nb.ui.card import SessionCard
    from golem_nb.ui.cluster import ClusterControl
    from golem_nb.ui.dashboard import Dashboard
    from golem_nb.ui.market import MarketExplorer
    from golem_nb.ui.panel import Panel
    from golem_nb.ui.progress import BatchProgress
    from golem_nb.ui.sources import ClusterSource, JobSource, MarketSource, SessionSource
    from golem_nb.ui.terminal import Terminal

__all__ = ["Desk"]


class Desk:
    """The panels of one session.

    Parameters
    ----------
    session
        The session.
    recorder
        Its events, as frames.

    Examples
    --------
    ::

        desk = Desk(session, recorder)
        golem.add_event_consumer(desk.take)
        desk.progress(job).show()
        desk.end()
    """

    def __init__(self, session: SessionSource, recorder: Recorder | None = None) -> None:
        from golem_nb.ui.instances import Instances
        from golem_nb.ui.lanes import Lanes
        from golem_nb.ui.series import Series

        self._session = session
        self._recorder = recorder
        self._pump = Pump()
        self._lanes = Lanes()
        self._series = Series()
        self._instances = Instances()
        self._panels: dict[tuple[str, int], tuple[Any, Panel]] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Desk of {len(self._panels)} panels>"

    def take(self, event: Event) -> None:
        """Take note of an event; on the engine's loop, so it only counts."""
        if self._loop is None:
            with contextlib.suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
        self._lanes.take(event)
        self._series.take(event)
        self._instances.take(event)
        self._pump.mark()

    def mark(self) -> None:
        """Note that facts have changed; from any thread."""
        self._pump.mark()

    def card(self) -> SessionCard:
        """Return the panel of the session."""
        from golem_nb.ui.card import SessionCard

        card: SessionCard = self._panel("card", self._session, lambda: SessionCard(self._session, self._pump))
        return card

    def progress(self, job: JobSource) -> BatchProgress:
        """Return the panel of a batch."""
        from golem_nb.ui.progress import BatchProgress

        progress: BatchProgress = self._panel(
            "progress", job, lambda: BatchProgress(job, self._lanes, self._pump)
        )
        return progress

    def cluster(self, cluster: ClusterSource) -> ClusterControl:
        """Return the panel of a cluster."""
        from golem_nb.ui.cluster import ClusterControl

        control: ClusterControl = self._panel(
            "cluster", cluster, lambda: ClusterControl(cluster, self._instances, self._pump)
        )
        return control

    def terminal(self, cluster: ClusterSource, instance_id: str) -> Terminal:
        """Return a terminal on an instance of a cluster; a new one if its shell has ended.

        Raises
        ------
        KeyError
            The cluster has no such instance.
        RuntimeError
            Nothing has happened in the session yet.
        """
        from golem_nb.ui.terminal import Terminal

        service = cluster[instance_id]
        loop = self._loop
        if loop is None:
            raise RuntimeError("Nothing is running in this session yet")
        terminal: Terminal = self._panel("terminal", service, lambda: Terminal(service, loop, self._pump))
        return terminal

    def market(self, market: MarketSource) -> MarketExplorer:
        """Return the explorer of a look at the market."""
        from golem_nb.ui.market import MarketExplorer

        explorer: MarketExplorer = self._panel(
            "market", market, lambda: MarketExplorer(market, self._pump, self._session.facts().name)
        )
        return explorer

    def dashboard(self, show: Sequence[str] | None = None) -> Dashboard:
        """Return the dashboard.

        Parameters
        ----------
        show
            Which of `golem_nb.figures.PARTS`; what was chosen before, or all, if None.

        Raises
        ------
        ValueError
            There is no such part.
        """
        from golem_nb.figures import PARTS
        from golem_nb.ui.dashboard import Dashboard

        board: Dashboard = self._panel(
            "dashboard",
            self._session,
            lambda: Dashboard(self._session, self._recorder, self._series, self._pump, show or PARTS),
        )
        if show is not None:
            board.choose(show)
        return board

    def end(self) -> None:
        """Show the last state of everything, replace each output by its final faces, and end the pump."""
        for _, panel in list(self._panels.values()):
            # the session is over whatever becomes of what it has shown
            with contextlib.suppress(Exception):
                panel.end()
        self._pump.close()

    def _panel(self, kind: str, subject: Any, make: Any) -> Any:
        key = (kind, id(subject))
        with self._lock:
            # the subject is kept with its panel, so that its id is not given to another one
            if key not in self._panels:
                self._panels[key] = subject, make()
            return self._panels[key][1]
