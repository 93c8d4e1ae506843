"""What providers ask for and what was paid: debit notes, invoices, payments."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import attrs

from golem_nb.rest import fields
from golem_nb.rest.allocations import Allocation
from golem_nb.rest.client import RestClient, ignore, retried
from golem_nb.rest.ids import (
    ActivityId,
    AgreementId,
    AllocationId,
    DebitNoteId,
    InvoiceId,
    NodeId,
    PaymentId,
)

__all__ = [
    "DebitNote",
    "DebitNoteEvent",
    "DriverProblem",
    "Invoice",
    "InvoiceEvent",
    "PaymentRecord",
    "RejectionReason",
    "debit_note",
    "debit_note_events",
    "driver_problems",
    "invoice",
    "invoice_events",
    "payment_record",
]

RejectionReason = Literal["UNSOLICITED_SERVICE", "BAD_SERVICE", "INCORRECT_AMOUNT"]


async def _accept(
    client: RestClient, path: str, operation: str, amount: Decimal, allocation: Allocation | AllocationId
) -> None:
    allocation_id = allocation.id if isinstance(allocation, Allocation) else allocation
    body = {"totalAmountAccepted": fields.money_text(amount), "allocationId": allocation_id}
    # accepting twice is the same as accepting once
    await retried(lambda: client.post(f"{path}/accept", operation, ignore, body))


@attrs.frozen(eq=False)
class Invoice:
    """What a provider asks for an agreement, in the end."""

    _client: RestClient = attrs.field(repr=False)
    invoice_id: InvoiceId
    """Its id."""
    issuer_id: NodeId
    """Node id of the provider."""
    agreement_id: AgreementId
    """The agreement that it is for."""
    activity_ids: list[ActivityId] = attrs.field(repr=False)
    """The activities that it is for."""
    amount: Decimal
    """For all of the agreement, what debit notes asked for included."""
    payment_platform: str
    """Driver, network and token, such as ``erc20-hoodi-tglm``."""
    payment_due_date: dt.datetime | None
    """Until when it shall be paid, in UTC."""
    timestamp: dt.datetime
    """When it was issued, in UTC."""
    status: str
    """ISSUED, RECEIVED, ACCEPTED, REJECTED, FAILED, SETTLED or CANCELLED."""

    @property
    def _path(self) -> str:
        return f"/invoices/{fields.segment(self.invoice_id)}"

    async def accept(self, amount: Decimal, allocation: Allocation | AllocationId) -> None:
        """Agree to pay; one that is accepted already is fine.

        Parameters
        ----------
        amount : Decimal
            Must be the invoice's amount.
        allocation : Allocation
            Out of which it is paid.

        Raises
        ------
        BadRequestError
            Another amount, not enough left in the allocation, or no such allocation.
        """
        await _accept(
            self._client, self._path, f"Accepting invoice {self.invoice_id} over {amount}", amount, allocation
        )

    async def reject(
        self, reason: RejectionReason, amount: Decimal = Decimal(0), message: str | None = None
    ) -> None:
        """Refuse to pay; it can still be accepted later.

        Parameters
        ----------
        reason : str
            One of ``UNSOLICITED_SERVICE``, ``BAD_SERVICE``, ``INCORRECT_AMOUNT``.
        amount : Decimal
            What would be accepted.
        message : str, optional
            For the provider.

        Raises
        ------
        BadRequestError
            It is accepted already, or the reason is none of those.
        """
        body = {"rejectionReason": reason, "totalAmountAccepted": fields.money_text(amount)}
        if message is not None:
            body["message"] = message
        await retried(
            lambda: self._client.post(
                f"{self._path}/reject", f"Rejecting invoice {self.invoice_id}", ignore, body
            )
        )

    async def payments(self) -> list[PaymentRecord]:
        """List the payments that settled it."""
        return await self._client.get(
            f"{self._path}/payments", f"Listing the payments of invoice {self.invoice_id}", _payment_records
        )


@attrs.frozen(eq=False)
class DebitNote:
    """What a provider asks for an activity, so far."""

    _client: RestClient = attrs.field(repr=False)
    debit_note_id: DebitNoteId
    """Its id."""
    issuer_id: NodeId
    """Node id of the provider."""
    agreement_id: AgreementId
    """The agreement of the activity."""
    activity_id: ActivityId
    """The activity that it is for."""
    total_amount_due: Decimal
    """For the activity from its beginning on, earlier notes included."""
    usage_counter_vector: list[float] | None
    """What has been used, in the order of the offer's counters; None: it does not say."""
    payment_platform: str
    """Driver, network and token, such as ``erc20-hoodi-tglm``."""
    payment_due_date: dt.datetime | None
    """Until when it shall be paid, in UTC; None: with the invoice."""
    previous_debit_note_id: DebitNoteId | None
    """The note before it; None: it is the first."""
    timestamp: dt.datetime
    """When it was issued, in UTC."""
    status: str
    """ISSUED, RECEIVED, ACCEPTED, REJECTED, FAILED, SETTLED or CANCELLED."""

    async def accept(self, amount: Decimal, allocation: Allocation | AllocationId) -> None:
        """Agree to pay; one that is accepted already is fine.

        Parameters
        ----------
        amount : Decimal
            Must be the note's total.
        allocation : Allocation
            Out of which it is paid.

        Raises
        ------
        BadRequestError
            Another amount, not enough left in the allocation, or no such allocation.
        """
        await _accept(
            self._client,
            f"/debitNotes/{fields.segment(self.debit_note_id)}",
            f"Accepting debit note {self.debit_note_id} over {amount}",
            amount,
            allocation,
        )


