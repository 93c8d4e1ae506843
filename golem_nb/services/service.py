"""What an application says about its service: what it needs, how it starts, what it does, how it stops."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from golem_nb.rest.errors import ApiError
from golem_nb.services.signal import ServiceSignal
from golem_nb.services.state import ServiceState

if TYPE_CHECKING:
    from types import TracebackType

    from statemachine import State

    from golem_nb.ctx import WorkContext
    from golem_nb.engine.worker import Worker
    from golem_nb.events import CommandEvent
    from golem_nb.network import Network, NetworkSerialization, Node
    from golem_nb.payload import Payload
    from golem_nb.rest.activity import Activity
    from golem_nb.rest.ids import NodeId
    from golem_nb.script import Script
    from golem_nb.services.cluster import Cluster
    from golem_nb.services.handles import SuspendedInstance

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

__all__ = ["Service", "ServiceSerialization", "ServiceType"]

ServiceType = TypeVar("ServiceType", bound="Service")

#: An instance that has never got as far as running is given up after so many agreements.
MAX_STARTS = 5


class ServiceSerialization(TypedDict):
    """A suspended instance as JSON data, to be taken up by another process."""

    id: str
    state: str
    agreement_id: str
    activity_id: str
    session_id: str
    created: str
    since: str
    expiration: str
    #: None: whoever has taken up others has released it.
    allocation_id: str | None
    accepted: str
    cost_per_hour: str | None
    network: NetworkSerialization | None
    ip: str | None


class Service:
    """Base class for service specifications.

    To be extended by application developers to define their own, specialized Service specifications.

    Parameters
    ----------
    _id
        Id of the instance; a new one by default.

    Examples
    --------
    ::

        class DateService(Service):
            @staticmethod
            async def get_payload():
                return await vm.repo(image_tag="golem/alpine:latest")

            async def run(self):
                while True:
                    script = self._ctx.new_script()
                    date = script.run("/bin/date")
                    yield script
                    print((await date).stdout)
                    await asyncio.sleep(5)

        cluster = await golem.run_service(DateService, num_instances=2)
    """

    _ctx: WorkContext

    def __init__(self, _id: str | None = None) -> None:
        self._id = _id or str(uuid.uuid4())
        self._state = ServiceState()
        self._inbox: asyncio.Queue[ServiceSignal] = asyncio.Queue()
        self._outbox: asyncio.Queue[ServiceSignal] = asyncio.Queue()
        #: What it has said last, also after somebody has received it.
        self._said: ServiceSignal | None = None
        self._cluster: Cluster[Any] | None = None
        self._activity: Activity | None = None
        self._node: Node | None = None
        self._exc_info: ExcInfo = (None, None, None)
        self._was_running = False
        self._starts = 0
        #: Whether it has ended for good: it is neither suspended nor going to be restarted.
        self._over = False
        self._suspended_in = ""

    def __repr__(self) -> str:
        name = f"{type(self).__name__} {self.state.value}"
        provider = f" on {self.provider_name}" if self.provider_name else ""
        address = f" @ {self._node.ip}" if self._node else ""
        return f"<{name}{provider} [ {self.id} ]{address}>"

    @property
    def id(self) -> str:
        """Return the unique id of this service instance."""
        return self._id

    @property
    def provider_name(self) -> str | None:
        """Return the name of the provider that runs this service instance."""
        return self._ctx.provider_name if self._context else None

    @property
    def provider_id(self) -> NodeId | None:
        """Return the node id of the provider that runs this service instance."""
        return self._ctx.provider_id if self._context else None

    @property
    def cluster(self) -> Cluster[Any] | None:
        """Return the cluster that this instance belongs to (if any)."""
        return self._cluster

    @property
    def network(self) -> Network | None:
        """Return the Network to which this instance belongs (if any)."""
        if self._node is not None:
            return self._node.network
        return self._cluster.network if self._cluster else None

    @property
    def network_node(self) -> Node | None:
        """Return the network Node record associated with this instance."""
        return self._node

    @property
    def exc_info(self) -> ExcInfo:
        """Return what has ended this instance, as `sys.exc_info` does; three times None if nothing has."""
        return self._exc_info

    @property
    def is_available(self) -> bool:
        """Return True if this instance is available (that is, starting, running or stopping)."""
        return self.state in ServiceState.AVAILABLE

    @property
    def state(self) -> State:
        """Return the current state of this instance."""
        return self._state.now

    async def send_message(self, message: Any = None) -> None:
        """Send a control message to this instance.

        Its handlers take it with ``await self._listen()``.
        """
        await self._inbox.put(ServiceSignal(message))

    def send_message_nowait(self, message: Any = None) -> None:
        """Send a control message to this instance without blocking.

        May raise `asyncio.QueueFull` if the channel for sending control messages is full.
        """
        self._inbox.put_nowait(ServiceSignal(message))

    async def receive_message(self) -> ServiceSignal:
        """Wait for a control message of this instance.

        Its handlers send one with ``await self._respond(...)``.
        """
        return await self._outbox.get()

    def receive_message_nowait(self) -> ServiceSignal | None:
        """Retrieve a control message of this instance.

        Return None if no message is available.
        """
        return None if self._outbox.empty() else self._outbox.get_nowait()

    async def _listen(self) -> ServiceSignal:
        """Wait for a message that was sent to this instance; for its handlers."""
        return await self._inbox.get()

    def _listen_nowait(self) -> ServiceSignal | None:
        """Retrieve a message that was sent to this instance, or None; for its handlers."""
        return None if self._inbox.empty() else self._inbox.get_nowait()

    async def _respond(self, message: Any, response_to: ServiceSignal | None = None) -> None:
        """Send a message to whoever waits for one of this instance; for its handlers."""
        self._said = ServiceSignal(message, response_to)
        await self._outbox.put(self._said)

    def _respond_nowait(self, message: Any, response_to: ServiceSignal | None = None) -> None:
        """Send a message to whoever waits for one of this instance, without blocking; for its handlers."""
        self._said = ServiceSignal(message, response_to)
        self._outbox.put_nowait(self._said)

    @staticmethod
    async def get_payload() -> Payload | None:
        """Return the payload (runtime) definition for this service.

        To be overridden by the author of a specific Service class.

        If `get_payload` is not implemented, the payload will need to be provided in the `Golem.run_service`
        call.
        """
        return None

    def get_deploy_args(self) -> dict[str, Any]:
        """Return the arguments of the Deploy command: those that connect the instance to its network."""
        return self._node.get_deploy_args() if self._node else {}

    async def start(self) -> AsyncGenerator[Script, Awaitable[list[CommandEvent]]]:
        """Implement the handler for the starting state of the service.

        To be overridden by the author of a specific Service class.

        Should perform the minimum set of operations after which the instance of a service can be treated as
        "started", or, in other words, ready to receive service requests. It is an async generator that
        yields scripts, made with ``self._ctx.new_script()``.

        A clean exit moves the instance to *running*. An exception ends it; by default it is then started on
        another provider, see `restart_condition`.

        The default implementation deploys the runtime with `get_deploy_args` and starts it. Override it for
        more, possibly after the scripts of ``super().start()``.

        Examples
        --------
        ::

            async def start(self):
                async for script in super().start():
                    yield script
                script = self._ctx.new_script()
                script.run("/golem/run/service_ctl", "--start")
                yield script
        """
        script = self._ctx.new_script()
        script.deploy(**self.get_deploy_args())
        script.start()
        yield script

    async def run(self) -> AsyncGenerator[Script, Awaitable[list[CommandEvent]]]:
        """Implement the handler for the running state of the service.

        To be overridden by the author of a specific Service class.

        Should contain any operations needed to ensure continuous operation of a service. It is an async
        generator that yields scripts, made with ``self._ctx.new_script()``.

        A clean exit moves the instance to *stopping*. An exception ends it.

        The default implementation waits until the instance is stopped.

        Examples
        --------
        ::

            async def run(self):
                while True:
                    script = self._ctx.new_script()
                    stats = script.run(self.SIMPLE_SERVICE, "--stats")
                    yield script
                    print((await stats).stdout)
        """
        await asyncio.get_running_loop().create_future()
        yield self._ctx.new_script()  # never reached: makes this a generator, as a handler has to be

    async def shutdown(self) -> AsyncGenerator[Script, Awaitable[list[CommandEvent]]]:
        """Implement the handler for the stopping state of the service.

        To be overridden by the author of a specific Service class.

        Should contain any operations that the requestor needs to ensure the instance is correctly and
        gracefully shut-down - e.g. that its final state is retrieved. It is an async generator that yields
        scripts, made with ``self._ctx.new_script()``.

        It is only called if the activity running the service is still available, and not after an exception
        in `start` or `run`.

        The default implementation sends a terminate command.

        Examples
        --------
        ::

            async def shutdown(self):
                script = self._ctx.new_script()
                script.run("/golem/run/dump_state")
                script.download_file("/golem/output/state", "/some/local/path/state")
                script.terminate()
                yield script
        """
        script = self._ctx.new_script()
        script.terminate()
        yield script

    async def reset(self) -> None:
        """Reset the service to the initial state. The default implementation does nothing here.

        This method is called when the instance is about to be started again on another provider. Undo here
        what the handlers have done to the instance.
        """

    @property
    def restart_condition(self) -> bool:
        """Return the condition, based on which the instance is restarted.

        Looked at when it has ended by itself, never after it was stopped. By default it is True if there was
        an error, and the instance has not been running, and has been tried on fewer than five agreements.
        """
        return self._exc_info[0] is not None and not self._was_running and self._starts < MAX_STARTS

    async def is_activity_responsive(self) -> bool:
        """Verify if the provider's activity is responsive.

        Tries to get the state of the activity. Returns True if the activity state could be queried
        successfully and false otherwise.

        Can be overridden in case the specific implementation of Service wants to implement a more appropriate
        health check of the particular service. It is called every 10 seconds while the instance runs; the
        third failure in a row ends the instance.
        """
        if self._activity is None:
            return False
        try:
            state = await self._activity.state()
        except ApiError:
            return False
        return state.current not in ("Terminated", "Unresponsive")

    def serialize(self) -> ServiceSerialization:
        """Return a handle of a suspended instance, JSON data for `Golem.resume_service`.

        Raises
        ------
        RuntimeError
            The instance is not suspended, or another one has taken its activity up.
        """
        if self._cluster is None:
            raise RuntimeError(f"{self!r} belongs to no cluster, so there is nothing to be resumed")
        return self._cluster.serialize(self)

    def _resume(self, handle: SuspendedInstance) -> None:
        """Become the instance that was suspended, before anything is run."""
        self._id = handle.id
        self._state = ServiceState(start_value=handle.state)

    def _take(self, worker: Worker) -> None:
        """Have the activity of a worker, and what scripts for it are made with."""
        self._activity, self._ctx = worker.activity, worker.context

    @property
    def _context(self) -> bool:
        return hasattr(self, "_ctx")
