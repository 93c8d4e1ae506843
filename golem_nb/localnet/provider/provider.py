"""One provider: its offer, its agreements and their activities."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from golem_nb.localnet.bus.client import Bus, BusError
from golem_nb.localnet.provider.agreement import Agreement
from golem_nb.localnet.provider.api import ProviderApi, now
from golem_nb.localnet.provider.exe_unit import ExeUnit, Task
from golem_nb.localnet.provider.faults import HOSTILE_LINE, Faults
from golem_nb.localnet.provider.offer import COEFFICIENTS, Offer
from golem_nb.localnet.provider.pricing import LinearPricing
from golem_nb.localnet.provider.sandbox.host import Limits, SandboxHost
from golem_nb.localnet.spec import Misbehaviour, MisbehaviourKind, ProviderSpec
from golem_nb.rest.errors import ApiError, GoneError, NotFoundError, is_intermittent

if TYPE_CHECKING:
    from golem_nb.localnet.provider.exe_unit import Networks
    from golem_nb.localnet.provider.images import Images

__all__ = ["Provider", "Surroundings"]

logger = logging.getLogger(__name__)

_RETRY_PAUSE: Final = 0.5
#: Agreements that `status` tells of; ended ones beyond it are forgotten.
_REMEMBERED: Final = 200


@attrs.frozen(kw_only=True)
class Surroundings:
    """What the providers of a network share.

    Parameters
    ----------
    api_url, bus
        Their daemon.
    subnet, platforms
        Of their offers.
    host
        Makes sandboxes.
    images
        The network's images.
    networks
        VPNs; None: none are offered.
    on_offer
        Called with (provider, subscription) when an offer has been published.
    """

    api_url: str
    bus: str
    subnet: str
    platforms: tuple[str, ...]
    host: SandboxHost
    images: Images
    networks: Callable[[str], Networks] | None
    on_offer: Callable[[Provider, str], None]


class Provider:
    """A provider agent with one identity.

    Parameters
    ----------
    spec
        What it offers.
    node_id, app_key
        Its identity.
    around
        What it shares with others.
    """

    def __init__(self, spec: ProviderSpec, node_id: str, app_key: str, around: Surroundings) -> None:
        self.spec, self.node_id, self._app_key, self.around = spec, node_id, app_key, around
        self.faults = Faults(spec.misbehaviours)
        self.subscription: str | None = None
        self.agreements: dict[str, Agreement] = {}
        self.vanished = False
        self._pricing = LinearPricing.of(spec)
        self._hostile = False
        self._networks = around.networks(node_id) if around.networks is not None else None
        self._notes = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._published: asyncio.Future[None] | None = None
        self._bus: Bus | None = None
        self._api: ProviderApi | None = None
        self._group: asyncio.TaskGroup | None = None
        self._vanishing: asyncio.Task[None] | None = None

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, publish the offer, and serve until `stop`.

        Raises
        ------
        ApiError, BusError
            The daemon does not take us.
        """
        self.vanished = False
        self._published = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(), name=f"provider {self.spec.name}")
        await asyncio.wait({self._published, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if not self._published.done():
            await self._running

    async def _run(self) -> None:
        session = f"golem-nb-{uuid.uuid4().hex}"
        async with (
            ProviderApi(self.around.api_url, self._app_key, session) as api,
            await Bus.connect(self.around.bus, f"provider {self.spec.name}") as bus,
        ):
            self._api, self._bus = api, bus
            since = now()
            # an offer from before it vanished would go on collecting proposals that nobody answers
            for old in await api.offers():
                await api.withdraw(old)
            await self._publish()
            try:
                async with asyncio.TaskGroup() as group:
                    self._group = group
                    group.create_task(self._market())
                    group.create_task(self._follow(api.agreement_events, since, self._agreement_event))
                    group.create_task(self._follow(api.activity_events, since, self._activity_event))
                    group.create_task(self._follow_notes(since))
                    if self._published is not None and not self._published.done():
                        self._published.set_result(None)
            finally:
                self._group = None

    async def stop(self) -> None:
        """Withdraw the offer, end the agreements and what runs under them, and send the invoices."""
        running, api = self._running, self._api
        if running is None or running.done() or api is None:
            return
        subscription, self.subscription = self.subscription, None
        if subscription is not None:
            with contextlib.suppress(ApiError):
                await api.withdraw(subscription)
        ending = [
            agreement.terminate("Shutdown", "Shutting down Provider")
            for agreement in self.agreements.values()
        ]
        for result in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(result, Exception):
                logger.warning("%s: while stopping: %s", self.spec.name, result)
        await self._end(running)

    async def vanish(self) -> None:
        """Be gone at once, without a word to anyone."""
        logger.warning("%s vanishes", self.spec.name)
        self.vanished = True
        if self._bus is not None:
            self._bus.abort()
        for agreement in self.agreements.values():
            agreement.cut()
        self.agreements.clear()
        if self._running is not None and self._running is not asyncio.current_task():
            await self._end(self._running)

    @staticmethod
    async def _end(running: asyncio.Task[None]) -> None:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def come_back(self) -> None:
        """Be there again after `vanish`, with a new offer and no memory of old agreements."""
        if self._running is not None and not self._running.done():
            return
        await self.start()

    async def misbehave(self, misbehaviours: Sequence[Misbehaviour]) -> None:
        """Misbehave in these ways from now on (none: behave)."""
        self.faults.replace(misbehaviours)
        for agreement in self.agreements.values():
            agreement.notify()
        if (
            bool(self.faults.has(MisbehaviourKind.HOSTILE_TEXT)) != self._hostile
            and self.subscription is not None
        ):
            old, api = self.subscription, self._api
            await self._publish()  # the name is part of the offer
            if api is not None:
                with contextlib.suppress(ApiError):
                    await api.withdraw(old)
        if self.faults.has(MisbehaviourKind.VANISH) and self.agreements:
            self._soon_vanish()

    def status(self) -> dict[str, Any]:
        """Return what is going on, as JSON."""
        return {
            "name": self.spec.name,
            "node_id": self.node_id,
            "subscription": self.subscription,
            "vanished": self.vanished,
            "agreements": [
                {
                    "id": agreement.id,
                    "live": agreement.live,
                    "invoice": agreement.invoice,
                    "activities": [
                        {"id": unit.id, "state": unit.state, "usage": unit.usage}
                        for unit in agreement.units.values()
                    ],
                }
                for agreement in self.agreements.values()
            ],
        }

    # -- following events -------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Handle something beside everything else; an error in it ends only itself."""
        if self._group is None:
            work.close()
            return
        self._group.create_task(self._guard(work, what))

    async def _guard(self, work: Awaitable[None], what: str) -> None:
        try:
            await work
        except (ApiError, BusError, TimeoutError) as error:
            logger.warning("%s: %s: %s", self.spec.name, what, error)
        except Exception:
            logger.exception("%s: %s", self.spec.name, what)

    async def _follow(
        self,
        poll: Callable[[str], Awaitable[list[dict[str, Any]]]],
        since: str,
        handle: Callable[[dict[str, Any]], Coroutine[Any, Any, None]],
    ) -> None:
        while True:
            try:
                events = await poll(since)
            except ApiError as error:
                await self._pause(error)
                continue
            for event in events:
                since = event["eventDate"]
                self._spawn(handle(event), "an event")

    async def _pause(self, error: ApiError) -> None:
        if not is_intermittent(error):
            logger.warning("%s: %s", self.spec.name, error)
        await asyncio.sleep(_RETRY_PAUSE)

    async def _follow_notes(self, since: str) -> None:
        """Follow debit notes, but only while any are waited for: the daemon looks for them once a second."""
        assert self._api is not None
        while True:
            if not any(agreement.waits_for_acceptance for agreement in self.agreements.values()):
                self._notes.clear()
                await self._notes.wait()
            try:
                events = await self._api.debit_note_events(since)
            except ApiError as error:
                await self._pause(error)
                continue
            for event in events:
                since = event["eventDate"]
                if event.get("eventType") == "DebitNoteAcceptedEvent":
                    any(agreement.accepted(event["debitNoteId"]) for agreement in self.agreements.values())

    # -- market -----------------------------------------------------------------------------------

    def _offer(self) -> Offer:
        around = self.around
        return Offer(
            self.spec,
            self.node_id,
            around.subnet,
            around.platforms,
            self._networks is not None,
            self._hostile,
        )

    async def _publish(self) -> None:
        assert self._api is not None
        self._hostile = self.faults.has(MisbehaviourKind.HOSTILE_TEXT) is not None
        self.subscription = await self._api.publish(self._offer().to_json())
        self.around.on_offer(self, self.subscription)

    async def _market(self) -> None:
        assert self._api is not None
        while (subscription := self.subscription) is not None:
            try:
                events = await self._api.market_events(subscription)
            except (NotFoundError, GoneError):
                if subscription == self.subscription:
                    logger.info("%s: the offer has expired and is published again", self.spec.name)
                    try:
                        await self._publish()
                    except ApiError as error:
                        await self._pause(error)
                continue
            except ApiError as error:
                await self._pause(error)
                continue
            for event in events:
                if event["eventType"] == "ProposalEvent":
                    self._spawn(self._proposal(subscription, event["proposal"]), "a proposal")
                elif event["eventType"] == "AgreementEvent":
                    self._spawn(self._agreement(event["agreement"]), "an agreement")

    async def _proposal(self, subscription: str, proposal: dict[str, Any]) -> None:
        assert self._api is not None
        if self.faults.take(MisbehaviourKind.IGNORE_PROPOSAL):
            return
        live = sum(agreement.live for agreement in self.agreements.values())
        offer = self._offer()
        answer: dict[str, Any] | str
        if self.faults.take(MisbehaviourKind.REFUSE_PROPOSAL):
            answer = "No capacity available. Reached Agreements limit: 0"
        elif live >= self.spec.max_agreements:
            answer = f"No capacity available. Reached Agreements limit: {self.spec.max_agreements}"
        else:
            answer = offer.answer(proposal["properties"])
        if isinstance(answer, str):
            if self._hostile:
                answer = f"{HOSTILE_LINE}{answer}"
            await self._api.reject_proposal(subscription, proposal["proposalId"], answer)
            return
        if self.faults.take(MisbehaviourKind.UNREADABLE_PRICE):
            answer[COEFFICIENTS] = [str(price) for price in answer[COEFFICIENTS]]
        counter = {"properties": answer, "constraints": offer.constraints()}
        await self._api.counter(subscription, proposal["proposalId"], counter)

    async def _agreement(self, proposed: dict[str, Any]) -> None:
        assert self._api is not None
        agreement_id = proposed["agreementId"]
        if self.faults.take(MisbehaviourKind.IGNORE_AGREEMENT):
            return
        if self.faults.take(MisbehaviourKind.REFUSE_AGREEMENT):
            message = f"{HOSTILE_LINE if self._hostile else ''}No capacity available"
            await self._api.reject_agreement(
                agreement_id, {"message": message, "golem.provider.code": "NoCapacity"}
            )
            return
        details = await self._api.agreement(agreement_id)
        agreement = Agreement(details, self.spec, self._pricing, self.faults, self._api, self._notes.set)
        # known before it is approved: the requestor may create an activity before our answer is back
        self.agreements[agreement_id] = agreement
        try:
            await self._api.approve(agreement_id)
        except BaseException:
            self.agreements.pop(agreement_id, None)
            agreement.cut()
            raise
        logger.info("%s: agreement %s approved", self.spec.name, agreement_id[:12])
        for old in list(self.agreements)[:-_REMEMBERED]:
            if not self.agreements[old].live:
                del self.agreements[old]
        self._spawn(agreement.watch(), f"agreement {agreement_id[:12]}")
        if self.faults.has(MisbehaviourKind.VANISH):
            self._soon_vanish()

    def _soon_vanish(self) -> None:
        fault = self.faults.take(MisbehaviourKind.VANISH)
        after = 0.0 if fault is None else fault.after or 0.0

        async def go() -> None:
            await asyncio.sleep(after)
            await self.vanish()

        # not in our own group: it ends the group
        self._vanishing = asyncio.create_task(go(), name=f"{self.spec.name} vanishes")

    async def _agreement_event(self, event: dict[str, Any]) -> None:
        agreement = self.agreements.get(event["agreementId"])
        if agreement is not None and event["eventType"] in (
            "AgreementTerminatedEvent",
            "AgreementCancelledEvent",
        ):
            await agreement.close()

    # -- activities -------------------------------------------------------------------------------

    async def _activity_event(self, event: dict[str, Any]) -> None:
        kind = event["eventType"]
        name = kind if isinstance(kind, str) else next(iter(kind))
        agreement = self.agreements.get(event["agreementId"])
        if agreement is None:
            return
        if name == "CreateActivity":
            await self._create(agreement, event["activityId"])
        elif name == "DestroyActivity" and (unit := agreement.units.get(event["activityId"])) is not None:
            await agreement.finish(unit)

    async def _create(self, agreement: Agreement, activity_id: str) -> None:
        assert self._bus is not None
        if not agreement.live or self.faults.take(MisbehaviourKind.NO_EXE_UNIT):
            return
        units = [unit for a in self.agreements.values() for unit in a.units.values()]
        if sum(unit.state != "Terminated" for unit in units) >= self.spec.max_activities:
            logger.warning("%s: activity limit of %d reached", self.spec.name, self.spec.max_activities)
            return
        task = Task(
            activity_id=activity_id,
            node_id=self.node_id,
            find_image=lambda: self.around.images.find(agreement.demand),
            limits=Limits(memory=int(self.spec.mem_gib * 2**30), storage=int(self.spec.storage_gib * 2**30)),
            seconds=self.spec.max_activity_seconds,
        )

        def died(unit: ExeUnit) -> None:
            self._spawn(agreement.finish(unit), f"the end of activity {activity_id[:8]}")

        unit = ExeUnit(self._bus, self.around.host, task, self.faults, self._networks, died)
        agreement.add(unit)
        await unit.start()
