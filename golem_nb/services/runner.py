"""Runs the instances of a cluster side by side."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from golem_nb.log import get_logger
from golem_nb.services.instance import ServiceInstance
from golem_nb.services.state import ServiceState

if TYPE_CHECKING:
    from golem_nb.engine.job import Job
    from golem_nb.engine.worker import Worker
    from golem_nb.network import Network
    from golem_nb.services.instance import Order
    from golem_nb.services.service import Service

__all__ = ["ServiceRunner"]

logger = get_logger(__name__)


class ServiceRunner:
    """Starts instances as soon as they are added, each on an agreement of its own, and owns their tasks.

    Parameters
    ----------
    job
        Whose agreements are used.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        #: By identity: ids are what their authors choose. Each keeps its service.
        self._instances: dict[int, ServiceInstance] = {}
        self._tasks: dict[asyncio.Task[None], ServiceInstance] = {}
        self._early: list[tuple[ServiceInstance, Worker | None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._closing = asyncio.Event()

    def check_open(self) -> None:
        """Raise RuntimeError if no instance can be added any more."""
        if self._closing.is_set():
            raise RuntimeError("The cluster was terminated: run the service anew with `golem.run_service`")

    def add_instance(
        self,
        service: Service,
        network: Network | None = None,
        network_address: str | None = None,
        *,
        pinned: bool = False,
        resumed: Worker | None = None,
    ) -> None:
        """Start an instance.

        Parameters
        ----------
        service
            The instance.
        network
            Network to attach it to.
        network_address
            Its address, which was reserved in the network.
        pinned
            Whether the address was asked for.
        resumed
            Holds the activity to go on with; a new agreement is waited for by default.
        """
        self.check_open()
        instance = ServiceInstance(self._job, service, network, network_address, pinned)
        self._instances[id(service)] = instance
        if self._group is None:
            self._early.append((instance, resumed))
        else:
            self._start(self._group, instance, resumed)

    def order(self, service: Service, order: Order) -> None:
        """Ask an instance to stop or to be suspended; one that is suspended is ended when it is to stop.

        Parameters
        ----------
        service
            The instance.
        order
            What it shall do.

        Raises
        ------
        ValueError
            It is not one of this runner's.
        RuntimeError
            It is suspended and shall stop, but the cluster has ended.
        """
        instance = self._instances.get(id(service))
        if instance is None:
            raise ValueError(f"{service!r} is not an instance of this cluster")
        if order == "stop" and self._job.over.done() and service.state == ServiceState.suspended:
            raise RuntimeError(
                f"{service!r} cannot be ended here, since its cluster has ended: take it up with "
                "`golem.resume_service`, and stop it there"
            )
        instance.order(order)

    def order_all(self, order: Order) -> None:
        """Ask all instances to stop or to be suspended, as `order` does.

        Parameters
        ----------
        order
            What they shall do.
        """
        for instance in self._instances.values():
            self.order(instance.service, order)

    def find(self, service: Service) -> ServiceInstance | None:
        """Return what runs an instance.

        Parameters
        ----------
        service
            The instance.
        """
        return self._instances.get(id(service))

    async def run(self) -> None:
        """Own the instances until `close`."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for instance, resumed in self._early:
                self._start(group, instance, resumed)
            self._early.clear()
            await self._closing.wait()

    async def close(self, timeout: float) -> None:
        """Let all instances stop, and end those that have not after `timeout` seconds.

        What is suspended, or about to be, is left.
        """
        for instance in self._instances.values():
            if not instance.to_be_suspended:
                instance.order("stop")
        self._closing.set()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=timeout)
            for task in late:
                # who else waits for the end has lost patience at the same moment
                if not task.cancelling():
                    logger.warning(
                        "%r has not stopped within %g s and is ended", self._tasks[task].service, timeout
                    )
                    task.cancel()
            if late:
                await asyncio.wait(late)

    def _start(
        self,
        group: asyncio.TaskGroup,
        instance: ServiceInstance,
        resumed: Worker | None,
    ) -> None:
        task = group.create_task(self._live(instance, resumed), name=f"service {instance.service.id}")
        self._tasks[task] = instance
        task.add_done_callback(self._tasks.pop)

    async def _live(self, instance: ServiceInstance, resumed: Worker | None) -> None:
        try:
            await instance.live(resumed)
        except Exception:
            # the others are not to blame
            logger.exception("%r could not be run to its end", instance.service)
            instance.service._exc_info = sys.exc_info()