def invoice(client: RestClient, value: Any) -> Invoice:
    """Read an invoice."""
    source = fields.as_mapping(value)
    return Invoice(
        client,
        invoice_id=InvoiceId(fields.identifier(source.get("invoiceId"))),
        issuer_id=NodeId(fields.text(source, "issuerId")),
        agreement_id=AgreementId(fields.text(source, "agreementId")),
        activity_ids=[ActivityId(each) for each in fields.texts(source, "activityIds")]
        if source.get("activityIds") is not None
        else [],
        amount=fields.money(source, "amount"),
        payment_platform=fields.text(source, "paymentPlatform"),
        payment_due_date=fields.optional_moment(source, "paymentDueDate"),
        timestamp=fields.moment(source, "timestamp"),
        status=fields.text(source, "status"),
    )


def debit_note(client: RestClient, value: Any) -> DebitNote:
    """Read a debit note."""
    source = fields.as_mapping(value)
    previous = fields.optional_text(source, "previousDebitNoteId")
    return DebitNote(
        client,
        debit_note_id=DebitNoteId(fields.identifier(source.get("debitNoteId"))),
        issuer_id=NodeId(fields.text(source, "issuerId")),
        agreement_id=AgreementId(fields.text(source, "agreementId")),
        activity_id=ActivityId(fields.text(source, "activityId")),
        total_amount_due=fields.money(source, "totalAmountDue"),
        usage_counter_vector=_counters(source.get("usageCounterVector")),
        payment_platform=fields.text(source, "paymentPlatform"),
        payment_due_date=fields.optional_moment(source, "paymentDueDate"),
        previous_debit_note_id=None if previous is None else DebitNoteId(previous),
        timestamp=fields.moment(source, "timestamp"),
        status=fields.text(source, "status"),
    )


def _counters(value: Any) -> list[float] | None:
    """Read the usage counters, a field without a schema that the provider fills: nothing is done with bad
    ones.
    """
    try:
        return fields.numbers({"usageCounterVector": value}, "usageCounterVector")
    except fields.MalformedField:
        return None


@attrs.frozen
class InvoiceEvent:
    """Something that happened to an invoice."""

    kind: str
    """received, accepted, rejected, settled, cancelled; what a newer daemon may add comes in its own
    words.
    """
    invoice_id: InvoiceId
    date: dt.datetime
    rejection: Mapping[str, Any] | None = None
    """rejected: reason, amount and message."""


