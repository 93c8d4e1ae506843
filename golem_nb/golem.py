"""The main entry point: one budget, one market strategy, any number of jobs."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from golem_nb import arguments, events
from golem_nb.config import ApiConfig
from golem_nb.engine import Engine, NullJournal
from golem_nb.engine.dispatcher import EventDispatcher
from golem_nb.events import Event, ExecutionInterrupted, ShutdownFinished
from golem_nb.executor import Executor
from golem_nb.log import get_logger, log_event_repr, log_summary
from golem_nb.payload import Payload
from golem_nb.rest.errors import ApiError
from golem_nb.strategy import BaseMarketStrategy, default_strategy

if TYPE_CHECKING:
    from types import TracebackType

    from golem_nb.engine import Journal
    from golem_nb.executor import Task
    from golem_nb.executor.executor import WorkerFunction
    from golem_nb.executor.queue import TaskSource
    from golem_nb.network import Network, NetworkSerialization
    from golem_nb.services import Cluster, Service, ServiceSerialization, ServiceType

__all__ = ["Golem"]

logger = get_logger(__name__)

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
    TypeError
        An argument is not what it has to be.

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
        self._budget = arguments.amount("budget", budget)
        if app_key is not None:
            warnings.warn(
                "Parameter `app_key` is deprecated since version 0.11, "
                "please use parameter `api_config` instead.",
                DeprecationWarning,
                stacklevel=2,
            )
        if api_config is not None and not isinstance(api_config, ApiConfig):
            # what was given is not shown: the application key may be in it
            raise TypeError(
                "api_config must be an ApiConfig, such as ApiConfig(app_key=..., api_url=...), "
                f"not a {type(api_config).__name__}"
            )
        self._api_config = api_config or ApiConfig(app_key=app_key)
        self._subnet_tag = _setting("subnet_tag", subnet_tag, "YAGNA_SUBNET", DEFAULT_SUBNET)
        self._driver = _setting(
            "payment_driver", payment_driver, "YAGNA_PAYMENT_DRIVER", DEFAULT_DRIVER
        ).lower()
        self._network = _setting(
            "payment_network", payment_network, "YAGNA_PAYMENT_NETWORK", DEFAULT_NETWORK
        ).lower()
        self._stream_output = stream_output
        self._dispatcher = EventDispatcher()
        self._engine: Engine | None = None
        #: what a stop has to do, and what the next one has to tell: whoever waits for one may be cancelled
        self._ending: asyncio.Task[None] | None = None
        self._suspended: list[ServiceSerialization] = []
        self._untold: Exception | None = None
        self._starting = asyncio.Lock()
        self._journal: Journal = NullJournal()
        self._clusters: list[Cluster[Any]] = []
        self._networks: list[Network] = []
        if strategy is None:
            strategy = default_strategy()
            self.add_event_consumer(strategy.on_event, strategy.EVENTS)
        self._strategy = _checked_strategy(strategy)
        self.add_event_consumer(log_summary(log_event_repr) if event_consumer is None else event_consumer)

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
        self._strategy = _checked_strategy(strategy)

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
        event_classes_or_names: Iterable[type[Event] | str] | type[Event] | str = (Event,),
    ) -> Awaitable[None]:
        """Let another consumer have events.

        Events reach it in order, one at a time. What it raises is logged and does no harm; what it returns
        is awaited if it can be.

        Parameters
        ----------
        event_consumer
            Called with each event.
        event_classes_or_names
            Classes of the events that it wants, or their names in `golem_nb.events`; one of them may stand
            alone.

        Returns
        -------
        Awaitable
            Does nothing: the consumer is in place at once.

        Raises
        ------
        ValueError
            There is no event class of that name.
        TypeError
            The consumer cannot be called, or a class is not one of events.
        """
        if not callable(event_consumer):
            raise TypeError(f"event_consumer must be a function of an event, not {event_consumer!r}")
        wanted = event_classes_or_names
        if isinstance(wanted, str | type):
            wanted = (wanted,)
        self._dispatcher.add(event_consumer, tuple(map(_event_class, wanted)))
        return _Done()

    async def start(self) -> None:
        """Start the engine; does nothing if it is running.

        Raises
        ------
        ApiError
            The daemon cannot be reached, or refuses.
        DaemonTooOldError
            The daemon is of a release that this package cannot talk to.
        NoPaymentAccountError, InsufficientFundsError
            The budget cannot be reserved.
        """
        async with self._starting:  # who comes second waits for the same start
            if self._ending is not None:
                await asyncio.wait({self._ending})
            if self._engine is None:
                if self._untold is not None:
                    logger.error("%s", self._untold)  # of a stop that nobody waited for
                    self._untold = None
                await self._start()

    async def _start(self) -> None:
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
        self._engine.last_words = self._remove_networks
        self._dispatcher.start()
        try:
            await self._engine.start()
        except BaseException:
            await self._stop(wait_for_payments=False, exc_info=sys.exc_info())
            raise

    async def stop(self, wait_for_payments: bool = True) -> list[ServiceSerialization]:
        """End all jobs, pay what is owed, release the rest; does nothing if it is not running.

        A daemon that does not answer any more is given up after 20 seconds; an error in the log says what is
        left on it. Suspended services go on, with the reservation of the budget, until they are resumed or
        their agreements expire.

        Parameters
        ----------
        wait_for_payments
            Wait for the invoices of what was used, half a minute at most.

        Returns
        -------
        list
            Handles of the suspended services, JSON data for `resume_service`; empty where there are none.

        Raises
        ------
        BudgetExceededError
            The last invoices did not fit into the budget, and no job was running any more that could have
            raised it. Everything is ended all the same. (With suspended services it is logged instead.)
        """
        return await self._stop(wait_for_payments=wait_for_payments, exc_info=(None, None, None))

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
        timeout: timedelta | float | None = None,
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
            Time for all tasks, as a `timedelta` or in seconds; 15 minutes by default.
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
        engine = self._running()
        payload = _checked_payload(await _awaited(payload))
        executor = Executor(_engine=engine, payload=payload, max_workers=max_workers, timeout=timeout)
        async with aclosing(executor.submit(worker, data, job_id, implicit_init)) as tasks:
            async for task in tasks:
                yield task

    async def run_service(
        self,
        service_class: type[ServiceType],
        num_instances: int | None = None,
        instance_params: Iterable[Mapping[str, Any]] | None = None,
        payload: Payload | None = None,
        expiration: datetime | None = None,
        network: Network | None = None,
        network_addresses: Sequence[str] | None = None,
    ) -> Cluster[ServiceType]:
        """Run a number of instances of a service represented by a given `Service` subclass.

        Parameters
        ----------
        service_class
            What is run.
        num_instances
            How many; as many as there are `instance_params`, or one. With fewer than one the cluster is
            empty.
        instance_params
            Keyword arguments for the ``__init__`` of consecutive instances.
        payload
            What the providers must offer; by default what ``service_class.get_payload()`` returns.
        expiration
            When the agreements expire; in three hours by default.
        network
            VPN to attach the instances to.
        network_addresses
            Addresses of consecutive instances in the network; those for which none is given get the next
            free one.

        Returns
        -------
        Cluster
            Its instances are being started.

        Raises
        ------
        ValueError
            There is no payload, or two different ones; fewer `instance_params` than instances; addresses
            without a network; or the expiration is over.
        NetworkError
            An address makes no sense, is outside of the network or taken, or there is none left.
        WorkerFunctionError
            A handler of the class is no async generator function, and can give no async generator either.
        RuntimeError
            The engine is not running.

        Examples
        --------
        ::

            cluster = await golem.run_service(DateService, num_instances=2)
            while not all(s.state == ServiceState.running for s in cluster.instances):
                await asyncio.sleep(1)
        """
        from golem_nb.services import Cluster  # loaded only by those who have services

        engine = self._running()
        if network_addresses and network is None:
            raise ValueError("`network_addresses` provided without a `network`.")
        if expiration is not None:
            expiration = arguments.future("expiration", expiration)
        payload = await _payload(service_class, payload)
        cluster = Cluster(engine, service_class, payload, expiration, network)
        cluster.spawn_instances(num_instances, instance_params, network_addresses)
        self._clusters.append(cluster)
        return cluster

    async def resume_service(
        self,
        service_class: type[ServiceType],
        instances: Sequence[ServiceSerialization],
        payload: Payload | None = None,
        expiration: datetime | None = None,
        network: Network | None = None,
        instance_params: Iterable[Mapping[str, Any]] | None = None,
    ) -> Cluster[ServiceType]:
        """Take up suspended instances, possibly of another process, on their activities.

        The reservation that was kept for them is released, since this Golem's budget pays for them now: take
        up all that one Golem has left at once, and once only. A second time is refused within one process;
        two processes must not take up the same instances, and see nothing of each other: each would end
        under the other what it ends itself.

        Parameters
        ----------
        service_class
            What they are.
        instances
            Their handles, from `stop` or `Service.serialize`. They are looked at, and the daemon is asked
            about them, before anything is changed.
        payload
            What providers must offer on which instances are restarted; by default what
            ``service_class.get_payload()`` returns.
        expiration
            When new agreements expire; by default when the old ones do.
        network
            Their network, from `resume_network`; without it they go on without an address.
        instance_params
            Keyword arguments for the ``__init__`` of each.

        Raises
        ------
        ServiceResumeError
            An agreement or an activity has ended in the meantime, they do not belong together, the instance
            is in another network, or was taken up already. Nothing was resumed then.
        ValueError
            A handle lacks something or has what makes no sense, two are of one instance, or there is none.
        """
        from golem_nb.services import Cluster  # loaded only by those who have services
        from golem_nb.services.handles import read_handles

        engine = self._running()
        handles = read_handles(instances)
        if expiration is None:
            expiration = max(handle.expiration for handle in handles)
        payload = await _payload(service_class, payload)
        cluster = Cluster(engine, service_class, payload, expiration, network)
        await cluster.resume_instances(handles, instance_params)
        self._clusters.append(cluster)
        return cluster

    async def create_network(
        self,
        ip: str,
        owner_ip: str | None = None,
        mask: str | None = None,
        gateway: str | None = None,
    ) -> Network:
        """Create a VPN inside Golem network.

        It is removed when it is left as a context manager, or when this Golem is stopped.

        Parameters
        ----------
        ip
            Address of the network, IPv4. May contain a netmask, e.g. ``"192.168.0.0/24"``.
        owner_ip
            The desired address of the requestor within the network; the first one by default.
        mask
            Netmask, only if it is not part of `ip`.
        gateway
            Address of the gateway within the network.

        Raises
        ------
        NetworkError
            An address makes no sense, is not one of the network, or is taken.
        RuntimeError
            The engine is not running.
        """
        from golem_nb.network import Network  # loaded only by those who have networks

        engine = self._running()
        network = await Network.create(engine.net, ip, engine.node_id, owner_ip, mask, gateway)
        self._networks.append(network)
        return network

    async def resume_network(self, network: NetworkSerialization) -> Network:
        """Take up the network of suspended services.

        Parameters
        ----------
        network
            From `Network.serialize`, or the ``"network"`` of a service's handle.

        Raises
        ------
        NetworkError
            It lacks something, has what makes no sense, or is not the network that the daemon knows.
        NotFoundError
            The daemon does not know it any more.
        """
        from golem_nb.network import Network  # loaded only by those who have networks

        resumed = await Network.deserialize(self._running().net, network)
        self._networks.append(resumed)
        return resumed

    def _running(self) -> Engine:
        if self._engine is None or self._starting.locked():
            raise RuntimeError(
                "Golem is not running: use `async with Golem(...) as golem`, or `await golem.start()`"
            )
        return self._engine

    async def _stop(self, *, wait_for_payments: bool, exc_info: Any) -> list[ServiceSerialization]:
        if self._engine is not None and exc_info[1] is not None:
            self._dispatcher.emit(ExecutionInterrupted(exc_info=exc_info))
        if self._engine is not None:
            self._engine.stop(wait_for_payments)
            if self._ending is None:
                self._ending = asyncio.create_task(self._end(self._engine), name="golem_nb stop")
        if self._ending is not None:
            # whoever waits may be cancelled: everything is ended all the same, and told to who stops it next
            await asyncio.shield(self._ending)
        suspended, self._suspended = self._suspended, []
        untold, self._untold = self._untold, None
        if untold is not None:
            if exc_info[1] is not None:
                exc_info[1].add_note(str(untold))  # what is on its way already must not be hidden
            elif suspended:
                logger.error("%s", untold)  # raised, it would cost the handles
            else:
                raise untold
        return suspended

    async def _end(self, engine: Engine) -> None:
        """Wait for the end of an engine, tell the consumers, and let them go."""
        try:
            try:
                await engine.ended()
            except asyncio.CancelledError:
                raise  # the loop is torn down
            except BaseException as error:
                self._dispatcher.emit(ShutdownFinished(exc_info=(type(error), error, error.__traceback__)))
                self._engine = None
                await self._dispatcher.stop()
                raise
            self._suspended += [handle for cluster in self._clusters for handle in cluster.suspended()]
            self._untold = untold = engine.untold
            told = (type(untold), untold, untold.__traceback__) if untold is not None else None
            self._dispatcher.emit(ShutdownFinished(exc_info=told))
            self._engine = None
            self._clusters.clear()
            await self._dispatcher.stop()
        finally:
            self._ending = None

    async def _remove_networks(self) -> None:
        """Remove what networks are left, but for those of suspended services."""
        kept = {
            service.network
            for cluster in self._clusters
            for service in cluster.instances
            if service.network_node is not None
        }
        for network in self._networks:
            if network not in kept:
                try:
                    await network.remove()
                except ApiError as error:
                    logger.warning("%r could not be removed: %s", network, error)
        self._networks.clear()


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _payload(service_class: type[Service], payload: Payload | None) -> Payload:
    """The payload of a service: the one that was given, or its own."""
    # what the helpers of `vm` return may be given without `await`
    own: Payload | None = await _awaited(await service_class.get_payload())
    given: Payload | None = await _awaited(payload)
    name = service_class.__name__
    chosen = own if given is None else given
    if chosen is None:
        raise ValueError(
            f"No payload returned from {name}.get_payload() nor given in the `payload` argument."
        )
    if own is not None and own != chosen:
        raise ValueError(
            f"The `payload` argument is not what {name}.get_payload() returns: leave one of them out."
        )
    return _checked_payload(chosen)


def _checked_payload(payload: object) -> Payload:
    return arguments.instance("payload", payload, Payload, "a Payload, such as vm.repo(image_tag=...)")


def _checked_strategy(strategy: object) -> BaseMarketStrategy:
    wanted = "a market strategy, such as LeastExpensiveLinearPayuMS()"
    return arguments.instance("strategy", strategy, BaseMarketStrategy, wanted)  # type: ignore[type-abstract]


def _setting(name: str, given: str | None, variable: str, default: str) -> str:
    if given is not None:
        arguments.instance(name, given, str, "a text")
    return given or os.environ.get(variable) or default


def _event_class(item: object) -> type[Event]:
    if isinstance(item, str):
        found = getattr(events, item, None)
        if not (isinstance(found, type) and issubclass(found, Event)):
            raise ValueError(f"There is no event class {item!r} in golem_nb.events")
        return found
    if not (isinstance(item, type) and issubclass(item, Event)):
        raise TypeError(
            f"event_classes_or_names must be classes of golem_nb.events, or their names, not {item!r}"
        )
    return item
