"""The engine: everything that runs between the start and the stop of a `Golem`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from golem_nb.engine.allocation import BudgetAllocation
from golem_nb.engine.checked_strategy import CheckedStrategy
from golem_nb.engine.endings import Endings
from golem_nb.engine.errors import DaemonTooOldError, EngineStoppedError
from golem_nb.engine.job import Job
from golem_nb.engine.networks import JournaledNet
from golem_nb.engine.payments import Payments
from golem_nb.events import Event
from golem_nb.log import get_logger
from golem_nb.props import Activity as ActivityProps
from golem_nb.props import NodeInfo
from golem_nb.props.builder import DemandBuilder
from golem_nb.props.grammar import clause
from golem_nb.props.node import SUBNET
from golem_nb.rest import Activity as ActivityService
from golem_nb.rest import Configuration, Gsb, Identity, Market, Net, Payment
from golem_nb.rest.errors import ApiError, DaemonSilentError
from golem_nb.rest.identity import MINIMUM_VERSION
from golem_nb.storage import GsbStorage

if TYPE_CHECKING:
    from decimal import Decimal

    from golem_nb.config import ApiConfig
    from golem_nb.engine.agreements import HeldAgreement
    from golem_nb.engine.dispatcher import EventDispatcher
    from golem_nb.engine.journal import Journal
    from golem_nb.payload import Payload
    from golem_nb.rest.ids import AgreementId, NodeId
    from golem_nb.rest.payment import MarketDecoration
    from golem_nb.strategy import BaseMarketStrategy

logger = get_logger(__name__)

#: One look for the ends of agreements lasts so long, in seconds; the daemon answers at once when there is
#: one.
POLL = 30.0

#: While everything is ended, a daemon that has not answered for so many seconds is given up …
SILENCE = 20.0

#: … and it is asked for a sign of life after pauses of so many.
SIGNS_OF_LIFE = 2.0


class Engine:
    """Runs jobs on one daemon, with one budget.

    Parameters
    ----------
    budget
        The most that is spent, GLM.
    strategy
        Chooses providers and terms.
    subnet_tag
        Subnet of the providers; None: any.
    payment_driver, payment_network
        How providers are paid.
    dispatcher
        Where events go.
    stream_output
        Take the output of commands while it is written.
    api_config
        Address and key of the daemon.
    journal
        Is told of everything that reserves or ends something, before the daemon is.
    """

    def __init__(
        self,
        *,
        budget: Decimal,
        strategy: BaseMarketStrategy,
        subnet_tag: str | None,
        payment_driver: str,
        payment_network: str,
        dispatcher: EventDispatcher,
        stream_output: bool,
        api_config: ApiConfig,
        journal: Journal,
    ) -> None:
        self.strategy = CheckedStrategy(strategy)
        self.subnet_tag = subnet_tag
        self.stream_output = stream_output
        self.journal = journal
        #: Names this engine towards the daemon, so that several can use one daemon side by side.
        self.session_id = uuid.uuid4().hex
        self.started = datetime.now(UTC)
        self.node_id: NodeId
        configuration = Configuration(api_config)
        self._configuration = configuration
        self.market = Market(configuration.market())
        self.activities = ActivityService(configuration.activity())
        self.payment = Payment(configuration.payment())
        self.net: Net = JournaledNet(configuration.net(), self.journal)
        self.storage: GsbStorage
        self.budget = BudgetAllocation(self.payment, self.journal, budget, payment_driver, payment_network)
        self.payments = Payments(self)
        self.endings = Endings()
        self._dispatcher = dispatcher
        self._decoration: MarketDecoration
        self._jobs: dict[Job, asyncio.Task[None]] = {}
        self._kept: list[HeldAgreement] = []
        self._sessions = {self.session_id}
        self._listeners: asyncio.TaskGroup
        #: Awaited when all jobs have ended, while the daemon can still be asked for something.
        self.last_words: Callable[[], Awaitable[None]] | None = None
        self._main: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._wait_for_payments = True
        self._failure: Exception | None = None
        #: What has ended all work, or would have, and nobody has heard of yet who waits for a job.
        self.untold: Exception | None = None

    def emit(self, event: Event) -> None:
        """Pass an event to the consumers."""
        self._dispatcher.emit(event)

    async def start(self) -> None:
        """Reserve the budget and begin to listen to the daemon.

        Raises
        ------
        ApiError
            The daemon cannot be reached, or refuses.
        DaemonTooOldError
            The daemon is of a release that this package cannot talk to.
        NoPaymentAccountError, InsufficientFundsError
            There is no account, or not enough in it; nothing stays reserved.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._main = asyncio.create_task(self._run(ready), name="golem_nb engine")
        await asyncio.wait({ready, self._main}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            failed, self._main = self._main, None
            await failed

    def stop(self, wait_for_payments: bool = True) -> None:
        """Begin to end all jobs and agreements, to pay what is owed, and to release the budget.

        Parameters
        ----------
        wait_for_payments
            Wait for the invoices of what was used, at most half a minute. Where nothing is owed nothing is
            waited for.
        """
        self._wait_for_payments = wait_for_payments
        self._stopping.set()

    async def ended(self) -> None:
        """Wait until a stop has done all that."""
        if self._main is not None:
            # whoever waits may be cancelled; what was begun must be ended all the same
            await asyncio.shield(self._main)

    def fail(self, error: Exception) -> None:
        """End all jobs with `error`, now and from now on; the engine itself goes on until it is stopped."""
        if self._failure is not None:
            return  # the work has ended already
        self._failure = self.untold = error
        for job in self._jobs:
            self._end_failed(job, error)

    @property
    def working(self) -> bool:
        """Whether a job's work is going on."""
        return any(job.working for job in self._jobs)

    def _end_failed(self, job: Job, error: Exception) -> None:
        if job.working and job.wind_down is None:
            self.untold = None  # whoever waits for its results gets it
        job.stop(error)

    async def create_demand(self, payload: Payload, expiration: datetime) -> DemandBuilder:
        """Build the demand for a payload, and let the budget last until its agreements have expired."""
        await self.budget.keep_until(expiration)
        demand = DemandBuilder()
        demand.add(ActivityProps(expiration=expiration, multi_activity=True))
        demand.add(NodeInfo(subnet_tag=self.subnet_tag))
        if self.subnet_tag:
            demand.ensure(clause(SUBNET, "=", self.subnet_tag))
        for constraint in self._decoration.constraints:
            demand.ensure(constraint)
        demand.add_properties(self._decoration.properties)
        await demand.decorate(self.strategy, payload)
        return demand

    def start_job(self, job: Job, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job in the background until its work is done, it is stopped, or the engine stops.

        Raises
        ------
        EngineStoppedError
            The engine is stopping.
        """
        if self._stopping.is_set():
            raise EngineStoppedError("Golem is shutting down: start it again before starting new work")
        self._jobs[job] = asyncio.create_task(self._run_job(job, work), name=f"job {job.id}")
        if self._failure is not None:
            self._end_failed(job, self._failure)

    def keep(self, held: HeldAgreement) -> None:
        """Let an agreement outlive the engine, and with it the reservation of the budget."""
        held.kept = True
        self._kept.append(held)

    def keep_no_longer(self, held: HeldAgreement) -> None:
        """Let an agreement that was kept be ended, and paid, by this engine after all."""
        held.kept = False
        self._kept.remove(held)

    @property
    def kept(self) -> list[HeldAgreement]:
        """The agreements that outlive the engine and are still in force."""
        return [held for held in self._kept if held.ended is None]

    def taken_up(self, agreement_id: AgreementId) -> None:
        """Forget that an agreement was kept: somebody uses it, and ends it, again."""
        for held in self._kept:
            if held.agreement.id == agreement_id:
                held.taken_up = True
        self._kept = [held for held in self._kept if not held.taken_up]

    def join_session(self, session_id: str, since: datetime) -> None:
        """Listen also to what the daemon has for another engine that is no more.

        Parameters
        ----------
        session_id
            The other engine's.
        since
            When it stopped listening.
        """
        if session_id not in self._sessions:
            self._sessions.add(session_id)
            self.payments.follow_session(session_id, since)
            self._listeners.create_task(
                self._watch_agreements(session_id, since), name="ends of agreements taken up"
            )

    async def _run_job(self, job: Job, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await job.run(work)
        except Exception:
            logger.exception("Job %s could not be ended properly", job.id)
        finally:
            del self._jobs[job]

    async def _run(self, ready: asyncio.Future[None]) -> None:
        """Own everything that the engine has running."""
        async with self._configuration:
            await self._identify()
            await self.budget.open()
            patience: asyncio.Task[None] | None = None
            try:
                self._decoration = await self.payment.decorate_demand([self.budget.allocation.id])
                async with GsbStorage(Gsb(self._configuration.gsb()), self.node_id) as self.storage:
                    background = asyncio.create_task(self._listen(), name="golem_nb listeners")
                    background.add_done_callback(self._listeners_ended)
                    try:
                        ready.set_result(None)
                        try:
                            await self._stopping.wait()
                        finally:
                            patience = asyncio.create_task(self._lose_patience(), name="golem_nb patience")
                        await self._shut_down()
                    finally:
                        # cancelled like everything else when the loop is torn down, jobs still end agreements
                        await asyncio.gather(*self._jobs.values(), return_exceptions=True)
                        background.cancel()
                        await asyncio.gather(background, return_exceptions=True)
            finally:
                try:
                    await self.budget.close(keep=bool(self.kept))
                except DaemonSilentError:
                    self._tell_what_is_left()
                finally:
                    if patience is not None:
                        patience.cancel()

    async def _lose_patience(self) -> None:
        """Give the daemon up when it does not answer for `SILENCE`: the end must not wait for each request.

        Providers may take longer, and workers and services that end in good order, too: only the daemon's own
        silence counts.
        """
        identity = Identity(self._configuration.root())
        while True:
            try:
                async with asyncio.timeout(SILENCE):
                    await identity.version()
            except TimeoutError:
                self._configuration.patience.lose()
                return
            except ApiError:
                pass  # what refuses or cannot be reached keeps nobody waiting
            await asyncio.sleep(SIGNS_OF_LIFE)

    def _tell_what_is_left(self) -> None:
        logger.error(
            "The daemon at %s has not answered for %g s and was given up. Left on it: %s. Restart it; "
            "agreements and allocation end with their time, or at once by `Session.recover()` if they are a "
            "session's. `yagna payment release-allocations` frees all allocations.",
            self._configuration.api_config.api_url,
            SILENCE,
            "; ".join(
                [
                    f"allocation {self.budget.allocation.id} of {self.budget.budget} GLM, until "
                    f"{self.budget.expires:%Y-%m-%d %H:%M} UTC",
                    *self.endings.left,
                ]
            ),
        )

    def _listeners_ended(self, listeners: asyncio.Task[None]) -> None:
        """Without listeners no bill is paid and no end noticed: end all work rather than go on blindly."""
        if not listeners.cancelled() and (error := listeners.exception()) is not None:
            logger.error("The engine cannot listen to the daemon any more", exc_info=error)
            self.fail(EngineStoppedError(f"The engine cannot listen to the daemon any more: {error}"))

    async def _identify(self) -> None:
        """Find out who the daemon is, and whether it will do."""
        identity = Identity(self._configuration.root())
        version = await identity.version()
        if version.too_old:
            needed = ".".join(map(str, MINIMUM_VERSION))
            raise DaemonTooOldError(self._configuration.api_config.api_url, version.version, needed)
        self.node_id = (await identity.me()).identity

    async def _listen(self) -> None:
        async with asyncio.TaskGroup() as self._listeners:
            group = self._listeners
            group.create_task(self.payments.run(), name="payments")
            group.create_task(self.budget.keep_alive(), name="allocation")
            group.create_task(
                self._watch_agreements(self.session_id, self.started), name="ends of agreements"
            )

    async def _shut_down(self) -> None:
        logger.info("Golem is shutting down...")
        ending = []
        for job in self._jobs:
            if job.wind_down is None:
                job.stop(EngineStoppedError(f"Golem was stopped before job {job.id} was done"))
            else:
                ending.append(job.wind_down())
        await asyncio.gather(*ending, return_exceptions=True)
        await asyncio.gather(*self._jobs.values(), return_exceptions=True)
        await self.endings.finish()
        if self.last_words is not None:
            await self.last_words()
        if self._wait_for_payments and not self._configuration.patience.lost:
            await self.payments.wait_for_invoices()

    async def _watch_agreements(self, session_id: str, after: datetime) -> None:
        """Notice what providers do to agreements, the moment that they do it."""
        failures = 0
        while True:
            try:
                events = await self.market.collect_agreement_events(
                    after, timeout=POLL, app_session_id=session_id
                )
            except ApiError as error:
                failures += 1
                logger.warning(
                    "The ends of agreements could not be asked for, which will be tried again: %s", error
                )
                await asyncio.sleep(min(0.5 * 2**failures, POLL))
                continue
            failures = 0
            for event in events:
                after = max(after, event.date)
                if event.kind == "terminated" and event.terminator == "Provider":
                    for job in self._jobs:
                        if job.agreements.on_terminated(event.agreement_id, event.reason):
                            break
