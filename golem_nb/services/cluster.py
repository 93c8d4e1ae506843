"""All instances of one service."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic

from golem_nb.arguments import number
from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.engine.job import Job
from golem_nb.engine.worker import Worker
from golem_nb.log import get_logger
from golem_nb.network import NetworkError
from golem_nb.rest.errors import ApiError
from golem_nb.services.errors import ServiceResumeError
from golem_nb.services.handlers import check_handlers
from golem_nb.services.instance import TAKEN_UP
from golem_nb.services.runner import ServiceRunner
from golem_nb.services.service import Service, ServiceSerialization, ServiceType
from golem_nb.services.state import ServiceState

if TYPE_CHECKING:
    from golem_nb.engine import Engine
    from golem_nb.network import Network
    from golem_nb.payload import Payload
    from golem_nb.rest.activity import Activity
    from golem_nb.rest.market import Agreement
    from golem_nb.services.handles import SuspendedInstance

__all__ = ["DEFAULT_EXPIRATION", "Cluster"]

logger = get_logger(__name__)

#: Life of a service's agreements, unless said otherwise.
DEFAULT_EXPIRATION = timedelta(minutes=180)

#: Instances get so long to stop when the cluster is terminated, in seconds.
STOP_LIMIT = 10.0


class Cluster(Generic[ServiceType]):
    """Golem's sub-engine used to spawn and control instances of a single `Service`.

    Made by `Golem.run_service`.

    Parameters
    ----------
    engine
        The running engine.
    service_class
        What is run.
    payload
        What the providers must offer.
    expiration
        When the agreements expire; in three hours by default.
    network
        Network to attach the instances to.

    Raises
    ------
    WorkerFunctionError
        A handler of the class is no async generator function, and can give no async generator either.

    Examples
    --------
    ::

        cluster = await golem.run_service(DateService, num_instances=2)
        cluster.spawn_instances(3)
        for instance in cluster.instances:
            print(instance.state.value, instance.provider_name)
        cluster.stop()
    """

    def __init__(
        self,
        engine: Engine,
        service_class: type[ServiceType],
        payload: Payload,
        expiration: datetime | None = None,
        network: Network | None = None,
    ) -> None:
        check_handlers(service_class)
        if expiration is None:
            expiration = datetime.now(UTC) + DEFAULT_EXPIRATION
        elif expiration.tzinfo is None:
            expiration = expiration.astimezone()
        self._engine = engine
        self._service_class = service_class
        self._network = network
        self._instances: list[ServiceType] = []
        self._job = Job(engine, expiration, payload)
        self._job.wind_down = self.terminate
        self._runner = ServiceRunner(self._job)
        self._started = False

    def __repr__(self) -> str:
        return f"<Cluster of {len(self._instances)} {self._service_class.__name__}, job {self._job.id}>"

    @property
    def expiration(self) -> datetime:
        """Return the expiration datetime for agreements related to services in this Cluster."""
        return self._job.expiration_time

    @property
    def payload(self) -> Payload:
        """Return the service runtime definition for this Cluster."""
        return self._job.payload

    @property
    def service_class(self) -> type[ServiceType]:
        """Return the class instantiated by all service instances in this Cluster."""
        return self._service_class

    @property
    def network(self) -> Network | None:
        """Return the Network record associated with the VPN used by this Cluster."""
        return self._network

    @property
    def instances(self) -> list[ServiceType]:
        """Return the list of service instances in this Cluster, those that have ended included."""
        return self._instances.copy()

    async def terminate(self) -> None:
        """Signal the whole Cluster and the underlying `ServiceRunner` to stop.

        Waits until all instances have stopped, ten seconds at most, then ends those that have not. No
        instances can be spawned afterwards. Suspended ones go on.
        """
        await self._runner.close(STOP_LIMIT)

    def stop(self) -> None:
        """Stop all services in this Cluster, suspended ones included; see `stop_instance`."""
        self._runner.order_all("stop")

    def suspend(self) -> None:
        """Suspend all services in this Cluster.

        Their activities, agreements and network nodes go on, and cost what they cost, until they are resumed
        or stopped, or the agreements expire. `Golem.stop` returns their handles.
        """
        self._runner.order_all("suspend")

    def stop_instance(self, service: ServiceType) -> None:
        """Stop the specific `Service` instance.

        One that is suspended is ended without its `Service.shutdown`: its activity and its agreement end, and
        are paid.

        Parameters
        ----------
        service
            The instance.

        Raises
        ------
        ValueError
            It is not one of this cluster.
        RuntimeError
            It is suspended, and the cluster has ended.
        """
        self._runner.order(service, "stop")

    def suspend_instance(self, service: ServiceType) -> None:
        """Suspend the specific `Service` instance; see `suspend`.

        Parameters
        ----------
        service
            The instance.

        Raises
        ------
        ValueError
            It is not one of this cluster.
        """
        self._runner.order(service, "suspend")

    def spawn_instances(
        self,
        num_instances: int | None = None,
        instance_params: Iterable[Mapping[str, Any]] | None = None,
        network_addresses: Sequence[str] | None = None,
    ) -> None:
        """Spawn new instances within this Cluster.

        Parameters
        ----------
        num_instances
            How many; as many as there are `instance_params`, or one. With fewer than one nothing is spawned,
            and a warning is logged.
        instance_params
            Keyword arguments for the ``__init__`` of consecutive instances.
        network_addresses
            Addresses of consecutive instances in the cluster's network; those for which none is given get
            the next free one.

        Raises
        ------
        ValueError
            There are fewer `instance_params` than instances, or addresses without a network.
        TypeError
            `num_instances` is not a whole number.
        NetworkError
            An address makes no sense, is outside of the network or taken, or there is none left. No instance
            was spawned then.
        RuntimeError
            The cluster was terminated.
        """
        if num_instances is not None:
            if type(number(num_instances)) is not int:
                raise TypeError(f"num_instances must be a whole number, not {num_instances!r:.100}")
            if num_instances < 1:
                logger.warning(
                    "No instances of %s were spawned: num_instances is %d",
                    self._service_class.__name__,
                    num_instances,
                )
                return
        self._runner.check_open()
        services = self._make(num_instances, instance_params)
        addresses = self._reserve(len(services), network_addresses or ())
        self._start()
        for service, (address, pinned) in zip(services, addresses, strict=True):
            self._instances.append(service)
            self._runner.add_instance(service, self._network, address, pinned=pinned)

    async def suspension(self, service: ServiceType) -> None:
        """Wait for the end of a suspension that was asked for; not at all if none was.

        Parameters
        ----------
        service
            The instance.
        """
        instance = self._runner.find(service)
        if instance is not None and instance.to_be_suspended:
            await instance.left.wait()

    async def resume_instances(
        self,
        handles: Sequence[SuspendedInstance],
        instance_params: Iterable[Mapping[str, Any]] | None = None,
    ) -> None:
        """Take up suspended instances as new ones on the same activities.

        Parameters
        ----------
        handles
            From `read_handles`.
        instance_params
            Keyword arguments for the ``__init__`` of each.

        Raises
        ------
        ServiceResumeError
            An agreement or an activity has ended in the meantime, they do not belong together, the instance
            is in another network, or another cluster of this process has taken it up. Nothing was resumed
            then.
        RuntimeError
            The cluster was terminated.
        """
        services = self._make(len(handles), instance_params, handles)
        found = [await self._attach(handle) for handle in handles]
        # nothing is awaited from here on until all are taken up
        self._runner.check_open()
        for handle in handles:
            if handle.activity_id in TAKEN_UP:
                raise ServiceResumeError(
                    handle.id,
                    handle.activity_id,
                    "another instance in this process has taken it up, or it is being ended",
                    "Use that one, or suspend it and resume the handle that it has then.",
                )
        self._start()
        for handle, service, (agreement, activity) in zip(handles, services, found, strict=True):
            TAKEN_UP.add(activity.id)
            self._engine.taken_up(agreement.id)
            held = self._job.agreements.adopt(agreement)
            self._engine.payments.activity_taken_up(
                agreement.id, activity, created=handle.created, accepted=handle.accepted
            )
            self._engine.join_session(handle.session_id, handle.since)
            # it is running from the beginning, so it has what whoever sees that may ask for
            worker = Worker(self._job, held, activity)
            service._take(worker)
            if self._network is not None and handle.ip is not None:
                service._node = self._network.node(handle.ip)
            self._instances.append(service)
            self._runner.add_instance(service, self._network, handle.ip, pinned=True, resumed=worker)
        for allocation_id in {handle.allocation_id for handle in handles}:
            if allocation_id is not None and allocation_id != self._engine.budget.allocation.id:
                await self._engine.budget.replace(allocation_id)

    def serialize(self, service: Service) -> ServiceSerialization:
        """Return a handle of a suspended instance of this cluster; see `Service.serialize`.

        Parameters
        ----------
        service
            The instance.
        """
        instance = self._runner.find(service)
        held = instance.held if instance is not None else None
        if held is None or service._activity is None or service.state != ServiceState.suspended:
            raise RuntimeError(f"Only suspended instances can be serialized; call suspend first: {service!r}")
        if held.taken_up:
            raise RuntimeError(
                f"{service!r} was taken up: suspend and serialize the instance that goes on with its activity"
            )
        account = self._engine.payments.account(held.agreement.id)
        activity = account.activities[service._activity.id]
        node = service.network_node
        return {
            "id": service.id,
            "state": service._suspended_in,
            "agreement_id": held.agreement.id,
            "activity_id": activity.activity.id,
            # the daemon files its bills under the engine that has made it, which may have been another one
            "session_id": held.agreement.details.app_session_id or self._engine.session_id,
            "created": activity.created.isoformat(),
            "since": datetime.now(UTC).isoformat(),
            "expiration": self.expiration.isoformat(),
            "allocation_id": self._engine.budget.allocation.id,
            "accepted": str(activity.accepted),
            "cost_per_hour": _cost_per_hour(account.price),
            "network": node.network.serialize() if node is not None else None,
            "ip": node.ip if node is not None else None,
        }

    def suspended(self) -> list[ServiceSerialization]:
        """Return the handles of all suspended instances, and log what they go on costing."""
        handles = []
        for service in self._instances:
            instance = self._runner.find(service)
            held = instance.held if instance is not None else None
            if held is None or held.ended is not None or held.taken_up:
                continue
            if service.state == ServiceState.suspended:
                handle = self.serialize(service)
                handles.append(handle)
                cost = handle["cost_per_hour"]
                logger.warning(
                    "%r goes on until %s, for %s: resume it before that, if only to stop it",
                    service,
                    handle["expiration"],
                    "a price of its own" if cost is None else f"at most {cost} GLM an hour",
                )
        return handles

    # ------------------------------------------------------------------------------------------------------

    async def _attach(self, handle: SuspendedInstance) -> tuple[Agreement, Activity]:
        """Return what an instance was suspended on; the daemon is only asked."""
        try:
            agreement = await self._engine.market.agreement(handle.agreement_id)
            activity = self._engine.activities.attach(handle.activity_id, agreement.id)
            state = (await activity.state()).current
            over = agreement.details.state != "Approved" or state == "Terminated"
            owner = agreement.id if over else await activity.agreement()
        except ApiError as error:
            raise ServiceResumeError(handle.id, handle.activity_id, str(error)) from error
        if over:
            reason = f"the agreement is {agreement.details.state}, the activity {state}"
            raise ServiceResumeError(handle.id, handle.activity_id, reason)
        if owner != agreement.id:
            raise ServiceResumeError(
                handle.id,
                handle.activity_id,
                f"its `agreement_id` is {agreement.id}, but the activity belongs to agreement {owner}",
                "Give the handle as `golem.stop()` or `Service.serialize()` has returned it.",
            )
        if self._network is not None:
            node = None
            if handle.network_id == self._network.network_id and handle.ip is not None:
                node = self._network.node(handle.ip)
            if node is None or node.node_id != agreement.details.provider_id:
                raise ServiceResumeError(
                    handle.id,
                    handle.activity_id,
                    f"its provider has no node {handle.ip} in {self._network}",
                    'Give the `network` that `golem.resume_network(handle["network"])` returns.'
                    if handle.network_id is not None
                    else "It was in no network: leave `network` out.",
                )
        return agreement, activity

    def _start(self) -> None:
        if not self._started:
            self._engine.start_job(self._job, self._runner.run)
            self._started = True

    def _make(
        self,
        number: int | None,
        instance_params: Iterable[Mapping[str, Any]] | None,
        handles: Sequence[SuspendedInstance] = (),
    ) -> list[ServiceType]:
        if instance_params is None:
            params: list[Mapping[str, Any]] = [{}] * (1 if number is None else number)
        else:
            params = list(itertools.islice(instance_params, number))
            if number is not None and len(params) < number:
                raise ValueError(
                    f"`instance_params` iterable depleted after {len(params)} spawned instances."
                )
        services = [self._service_class(**keywords) for keywords in params]
        for index, service in enumerate(services):
            if not hasattr(service, "_outbox"):
                name = self._service_class.__name__
                raise TypeError(f"`{name}.__init__` must call `super().__init__()`")
            service._cluster = self
            if handles:
                service._resume(handles[index])
        return services

    def _reserve(self, number: int, wanted: Sequence[str]) -> list[tuple[str | None, bool]]:
        network = self._network
        if network is None:
            if wanted:
                raise ValueError("`network_addresses` provided without a `network`.")
            return [(None, False)] * number
        reserved: dict[str, bool] = {}
        try:
            # those that were asked for first, lest one of them be dealt out
            for address in wanted[:number]:
                reserved[network.reserve(address)] = True
            while len(reserved) < number:
                reserved[network.reserve()] = False
        except NetworkError:
            for address in reserved:
                network.free(address)
            raise
        return list(reserved.items())


def _cost_per_hour(price: LinearPrice | None) -> str | None:
    """The most that an activity costs in an hour, GLM; None where the price is not linear."""
    if price is None:
        return None
    hourly = price.per_unit.get(DURATION, Decimal(0)) + price.per_unit.get(CPU, Decimal(0)) * price.threads
    return str(hourly * 3600)
