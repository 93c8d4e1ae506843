"""Clusters of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb import arguments
from golem_nb.engine.charges import LinearPrice
from golem_nb.events import ServiceFinished, ServiceStateChanged
from golem_nb.log import get_logger, pluralize
from golem_nb.session.choice import hourly
from golem_nb.session.errors import ClusterError, JobCancelledError, SessionError
from golem_nb.session.handle import Handle, JobState, Progress
from golem_nb.session.networks import SessionNetwork
from golem_nb.session.payloads import checked_payload
from golem_nb.session.proxies import ClusterProxy
from golem_nb.session.waiting import WaitLine
from golem_nb.ui.faces import cluster_html, cluster_text
from golem_nb.ui.sources import ClusterFacts, InstanceFacts

if TYPE_CHECKING:
    from golem_nb.payload import Payload
    from golem_nb.services import Cluster, Service
    from golem_nb.session.core import Core
    from golem_nb.ui.panel import Panel
    from golem_nb.ui.terminal import Terminal

__all__ = ["ClusterHandle"]

logger = get_logger(__name__)

#: What is suspended is not counted: it is set aside, and not one of those that are wanted.
ALIVE = ("pending", "starting", "running")


@attrs.define
class _History:
    """When an instance got into its state."""

    started: datetime | None = None
    since: datetime | None = None
    error: str | None = None


class ClusterHandle(Handle[Any, list[Any]]):
    """The instances of a service: what `Session.cluster` returns.

    ``await cluster`` and `result` wait until as many instances run as are wanted, and give the instances;
    ``async for`` gives each one when it runs. Its actions are safe from any thread.

    Examples
    --------
    >>> cluster = session.cluster(WebService, num_instances=2)
    >>> for instance in cluster.result(timeout=60):
    ...     print(instance.provider_name, instance.network_node)
    >>> cluster.stop()
    """

    kind = "cluster"

    def __init__(
        self,
        core: Core,
        id: str,
        service_class: type[Service],
        *,
        payload: Payload | Awaitable[Payload] | None,
        num_instances: int | None,
        instance_params: Iterable[Mapping[str, Any]] | None,
        expiration: datetime | None,
        network: SessionNetwork | None,
        network_addresses: Sequence[str] | None,
        max_cost: Decimal | None,
    ) -> None:
        super().__init__(core, id, service_class.__name__)
        self._service_class = service_class
        self._payload = None if payload is None else checked_payload(payload)
        self._params = None if instance_params is None else [dict(entry) for entry in instance_params]
        self._wanted = num_instances if num_instances is not None else len(self._params or [{}])
        self._expiration = None if expiration is None else arguments.future("expiration", expiration)
        self._network = (
            None
            if network is None
            else arguments.instance("network", network, SessionNetwork, "what session.create_network() gives")
        )
        self._addresses = network_addresses
        self.max_cost = max_cost
        self._cluster: Cluster[Any] | None = None
        self._histories: dict[str, _History] = {}
        #: Instances that were stopped, or suspended, and are no longer among those that are wanted.
        self._sent_away: set[str] = set()
        self._proxies: list[ClusterProxy] = []

    # -- what it is ---------------------------------------------------------------------------------------

    @property
    def instances(self) -> list[Any]:
        """All instances, those that have ended included."""
        if self._cluster is None:
            return []
        # one that was taken up again has the id of the one that was suspended, and its place
        return list({instance.id: instance for instance in self._cluster.instances}.values())

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, key: int | str) -> Any:
        instances = self.instances
        if isinstance(key, int):
            return instances[key]
        return self._find(key)

    def _ipython_key_completions_(self) -> list[str]:
        return [instance.id for instance in self.instances]

    @property
    def wanted(self) -> int:
        """How many instances there should be, without those that are suspended."""
        return self._wanted

    @property
    def state(self) -> JobState:
        """Where it stands.

        It is ``"failed"`` also while every instance has ended and was given up after an error, though more
        can be started: then it is ``"running"`` again.
        """
        return "failed" if self._given_up else self._state

    @property
    def error(self) -> BaseException | None:
        """What has ended it early, or what `result` raises; None while it is well."""
        return self._shortage() if self._error is None and self._given_up else self._error

    @property
    def errors(self) -> dict[str, BaseException]:
        """What has ended instances, by their ids."""
        return {
            instance.id: instance.exc_info[1]
            for instance in self.instances
            if instance.exc_info[1] is not None
        }

    @property
    def progress(self) -> Progress:
        """How many instances run; those that have ended by an error count as failed."""
        states = [instance.state.value for instance in self.instances]
        running = states.count("running")
        waiting = max(0, self._wanted - running)
        return Progress(self._wanted, running, len(self.errors), running, waiting, self._seconds, None)

    @property
    def frame(self) -> Any:
        """The states of the instances, with their times: the rows of `Session.services` of this cluster."""
        frame = self._core.recorder.services()
        return frame[frame["job"].isin(self.engine_jobs)].reset_index(drop=True)

    def facts(self) -> ClusterFacts:
        """Return where it stands, for its panel."""
        instances = tuple(self._instance_facts(instance) for instance in self.instances)
        known = [entry.per_hour for entry in instances if entry.per_hour is not None]
        return ClusterFacts(
            name=self._name,
            state="ended" if self.ended else "failed" if self._given_up else "running",
            service=self._title,
            wanted=self._wanted,
            instances=instances,
            cost=self.cost,
            budget_left=self._core.left,
            instance_per_hour=max(known, default=None),
            expires=None if self._cluster is None else self._cluster.expiration,
        )

    def _instance_facts(self, instance: Service) -> InstanceFacts:
        history = self._histories.get(instance.id, _History())
        price = None
        if instance._context:
            price = LinearPrice.agreed(instance._ctx._agreement.details.offer_props)
        error = instance.exc_info[1]
        state = instance.state.value
        sites = [proxy.url for proxy in self._proxies if not proxy.stopped]
        return InstanceFacts(
            id=instance.id,
            state=state,
            provider=instance.provider_name,
            provider_id=instance.provider_id,
            address=None if instance.network_node is None else instance.network_node.ip,
            since=history.since,
            started=history.started,
            per_hour=None if price is None else hourly(price),
            message=None if instance._said is None else str(instance._said.message)[:1000],
            url=sites[-1] if sites and state == "running" else None,
            error=None if error is None else f"{type(error).__name__}: {error}",
        )

    def _panel(self) -> Panel:
        return self._core.desk.cluster(self)

    def _snapshot(self) -> str:
        return cluster_html(self.facts())

    def __repr__(self) -> str:
        return cluster_text(self.facts())

    # -- steering -----------------------------------------------------------------------------------------

    def add(self, count: int = 1, instance_params: Iterable[Mapping[str, Any]] | None = None) -> None:
        """Start more instances.

        Parameters
        ----------
        count
            How many.
        instance_params
            Keyword arguments for the ``__init__`` of each.
        """
        params = None if instance_params is None else [dict(entry) for entry in instance_params]
        self._do(self._add, arguments.count("count", count), params)

    def scale(self, wanted: int) -> None:
        """Start or stop instances until there are as many as wanted; suspended ones do not count."""
        number = arguments.number(wanted)
        if not isinstance(number, int) or number < 0:
            raise ValueError(f"wanted must be a whole number that is not negative, not {wanted!r:.100}")
        self._do(self._scale, number)

    def stop(self) -> None:
        """Let all instances stop, with their shutdown handlers, and end the cluster; waits for that.

        Suspended ones are ended, too, without a handler.
        """
        self._core.portal.wait(self._stop(), keep=True, notice=self._notice)

    def stop_instance(self, instance_id: str) -> None:
        """Let an instance stop; one fewer is wanted from then on.

        A suspended one is ended without its shutdown handler, and changes nothing in how many are wanted.

        Parameters
        ----------
        instance_id
            Id of the instance, such as `cluster.instances[0].id`.
        """
        self._do(self._stop_instance, instance_id)

    def suspend(self) -> None:
        """Leave all instances alone; see `suspend_instance`. None is wanted from then on."""
        self._do(self._suspend, None)

    def suspend_instance(self, instance_id: str) -> None:
        """Leave an instance alone; it goes on, and costs, until it is resumed or stopped, or expires.

        One fewer is wanted from then on, until it is resumed. It outlives the session, which keeps what is
        left of its budget reserved for it: `Session.adopt` takes it up in another one.

        Parameters
        ----------
        instance_id
            Id of the instance, such as `cluster.instances[0].id`.
        """
        self._do(self._suspend, instance_id)

    def resume_instance(self, instance_id: str) -> None:
        """Take up a suspended instance as a new one on the same activity; one more is wanted from then on.

        Parameters
        ----------
        instance_id
            Id of the instance, such as `cluster.instances[0].id`.

        Raises
        ------
        SessionError
            It is not suspended.
        """
        self._core.portal.wait(self._resume(instance_id), keep=True, notice=self._notice)

    def restart_instance(self, instance_id: str) -> None:
        """Stop an instance and start another one.

        Parameters
        ----------
        instance_id
            Id of the instance, such as `cluster.instances[0].id`.
        """
        self._do(self._restart, instance_id)

    def send(self, instance_id: str, message: Any) -> None:
        """Send a message to an instance; its handlers take it with ``await self._listen()``.

        Parameters
        ----------
        instance_id
            Id of the instance, such as `cluster.instances[0].id`.
        message
            Any object.
        """
        self._do(lambda: self._find(instance_id).send_message_nowait(message))

    def receive(self, instance_id: str, timeout: float | None = None) -> Any:
        """Wait for a message that an instance's handler has sent with ``self._respond(...)``.

        Parameters
        ----------
        instance_id
            Id of the instance, such as `cluster.instances[0].id`.
        timeout
            Longest time to wait, seconds; None: as long as it takes.

        Raises
        ------
        TimeoutError
            None has come in time.
        """
        instance = self._find(instance_id)
        try:
            return self._core.portal.wait(instance.receive_message(), timeout).message
        except TimeoutError:
            raise TimeoutError(f"{instance} has sent no message within {timeout} s") from None

    def terminal(self, instance_id: str | None = None) -> Terminal:
        """Open a terminal on an instance, to be shown in a cell.

        With a network it is a shell; without one each line is run as a command.

        Parameters
        ----------
        instance_id
            Which one; the first one that runs if None.

        Raises
        ------
        KeyError
            There is no such instance.
        SessionError
            None is running.

        Examples
        --------
        >>> cluster.terminal()
        """
        if instance_id is None:
            running = [instance for instance in self.instances if instance.state.value == "running"]
            if not running:
                raise SessionError(f"No instance of {self._name} is running: cluster.wait() waits for them")
            instance_id = running[0].id
        return self._core.desk.terminal(self, instance_id)

    def proxy(self, port: int = 0) -> ClusterProxy:
        """Open a port on this machine whose HTTP requests the running instances answer in turn.

        The service has to be an `HttpProxyService`, and the cluster in a network; see `LocalHttpProxy`.

        Parameters
        ----------
        port
            The port; 0: any that is free.

        Returns
        -------
        ClusterProxy
            Its `url` is to be opened. It ends with the cluster.

        Raises
        ------
        OSError
            The port is in use.
        SessionError
            The cluster has ended.
        """
        from golem_nb.contrib.service.http_proxy import HttpProxyService

        if not issubclass(self._service_class, HttpProxyService):
            raise TypeError(
                f"{self._title} cannot answer HTTP requests: derive it from "
                "golem_nb.contrib.service.http_proxy.HttpProxyService"
            )
        if self._network is None:
            raise SessionError(
                f"{self._name} is in no network, so no request can reach it: start it with "
                "session.cluster(..., network=session.create_network('192.168.0.0/24'))"
            )
        return self._core.portal.wait(self._open_proxy(port), keep=True)

    def _do(self, action: Any, *arguments: Any) -> None:
        """Do something in the engine's thread, and wait until that is done."""

        async def call() -> None:
            action(*arguments)

        self._core.portal.wait(call())

    # -- in the engine's thread ---------------------------------------------------------------------------

    async def _work(self) -> BaseException | None:
        cluster = await self._create()
        try:
            return await asyncio.shield(cluster._job.over)
        finally:
            for proxy in self._proxies:
                await proxy.end()

    async def _open_proxy(self, port: int) -> ClusterProxy:
        from golem_nb.contrib.service.http_proxy import LocalHttpProxy

        await self._changed.until(lambda: self._cluster is not None or self.ended)
        server = LocalHttpProxy(self._living(), port)
        await server.run()
        proxy = ClusterProxy(self._core, server)
        self._proxies.append(proxy)
        return proxy

    async def _launch(self) -> Cluster[Any]:
        """Start the instances."""
        payload = None if self._payload is None else await self._core.resolve(self._payload)
        network = None if self._network is None else await self._network.found()
        return await self._core.on_network(
            self._core.golem.run_service(
                self._service_class,
                num_instances=self._wanted,
                instance_params=self._params,
                payload=payload,
                expiration=self._expiration,
                network=network,
                network_addresses=self._addresses,
            )
        )

    async def _create(self) -> Cluster[Any]:
        await self._core.engine_for(self)
        self._cluster = cluster = await self._launch()
        self.engine_jobs.append(cluster._job.id)
        self._core.clusters[cluster._job.id] = self
        self.max_time = cluster.expiration - datetime.now(UTC)
        self._begin_work()
        return cluster

    def take(self, event: ServiceStateChanged | ServiceFinished) -> None:
        """Take note of a change of one of its instances.

        Parameters
        ----------
        event
            The event.
        """
        if isinstance(event, ServiceStateChanged):
            history = self._histories.setdefault(event.service.id, _History())
            history.since = event.timestamp
            if event.new.value == "starting":
                history.started = event.timestamp
            # one that is resumed was counted when it first ran
            if event.new.value == "running" and event.old.value != "suspended":
                self._finished.append(event.service)
        self._core.touched()
        self._changed.give()

    def _interrupt(self, reason: BaseException) -> None:
        if self._cluster is None:
            super()._interrupt(reason)
        else:
            if not self._core._stopping:
                # only the end of the session leaves those that are suspended
                self._cluster.stop()
            self._core.own(self._cluster.terminate())

    def _living(self) -> Cluster[Any]:
        if self._cluster is None or self.ended:
            raise SessionError(f"{self._name} is {self._state}: there are no instances to work with")
        return self._cluster

    def _find(self, instance_id: str) -> Any:
        for instance in self.instances:
            if instance.id == instance_id:
                return instance
        known = ", ".join(instance.id for instance in self.instances) or "none"
        raise KeyError(f"{self._name} has no instance {instance_id!r}; there are: {known}")

    def _add(self, count: int, params: list[dict[str, Any]] | None = None) -> None:
        self._living().spawn_instances(count, params)
        self._wanted += count

    def _scale(self, wanted: int) -> None:
        cluster = self._living()
        alive = [instance for instance in self.instances if self._counts(instance)]
        if wanted > len(alive):
            cluster.spawn_instances(wanted - len(alive))
        for instance in alive[wanted:]:
            self._send_away(instance)
            cluster.stop_instance(instance)
        self._wanted = wanted

    def _stop_instance(self, instance_id: str) -> None:
        instance = self._find(instance_id)
        self._living().stop_instance(instance)
        self._wanted -= self._send_away(instance)

    def _suspend(self, instance_id: str | None) -> None:
        cluster = self._living()
        for instance in self.instances if instance_id is None else [self._find(instance_id)]:
            cluster.suspend_instance(instance)
            self._wanted -= self._send_away(instance)

    def _restart(self, instance_id: str) -> None:
        cluster, instance = self._living(), self._find(instance_id)
        suspended = instance.state.value == "suspended"
        cluster.stop_instance(instance)
        cluster.spawn_instances(1)
        self._send_away(instance)
        self._wanted += suspended

    def _counts(self, instance: Service) -> bool:
        """Whether an instance is one of those that are wanted."""
        return instance.state.value in ALIVE and instance.id not in self._sent_away

    def _send_away(self, instance: Service) -> bool:
        """Note that an instance is not wanted any more; False if it was not: asked twice, it is still one."""
        counted = self._counts(instance)
        if counted:
            self._sent_away.add(instance.id)
        return counted

    async def _resume(self, instance_id: str) -> None:
        from golem_nb.services.handles import read_handles

        cluster, instance = self._living(), self._find(instance_id)
        await cluster.suspension(instance)
        if instance.state.value != "suspended":
            raise SessionError(f"{instance!r} cannot be resumed: only a suspended instance can be")
        await cluster.resume_instances(read_handles([cluster.serialize(instance)]))
        if instance_id in self._sent_away:
            self._sent_away.remove(instance_id)
            self._wanted += 1

    async def _stop(self) -> None:
        if self._cluster is not None:
            self._cluster.stop()
            await self._cluster.terminate()
        else:
            self.end_early(JobCancelledError(f"{self._name} was stopped before it had begun"))
        await self._changed.until(lambda: self.ended)

    async def _wait(self) -> None:
        # who waits for a cluster waits for its instances to run: it ends only when somebody ends it
        await self._changed.until(lambda: self.ended or self._all_running)

    @property
    def _all_running(self) -> bool:
        states = [instance.state.value for instance in self.instances]
        # what has ended may be about to be restarted
        alive = sum(not instance._over for instance in self.instances)
        return self._cluster is not None and (
            states.count("running") >= self._wanted or (alive == 0 and len(states) > 0)
        )

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until as many instances run as are wanted, or it has ended; return whether that is so.

        Parameters
        ----------
        timeout
            Longest time to wait, seconds; None: as long as it takes.
        """
        try:
            self._core.portal.wait(self._wait(), timeout, notice=self._notice, line=WaitLine(self._line))
        except TimeoutError:
            return False
        return True

    async def _await(self) -> list[Any]:
        await self._core.portal.call(self._wait(), notice=self._notice, line=WaitLine(self._line))
        return self._outcome()

    def _outcome(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        running = [instance for instance in self.instances if instance.state.value == "running"]
        if len(running) < self._wanted:
            raise self._shortage()
        return running

    @property
    def _given_up(self) -> bool:
        """Whether no instance runs or is being started, because of errors."""
        over = all(instance._over for instance in self.instances)
        return not self.ended and self._wanted > 0 and over and bool(self.errors)

    def _shortage(self) -> ClusterError:
        running = sum(instance.state.value == "running" for instance in self.instances)
        return ClusterError(self._name, running, self._wanted, self.errors)

    @property
    def so_far(self) -> str:
        """How far it is, in words."""
        progress = self.progress
        return f"{progress.running} of {pluralize(self._wanted, 'instance')} running"

    def _notice(self) -> str:
        return (
            f"Stopped waiting. {self._name} goes on ({self.so_far}, {self.money.per_hour:.4f} GLM an "
            f"hour): session.jobs[{self._id!r}].stop() ends it."
        )
