"""The part of a session that lives in the engine's thread."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from golem_nb.engine.agreements import CANCELLED
from golem_nb.engine.job import Job
from golem_nb.events import (
    ActivityCreated,
    AgreementConfirmed,
    AgreementRejected,
    AgreementTerminated,
    DebitNoteAccepted,
    Event,
    InvoiceAccepted,
    JobFinished,
    JobStarted,
    NoProposalsConfirmed,
    ProposalReceived,
    ServiceFinished,
    ServiceStateChanged,
    WorkerFinished,
)
from golem_nb.frames import Recorder
from golem_nb.golem import Golem
from golem_nb.ledger import KnownProviders, Ledger
from golem_nb.ledger import Place as LedgerPlace
from golem_nb.log import get_logger
from golem_nb.node import balances
from golem_nb.payload.registry import NETWORK_REGISTRY
from golem_nb.rest import Configuration, Identity, Payment
from golem_nb.rest.errors import ApiError
from golem_nb.session.choice import LimitedStrategy
from golem_nb.session.errors import JobCancelledError, SessionClosedError
from golem_nb.session.guard import BudgetJournal
from golem_nb.session.limits import Limits
from golem_nb.session.meter import Meter, Money
from golem_nb.session.payloads import found_payload
from golem_nb.session.portal import Portal
from golem_nb.session.recovery import forget_gone
from golem_nb.session.signal import Signal
from golem_nb.session.thread import EngineThread
from golem_nb.session.watchdog import Watchdog
from golem_nb.strategy import default_strategy

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from golem_nb.engine import Engine
    from golem_nb.ledger import Book
    from golem_nb.payload import Payload
    from golem_nb.rest.payment import Account
    from golem_nb.services import ServiceSerialization
    from golem_nb.session.clusters import ClusterHandle
    from golem_nb.session.handle import Handle
    from golem_nb.session.places import Daemon
    from golem_nb.session.settings import Settings
    from golem_nb.ui import Desk

__all__ = ["Core"]

logger = get_logger(__name__)

T = TypeVar("T")

SessionState = Literal["starting", "ready", "stopping", "stopped", "failed"]

#: What the costs of a session depend on.
_COSTLY = (
    ActivityCreated,
    AgreementConfirmed,
    AgreementRejected,
    AgreementTerminated,
    DebitNoteAccepted,
    InvoiceAccepted,
    JobFinished,
    JobStarted,
    WorkerFinished,
)

#: Seconds after which it is asked for the first time whether what was accepted is settled, and at most.
SETTLED_AFTER, SELDOM = 6.0, 300.0

#: At the end the account is looked at once more, for so many seconds at most: it takes a quarter of one.
LAST_LOOK = 2.0

#: What others have paid of the account is known after so many seconds.
OTHERS = 60.0

#: Of all sessions of the process, so that events name each job by the name that its handle has.
_numbers = itertools.count(1)


class Core:
    """Owns the engine's thread, the engine, and what runs on it for one session.

    Parameters
    ----------
    settings
        The arguments of the session.
    warn
        Called, in the engine's thread, with each warning that the user should see.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], None]) -> None:
        self.settings = settings
        self.thread = EngineThread(f"golem-session-{settings.name}")
        self.portal = Portal(self.thread)
        self.watchdog = Watchdog(self.thread)
        self.meter = Meter()
        self.handles: dict[str, Handle[Any, Any]] = {}
        #: By the ids of their engine's jobs.
        self.clusters: dict[str, ClusterHandle] = {}
        #: What is known of providers from all sessions of this user, this one included.
        self.known = KnownProviders()
        self.recorder = Recorder(self.known)
        #: Called, in the engine's thread, with each event and whenever something to be seen has changed.
        self.on_event: Callable[[Event], None] = lambda _: None
        self.on_change: Callable[[], None] = lambda: None
        #: Given whenever a job, or the money, has changed.
        self.changed = Signal()
        self.warn = warn
        self.desk: Desk
        self.golem: Golem
        self.ledger: Ledger
        self.book: Book
        self.limits: Limits
        self.daemon: Daemon
        self.started: datetime | None = None
        #: What sessions of dead kernels have left, one line each.
        self.leftovers: list[str] = []
        self.node_id = ""
        self.account = ""
        #: What the account holds; None where the daemon's service bus cannot be reached.
        self.balance: Decimal | None = None
        self.strategy: LimitedStrategy
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ready = asyncio.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        #: Until when the budget stays reserved after the end; …
        self.reserved_until: datetime | None = None
        #: … whether for what was suspended.
        self.reserved_on_purpose = False
        self.stopped = False
        self._watching: list[asyncio.Task[None]] = []
        self._unsettled = asyncio.Event()
        #: Ids of the engine's jobs for which no provider was found, and the user knows.
        self._silent: set[str] = set()
        self._paying: Account | None = None
        self._paid = asyncio.Event()

    # -- start and stop -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start everything.

        Raises
        ------
        GolemError
            The network, the ledger or the engine cannot be started; nothing stays behind then.
        """
        try:
            await self._open()
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._ready.set()
            self.touched()

    async def _open(self) -> None:
        settings = self.settings
        place = settings.place
        self.daemon = daemon = await place.open()
        try:
            await self._ask_who()
            self.ledger = await asyncio.to_thread(Ledger, warn=self.warn)
            try:
                # no copy: the ledger goes on counting, and nobody writes to this
                self.known.maps = [await asyncio.to_thread(self.ledger.providers)]  # type: ignore[arg-type]
                await forget_gone(self.ledger)
                await asyncio.to_thread(self.look_for_leftovers)
                self.book = await asyncio.to_thread(
                    self.ledger.begin,
                    settings.name,
                    self.node_id,
                    "local" if place.is_local else daemon.payment_network,
                    settings.budget,
                    LedgerPlace(daemon.api_config.api_url, daemon.localnet, daemon.owned),
                )
                try:
                    await self._start_engine()
                except BaseException:
                    await self.book.close()
                    raise
            except BaseException:
                self.ledger.close()
                raise
        except BaseException:
            await place.close()
            raise

    async def _ask_who(self) -> None:
        daemon = self.daemon
        async with Configuration(daemon.api_config) as configuration:
            self.node_id = (await Identity(configuration.root()).me()).identity
            accounts = await Payment(configuration.payment()).accounts()
        mine = (a for a in accounts if a.network == daemon.payment_network and a.send)
        self._paying = next(mine, None)
        self.account = "" if self._paying is None else self._paying.address

    async def _start_engine(self) -> None:
        settings, daemon = self.settings, self.daemon
        self.limits = Limits(settings.budget, settings.max_time, self.meter, self.handles.values, self.warn)
        own = default_strategy()
        base = own if settings.strategy is None else settings.strategy
        self.strategy = LimitedStrategy(base, self.limits, settings.provider_names, settings.max_price)
        golem = Golem(
            budget=settings.budget,
            strategy=self.strategy,
            subnet_tag=daemon.subnet,
            payment_driver=daemon.payment_driver,
            payment_network=daemon.payment_network,
            event_consumer=self.recorder.take,
            api_config=daemon.api_config,
        )
        if settings.strategy is None:
            golem.add_event_consumer(own.on_event, own.EVENTS)
        golem.journal = BudgetJournal(self.book, self.limits)
        golem.add_event_consumer(self.book.take, self.book.EVENTS)
        golem.add_event_consumer(self.meter.take, [AgreementConfirmed])
        golem.add_event_consumer(self.limits.take, [*_COSTLY, ProposalReceived])
        golem.add_event_consumer(self._on_service, [ServiceStateChanged, ServiceFinished])
        golem.add_event_consumer(self._on_silence, [NoProposalsConfirmed])
        golem.add_event_consumer(self.on_event)
        golem.add_event_consumer(lambda _: self._unsettled.set(), [InvoiceAccepted, DebitNoteAccepted])
        golem.add_event_consumer(lambda _: self.touched(), _COSTLY)
        await golem.start()
        self.golem = golem
        self.started = golem._running().started
        self.meter.attach(golem._running().payments)
        self._watching = [
            asyncio.create_task(self.limits.run(), name="limits of the session"),
            asyncio.create_task(self._follow_payments(), name="payments of the session"),
            asyncio.create_task(self._follow_balance(), name="balance of the session"),
        ]

    def _on_service(self, event: ServiceStateChanged | ServiceFinished) -> None:
        cluster = self.clusters.get(event.job.id)
        if cluster is not None:
            cluster.take(event)

    def _on_silence(self, event: NoProposalsConfirmed) -> None:
        """Say, once for each job, why nobody works on it."""
        market = event.job.negotiation
        if market.fruitless and event.job.id not in self._silent:
            self._silent.add(event.job.id)
            self.warn(
                f"No provider was found in {event.timeout.total_seconds():g} s: {market.summary()}. "
                "`session.offers(payload)` shows all offers, and what this session thinks of them."
            )

    async def ready(self) -> None:
        """Wait until everything is started.

        Raises
        ------
        SessionClosedError
            It was stopped, or could not be started.
        """
        await self._ready.wait()
        if self._failure is not None:
            raise SessionClosedError(f"The session could not be started: {self._failure}") from self._failure
        self.check_open()

    def check_open(self) -> None:
        """Refuse what comes after the end; may be called from any thread.

        Raises
        ------
        SessionClosedError
            It was stopped.
        """
        if self._stopping or not self.thread.alive:
            raise SessionClosedError("The session was stopped: make a new one with Session(...)")

    async def close(self, wait_for_payments: bool) -> None:
        """End all jobs and agreements, pay, release the rest, and end what was started; once."""
        await self._ready.wait()
        if self._failure is not None or self._stopping:
            return
        self._stopping = True
        for handle in list(self.handles.values()):
            if not handle.ended:
                handle.end_early(JobCancelledError(f"{handle.kind} {handle.id} was ended with its session"))
        suspended: list[ServiceSerialization] = []
        engine = self.golem._engine
        try:
            suspended = await self.golem.stop(wait_for_payments)
        finally:
            if engine is not None and engine.budget.reserved:
                self.reserved_until = engine.budget.expires
                self.reserved_on_purpose = bool(engine.kept)
            await self._settle(suspended)

    async def _settle(self, suspended: list[ServiceSerialization]) -> None:
        """Take down what the engine has left, which is no more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self.take_payments()
        if self._paid.is_set():
            # what the card says last is to be true, but nobody waits long for that
            self.balance = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_LOOK):
                    await self._take_balance()
        await self.book.close(suspended)
        await asyncio.to_thread(self.ledger.close)
        await self.settings.place.close()
        self.stopped = True
        self.touched()

    async def abandon(self) -> None:
        """End every agreement at once; invoices are left to `Session.recover` of a later session."""
        if not self._ready.is_set() or self._failure is not None or self._stopping:
            return
        self._stopping = True
        engine = self.golem._running()
        for task in self._watching:
            task.cancel()
        ending: list[Coroutine[Any, Any, object]] = []
        for job in list(engine._jobs):
            # makes no more agreements; that its activities are ended in good order would take too long
            job.stop(JobCancelledError("the process has ended"))
            ending.append(job.agreements.terminate_all(CANCELLED))
        await asyncio.gather(*ending, engine.budget.close(), *self._watching, return_exceptions=True)

    async def take_payments(self) -> None:
        """Ask the daemon what was settled."""
        try:
            async with Configuration(self.daemon.api_config) as configuration:
                records = await Payment(configuration.payment()).payments(after=self.started)
        except ApiError as error:
            logger.debug("What was settled is not known: %s", error)
            return
        before = self.recorder.totals().settled
        self.recorder.add_payments(records)
        self.book.payments(records)
        if self.recorder.totals().settled != before:
            self._paid.set()

    async def _follow_balance(self) -> None:
        """Learn what the account holds: at first, when something was paid, and now and then."""
        while True:
            await self._take_balance()
            self.touched()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OTHERS):
                    await self._paid.wait()

    async def _take_balance(self) -> None:
        self._paid.clear()
        accounts = [] if self._paying is None else [self._paying]
        self.balance = next((each.amount for each in await balances(accounts, self.daemon.bus)), None)

    async def _follow_payments(self) -> None:
        """Learn what was settled, soon after something was accepted, and then less and less often."""
        while True:
            await self._unsettled.wait()
            self._unsettled.clear()
            delay = SETTLED_AFTER
            while self.recorder.totals().settled < self.money().accepted:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._unsettled.wait()
                        self._unsettled.clear()
                        delay = SETTLED_AFTER
                        continue
                await self.take_payments()
                self.touched()
                delay = min(delay * 2, SELDOM)

    # -- for jobs -----------------------------------------------------------------------------------------

    async def engine_for(self, handle: Handle[Any, Any]) -> Engine:
        """Return the running engine for a job that is about to begin.

        Raises
        ------
        SessionClosedError
            The session was stopped.
        LimitReachedError
            Nothing of the budget, or of the time, is left.
        """
        await self.ready()
        self.limits.check(f"{handle.kind} {handle.id}")
        return self.golem._running()

    async def resolve(self, payload: Payload | Awaitable[Payload]) -> Payload:
        """Look up a payload on the session's network.

        Raises
        ------
        TypeError
            What was awaited is none.
        """
        if not inspect.isawaitable(payload):
            return payload
        return found_payload(await self.on_network(_awaited(payload)))

    async def on_network(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something that looks up packages: in the network's own registry, if it has one."""
        token = NETWORK_REGISTRY.set(self.daemon.registry)
        try:
            return await coroutine
        finally:
            NETWORK_REGISTRY.reset(token)

    def start(self, handle: Handle[Any, Any]) -> None:
        """Run a job; may be called from any thread."""
        self.check_open()
        self.handles[handle.id] = handle
        self.portal.start(self._own(handle.run()))

    async def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await work
        finally:
            self._tasks.discard(task)

    def post(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the engine's thread, from any thread, without waiting for it."""
        if not self.thread.alive:
            raise SessionClosedError("The session was stopped: make a new one with Session(...)")
        self.thread.loop.call_soon_threadsafe(function, *arguments)

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run that has to be over before the session is; in the engine's thread."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def touched(self) -> None:
        """Note that something to be seen has changed."""
        self.changed.give()
        self.on_change()

    @property
    def registry(self) -> str | None:
        """The image registry of the session's network, if it has one of its own."""
        daemon: Daemon | None = getattr(self, "daemon", None)
        return None if daemon is None else daemon.registry

    @property
    def left(self) -> Decimal:
        """What is neither accepted nor reserved, GLM; may be called from any thread."""
        limits: Limits | None = getattr(self, "limits", None)
        return self.settings.budget if limits is None else limits.left

    def look_for_leftovers(self) -> None:
        """Read what sessions of dead kernels have left."""
        self.leftovers = [str(leftover) for leftover in self.ledger.left()]

    @property
    def failure(self) -> BaseException | None:
        """Why the session could not be started."""
        return self._failure

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        if self._failure is not None:
            return "failed"
        if self.stopped:
            return "stopped"
        if self._stopping:
            return "stopping"
        return "ready" if self._ready.is_set() else "starting"

    def money(self, jobs: Iterable[str] | None = None) -> Money:
        """What was spent and is owed; may be called from any thread."""
        return self.meter.total() if jobs is None else self.meter.of(jobs)

    @staticmethod
    def new_id() -> str:
        """Return a name for a new job, which no other job of this process has."""
        return next(name for name in map(str, _numbers) if name not in Job._used_ids)

    @staticmethod
    def engine_job_id(handle_id: str) -> str:
        """Return a name for an engine's job: that of its handle, with a number if it is not the first."""
        if handle_id not in Job._used_ids:
            return handle_id
        names = (f"{handle_id}.{number}" for number in itertools.count(2))
        return next(name for name in names if name not in Job._used_ids)


async def _awaited(payload: Awaitable[T]) -> T:
    return await payload
