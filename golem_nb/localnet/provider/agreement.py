"""The life of one agreement on the provider's side: its deadlines, debit notes and invoice."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

import attrs

from golem_nb.localnet.provider.api import ProviderApi
from golem_nb.localnet.provider.exe_unit import ExeUnit
from golem_nb.localnet.provider.faults import HOSTILE_LINE, Faults
from golem_nb.localnet.provider.offer import ACCEPT_TIMEOUT, NOTE_INTERVAL, PAYMENT_TIMEOUT
from golem_nb.localnet.provider.pricing import LinearPricing
from golem_nb.localnet.spec import MisbehaviourKind, ProviderSpec
from golem_nb.rest.errors import ApiError

__all__ = ["Agreement"]

logger = logging.getLogger(__name__)

_INVOICE_DUE: Final = timedelta(days=1)
_SMALLEST: Final = Decimal(1).scaleb(-18)


@attrs.define
class _Account:
    """What is owed for an activity."""

    total: Decimal = Decimal(0)
    next_note: float = 0.0
    #: note id -> when it was sent, of notes that have not been accepted
    waiting: dict[str, float] = attrs.field(factory=dict)


class Agreement:
    """One approved agreement.

    Its timer sleeps until the next deadline; there is no tick.

    Parameters
    ----------
    details
        The agreement as the daemon tells it.
    spec, pricing, faults, api
        The provider.
    on_notes
        Called when debit notes begin to be waited for.
    """

    def __init__(
        self,
        details: Mapping[str, Any],
        spec: ProviderSpec,
        pricing: LinearPricing,
        faults: Faults,
        api: ProviderApi,
        on_notes: Callable[[], None],
    ) -> None:
        self.id: str = details["agreementId"]
        self.demand: Mapping[str, Any] = details["demand"]["properties"]
        self._spec, self._pricing, self._faults, self._api = spec, pricing, faults, api
        self._on_notes = on_notes
        self.live = True
        #: Those whose last debit note has not been sent.
        self.units: dict[str, ExeUnit] = {}
        self._accounts: dict[str, _Account] = {}
        self._approved = self._idle_since = time.monotonic()
        self._interval = float(self.demand.get(NOTE_INTERVAL) or spec.debit_note_interval)
        self._accept: float | None = self.demand.get(ACCEPT_TIMEOUT)
        self._pay: float | None = self.demand.get(PAYMENT_TIMEOUT)
        self._payable_at = self._approved
        expiration = self.demand.get("golem.srv.comp.expiration")
        self._expires: float | None = None
        if isinstance(expiration, int | float) and expiration > 0:
            self._expires = time.monotonic() + expiration / 1000 - time.time()
        self._changed = asyncio.Event()
        self._sending = asyncio.Lock()
        self.invoice: str | None = None

    # -- activities -------------------------------------------------------------------------------

    def add(self, unit: ExeUnit) -> None:
        """Take note of a new activity."""
        self.units[unit.id] = unit
        self._accounts[unit.id] = _Account(next_note=time.monotonic() + self._note_interval())
        self._changed.set()

    async def finish(self, unit: ExeUnit) -> None:
        """End an activity and send its last debit note; who comes second waits for the first."""
        await unit.stop()
        await self._send_note(unit, final=True)
        self._changed.set()

    # -- deadlines --------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Do what is due until the agreement has ended."""
        while self.live:
            self._changed.clear()
            due, action = self._next()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._changed.wait()
            except TimeoutError:
                await action()

    def notify(self) -> None:
        """Look at the deadlines again, because the misbehaviours have changed."""
        self._changed.set()

    def _next(self) -> tuple[float | None, Any]:
        deadlines: list[tuple[float, Any]] = []
        if self._expires is not None:
            deadlines.append((self._expires, self._expire))
        if not self.units:
            deadlines.append((self._idle_since + self._spec.no_activity_timeout, self._no_activity))
        fault = self._faults.has(MisbehaviourKind.TERMINATE_AGREEMENT)
        if fault is not None:
            deadlines.append((self._approved + (fault.after or 0), self._terminate_by_fault))
        for activity, account in self._accounts.items():
            if activity in self.units:
                due = min(account.next_note, time.monotonic() + self._note_interval())
                deadlines.append((due, lambda unit=self.units[activity]: self._send_note(unit)))
            if self._accept is not None and account.waiting:
                deadlines.append((min(account.waiting.values()) + self._accept, self._not_accepted))
        return min(deadlines, key=lambda entry: entry[0], default=(None, None))

    def _note_interval(self) -> float:
        fault = self._faults.has(MisbehaviourKind.TOO_MANY_DEBIT_NOTES)
        return self._interval if fault is None else fault.interval or 0.2

    async def _expire(self) -> None:
        await self.terminate("Expired", f"Agreement expired @ {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")

    async def _no_activity(self) -> None:
        await self.terminate("NoActivity", f"No activity created within {self._spec.no_activity_timeout:g}s")

    async def _terminate_by_fault(self) -> None:
        self._faults.take(MisbehaviourKind.TERMINATE_AGREEMENT)
        await self.terminate("Shutdown", "The provider needs its machine for something else")

    async def _not_accepted(self) -> None:
        await self.terminate(
            "DebitNotesDeadline", f"Requestor isn't accepting DebitNotes in time ({self._accept:g}s)"
        )

    # -- money ------------------------------------------------------------------------------------

    async def _send_note(self, unit: ExeUnit, *, final: bool = False) -> None:
        account = self._accounts[unit.id]
        async with self._sending:
            if unit.id not in self.units:
                return  # its last one has been sent
            usage = list(await unit.measure())
            account.next_note = time.monotonic() + self._note_interval()
            account.total = max(account.total, self._amount(usage))
            if not final and self._faults.has(MisbehaviourKind.TOO_MANY_DEBIT_NOTES):
                self._faults.take(MisbehaviourKind.TOO_MANY_DEBIT_NOTES)
            due = None
            if self._pay and not final and time.monotonic() >= self._payable_at + self._pay:
                due = datetime.now(UTC) + timedelta(seconds=self._pay)
                self._payable_at = time.monotonic()
            try:
                note = await self._api.send_debit_note(unit.id, account.total, usage, due)
            except ApiError as error:
                logger.warning("debit note of activity %s: %s", unit.id[:8], error)
                return
            finally:
                if final:
                    del self.units[unit.id]
                    if not self.units:
                        self._idle_since = time.monotonic()
        logger.info("debit note %s over %s%s", note[:8], account.total, ", payable" if due else "")
        if self._accept is not None and self.live:
            account.waiting[note] = time.monotonic()
            self._on_notes()

    def _amount(self, usage: list[float]) -> Decimal:
        cost = self._pricing.cost(usage)
        fault = self._faults.has(MisbehaviourKind.OVERCHARGE)
        if fault is None or fault.factor is None:
            return cost
        return (cost * fault.factor).quantize(_SMALLEST, ROUND_FLOOR)

    def accepted(self, note: str) -> bool:
        """Take note that a debit note, and so those before it, has been accepted; whether it is ours."""
        for account in self._accounts.values():
            if (sent := account.waiting.get(note)) is not None:
                account.waiting = {n: at for n, at in account.waiting.items() if at > sent}
                self._changed.set()
                return True
        return False

    @property
    def waits_for_acceptance(self) -> bool:
        """Whether debit notes are waiting to be accepted."""
        return self.live and any(account.waiting for account in self._accounts.values())

    # -- the end ----------------------------------------------------------------------------------

    async def terminate(self, code: str, message: str) -> None:
        """End the agreement on the provider's side."""
        if not self.live:
            return
        logger.info("ending agreement %s: %s", self.id[:12], message)
        if self._faults.has(MisbehaviourKind.HOSTILE_TEXT):
            message = f"{HOSTILE_LINE}{message}"
        try:
            await self._api.terminate(self.id, {"message": message, "golem.provider.code": code})
        except ApiError as error:
            logger.warning("ending agreement %s: %s", self.id[:12], error)
        await self.close()

    async def close(self) -> None:
        """End what runs under the agreement, and send the invoice; for when it has been ended."""
        if not self.live:
            return
        self.live = False
        self._changed.set()
        async with asyncio.TaskGroup() as group:
            for unit in list(self.units.values()):
                group.create_task(self.finish(unit))
        if not self._accounts or self._faults.take(MisbehaviourKind.NO_INVOICE):
            return
        amount = sum((account.total for account in self._accounts.values()), Decimal(0))
        if self._faults.has(MisbehaviourKind.OVERCHARGE):
            self._faults.take(MisbehaviourKind.OVERCHARGE)
        try:
            due = datetime.now(UTC) + _INVOICE_DUE
            self.invoice = await self._api.send_invoice(self.id, list(self._accounts), amount, due)
        except ApiError as error:
            logger.warning("invoice of agreement %s: %s", self.id[:12], error)
            return
        logger.info("invoice %s over %s for agreement %s", self.invoice[:8], amount, self.id[:12])

    def cut(self) -> None:
        """Forget everything, as if the machine had lost its power."""
        self.live = False
        self._changed.set()
        for unit in self.units.values():
            unit.cut()
