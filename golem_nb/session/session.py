"""The session: what a notebook works with."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from golem_nb.log import get_logger
from golem_nb.payload import vm
from golem_nb.session.batch import Batch
from golem_nb.session.bill import Bill
from golem_nb.session.commands import CommandWork
from golem_nb.session.core import Core
from golem_nb.session.errors import SessionChangedError, SessionClosedError, SessionError
from golem_nb.session.jobs import Jobs
from golem_nb.session.keywords import named
from golem_nb.session.mapping import RESULT_LIMIT, MapWork
from golem_nb.session.meter import Money
from golem_nb.session.places import LOCAL
from golem_nb.session.settings import Settings, amount

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork
    from golem_nb.payload import Payload
    from golem_nb.strategy import BaseMarketStrategy

__all__ = ["Session"]

logger = get_logger(__name__)

T = TypeVar("T")

#: Everything is ended within so many seconds when the process ends; kernels are killed 2.5 s after that.
AT_EXIT = 1.8

#: The kernel's own interpreter and packages, as local networks have them.
PYTHON_IMAGE = "golem_nb/python:latest"

DEFAULT_WORKERS = 5
DEFAULT_TRIES = 3
DEFAULT_TIMEOUT = timedelta(minutes=15)

_living: dict[str, Session] = {}
_lock = threading.Lock()


class Session:
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
    ['x86_64\\n']
    >>> session.stop()

    In a coroutine::

        async with Session(budget=1) as session:
            job = session.run("uname -m", payload=vm.repo(image_tag="golem/alpine:latest"))
            print(await job)
    """

    _core: Core

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
        name: str = "default",
    ) -> Session:
        settings = Settings.read(name, budget, network, subnet, strategy, providers, max_price)
        with _lock:
            living = _living.get(name)
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
        session._wait_for_start()
        return session

    def _begin(self, settings: Settings) -> None:
        self._warnings: list[str] = []
        self._bill: Bill | None = None
        self._core = Core(settings, self._warn)
        self._starting = self._core.portal.start(self._core.open())
        self._starting.add_done_callback(lambda _: self._forget_if_failed())
        atexit.register(self._at_exit)

    def _wait_for_start(self) -> None:
        """Wait until it is started, where that may be waited for; elsewhere the first use does."""
        if not _may_wait():
            return
        try:
            self._core.portal.wait(
                self._core.ready(),
                notice=lambda: "Interrupted. The session goes on starting: the same call waits for it again.",
            )
        except SessionClosedError as error:
            cause = error.__cause__
            raise (error if cause is None else cause) from None

    def _forget_if_failed(self) -> None:
        if self._starting.cancelled() or self._starting.exception() is not None:
            self._forget()
            self._core.watchdog.close()
            # not from the thread itself, which is ending this call
            threading.Thread(target=self._core.thread.close, name="golem-session-end", daemon=True).start()

    def _forget(self) -> None:
        with _lock:
            if _living.get(self.name) is self:
                del _living[self.name]
        atexit.unregister(self._at_exit)

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
            raise SessionClosedError(f"There is no session named {name!r}; living ones: {known}")
        return session

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
    def jobs(self) -> Jobs:
        """All jobs of the session, by their ids."""
        return Jobs(self._core.handles)

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
        >>> job = session.run("wc -w /golem/input/{}", list(Path("poems").glob("*.txt")), payload=alpine)
        >>> job.result()
        ['  218 /golem/input/a.txt\\n', '  97 /golem/input/b.txt\\n']
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
            **_batch_limits(max_workers, timeout, max_tries, max_cost),
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
        work = MapWork(function, trusted=trust_results, limit=max_result)
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
            f"{name} of {len(data)} items",
            work,
            data,
            payload=payload,
            **_batch_limits(max_workers, timeout, max_tries, max_cost),
        )
        return self._start(batch)

    def _start(self, handle: T) -> T:
        self._core.start(handle)  # type: ignore[arg-type]
        return handle

    # -- the end ------------------------------------------------------------------------------------------

    def stop(self, wait_for_payments: bool = True) -> Bill:
        """End everything, pay what is owed, release the rest of the budget; returns the bill.

        Parameters
        ----------
        wait_for_payments
            Wait for the invoices of what was used, half a minute at most.

        Examples
        --------
        >>> print(session.stop())
        """
        if self._bill is None:
            self._core.portal.wait(
                self._close(wait_for_payments),
                keep=True,
                notice=lambda: "Stopped waiting. The session goes on stopping; stop() waits for it again.",
            )
            self._core.thread.close()
        assert self._bill is not None
        return self._bill

    async def _stop(self, wait_for_payments: bool = True) -> Bill:
        if self._bill is None:
            await self._core.portal.call(self._close(wait_for_payments), keep=True)
            await asyncio.to_thread(self._core.thread.close)
        assert self._bill is not None
        return self._bill

    async def _close(self, wait_for_payments: bool) -> None:
        await self._core.close(wait_for_payments)
        if self._bill is None:
            self._bill = Bill.of(self._core)
        self._core.watchdog.close()
        self._forget()

    def __enter__(self) -> Session:
        self._wait_for_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Session:
        await self._core.portal.call(self._core.ready())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def _at_exit(self) -> None:
        with contextlib.suppress(Exception):
            self._core.portal.wait(self._core.abandon(), AT_EXIT)
        with contextlib.suppress(Exception):
            self._core.book.close_now()

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        logger.warning("%s", text)


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
    for name, value in (("max_workers", max_workers), ("max_tries", max_tries)):
        if isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be at least 1, not {value!r}")
    time = timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)
    if time <= timedelta(0):
        raise ValueError(f"timeout must be positive, not {timeout}")
    return {
        "max_workers": max_workers,
        "timeout": time,
        "max_tries": max_tries,
        "max_cost": None if max_cost is None else amount("max_cost", max_cost),
    }


def _may_wait() -> bool:
    """Whether this thread may be blocked for a moment: it runs no loop, or it is a notebook's cell."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
