"""What can be seen from a session: the market, and what was done."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from golem_nb.arguments import count, duration
from golem_nb.events import Event
from golem_nb.frames import OfferTable
from golem_nb.session.errors import SessionError
from golem_nb.session.estimate import Estimate, estimate
from golem_nb.session.keywords import named
from golem_nb.session.mapping import bounded_loads
from golem_nb.session.market import MarketWatch, fill, scan, score
from golem_nb.session.payloads import checked_payload
from golem_nb.session.recovery import recover
from golem_nb.session.remote import codec
from golem_nb.strategy import SCORE_NEUTRAL

if TYPE_CHECKING:
    import pandas as pd

    from golem_nb.frames import History
    from golem_nb.ledger import FinishedItem, Ledger, RecoveryReport
    from golem_nb.payload import Payload
    from golem_nb.session.core import Core
    from golem_nb.ui.dashboard import Dashboard
    from golem_nb.ui.market import MarketExplorer

__all__ = ["SessionViews", "best_first"]

T = TypeVar("T")

#: Most providers that a job has, and that an estimate counts with, unless said otherwise.
DEFAULT_WORKERS = 5


class SessionViews:
    """The part of `Session` that looks: nothing here spends anything."""

    _core: Core

    # -- the market ---------------------------------------------------------------------------------------

    @named
    def offers(
        self, payload: Payload | Awaitable[Payload] | None = None, *, seconds: float = 5.0
    ) -> pd.DataFrame:
        """Look at the market once; costs nothing and reserves nothing.

        Parameters
        ----------
        payload
            Only offers that can run it, such as ``vm.repo(image_tag="golem/alpine:latest")``; None: all.
        seconds
            Longest time to look.

        Returns
        -------
        DataFrame
            One row a provider, with the columns of `golem_nb.frames.OfferTable`, the best score first. Those
            with a score below zero would not be taken by this session.

        Examples
        --------
        >>> session.offers()[["provider", "threads", "memory", "price_hour"]]
        """
        return best_first(self._wait(self._offers(payload, seconds)))

    @named
    def market(self, payload: Payload | Awaitable[Payload] | None = None) -> MarketExplorer:
        """Look at the market for as long as the result is shown: filter, compare and choose providers.

        Parameters
        ----------
        payload
            Only offers that can run it; None: all.

        Returns
        -------
        MarketExplorer
            A panel; what is chosen in it is its `selection`, and a strategy of that its `strategy()`.
        """
        known = None if payload is None else checked_payload(payload)
        watch = MarketWatch(self._core, known, self._core.touched)
        return self._core.desk.market(watch)

    @named
    def estimate(
        self,
        payload: Payload | Awaitable[Payload],
        *,
        tasks: int,
        seconds: float,
        max_workers: int = DEFAULT_WORKERS,
    ) -> Estimate:
        """Estimate what a job would cost, from the offers on the market now; nothing is spent.

        Parameters
        ----------
        payload
            What the job needs.
        tasks
            How many tasks.
        seconds
            How long each takes.
        max_workers
            Most providers at the same time.

        Raises
        ------
        SessionError
            No provider has an offer that fits.

        Examples
        --------
        >>> session.estimate(alpine, tasks=100, seconds=30)
        <Estimate: 0.4245 GLM, from 0.0600 to 7.8146, for 100 tasks of 30 s on 3 of 3 providers>
        """
        return self._wait(self._estimate(payload, tasks, seconds, max_workers))

    def add_event_consumer(
        self,
        event_consumer: Callable[[Any], Any],
        event_classes_or_names: Iterable[type[Event] | str] = (Event,),
    ) -> None:
        """Let another consumer have events, as `Golem.add_event_consumer` does.

        Parameters
        ----------
        event_consumer
            Called with each event, in the engine's thread.
        event_classes_or_names
            Classes of the events that it wants, or their names in `golem_nb.events`.
        """
        classes = tuple(event_classes_or_names)
        self._wait(self._add_event_consumer(event_consumer, classes))

    # -- what was done ------------------------------------------------------------------------------------

    @property
    def costs(self) -> pd.DataFrame:
        """What was used, billed, accepted and settled, one row an agreement; see `Recorder.costs`."""
        if self._core.state == "ready":
            self._wait(self._core.take_payments())
        return self._core.recorder.costs()

    @property
    def events(self) -> pd.DataFrame:
        """All events of the session; see `Recorder.events`."""
        return self._core.recorder.events()

    @property
    def tasks(self) -> pd.DataFrame:
        """All tasks of all jobs; see `Recorder.tasks`."""
        return self._core.recorder.tasks()

    @property
    def agreements(self) -> pd.DataFrame:
        """All agreements; see `Recorder.agreements`."""
        return self._core.recorder.agreements()

    @property
    def activities(self) -> pd.DataFrame:
        """All activities; see `Recorder.activities`."""
        return self._core.recorder.activities()

    @property
    def services(self) -> pd.DataFrame:
        """The states of all instances of services; see `Recorder.services`."""
        return self._core.recorder.services()

    def history(self) -> History:
        """What all sessions of this user have bought, spent and finished, as tables.

        Examples
        --------
        >>> session.history().costs.groupby("provider")["accepted"].sum()
        """
        from golem_nb.frames import history

        return history(self._ledger())

    def remembered(self, job: str, name: str | None = None) -> dict[int, Any]:
        r"""Return what finished items of an earlier job have given, as it was written down before it counted.

        Parameters
        ----------
        job
            Id of the job, such as ``"1"``; `history` lists them. If several had it, the last results count.
        name
            Name of its session; this one's by default.

        Returns
        -------
        dict
            By index of the item: what `Batch.values` had. Values of more than 1 MiB, and those that would
            have to be unpickled, are not kept.

        Examples
        --------
        >>> job = session.run("echo {}", ["a", "b"], payload=alpine)
        >>> job.wait()
        True
        >>> session.remembered(job.id)  # in another kernel too, should this one die
        {0: 'a\n', 1: 'b\n'}
        """
        kept = self._ledger().items(job, self._core.settings.name if name is None else name)
        return {index: value for index, item in kept.items() if (value := _value(item)) is not None}

    @property
    def left(self) -> list[str]:
        """What sessions of dead kernels have left behind, one line each; see `recover`."""
        if self._core.state == "ready":
            self._core.look_for_leftovers()
        return list(self._core.leftovers)

    @named
    def recover(self, how: Literal["end", "settle"] = "end") -> RecoveryReport:
        """Settle what sessions of dead kernels have left behind; `Session.adopt` takes over what still runs.

        Their agreements are ended, their invoices paid, as far as usage and agreed price explain them, and
        what was reserved for them is released. A local network that ended with its kernel is started again
        for that, and then removed.

        Parameters
        ----------
        how
            ``"settle"`` leaves alone what is still running, and pays what is over.

        Examples
        --------
        >>> print(session.recover())
        """
        return self._wait(self._recover(how), keep=True)

    def dashboard(self, show: Sequence[str] | None = None) -> Dashboard:
        """Show offers, costs, services and tasks as one live figure.

        Parameters
        ----------
        show
            Which of them: names of `golem_nb.figures.PARTS`; None: all.
        """
        return self._core.desk.dashboard(show)

    # -- in the engine's thread ---------------------------------------------------------------------------

    async def _add_event_consumer(
        self, consumer: Callable[[Any], Any], classes: Sequence[type[Event] | str]
    ) -> None:
        await self._core.ready()
        await self._core.golem.add_event_consumer(consumer, classes)

    async def _offers(self, payload: Payload | Awaitable[Payload] | None, seconds: float) -> OfferTable:
        core = self._core
        known = None if payload is None else checked_payload(payload)
        longest = duration("seconds", seconds).total_seconds()
        await core.ready()
        found = None if known is None else await core.resolve(known)
        table = OfferTable(core.known)
        # pandas comes while offers do: a cell that imports it, for a second, cannot be interrupted at once
        offers, _ = await asyncio.gather(
            scan(core, found, longest), asyncio.to_thread(importlib.import_module, "pandas")
        )
        await fill(core, table, offers)
        return table

    async def _estimate(
        self, payload: Payload | Awaitable[Payload], tasks: int, seconds: float, max_workers: int
    ) -> Estimate:
        core = self._core
        known = checked_payload(payload)
        tasks, max_workers = count("tasks", tasks), count("max_workers", max_workers)
        each = duration("seconds", seconds).total_seconds()
        await core.ready()
        found = []
        for offer in await scan(core, await core.resolve(known), seconds=5.0):
            points = await score(core, offer)
            if points is not None and points >= SCORE_NEUTRAL:
                found.append((points, offer.props))
        if not found:
            raise SessionError(
                f"No provider in subnet {core.daemon.subnet!r} has an offer that fits the payload and what "
                "the session allows: session.offers() shows what there is"
            )
        found.sort(key=lambda entry: -entry[0])
        return estimate([props for _, props in found], tasks, each, max_workers)

    async def _recover(self, how: str) -> RecoveryReport:
        if how not in ("end", "settle"):
            raise ValueError(
                f"how must be 'end' or 'settle', not {how!r:.100}; what still runs is taken over by "
                "Session.adopt(ServiceClass)"
            )
        await self._core.ready()
        return await recover(self._core, how)

    def _ledger(self) -> Ledger:
        if self._core.state != "stopped":  # its ledger can be read as before
            self._wait(self._core.ready())
        return self._core.ledger

    def _wait(self, coroutine: Coroutine[Any, Any, T], *, keep: bool = False) -> T:
        return self._core.portal.wait(coroutine, keep=keep, notice=lambda: _notice(keep))

    async def _call(self, coroutine: Coroutine[Any, Any, T], *, keep: bool = False) -> T:
        return await self._core.portal.call(coroutine, keep=keep, notice=lambda: _notice(keep))


def _notice(goes_on: bool) -> str:
    return "Stopped waiting. What was begun goes on to its end." if goes_on else "Interrupted."


def best_first(table: OfferTable) -> pd.DataFrame:
    """Return the offers with the best score first."""
    return table.frame().sort_values("score", ascending=False, ignore_index=True)


def _value(item: FinishedItem) -> Any:
    if item.encoding is None:
        return item.stdout
    if item.value is None:
        return None
    try:
        return codec.decode(item.encoding, item.value, bounded_loads)
    except codec.CodecError:
        return None
