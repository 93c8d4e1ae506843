"""Money: allocations, debit notes, invoices and payments."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from golem_nb.rest import fields
from golem_nb.rest.allocations import (
    Account,
    Allocation,
    AllocationDetails,
    MarketDecoration,
    accounts,
    allocation_details,
    decoration,
)
from golem_nb.rest.client import RestClient
from golem_nb.rest.ids import AllocationId, DebitNoteId, InvoiceId, PaymentId
from golem_nb.rest.notes import (
    DebitNote,
    DebitNoteEvent,
    DriverProblem,
    Invoice,
    InvoiceEvent,
    PaymentRecord,
    debit_note,
    debit_note_events,
    driver_problems,
    invoice,
    invoice_events,
    payment_record,
)

__all__ = [
    "Account",
    "Allocation",
    "AllocationDetails",
    "DebitNote",
    "DebitNoteEvent",
    "DriverProblem",
    "Invoice",
    "InvoiceEvent",
    "MarketDecoration",
    "Payment",
    "PaymentRecord",
]

T = TypeVar("T")


class Payment:
    """The requestor's side of payments.

    Parameters
    ----------
    client : RestClient
        From `Configuration.payment`.
    """

    def __init__(self, client: RestClient) -> None:
        self._client = client

    # --- allocations

    async def create_allocation(
        self,
        amount: Decimal,
        platform: str,
        address: str | None = None,
        expires: dt.datetime | None = None,
    ) -> Allocation:
        """Set money aside, out of which invoices can be paid.

        Sent once: after a broken connection look at `allocations` to see whether it was made.

        Parameters
        ----------
        amount : Decimal
            How much, in tokens; more than zero.
        platform : str
            Such as ``erc20-hoodi-tglm``.
        address : str, optional
            Whose money; the daemon's own account if not given.
        expires : datetime, optional
            When the daemon gives it back by itself, with a time zone; ten years from now if not given.

        Raises
        ------
        ValueError
            The amount is not a positive number.
        BadRequestError
            Not enough funds, or no such platform; the text says what is available.
        ServerError
            The payment driver has no such account, or cannot reach its network.
        """
        text = fields.money_text(amount)
        if amount <= 0:
            # the daemon itself would take it
            raise ValueError(f"The amount of an allocation must be greater than zero, not {text}")
        body: dict[str, Any] = {"paymentPlatform": platform, "totalAmount": text, "makeDeposit": False}
        if address is not None:
            body["address"] = address
        if expires is not None:
            body["timeout"] = fields.moment_text(expires, "expires")
        return await self._client.post(
            "/allocations", f"Creating an allocation of {text} on {platform}", self._allocation, body
        )

    async def allocation(self, allocation_id: AllocationId) -> Allocation:
        """Read an allocation.

        Parameters
        ----------
        allocation_id
            Id of the allocation.

        Raises
        ------
        NotFoundError
            It was released, or has expired, or never was.
        """
        return await self._client.get(
            f"/allocations/{fields.segment(allocation_id)}",
            f"Reading allocation {allocation_id}",
            self._allocation,
        )

    async def allocations(self) -> list[Allocation]:
        """List the allocations that are neither released nor expired."""
        return await self._client.get(
            "/allocations", "Listing the allocations", fields.as_list(self._allocation)
        )

    def _allocation(self, value: Any) -> Allocation:
        return Allocation.of(self._client, allocation_details(value))

    async def decorate_demand(self, ids: Sequence[AllocationId]) -> MarketDecoration:
        """Ask what a demand must say so that these allocations can pay for it.

        Parameters
        ----------
        ids
            Ids of the allocations.

        Raises
        ------
        NotFoundError
            One of them was released, or has expired.
        """
        # joined by commas: the daemon reads only the first of repeated parameters
        return await self._client.get(
            f"/demandDecorations{fields.query(allocationIds=','.join(ids))}",
            "Asking how a demand shows that it can be paid",
            decoration,
        )

    async def accounts(self) -> list[Account]:
        """List the accounts that can pay; none before `yagna payment init --sender` since the daemon's
        start.
        """
        return await self._client.get("/requestorAccounts", "Listing the accounts that can pay", accounts)

    async def status(self, network: str | None = None, driver: str | None = None) -> list[DriverProblem]:
        """Ask what is wrong with the payment drivers: no gas, no tokens, an RPC endpoint that fails.

        Parameters
        ----------
        network, driver : str, optional
            Only these, such as ``hoodi`` and ``erc20``.
        """
        return await self._client.get(
            f"/payments/status{fields.query(network=network, driver=driver)}",
            "Asking for the state of the payment drivers",
            driver_problems,
        )

    # --- invoices and debit notes

    async def invoice(self, invoice_id: InvoiceId) -> Invoice:
        """Read an invoice.

        Parameters
        ----------
        invoice_id
            Id of the invoice.

        Raises
        ------
        NotFoundError
            There is none of this number.
        """
        return await self._client.get(
            f"/invoices/{fields.segment(invoice_id)}", f"Reading invoice {invoice_id}", self._invoice
        )

    async def invoices(self, after: dt.datetime | None = None) -> list[Invoice]:
        """List invoices, those after a time only."""
        return await self._list("/invoices", "Listing the invoices", self._invoice, after)

    async def debit_note(self, debit_note_id: DebitNoteId) -> DebitNote:
        """Read a debit note.

        Parameters
        ----------
        debit_note_id
            Id of the debit note.

        Raises
        ------
        NotFoundError
            There is none of this number.
        """
        return await self._client.get(
            f"/debitNotes/{fields.segment(debit_note_id)}",
            f"Reading debit note {debit_note_id}",
            self._debit_note,
        )

    async def debit_notes(self, after: dt.datetime | None = None) -> list[DebitNote]:
        """List debit notes, those after a time only."""
        return await self._list("/debitNotes", "Listing the debit notes", self._debit_note, after)

    def _invoice(self, value: Any) -> Invoice:
        return invoice(self._client, value)

    def _debit_note(self, value: Any) -> DebitNote:
        return debit_note(self._client, value)

    async def _list(
        self, path: str, operation: str, parse: Callable[[Any], T], after: dt.datetime | None
    ) -> list[T]:
        parameters = fields.query(afterTimestamp=fields.optional_moment_text(after, "after"))
        return await self._client.get(path + parameters, operation, fields.as_list(parse))

    async def collect_invoice_events(
        self,
        after: dt.datetime,
        timeout: float,
        max_events: int | None = None,
        app_session_id: str | None = None,
        requestor_events: Sequence[str] = (),
    ) -> list[InvoiceEvent]:
        """Wait for something to happen to invoices, once.

        Parameters
        ----------
        after : datetime
            Only what happened later; give the date of the last event seen.
        timeout : float
            Seconds that the daemon waits if there is nothing yet.
        max_events : int, optional
            How many at most.
        app_session_id : str, optional
            Only those of agreements confirmed with this session.
        requestor_events : sequence of str
            Which kinds, of ``RECEIVED``, ``ACCEPTED``, ``REJECTED``, ``SETTLED``, ``CANCELLED``; by default
            received and cancelled.
        """
        return await self._events(
            "/invoiceEvents", "Reading the invoices' events", invoice_events, after, timeout, max_events,
            app_session_id, requestor_events,
        )  # fmt: skip

    async def collect_debit_note_events(
        self,
        after: dt.datetime,
        timeout: float,
        max_events: int | None = None,
        app_session_id: str | None = None,
        requestor_events: Sequence[str] = (),
    ) -> list[DebitNoteEvent]:
        """Wait for something to happen to debit notes, once; parameters as for `collect_invoice_events`.

        Parameters
        ----------
        after
            Only events after this moment.
        timeout
            Longest time to wait, seconds.
        max_events
            The most events.
        app_session_id
            Only events of that session.
        requestor_events
            Only events for requestors.
        """
        return await self._events(
            "/debitNoteEvents", "Reading the debit notes' events", debit_note_events, after, timeout,
            max_events, app_session_id, requestor_events,
        )  # fmt: skip

    async def _events(
        self,
        path: str,
        operation: str,
        parse: Callable[[Any], list[T]],
        after: dt.datetime,
        timeout: float,
        max_events: int | None,
        app_session_id: str | None,
        requestor_events: Sequence[str],
    ) -> list[T]:
        parameters = fields.query(
            afterTimestamp=fields.moment_text(after, "after"),
            timeout=timeout,
            maxEvents=max_events,
            appSessionId=app_session_id,
        )
        headers: Mapping[str, str] | None = None
        if requestor_events:
            headers = {"X-Requestor-Events": ",".join(requestor_events)}
        return await self._client.poll(path + parameters, operation, parse, wait=timeout, headers=headers)

    # --- payments

    async def payments(self, after: dt.datetime | None = None, timeout: float = 0.0) -> list[PaymentRecord]:
        """List payments that were made.

        Parameters
        ----------
        after : datetime, optional
            Only later ones.
        timeout : float
            Seconds that the daemon waits if there is none.
        """
        parameters = fields.query(afterTimestamp=fields.optional_moment_text(after, "after"), timeout=timeout)
        return await self._client.poll(
            f"/payments{parameters}", "Listing the payments", fields.as_list(payment_record), wait=timeout
        )

    async def payment(self, payment_id: PaymentId) -> PaymentRecord:
        """Read a payment.

        Parameters
        ----------
        payment_id
            Id of the payment.

        Raises
        ------
        NotFoundError
            There is none of this number.
        """
        return await self._client.get(
            f"/payments/{fields.segment(payment_id)}", f"Reading payment {payment_id}", payment_record
        )
