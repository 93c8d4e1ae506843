"""The agreements of one job: made, lent to workers, used again, ended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from golem_nb.engine.errors import StrategyError
from golem_nb.engine.journal import step
from golem_nb.events import (
    AgreementConfirmed,
    AgreementCreated,
    AgreementRejected,
    AgreementTerminated,
    ProposalFailed,
)
from golem_nb.log import get_logger
from golem_nb.rest.errors import ApiError
from golem_nb.rest.market import AgreementRejectedError

if TYPE_CHECKING:
    from golem_nb.engine.job import Job
    from golem_nb.rest.ids import AgreementId, NodeId
    from golem_nb.rest.market import Agreement, OfferProposal

logger = get_logger(__name__)

#: A provider that has not approved an agreement by then is passed over, in seconds.
APPROVAL_TIMEOUT = 15.0

MULTI_ACTIVITY = "golem.srv.caps.multi-activity"

SUCCESS = {"message": "Successfully finished all work", "golem.requestor.code": "Success"}
CANCELLED = {"message": "Work cancelled", "golem.requestor.code": "Cancelled"}


class HeldAgreement:
    """An agreement that is in force, and what must be interrupted when it ends.

    Attributes
    ----------
    agreement
        The agreement itself.
    ended
        Why it has ended, or None while it is in force.
    kept
        Whether it is to outlive the engine: its activity was suspended.
    taken_up
        Whether that activity was resumed by the same engine, which holds the agreement once more for it.
    """

    def __init__(self, agreement: Agreement) -> None:
        self.agreement = agreement
        self.ended: str | None = None
        self.kept = False
        self.taken_up = False
        self._scopes: set[asyncio.Timeout] = set()

    @property
    def provider_id(self) -> NodeId:
        """Node id of the provider."""
        return self.agreement.details.provider_id

    @property
    def provider(self) -> str:
        """How messages name the provider."""
        name = self.agreement.details.provider_node_info.name
        return f"{name!r} ({self.provider_id})" if name else f"({self.provider_id})"

    @property
    def reusable(self) -> bool:
        """Whether another activity may follow on this agreement."""
        details = self.agreement.details
        return (
            self.ended is None
            and bool(details.offer_props.get(MULTI_ACTIVITY))
            and bool(details.demand_props.get(MULTI_ACTIVITY))
        )

    def watch(self, scope: asyncio.Timeout) -> None:
        """Let `scope` expire when the agreement ends."""
        if self.ended is not None:
            scope.reschedule(asyncio.get_running_loop().time())
        self._scopes.add(scope)

    def unwatch(self, scope: asyncio.Timeout) -> None:
        """Forget a scope that has been left."""
        self._scopes.discard(scope)

    def end(self, reason: str) -> None:
        """Mark as ended and interrupt whatever waits under it."""
        if self.ended is None:
            self.ended = reason
            now = asyncio.get_running_loop().time()
            for scope in self._scopes:
                if not scope.expired():  # its own time may have run out at this very moment
                    scope.reschedule(now)


class AgreementPool:
    """Makes agreements out of the job's offers and keeps those that are in force."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._engine = job.engine
        self._held: dict[AgreementId, HeldAgreement] = {}
        self._idle: list[HeldAgreement] = []
        self._choosing = asyncio.Lock()
        #: How many agreements were confirmed.
        self.made = 0
        #: How many are waiting for an agreement.
        self.waiting = 0

    async def acquire(self) -> HeldAgreement:
        """Return an agreement in force: one that is idle, or a new one on the best offer.

        Waits as long as it takes; a provider that refuses is passed over. A strategy that fails ends the job.
        """
        self.waiting += 1
        try:
            while True:
                choice = await self._choose()
                if isinstance(choice, HeldAgreement):
                    return choice
                held = await self._agree(choice)
                if held is not None:
                    return held
        except StrategyError as error:
            self._job.stop(error)
            raise
        finally:
            self.waiting -= 1

    def adopt(self, agreement: Agreement) -> HeldAgreement:
        """Take up an agreement in force that another engine has made."""
        held = HeldAgreement(agreement)
        self._held[agreement.id] = held
        self.made += 1
        self._engine.payments.agreement_confirmed(self._job, held)
        return held

    def put_back(self, held: HeldAgreement) -> None:
        """Let another worker have an agreement."""
        if held.ended is None:
            self._idle.append(held)
            self._job.offers.changed.set()

    def failed(self, provider: NodeId) -> None:
        """Note that work on a provider has failed: others are preferred, and it has to be asked anew."""
        draft = self._job.offers.failed(provider)
        if draft is not None:
            self._job.negotiation.spent(draft)

    async def give_up(self, held: HeldAgreement) -> None:
        """End an agreement on which work has failed."""
        if held.ended is None:
            self.failed(held.provider_id)
            await self.terminate(held, CANCELLED)

    async def terminate(self, held: HeldAgreement, reason: Mapping[str, Any]) -> None:
        """End an agreement with a reason that the provider is told."""
        if held.ended is not None:
            return
        held.end(str(reason.get("message")))
        agreement = held.agreement

        async def terminate() -> None:
            async with step(self._engine.journal, "terminate_agreement", agreement_id=agreement.id):
                await agreement.terminate(reason)

        await self._engine.endings.end(f"Agreement {agreement.id} with {held.provider}", terminate)
        self._ended(held, reason)

    async def terminate_all(self, reason: Mapping[str, Any]) -> None:
        """End whatever is still in force and not kept, all at once."""
        async with asyncio.TaskGroup() as group:
            for held in [held for held in self._held.values() if not held.kept]:
                group.create_task(self.terminate(held, reason), name=f"terminate {held.agreement.id}")

    def on_terminated(self, agreement_id: AgreementId, reason: Mapping[str, Any] | None) -> bool:
        """Take notice of a termination by the provider; False if the agreement is not one of this job's."""
        held = self._held.get(agreement_id)
        if held is None or held.ended is not None:
            return held is not None
        message = (reason or {}).get("message")
        held.end(f"terminated by the provider: {message}" if message else "terminated by the provider")
        self.failed(held.provider_id)
        self._ended(held, reason or {})
        return True

    def find(self, agreement_id: AgreementId) -> HeldAgreement | None:
        """Return the agreement with this id if it is in force."""
        return self._held.get(agreement_id)

    def _ended(self, held: HeldAgreement, reason: Mapping[str, Any]) -> None:
        self._held.pop(held.agreement.id, None)
        if held in self._idle:
            self._idle.remove(held)
        self._job.emit(AgreementTerminated, agreement=held.agreement, reason=dict(reason))
        self._engine.payments.agreement_ended(held.agreement.id)

    async def _choose(self) -> HeldAgreement | OfferProposal:
        changed = self._job.offers.changed
        async with self._choosing:
            while True:
                changed.clear()
                if self._idle:
                    return self._idle.pop()
                proposal, patience = await self._job.offers.best()
                if proposal is not None:
                    return proposal
                if patience is None:
                    patience = self._job.negotiation.starved()
                try:
                    async with asyncio.timeout(patience):
                        await changed.wait()
                except TimeoutError:
                    pass

    async def _agree(self, proposal: OfferProposal) -> HeldAgreement | None:
        journal = self._engine.journal
        agreement: Agreement | None = None
        try:
            async with step(
                journal,
                "create_agreement",
                job_id=self._job.id,
                proposal_id=proposal.id,
                provider_id=proposal.issuer,
            ) as outcome:
                agreement = await proposal.create_agreement()
                outcome["agreement_id"] = agreement.id
            self._job.emit(AgreementCreated, agreement=agreement)
            async with step(journal, "confirm_agreement", agreement_id=agreement.id):
                await agreement.confirm(app_session_id=self._engine.session_id)
            await agreement.wait_for_approval(timeout=APPROVAL_TIMEOUT)
        except AgreementRejectedError:
            assert agreement is not None
            self._job.emit(AgreementRejected, agreement=agreement, exc_info=sys.exc_info())
            self.failed(proposal.issuer)
            self._job.negotiation.spent(proposal, refused=True)
            return None
        except ApiError:
            if agreement is None:
                self._job.emit(ProposalFailed, proposal=proposal, exc_info=sys.exc_info())
                # what stood in the way may be gone later
                self._job.negotiation.spent(proposal, refused=True)
            else:
                self._job.emit(AgreementRejected, agreement=agreement, exc_info=sys.exc_info())
                self.failed(proposal.issuer)
                await self._withdraw(agreement)
            return None
        except BaseException:
            # cancelled, or the journal cannot be written
            if agreement is not None:
                self._job.clean_up(self._withdraw(agreement))
            raise
        held = self.adopt(agreement)
        self._job.emit(AgreementConfirmed, agreement=agreement)
        self._job.negotiation.spent(proposal)
        return held

    async def _withdraw(self, agreement: Agreement) -> None:
        """Take back an agreement that nobody will use; the provider may be approving it at this moment."""
        async with step(self._engine.journal, "terminate_agreement", agreement_id=agreement.id):
            try:
                await agreement.cancel()
            except ApiError:
                try:
                    await agreement.terminate(CANCELLED)
                except ApiError as error:
                    logger.debug("Agreement %s needs no withdrawal: %s", agreement.id, error)