@attrs.frozen
class DebitNoteEvent:
    """Something that happened to a debit note."""

    kind: str
    """received, accepted, rejected, settled, cancelled; what a newer daemon may add comes in its own
    words.
    """
    debit_note_id: DebitNoteId
    date: dt.datetime
    rejection: Mapping[str, Any] | None = None
    """rejected: reason, amount and message."""


def _kind(source: Mapping[str, Any], document: str) -> str:
    """Make ``payment_ok`` of ``InvoicePaymentOkEvent``."""
    name = fields.text(source, "eventType").removeprefix(document).removesuffix("Event")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _invoice_event(value: Any) -> InvoiceEvent:
    source = fields.as_mapping(value)
    return InvoiceEvent(
        _kind(source, "Invoice"),
        InvoiceId(fields.identifier(source.get("invoiceId"))),
        fields.moment(source, "eventDate"),
        fields.optional_mapping(source, "rejection"),
    )


def _debit_note_event(value: Any) -> DebitNoteEvent:
    source = fields.as_mapping(value)
    return DebitNoteEvent(
        _kind(source, "DebitNote"),
        DebitNoteId(fields.identifier(source.get("debitNoteId"))),
        fields.moment(source, "eventDate"),
        fields.optional_mapping(source, "rejection"),
    )


invoice_events = fields.as_list(_invoice_event)
debit_note_events = fields.as_list(_debit_note_event)


@attrs.frozen
class PaymentRecord:
    """A payment that was made."""

    payment_id: PaymentId
    payer_address: str
    payee_id: NodeId
    payee_address: str
    payment_platform: str
    amount: Decimal
    timestamp: dt.datetime
    agreement_payments: dict[AgreementId, Decimal]
    """What of it was for agreements' invoices, beyond their debit notes."""
    activity_payments: dict[ActivityId, Decimal]
    """What of it was for activities' debit notes."""
    details: str = attrs.field(repr=False)
    """The transaction's hash, in base 64."""


def payment_record(value: Any) -> PaymentRecord:
    """Read a payment."""

    def parts(key: str, of: str) -> dict[str, Decimal]:
        def part(item: Any) -> tuple[str, Decimal]:
            entry = fields.as_mapping(item)
            return fields.text(entry, of), fields.money(entry, "amount")

        found: dict[str, Decimal] = {}
        for name, amount in fields.as_list(part)(source.get(key) or []):
            found[name] = found.get(name, Decimal(0)) + amount
        return found

    source = fields.as_mapping(value)
    return PaymentRecord(
        payment_id=PaymentId(fields.text(source, "paymentId")),
        payer_address=fields.text(source, "payerAddr"),
        payee_id=NodeId(fields.text(source, "payeeId")),
        payee_address=fields.text(source, "payeeAddr"),
        payment_platform=fields.text(source, "paymentPlatform"),
        amount=fields.money(source, "amount"),
        timestamp=fields.moment(source, "timestamp"),
        agreement_payments={
            AgreementId(each): amount for each, amount in parts("agreementPayments", "agreementId").items()
        },
        activity_payments={
            ActivityId(each): amount for each, amount in parts("activityPayments", "activityId").items()
        },
        details=fields.optional_text(source, "details") or "",
    )


_payment_records = fields.as_list(payment_record)


@attrs.frozen
class DriverProblem:
    """Something that is wrong with a payment driver."""

    kind: str
    """Such as ``RpcError``, ``InsufficientGas``, ``InsufficientToken``."""
    driver: str
    network: str | None
    details: Mapping[str, Any] = attrs.field(repr=False)
    """All that the daemon tells."""


def _driver_problem(value: Any) -> DriverProblem:
    source = fields.as_mapping(value)
    return DriverProblem(
        fields.text(source, "kind"),
        fields.text(source, "driver"),
        fields.optional_text(source, "network"),
        source,
    )


driver_problems = fields.as_list(_driver_problem)
