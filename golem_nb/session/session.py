"""The session: what a notebook works with."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import sys
import threading
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from golem_nb.arguments import amount, count, duration
from golem_nb.log import get_logger, pluralize
from golem_nb.payload import vm
from golem_nb.payload.registry import use_registry
from golem_nb.session.adoption import AdoptedCluster, left_running
from golem_nb.session.aio import AsyncFace
from golem_nb.session.batch import Batch
from golem_nb.session.bill import Bill
from golem_nb.session.card import session_facts
from golem_nb.session.clusters import ClusterHandle
from golem_nb.session.commands import CommandWork
from golem_nb.session.core import Core
from golem_nb.session.errors import SessionChangedError, SessionClosedError, SessionError
from golem_nb.session.handle import Handle
from golem_nb.session.jobs import Jobs
from golem_nb.session.keywords import named
from golem_nb.session.logtail import log_tail
from golem_nb.session.mapping import RESULT_LIMIT, MapWork
from golem_nb.session.meter import Money
from golem_nb.session.networks import SessionNetwork
from golem_nb.session.places import LOCAL
from golem_nb.session.portal import in_notebook
from golem_nb.session.settings import Settings
from golem_nb.session.tasks import TasksJob
from golem_nb.session.views import DEFAULT_WORKERS, SessionViews
from golem_nb.ui import Desk
from golem_nb.ui.faces import session_html, session_text

if TYPE_CHECKING:
    from golem_nb.executor.executor import WorkerFunction
    from golem_nb.localnet import LocalNetwork
    from golem_nb.payload import Payload
    from golem_nb.services import Service
    from golem_nb.strategy import BaseMarketStrategy
    from golem_nb.ui.sources import SessionFacts

__all__ = ["Session"]

logger = get_logger(__name__)

T = TypeVar("T")
H = TypeVar("H", bound=Handle[Any, Any])

#: Everything is ended within so many seconds when the process ends; kernels are killed 2.5 s after that.
AT_EXIT = 1.8

#: The kernel's own interpreter and packages, as local networks have them.
PYTHON_IMAGE = "golem_nb/python:latest"

#: What an interrupt shows.
STILL_STARTING = "Interrupted. The session goes on starting: the same call waits for it again."
STILL_STOPPING = "Stopped waiting. The session goes on stopping; stop() waits for it again."

DEFAULT_TRIES = 3
DEFAULT_TIMEOUT = timedelta(minutes=15)

_living: dict[str, Session] = {}
_lock = threading.Lock()


class Session(SessionViews):
    r"""Work with the Golem Network from cells: a market, an engine and a budget.

    The engine runs in a thread of its own, so that a busy or interrupted cell never delays a payment. Its
    helpers return handles at once, to look at, to ``await``, or to wait for with ``job.wait()``.

    Asked for again under the same name and with the same arguments, as by a cell that is run again, the
    session that is there is returned, with what it has spent.

    Parameters
    ----------
    budget
        The most that is spent, GLM. It is reserved at the start; what is left is released by `stop`.
    network
        ``"local"``: a complete Golem network on this machine, on which nothing costs anything; the one that
        ``golem-nb up`` has started, if it is running. A real network by its name, such as ``"hoodi"`` (test
        money) or ``"polygon"`` (real money), with the daemon that YAGNA_APPKEY and YAGNA_API_URL lead to;
        they alone never make a session use it. Or a `golem_nb.localnet.LocalNetwork`.
    subnet
        Only providers of this subnet; by default the network's.
    strategy
        Chooses providers and terms; by default the cheapest with sane prices.
    providers
        Names or node ids of the providers that may be used. A number: how many there are in a local network
        of the session's own.
    max_price
        The most that an hour with one busy thread may cost, GLM.
    max_time
        How long it works: seconds or a `timedelta`. What is running then is ended, what is finished is kept.
    max_tries
        The most tries that an item of any of its jobs gets.
    name
        Sessions of different names live side by side.

    Raises
    ------
    SessionChangedError
        A session of that name is there, with other arguments.
    GolemError
        It cannot be started; the text says why, and what to do.

    Examples
    --------
    >>> session = Session(budget=1)
    >>> job = session.run("uname -m", payload=vm.repo(image_tag="golem/alpine:latest"))
    >>> job.result()
    ['x86_64\n']
    >>> session.stop()

    In a coroutine::

        async with Session(budget=1) as session:
            job = session.run("uname -m", payload=vm.repo(image_tag="golem/alpine:latest"))
            print(await job)
    """

    _core: Core

    # no properties: IPython evaluates none, so that keys would not be completed in `session.jobs["`
    #: All jobs of the session, by their ids.
    jobs: Jobs
    #: All clusters of the session, by their ids.
    clusters: Jobs

    @named
    def __new__(  # noqa: D102 - the class says it
        cls,
        budget: float | str | Decimal = 1,
        *,
        network: str | LocalNetwork = LOCAL,
        subnet: str | None = None,
        strategy: BaseMarketStrategy | None = None,
        providers: int | Collection[str] | None = None,
        max_price: float | str | Decimal | None = None,
        max_time: float | timedelta | None = None,
        max_tries: int | None = None,
        name: str = "default",
    ) -> Session:
        settings = Settings.read(
            name, budget, network, subnet, strategy, providers, max_price, max_time, max_tries
        )
        _wait_for_end(_living.get(name))
        with _lock:
            living = _living.get(name)
            begun = living is None
            if living is not None:
                if differences := living._core.settings.differences(settings):
                    raise SessionChangedError(
                        f"The session {name!r} is there already, with other arguments: this asks for "
                        f"{', '.join(differences)}. Stop it first (Session.living({name!r}).stop()), or "
                        "give the new one another `name`."
                    )
                session = living
            else:
                session = super().__new__(cls)
                session._begin(settings)
                _living[name] = session
        if begun:
            # without the lock, which they take: they run at once where the start has failed already
            session._starting.add_done_callback(lambda _: session._forget_if_failed())
            session._starting.add_done_callback(lambda _: _use_their_registry())
        session._wait_for_start()
        return session

    def _begin(self, settings: Settings) -> None:
        self._warnings: list[str] = []
        self._log = log_tail(attach=in_notebook())
        self._bill: Bill | None = None
        self._closing: asyncio.Task[None] | None = None
        self._core = core = Core(settings, self._warn)
        self.jobs, self.clusters = Jobs(core.handles), Jobs(core.handles, ClusterHandle)
        core.desk = Desk(self, core.recorder)
        core.on_event, core.on_change = core.desk.take, core.desk.mark
        self._starting = self._core.portal.start(self._core.open())

    def _wait_for_start(self) -> None:
        """Wait until it is started, where that may be waited for; elsewhere the first use does."""
        if not _may_wait():
            return
        try:
            self._core.portal.wait(
                self._starting,
                keep=True,
                notice=lambda: STILL_STARTING,
            )
        finally:
            # who waits may hear of a failure before the callbacks do
            if self._has_not_started():
                self._forget()
        self._core.check_open()

    def _has_not_started(self) -> bool:
        start = self._starting
        return start.done() and (start.cancelled() or start.exception() is not None)

    def _forget_if_failed(self) -> None:
        if self._has_not_started():
            self._forget()
            self._core.watchdog.close()
            # not from the thread itself, which is ending this call
            threading.Thread(target=self._core.thread.close, name="golem-session-end", daemon=True).start()

    def _forget(self) -> None:
        with _lock:
            if _living.get(self.name) is self:
                del _living[self.name]
        _use_their_registry()

    @staticmethod
    def living(name: str = "default") -> Session:
        """Return the session of that name.

        Raises
        ------
        SessionClosedError
            There is none.
        """
        session = _living.get(name)
        if session is None:
            known = ", ".join(map(repr, _living)) or "none"
            raise SessionClosedError(
                f"There is no session named {name!r}; living ones: {known}. Session(name={name!r}) begins it"
            )
        return session

    @staticmethod
    def find(name: str = "default") -> Session | None:
        """Return the session of that name, or None if there is none."""
        return _living.get(name)

    # -- what it is ---------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return self._core.settings.name

    @property
    def budget(self) -> Decimal:
        """The most that it spends, GLM."""
        return self._core.settings.budget

    @property
    def money(self) -> Money:
        """What was accepted, is reserved, was spent, and runs up in an hour."""
        return self._core.money()

    @property
    def stopped(self) -> bool:
        """Whether it was stopped."""
        return self._core._stopping

    @property
    def warnings(self) -> list[str]:
        """What the user was warned of, newest last."""
        return [*self._warnings, *self._core.watchdog.findings]

    @property
    def log(self) -> list[str]:
        """Warnings and errors of the library in this kernel, newest last; notebooks do not print them."""
        return list(self._log.lines)

    # -- work ---------------------------------------------------------------------------------------------

    @named
    def run(
        self,
        command: str,
        data: Iterable[Any] | None = None,
        *,
        payload: Payload | Awaitable[Payload],
        inputs: Mapping[str | Path, str] | None = None,
        outputs: Mapping[str, str | Path] | None = None,
        max_workers: int = DEFAULT_WORKERS,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        max_tries: int = DEFAULT_TRIES,
        max_cost: float | str | Decimal | None = None,
    ) -> Batch:
        r"""Run a shell command for each item on providers.

        Parameters
        ----------
        command
            What ``/bin/sh`` runs. ``{}`` stands for the item, ``{0}`` for an element of a tuple, ``{name}``
            for the value of a mapping, ``{index}`` for the number of the item; they are quoted for the shell.
        data
            The items: texts, numbers, tuples, mappings. A `pathlib.Path`, alone or in a tuple or mapping, is
            a file that is sent to ``/golem/input/``; its name takes its place. None: the command runs once.
        payload
            What runs it, such as ``vm.repo(image_tag="golem/alpine:latest")``; `await` is not needed.
        inputs
            Further files to send, from a path here to one there: ``{"model.bin": "/golem/work/model.bin"}``.
            With a place in the path here they belong to an item, without to all of them.
        outputs
            Files to fetch for each item, from a path there to one here:
            ``{"/golem/output/{index}.png": "frames/{index}.png"}``.
        max_workers
            Most providers at the same time.
        timeout
            Time for all items: seconds or a `timedelta`.
        max_tries
            How often an item that fails is tried, each time elsewhere where that is possible.
        max_cost
            The most that the job may cost, GLM; the session's budget limits it in any case.

        Returns
        -------
        Batch
            A handle, at once.

        Examples
        --------
        >>> job = session.run("wc -w /golem/input/{}", sorted(Path("poems").glob("*.txt")), payload=alpine)
        >>> job.result()
        ['218 /golem/input/a.txt\n', '97 /golem/input/b.txt\n']
        """
        items = [None] if data is None else _items(data)
        work = CommandWork(command, inputs, outputs)
        work.check(items)
        batch = Batch(
            self._core,
            self._core.new_id(),
            command if len(command) <= 60 else f"{command[:57]}...",
            work,
            items,
            payload=payload,
            **_batch_limits(max_workers, timeout, self._tries(max_tries), max_cost),
        )
        return self._start(batch)

    @named
    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        payload: Payload | Awaitable[Payload] | None = None,
        max_workers: int = DEFAULT_WORKERS,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        max_tries: int = DEFAULT_TRIES,
        max_cost: float | str | Decimal | None = None,
        max_result: int = RESULT_LIMIT,
        trust_results: bool = False,
    ) -> Batch:
        """Call a Python function of each item on providers.

        The function goes out with its code, by cloudpickle, which goes with it; the image needs a Python of
        the same version (3.x), the packages that the function imports, and a volume ``/golem/work``. Results
        come back as JSON data (tuples, sets, dates, `Decimal`, bytes and arrays in it included), bytes, numpy
        arrays or Arrow tables. They are never unpickled, because what a provider sends must not run here.

        Parameters
        ----------
        function
            A plain function of one argument.
        items
            What it is called with, one by one.
        payload
            What runs it. None: on a local network the kernel's own Python and packages,
            ``vm.repo(image_tag="golem_nb/python:latest")``.
        max_workers
            Most providers at the same time.
        timeout
            Time for all items: seconds or a `timedelta`.
        max_tries
            How often an item that fails is tried, each time elsewhere where that is possible.
        max_cost
            The most that the job may cost, GLM; the session's budget limits it in any case.
        max_result
            The most bytes that a result may have.
        trust_results
            Unpickle results of other types. Whoever provides them can then run anything in this kernel.

        Returns
        -------
        Batch
            A handle, at once.

        Raises
        ------
        NotPicklableError
            The function or an item cannot be sent.

        Examples
        --------
        >>> def area(radius):
        ...     import numpy as np
        ...     return np.pi * radius**2
        >>> session.map(area, [1, 2, 3]).result()
        [3.141592653589793, 12.566370614359172, 28.274333882308138]
        """
        data = _items(items)
        work = MapWork(function, trusted=trust_results, limit=count("max_result", max_result))
        work.check(data)
        if payload is None:
            if not self._core.settings.place.is_local:
                raise SessionError(
                    "Which image? On a real network `payload` must name one with Python "
                    f"{sys.version_info[0]}.{sys.version_info[1]} and a volume /golem/work"
                )
            payload = vm.repo(image_tag=PYTHON_IMAGE)
        name = getattr(function, "__name__", type(function).__name__)
        batch = Batch(
            self._core,
            self._core.new_id(),
            f"{name} of {pluralize(len(data), 'item')}",
            work,
            data,
            payload=payload,
            **_batch_limits(max_workers, timeout, self._tries(max_tries), max_cost),
        )
        return self._start(batch)

    @named
    def execute_tasks(
        self,
        worker: WorkerFunction,
        data: Iterable[Any] | AsyncIterable[Any],
        payload: Payload | Awaitable[Payload],
        *,
        max_workers: int = DEFAULT_WORKERS,
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        max_cost: float | str | Decimal | None = None,
        implicit_init: bool = True,
    ) -> TasksJob:
        r"""Compute tasks with a worker, as `Golem.execute_tasks` does.

        Parameters
        ----------
        worker
            Async generator function: takes a `WorkContext` and the tasks for it, yields scripts, accepts
            results. It runs in the engine's thread: what takes long there belongs into
            ``await asyncio.to_thread(...)``.
        data
            The tasks; what is no `Task` becomes the ``data`` of one.
        payload
            What the providers must offer; `await` is not needed.
        max_workers
            Most workers at the same time.
        timeout
            Time for all tasks: seconds or a `timedelta`.
        max_cost
            The most that the job may cost, GLM; the session's budget limits it in any case.
        implicit_init
            Send ``deploy()`` and ``start()`` before the worker's first script; if False the worker does.

        Returns
        -------
        TasksJob
            A handle, at once.

        Examples
        --------
        >>> async def worker(context, tasks):
        ...     async for task in tasks:
        ...         script = context.new_script()
        ...         result = script.run("/bin/sh", "-c", f"echo {task.data}")
        ...         yield script
        ...         task.accept_result((await result).stdout)
        >>> session.execute_tasks(worker, range(3), payload=alpine).result()
        ['0\n', '1\n', '2\n']
        """
        limits = _batch_limits(max_workers, timeout, 1, max_cost)
        del limits["max_tries"]
        return self._start(
            TasksJob(
                self._core,
                self._core.new_id(),
                worker,
                data,
                payload=payload,
                implicit_init=implicit_init,
                **limits,
            )
        )

    @named
    def cluster(
        self,
        service_class: type[Service],
        num_instances: int | None = None,
        *,
        instance_params: Iterable[Mapping[str, Any]] | None = None,
        payload: Payload | Awaitable[Payload] | None = None,
        expiration: datetime | None = None,
        network: SessionNetwork | None = None,
        network_addresses: Sequence[str] | None = None,
        max_cost: float | str | Decimal | None = None,
    ) -> ClusterHandle:
        """Run instances of a service, as `Golem.run_service` does.

        Parameters
        ----------
        service_class
            What is run. Its handlers run in the engine's thread.
        num_instances
            How many; as many as there are `instance_params`, or one.
        instance_params
            Keyword arguments for the ``__init__`` of consecutive instances.
        payload
            What the providers must offer; by default what ``service_class.get_payload()`` returns.
        expiration
            When the agreements expire; in three hours by default.
        network
            From `create_network`: the instances are attached to it.
        network_addresses
            Addresses of consecutive instances in the network.
        max_cost
            The most that the cluster may cost, GLM; the session's budget limits it in any case.

        Returns
        -------
        ClusterHandle
            A handle, at once.

        Examples
        --------
        >>> cluster = session.cluster(WebService, num_instances=2)
        >>> cluster.wait(timeout=60)
        True
        >>> cluster.stop()
        """
        _check_service_class(service_class)
        return self._start(
            ClusterHandle(
                self._core,
                self._core.new_id(),
                service_class,
                payload=payload,
                num_instances=None if num_instances is None else count("num_instances", num_instances),
                instance_params=instance_params,
                expiration=expiration,
                network=network,
                network_addresses=network_addresses,
                max_cost=None if max_cost is None else amount("max_cost", max_cost),
            )
        )

    @named
    def adopt(
        self,
        service_class: type[Service],
        *,
        instance_params: Iterable[Mapping[str, Any]] | None = None,
        payload: Payload | Awaitable[Payload] | None = None,
        max_cost: float | str | Decimal | None = None,
    ) -> ClusterHandle:
        """Take over the instances of a service that dead kernels have left running.

        They go on as they are, and are paid by this session from now on. That is possible on networks that
        have outlived the kernel: real ones, and that of ``golem-nb up``. A cluster is in one VPN: where they
        are in several, the next call takes over those of the next one.

        Parameters
        ----------
        service_class
            What they are; a class of the same name as in the kernel that has died.
        instance_params
            Keyword arguments for the ``__init__`` of each.
        payload
            What providers must offer on which an instance is restarted; by default what
            ``service_class.get_payload()`` returns.
        max_cost
            The most that the cluster may cost, GLM, with what was paid for it before; the session's budget
            limits it in any case.

        Returns
        -------
        ClusterHandle
            A handle, at once.

        Raises
        ------
        SessionError
            No instance of that class was left.

        Examples
        --------
        Where `left` tells of running instances of a service::

            cluster = session.adopt(WebService)
            cluster.wait(timeout=60)
        """
        _check_service_class(service_class)
        self._wait(self._core.ready())
        name = service_class.__name__
        running = left_running(self._core)
        if name not in running:
            raise SessionError(
                f"No instance of {name} was left running at this daemon by a dead kernel; "
                f"what was left: {', '.join(running) or 'nothing'}"
            )
        return self._start(
            AdoptedCluster(
                self._core,
                self._core.new_id(),
                service_class,
                payload=payload,
                num_instances=None,
                instance_params=instance_params,
                expiration=None,
                network=None,
                network_addresses=None,
                max_cost=None if max_cost is None else amount("max_cost", max_cost),
            )
        )

    @named
    def create_network(
        self,
        ip: str,
        *,
        owner_ip: str | None = None,
        mask: str | None = None,
        gateway: str | None = None,
    ) -> SessionNetwork:
        """Create a VPN for clusters.

        Parameters
        ----------
        ip
            Address of the network, IPv4, such as ``"192.168.0.0/24"``.
        owner_ip
            The requestor's address in it; the first one by default.
        mask
            Netmask, only if it is not part of `ip`.
        gateway
            Address of the gateway.
        """
        options = {"owner_ip": owner_ip, "mask": mask, "gateway": gateway}
        return self._wait(self._create_network(ip, options), keep=True)

    def _tries(self, wanted: int) -> int:
        most = self._core.settings.max_tries
        return wanted if most is None else min(wanted, most)

    def _start(self, handle: H) -> H:
        self._core.start(handle)
        return handle

    @property
    def aio(self) -> AsyncFace:
        """The blocking methods, to be awaited: ``await session.aio.offers()``."""
        return AsyncFace(self)

    async def _create_network(self, ip: str, options: Mapping[str, Any]) -> SessionNetwork:
        await self._core.ready()
        return SessionNetwork(self._core, await self._core.golem.create_network(ip, **options))

    # -- faces --------------------------------------------------------------------------------------------

    def facts(self) -> SessionFacts:
        """Return where it stands, for its card."""
        return session_facts(self._core)

    def __repr__(self) -> str:
        return session_text(self.facts())

    def _repr_html_(self) -> str:
        return session_html(self.facts())

    def _ipython_display_(self) -> None:
        self._core.desk.card().show()

    # -- the end ------------------------------------------------------------------------------------------

    def stop(self, wait_for_payments: bool = True) -> Bill:
        """End everything, pay what is owed, release the rest of the budget; returns the bill.

        Only instances that are suspended go on: the rest of the budget stays reserved for them, see
        `ClusterHandle.suspend_instance`.

        Parameters
        ----------
        wait_for_payments
            Wait for the invoices of what was used, half a minute at most.

        Examples
        --------
        >>> print(session.stop())
        """
        if self._bill is None:
            try:
                self._core.portal.wait(
                    self._close(wait_for_payments),
                    keep=True,
                    notice=lambda: STILL_STOPPING,
                )
            except (SessionClosedError, concurrent.futures.CancelledError):
                # its thread ends as soon as the first of those who stop it knows that it is over
                if self._bill is None:
                    raise
        # not only by who has waited to the end: that may have been interrupted
        self._core.thread.close()
        assert self._bill is not None
        return self._bill

    async def _stop(self, wait_for_payments: bool = True) -> Bill:
        if self._bill is None:
            try:
                await self._core.portal.call(
                    self._close(wait_for_payments), keep=True, notice=lambda: STILL_STOPPING
                )
            except SessionClosedError:
                if self._bill is None:
                    raise
        await asyncio.to_thread(self._core.thread.close)
        assert self._bill is not None
        return self._bill

    async def _close(self, wait_for_payments: bool) -> None:
        # whoever stops waiting for it, and asks again, waits for the same end
        if self._closing is None:
            self._closing = asyncio.create_task(
                self._close_once(wait_for_payments), name="end of the session"
            )
        await asyncio.shield(self._closing)

    async def _close_once(self, wait_for_payments: bool) -> None:
        try:
            await self._core.close(wait_for_payments)
        finally:
            self._bill = Bill.of(self._core)
            self._core.watchdog.close()
            await asyncio.to_thread(self._core.desk.end)
            self._forget()

    def __enter__(self) -> Session:
        self._wait_for_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Session:
        await self._core.portal.call(self._starting, keep=True, notice=lambda: STILL_STARTING)
        self._core.check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _last_words(self) -> None:
        if self._closing is None:
            await self._core.abandon()
        else:
            await asyncio.shield(self._closing)

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        logger.warning("%s", text)
        if in_notebook():
            self._core.portal.tell(text)


def _end(sessions: Sequence[Session]) -> None:
    """End what sessions have running, all at the same time, in `AT_EXIT` seconds at most."""
    ends = []
    for session in sessions:
        with contextlib.suppress(Exception):
            ends.append(session._core.portal.start(session._last_words()))
    concurrent.futures.wait(ends, AT_EXIT)
    for session in sessions:
        with contextlib.suppress(Exception):
            session._core.book.close_now(abandoned=True)


atexit.register(lambda: _end(list(_living.values())))

if hasattr(os, "register_at_fork"):
    # a forked child has none of the threads: its end must not wait for them, nor end what is its parent's
    os.register_at_fork(after_in_child=_living.clear)


def _check_service_class(given: object) -> None:
    from golem_nb.services import Service  # loaded only by those who have services
    from golem_nb.services.handlers import check_handlers

    if not (isinstance(given, type) and issubclass(given, Service)):
        raise TypeError(f"the first argument must be a subclass of Service, not {given!r:.100}")
    check_handlers(given)


def _items(data: Iterable[Any]) -> list[Any]:
    if isinstance(data, str | bytes | Path):
        raise TypeError(
            f"`data` must be several items, such as a list, not {data!r:.100}: put it into a list"
        )
    try:
        return list(data)
    except TypeError:
        raise TypeError(f"`data` must be several items, such as a list, not {data!r:.100}") from None


def _batch_limits(
    max_workers: int, timeout: float | timedelta, max_tries: int, max_cost: float | str | Decimal | None
) -> dict[str, Any]:
    return {
        "max_workers": count("max_workers", max_workers),
        "timeout": duration("timeout", timeout),
        "max_tries": count("max_tries", max_tries),
        "max_cost": None if max_cost is None else amount("max_cost", max_cost),
    }


def _use_their_registry() -> None:
    """Let ``await vm.repo(...)`` in a cell find the images of the network of all living sessions."""
    registries = {session._core.registry for session in list(_living.values())}
    use_registry(registries.pop() if len(registries) == 1 else None)


def _wait_for_end(session: Session | None) -> None:
    """Wait for a session that is being stopped, as after a stop whose waiting was interrupted.

    Raises
    ------
    SessionClosedError
        It may not be waited for here.
    """
    if session is None or not session.stopped:
        return
    if not _may_wait():
        raise SessionClosedError(
            f"The session {session.name!r} is just being stopped: wait for that with `await "
            f"Session.living({session.name!r}).aio.stop()`, or give the new one another `name`"
        )
    session.stop()


def _may_wait() -> bool:
    """Whether this thread may be blocked for a moment: it runs no loop, or it is a notebook's cell."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return in_notebook()
