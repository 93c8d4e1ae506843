"""One instance of a service, from its first agreement to its end."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from golem_nb.engine.agreements import CANCELLED, SUCCESS
from golem_nb.engine.errors import WorkerFunctionError
from golem_nb.engine.worker import Worker
from golem_nb.events import ServiceFinished, ServiceStateChanged
from golem_nb.log import get_logger, pluralize
from golem_nb.rest.errors import ActivityGoneError, ApiError
from golem_nb.services.errors import ServiceLostError
from golem_nb.services.handlers import not_a_handler
from golem_nb.services.state import ServiceState

if TYPE_CHECKING:
    from types import TracebackType

    from golem_nb.engine.agreements import HeldAgreement
    from golem_nb.engine.job import Job
    from golem_nb.engine.scripts import ScriptRunner
    from golem_nb.network import Network, Node
    from golem_nb.rest.activity import Activity
    from golem_nb.rest.ids import ActivityId
    from golem_nb.services.service import Service

logger = get_logger(__name__)

#: An instance's own health check is done that often, in seconds; …
HEALTH_CHECK_INTERVAL = 10.0

#: … and that many failures in a row end the instance.
HEALTH_CHECK_RETRIES = 3

#: The daemon is asked that often whether the activity is still there, in seconds. It calls an activity
#: unresponsive when it has heard nothing of it for five seconds; nothing else tells of a provider that has
#: vanished.
ACTIVITY_CHECK_INTERVAL = 3.0

#: An activity that was found unresponsive is looked at again after so many seconds, before it is given up.
SECOND_LOOK = 0.5

#: A script that is running when the agreement or the activity ends gets so long to tell its handler, in
#: seconds.
GRACE = 1.0

#: The user's code has so long to end once its instance is ended by force, in seconds. Python cannot end code
#: that goes on after a cancellation, and neither the agreement nor the stop of the engine may wait for it.
FORCED_LIMIT = 2.0

#: An instance that is restarted again and again waits between two starts, at most so many seconds.
MAX_RESTART_PAUSE = 60.0

Order = Literal["stop", "suspend"]

#: The activities that clusters of this process have taken up, until they are suspended again, and those that
#: were suspended and are being ended. Two clusters with one activity would each end it under the other.
TAKEN_UP: set[ActivityId] = set()


class ServiceInstance:
    """Runs one `Service` on agreements of a job, one after the other if it is restarted.

    Parameters
    ----------
    job
        The cluster's.
    service
        What to run.
    network
        Network to attach it to.
    ip
        Its address there, already reserved.
    pinned
        Whether the address was asked for, so that it has to be the same after a restart.
    """

    def __init__(
        self, job: Job, service: Service, network: Network | None, ip: str | None, pinned: bool
    ) -> None:
        self.service = service
        #: The agreement that it uses, or was suspended on.
        self.held: HeldAgreement | None = None
        self._job = job
        self._network = network
        self._ip = ip
        self._pinned = pinned
        self._machine = service._state
        self._worker: Worker | None = None
        self._order: Order | None = None
        self._ordered = asyncio.Event()
        #: Set when nothing more is done for it, unless it is suspended and then stopped.
        self.left = asyncio.Event()
        self._alarm: asyncio.Future[ServiceLostError]

    def order(self, order: Order) -> None:
        """Ask for an end; the last order counts, and what is suspended can still be stopped."""
        if not self.left.is_set():
            self._order = order
            self._ordered.set()
        elif order == "stop" and self.service.state == ServiceState.suspended:
            self._end_suspended()

    @property
    def to_be_suspended(self) -> bool:
        """Whether it was asked to be suspended; it may be that by now."""
        return self._order == "suspend"

    async def live(self, resumed: Worker | None = None) -> None:
        """Run the service until it has ended for good.

        Parameters
        ----------
        resumed
            Holds the activity to go on with.
        """
        pause = 0.0
        try:
            while True:
                worker = resumed
                if worker is None:
                    found = await self._acquire()
                    if found is None:
                        self._change(self._machine.terminate)
                        return
                    worker = Worker(self._job, found)
                resumed = None
                if not await self._live_on(worker):
                    return
                if self.service._was_running:
                    pause = 0.0
                if await self._until_ordered(asyncio.ensure_future(asyncio.sleep(pause))):
                    self._change(self._machine.terminate)
                    return
                pause = min(2 * pause + 1.0, MAX_RESTART_PAUSE)
        finally:
            self.service._over = self.service.state != ServiceState.suspended
            self.left.set()
            if self._network is not None and self._ip is not None and not self._kept:
                self._network.free(self._ip)

    # -- one agreement -----------------------------------------------------------------------------------

    async def _acquire(self) -> HeldAgreement | None:
        """Wait for an agreement; None if there was an order to end first."""
        acquiring = asyncio.ensure_future(self._job.agreements.acquire())
        ordered = await self._until_ordered(acquiring)
        if acquiring.cancelled():
            return None
        held = acquiring.result()
        if ordered:
            await self._job.agreements.terminate(held, CANCELLED)
            return None
        return held

    async def _live_on(self, worker: Worker) -> bool:
        """Run the service on an activity; return whether it is to be restarted on another one."""
        service, held = self.service, worker.held
        self.held = held
        self._worker = None
        service._exc_info = (None, None, None)
        service._was_running = False
        service._starts += 1
        beginning = asyncio.ensure_future(worker.begin())
        await self._until_ordered(beginning)
        if beginning.cancelled():
            self._change(self._machine.terminate)
            return False
        try:
            runner = beginning.result()
        except ApiError as error:
            # the worker has given up the agreement
            logger.warning("No activity for %r on %s: %s", service, held.provider, error)
            service._exc_info = _info(error)
            if await self._restart(error):
                return True
            self._change(self._machine.terminate)
            return False
        service._take(worker)
        self._worker = worker
        if service.state != ServiceState.pending:
            # whoever was told of the suspension is told of its end, which is no change of this object
            worker.emit(ServiceStateChanged, service=service, old=ServiceState.suspended, new=service.state)
        self._alarm = asyncio.get_running_loop().create_future()
        watching = asyncio.create_task(self._watch(held, worker.activity), name=f"watch {service.id}")
        outcome: BaseException | None = None
        try:
            outcome = await self._run_handlers(runner, held)
        except BaseException as error:
            outcome = self._job.stop_reason or error
            raise
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            restart = await self._end(worker, held, outcome)
        return restart

    async def _run_handlers(self, runner: ScriptRunner, held: HeldAgreement) -> Exception | None:
        """Take the instance through its states; return what has ended it early."""
        service, machine = self.service, self._machine
        catching_up: asyncio.Task[None] | None = None
        try:
            if service.state == ServiceState.pending:
                self._change(machine.start)
            if service.state == ServiceState.starting:
                await self._join(held)
                await self._handle(runner, "start")
                if self._order is not None:
                    return None
                self._change(machine.ready)
                catching_up = asyncio.create_task(self._catch_up(), name=f"nodes {service.id}")
            if service.state == ServiceState.running:
                service._was_running = True
                await self._handle(runner, "run", health=True)
                if self._order == "suspend":
                    return None
                self._change(machine.stop)
            await self._handle(runner, "shutdown", until="suspend")
        except Exception as error:
            return error
        finally:
            if catching_up is not None:
                catching_up.cancel()
                await asyncio.gather(catching_up, return_exceptions=True)
        return None

    async def _handle(
        self,
        runner: ScriptRunner,
        name: str,
        *,
        until: Order = "stop",
        health: bool = False,
    ) -> None:
        """Run one handler to its end, or until an order, or until something happens to the activity.

        Raises
        ------
        Exception
            What the handler has raised, or a `ServiceLostError`.
        """
        what = f"{type(self.service).__name__}.{name}"
        handler = getattr(self.service, name)
        generator = handler() if callable(handler) else None
        if not isinstance(generator, AsyncGenerator):
            if inspect.iscoroutine(generator):
                generator.close()
            raise not_a_handler(what)
        handling = asyncio.create_task(runner.run(generator), name=what)
        helpers: list[asyncio.Task[None]] = [
            asyncio.create_task(self._wait_for(until), name=f"orders to {what}")
        ]
        if health:
            helpers.append(
                asyncio.create_task(
                    self._check_health(), name=f"{type(self.service).__name__}.is_activity_responsive"
                )
            )
        try:
            ends: set[asyncio.Future[Any]] = {handling, helpers[0], self._alarm}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._alarm.done() and runner.executing and self.held is not None and self.held.ended:
                # the script that is running is told as well, and the handler may have something to say to it
                await asyncio.wait({handling}, timeout=GRACE)
        finally:
            by_itself = handling.done()
            await _cancel(handling, *helpers)
        outcome = asyncio.CancelledError() if handling.cancelled() else handling.exception()
        if isinstance(outcome, Exception):
            raise outcome
        if by_itself and isinstance(outcome, asyncio.CancelledError):
            raise RuntimeError(f"`{what}` has waited for something that was cancelled") from outcome
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            # for example what pytest fails with: it ends this instance, not the others
            raise RuntimeError(f"`{what}` has raised {outcome!r}") from outcome
        if self._alarm.done() and (not by_itself or isinstance(outcome, BaseException)):
            raise self._alarm.result()

    async def _end(self, worker: Worker, held: HeldAgreement, error: BaseException | None) -> bool:
        """Tell of the end, and end or keep what was used; return whether the service is to be restarted."""
        service, machine = self.service, self._machine
        if error is None and self._order == "suspend" and held.ended is None:
            self._job.engine.keep(held)
            TAKEN_UP.discard(worker.activity.id)
            service._suspended_in = service.state.value
            self._change(machine.suspend)
            worker.finish(None)
            return False
        if error is not None:
            service._exc_info = _info(error)
            if isinstance(error, Exception):
                self._job.agreements.failed(held.provider_id)
            if isinstance(error, ServiceLostError):
                self._change(machine.lose)
        clean = error is None and service.state == ServiceState.stopping
        self._change(machine.terminate)
        restart = False
        try:
            if error is None or isinstance(error, Exception):
                restart = await self._restart(error)
        finally:
            if not restart:
                service._over = True
                worker.emit(ServiceFinished, service=service, exc_info=service._exc_info if error else None)
            worker.finish(error)
            node, service._node = service._node, None
            if node is not None:
                leaving = self._leave(node, last=not restart)
                if restart and self._pinned:
                    await leaving
                else:
                    self._job.clean_up(leaving)
            worker.end(SUCCESS if clean else CANCELLED)
        return restart

    def _end_suspended(self) -> None:
        """End the activity and the agreement that it was suspended on; no handler is run."""
        service, worker = self.service, self._worker
        assert worker is not None
        if worker.held.taken_up:
            return  # another instance has them
        TAKEN_UP.add(worker.activity.id)
        self._job.engine.keep_no_longer(worker.held)
        old = service.state
        # for its machine, `suspended` is final
        service._state = self._machine = ServiceState(start_value=ServiceState.terminated.value)
        service._over = True
        worker.emit(ServiceStateChanged, service=service, old=old, new=service.state)
        worker.emit(ServiceFinished, service=service, exc_info=None)
        node, service._node = service._node, None
        if node is not None:
            self._job.clean_up(self._leave(node, last=True))
        worker.end(CANCELLED if service._suspended_in == ServiceState.starting.value else SUCCESS)

    async def _restart(self, error: Exception | None) -> bool:
        """Prepare the service for another provider if it wants one; tell of it if it is given up."""
        service = self.service
        if self._order is not None:
            return False
        try:
            # the mistake is in the class: nobody else is paid to run into it
            if isinstance(error, WorkerFunctionError) or not service.restart_condition:
                if error is not None:
                    tries = pluralize(service._starts, "agreement")
                    what = f"{type(error).__name__}: {error}".removesuffix(": ")
                    logger.error("%r is given up after %s: %s", service, tries, what)
                return False
            resetting = asyncio.create_task(_done(service.reset()), name=f"{type(service).__name__}.reset")
            try:
                await asyncio.wait({resetting})
            finally:
                await _cancel(resetting)
            resetting.result()
        except Exception as error:
            logger.exception("%r is not restarted, because its restart condition or reset failed", service)
            service._exc_info = _info(error)
            return False
        self._change(self._machine.restart)
        return True

    def _change(self, transition: Callable[[], Any]) -> None:
        """Change the state, and tell of it if there is an activity that the event can name."""
        old = self.service.state
        transition()
        new = self.service.state
        if new != old and self._worker is not None:
            self._worker.emit(ServiceStateChanged, service=self.service, old=old, new=new)

    # -- orders ------------------------------------------------------------------------------------------

    async def _wait_for(self, order: Order) -> None:
        while self._order is None or (order == "suspend" and self._order != "suspend"):
            self._ordered.clear()
            await self._ordered.wait()

    async def _until_ordered(self, task: asyncio.Future[Any]) -> bool:
        """Wait for something, or for an order, which cancels it; return whether there was one."""
        ordered = asyncio.create_task(self._wait_for("stop"), name=f"orders to {self.service.id}")
        try:
            await asyncio.wait({task, ordered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            ordered.cancel()
            await asyncio.gather(task, ordered, return_exceptions=True)
        return self._order is not None

    # -- the network -------------------------------------------------------------------------------------

    @property
    def _kept(self) -> bool:
        return self.held is not None and self.held.kept

    async def _join(self, held: HeldAgreement) -> None:
        if self._network is not None and self._ip is not None:
            self.service._node = await self._network.join(held.provider_id, self._ip)

    async def _catch_up(self) -> None:
        if self._network is not None and self.service._node is not None:
            try:
                await self._network.catch_up(self.service._node)
            except ApiError as error:
                logger.warning("Nodes of %r could not be told of each other: %s", self._network, error)

    async def _leave(self, node: Node, *, last: bool) -> None:
        try:
            await node.network.leave(node, free=last)
        except ApiError as error:
            logger.warning("Node %s could not be taken out of %r: %s", node.ip, node.network, error)

    # -- watching ----------------------------------------------------------------------------------------

    async def _watch(self, held: HeldAgreement, activity: Activity) -> None:
        """Raise the alarm when the agreement or the activity has ended."""
        try:
            async with asyncio.timeout(None) as scope:
                held.watch(scope)
                try:
                    reason = await self._lost(activity, held.provider)
                finally:
                    held.unwatch(scope)
        except TimeoutError:
            reason = f"The agreement with {held.provider} has ended: {held.ended}"
        self._raise_alarm(reason)

    async def _lost(self, activity: Activity, provider: str) -> str:
        """Return what has happened to the activity, as soon as something has."""
        unresponsive = False
        # not all instances of a cluster at the same moment
        await asyncio.sleep(random.uniform(0.0, ACTIVITY_CHECK_INTERVAL))
        while True:
            try:
                state = await activity.state()
            except ActivityGoneError as error:
                return f"Provider {provider} does not know the activity any more: {error.message}"
            except ApiError as error:
                # the daemon's trouble, not the activity's
                logger.debug("The state of activity %s is unknown: %s", activity.id, error)
                await asyncio.sleep(ACTIVITY_CHECK_INTERVAL)
                continue
            if state.current == "Terminated":
                details = ": ".join(filter(None, (state.reason, state.error_message)))
                return f"Activity terminated by provider {provider}" + (f": {details}" if details else "")
            if state.current == "Unresponsive" and unresponsive:
                return f"Provider {provider} does not respond any more"
            unresponsive = state.current == "Unresponsive"
            await asyncio.sleep(SECOND_LOOK if unresponsive else ACTIVITY_CHECK_INTERVAL)

    async def _check_health(self) -> None:
        """Raise the alarm when the service's own health check has failed too often."""
        retries = HEALTH_CHECK_RETRIES
        while retries:
            await asyncio.sleep(HEALTH_CHECK_INTERVAL)
            try:
                async with asyncio.timeout(HEALTH_CHECK_INTERVAL):
                    healthy = await self.service.is_activity_responsive()
            except Exception as error:
                logger.warning("Health check of %r: %s: %s", self.service, type(error).__name__, error)
                healthy = False
            if healthy:
                retries = HEALTH_CHECK_RETRIES
            else:
                retries -= 1
                logger.warning("Service health check of %r failed, retries left: %d", self.service, retries)
        self._raise_alarm(f"{HEALTH_CHECK_RETRIES} health checks in a row have failed: {self.service!r}")

    def _raise_alarm(self, reason: str) -> None:
        if not self._alarm.done():
            self._alarm.set_result(ServiceLostError(reason))


async def _done(awaitable: Awaitable[None]) -> None:
    await awaitable


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel what runs the user's code and wait for its end; with a limit if we are cancelled, too."""
    current = asyncio.current_task()
    assert current is not None
    for task in tasks:
        task.cancel()
    try:
        # cleaning up takes as long as it takes, until somebody loses patience with the instance
        await asyncio.wait(tasks, timeout=FORCED_LIMIT if current.cancelling() else None)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=FORCED_LIMIT)
        raise
    finally:
        for task in tasks:
            if not task.done():
                logger.error(
                    "`%s` goes on %g s after it was cancelled, and is left behind: it must let "
                    "`asyncio.CancelledError` pass, which `except BaseException` and a bare `except` catch",
                    task.get_name(),
                    FORCED_LIMIT,
                )


def _info(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    return type(error), error, error.__traceback__
