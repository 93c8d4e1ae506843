"""The main entry point: one budget, one market strategy, any number of jobs."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

from golem_nb import events
from golem_nb.config import ApiConfig
from golem_nb.engine import Engine, NullJournal
from golem_nb.engine.dispatcher import EventDispatcher
from golem_nb.events import Event, ExecutionInterrupted, ShutdownFinished
from golem_nb.executor import Executor
from golem_nb.log import log_event_repr, log_summary
from golem_nb.strategy import default_strategy

if TYPE_CHECKING:
    from types import TracebackType

    from golem_nb.engine import Journal
    from golem_nb.executor import Task
    from golem_nb.executor.executor import WorkerFunction
    from golem_nb.executor.queue import TaskSource
    from golem_nb.payload import Payload
    from golem_nb.strategy import BaseMarketStrategy

__all__ = ["Golem"]

D = TypeVar("D")
R = TypeVar("R")

DEFAULT_SUBNET = "public"
DEFAULT_DRIVER = "erc20"
DEFAULT_NETWORK = "hoodi"


class _Done(Awaitable[None]):
    """Nothing to wait for: lets ``await golem.add_event_consumer(...)`` of published examples work."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


class Golem:
    """Runs tasks and services of a requestor.

    Use it as a context manager, or call `start` and `stop`. One at a time is usually enough: it runs any
    number of jobs.

    Parameters
    ----------
    budget
        The most that is spent, GLM. It is reserved at the start and what is left is released at the end.
    strategy
        Chooses providers and terms; by default the cheapest for a minute of computation, within price limits.
    subnet_tag
        Only providers of this subnet. YAGNA_SUBNET if None, else ``"public"``.
    payment_driver
        YAGNA_PAYMENT_DRIVER if None, else ``"erc20"``.
    payment_network
        YAGNA_PAYMENT_NETWORK if None, else ``"hoodi"``, a test network.
    event_consumer
        Called with every event; by default events are logged, with a summary.
    stream_output
        Take the output of commands while it is written, as `CommandStdOut` and `CommandStdErr` events.
    api_config
        Address and key of the daemon; by default from YAGNA_APPKEY and YAGNA_API_URL.
    app_key
        Deprecated: use `api_config`.

    Raises
    ------
    MissingConfiguration
        There is no application key.
    ValueError
        The budget is not a positive number.

    Examples
    --------
    ::

        async with Golem(budget=1) as golem:
            payload = await vm.repo(image_tag="golem/alpine:latest")
            async for task in golem.execute_tasks(worker, [Task(data=1)], payload):
                print(task.result)
    """

    def __init__(
        self,
        *,
        budget: float | Decimal,
        strategy: BaseMarketStrategy | None = None,
        subnet_tag: str | None = None,
        payment_driver: str | None = None,
        payment_network: str | None = None,
        event_consumer: Callable[[Event], None] | None = None,
        stream_output: bool = False,
        api_config: ApiConfig | None = None,
        app_key: str | None = None,
    ) -> None:
        self._budget = _amount(budget)
        if app_key is not None:
            warnings.warn(
                "Parameter `app_key` is deprecated since version 0.11, "
                "please use parameter `api_config` instead.",
                DeprecationWarning,
                stacklevel=2,
            )
        self._api_config = api_config or ApiConfig(app_key=app_key)
        self._subnet_tag = subnet_tag or os.environ.get("YAGNA_SUBNET") or DEFAULT_SUBNET
        self._driver = (payment_driver or os.environ.get("YAGNA_PAYMENT_DRIVER") or DEFAULT_DRIVER).lower()
        self._network = (
            payment_network or os.environ.get("YAGNA_PAYMENT_NETWORK") or DEFAULT_NETWORK
        ).lower()
        self._stream_output = stream_output
        self._dispatcher = EventDispatcher()
        self._engine: Engine | None = None
        self._journal: Journal = NullJournal()
        if strategy is None:
            strategy = default_strategy()
            self.add_event_consumer(strategy.on_event)
        self._strategy = strategy
        self.add_event_consumer(event_consumer or log_summary(log_event_repr))

    def __repr__(self) -> str:
        state = "operative" if self.operative else "not operative"
        platform = f"{self._driver}/{self._network}"
        return f"<Golem {state}, budget {self._budget} on {platform}, subnet {self._subnet_tag}>"

    @property
    def payment_driver(self) -> str:
        """Name of the payment driver."""
        return self._driver

    @property
    def payment_network(self) -> str:
        """Name of the payment network."""
        return self._network

    @property
    def subnet_tag(self) -> str | None:
        """Subnet of the providers."""
        return self._subnet_tag

    @property
    def operative(self) -> bool:
        """Whether the engine is running."""
        return self._engine is not None

    @property
    def strategy(self) -> BaseMarketStrategy:
        """The market strategy; can be replaced while the engine is not running."""
        return self._strategy

    @strategy.setter
    def strategy(self, strategy: BaseMarketStrategy) -> None:
        if self.operative:
            raise AttributeError("The strategy of a running Golem cannot be replaced: stop it first")
        self._strategy = strategy

    @property
    def journal(self) -> Journal:
        """Is told of everything that reserves or ends something before the daemon is; nobody by default."""
        return self._journal

    @journal.setter
    def journal(self, journal: Journal) -> None:
        if self.operative:
            raise AttributeError("The journal of a running Golem cannot be replaced: stop it first")
        self._journal = journal

    def add_event_consumer(
        self,
        event_consumer: Callable[[Any], Any],
        event_classes_or_names: Iterable[type[Event] | str] = (Event,),
    ) -> Awaitable[None]:
        """Let another consumer have events.

        Events reach it in order, one at a time. What it raises is logged and does no harm; what it returns
        is awaited if it
        can be.

        Parameters
        ----------
        event_consumer
            Called with each event.
        event_classes_or_names
            Classes of the events that it wants, or their names in `golem_nb.events`.

        Returns
        -------
        Awaitable
            Does nothing: the consumer is in place at once.

        Raises
        ------
        ValueError
            There is no event class of that name.
        """
        self._dispatcher.add(event_consumer, tuple(_event_class(item) for item in event_classes_or_names))
        return _Done()

    async def start(self) -> None:
        """Start the engine; does nothing if it is running.

        Raises
        ------
        ApiError
            The daemon cannot be reached, or refuses.
        NoPaymentAccountError, InsufficientFundsError
            The budget cannot be reserved.
        """
        if self._engine is not None:
            return
        self._engine = Engine(
            budget=self._budget,
            strategy=self._strategy,
            subnet_tag=self._subnet_tag,
            payment_driver=self._driver,
            payment_network=self._network,
            dispatcher=self._dispatcher,
            stream_output=self._stream_output,
            api_config=self._api_config,
            journal=self._journal,
        )
        self._dispatcher.start()
        try:
            await self._engine.start()
        except BaseException:
            await self._stop(wait_for_payments=False, exc_info=sys.exc_info())
            raise

    async def stop(self, wait_for_payments: bool = True) -> None:
        """End all jobs, pay what is owed, release the rest; does nothing if it is not running.

        Parameters
        ----------
        wait_for_payments
            Wait for the invoices of what was used, half a minute at most.
        """
        await self._stop(wait_for_payments=wait_for_payments, exc_info=(None, None, None))

    async def __aenter__(self) -> Golem:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self._stop(wait_for_payments=True, exc_info=(exc_type, exc_val, exc_tb))

    async def execute_tasks(
        self,
        worker: WorkerFunction,
        data: TaskSource,
        payload: Payload,
        max_workers: int | None = None,
        timeout: timedelta | None = None,
        job_id: str | None = None,
        implicit_init: bool = True,
    ) -> AsyncGenerator[Task[Any, Any], None]:
        """Compute tasks on providers; yields each task as soon as the worker has accepted its result.

        Parameters
        ----------
        worker
            Async generator function: takes a `WorkContext` and the tasks for it, yields scripts, accepts
            results.
        data
            The tasks, from an iterable or an async one; it is read as workers become free.
        payload
            What the providers must offer, for example ``await vm.repo(...)``.
        max_workers
            Most workers at the same time, 5 by default.
        timeout
            Time for all tasks, 15 minutes by default.
        job_id
            Name of the job in events.
        implicit_init
            Send ``deploy()`` and ``start()`` before the worker's first script; if False the worker does.

        Raises
        ------
        JobTimeoutError
            Time is up; what was finished has been yielded.
        TasksFailedError
            Tasks have failed on five agreements each; the finished ones have been yielded.
        RuntimeError
            The engine is not running.
        """
        if inspect.isawaitable(payload):
            payload = await payload
        executor = Executor(
            _engine=self._running(), payload=payload, max_workers=max_workers, timeout=timeout
        )
        async with aclosing(executor.submit(worker, data, job_id, implicit_init)) as tasks:
            async for task in tasks:
                yield task

    def _running(self) -> Engine:
        if self._engine is None:
            raise RuntimeError(
                "Golem is not running: use `async with Golem(...) as golem`, or `await golem.start()`"
            )
        return self._engine

    async def _stop(self, *, wait_for_payments: bool, exc_info: Any) -> None:
        engine = self._engine
        if engine is None:
            return
        try:
            if exc_info[1] is not None:
                self._dispatcher.emit(ExecutionInterrupted(exc_info=exc_info))
            await engine.stop(wait_for_payments)
        except asyncio.CancelledError:
            # the waiting was cancelled, not the engine: it goes on ending things, and may be waited for again
            raise
        except BaseException as error:
            self._dispatcher.emit(ShutdownFinished(exc_info=(type(error), error, error.__traceback__)))
            self._engine = None
            await self._dispatcher.stop()
            raise
        else:
            self._dispatcher.emit(ShutdownFinished())
        self._engine = None
        await self._dispatcher.stop()


def _amount(budget: float | Decimal) -> Decimal:
    try:
        amount = Decimal(str(budget))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(budget, bool) or not amount.is_finite() or amount <= 0:
        raise ValueError(f"budget must be a positive number of GLM, not {budget!r}")
    return amount


def _event_class(item: type[Event] | str) -> type[Event]:
    if isinstance(item, str):
        found = getattr(events, item, None)
        if not (isinstance(found, type) and issubclass(found, Event)):
            raise ValueError(f"There is no event class {item!r} in golem_nb.events")
        return found
    return item
