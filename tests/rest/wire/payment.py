"""Rows for payments: allocations, debit notes, invoices, accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from golem_nb.rest import fields
from golem_nb.rest.errors import BadRequestError, NotSupportedError, ServerError
from tests.rest.wire.recorded import (
    BAD_JSON,
    BAD_QUERY,
    ID,
    NO_ROUTE,
    SILENT,
    Api,
    Calls,
    Case,
    Compare,
    Errors,
    answer,
    asked,
    each,
    moment,
    query,
    raw,
    same,
    whole,
)


def amount(case: Case, key: str) -> Decimal:
    return Decimal(str(asked(case).get(key, "1")))


async def create_allocation(api: Api, case: Case) -> Any:
    body = asked(case)
    platform = body.get("paymentPlatform")
    timeout = body.get("timeout")
    try:
        expires = moment(timeout)
    except fields.MalformedField:
        expires = None
    total = amount(case, "totalAmount")
    return await api.payment.create_allocation(
        total if total > 0 else Decimal(1),
        platform if isinstance(platform, str) else "erc20-holesky-tglm",
        body.get("address"),
        expires,
    )


async def amend(api: Api, case: Case, allocation_id: str) -> Any:
    body = asked(case)
    total = body.get("totalAmount")
    return await api.allocation(allocation_id).amend(
        None if total is None else Decimal(total), moment(body.get("timeout"))
    )


async def accept(document: Any, case: Case) -> Any:
    body = asked(case)
    return await document.accept(amount(case, "totalAmountAccepted"), body.get("allocationId", "x"))


async def reject_invoice(api: Api, case: Case, invoice_id: str) -> Any:
    body = asked(case)
    return await api.invoice(invoice_id).reject(
        body["rejectionReason"], amount(case, "totalAmountAccepted"), body.get("message")
    )


async def payment_events(collect: Callable[..., Awaitable[Any]], case: Case) -> Any:
    parameters = query(case)
    header = case["request"]["headers"].get("x-requestor-events", "")
    return await collect(
        moment(parameters.get("afterTimestamp", "2026-01-01T00:00:00Z")),
        float(parameters.get("timeout", 0)),
        int(parameters["maxEvents"]) if "maxEvents" in parameters else None,
        parameters.get("appSessionId"),
        [part for part in header.split(",") if part],
    )


async def payments(api: Api, case: Case) -> Any:
    parameters = query(case)
    return await api.payment.payments(
        moment(parameters.get("afterTimestamp")), float(parameters.get("timeout", 0))
    )


CALLS: Calls = {
    "POST /payment-api/v1/allocations": create_allocation,
    "GET /payment-api/v1/allocations": lambda a, c: a.payment.allocations(),
    f"GET /payment-api/v1/allocations{ID}": lambda a, c, i: a.payment.allocation(i),
    f"PUT /payment-api/v1/allocations{ID}": amend,
    f"DELETE /payment-api/v1/allocations{ID}": lambda a, c, i: a.allocation(i).release(),
    "GET /payment-api/v1/demandDecorations": lambda a, c: a.payment.decorate_demand(
        query(c).get("allocationIds", "").split(",")
    ),
    "GET /payment-api/v1/decorations": raw,  # its old name
    "GET /payment-api/v1/requestorAccounts": lambda a, c: a.payment.accounts(),
    "GET /payment-api/v1/providerAccounts": raw,
    "GET /payment-api/v1/payments/status": lambda a, c: a.payment.status(**query(c)),
    "GET /payment-api/v1/payments": payments,
    f"GET /payment-api/v1/payments{ID}": lambda a, c, i: a.payment.payment(i),
    "GET /payment-api/v1/invoices": lambda a, c: a.payment.invoices(moment(query(c).get("afterTimestamp"))),
    f"GET /payment-api/v1/invoices{ID}": lambda a, c, i: a.payment.invoice(i),
    f"GET /payment-api/v1/invoices{ID}/payments": lambda a, c, i: a.invoice(i).payments(),
    f"POST /payment-api/v1/invoices{ID}/accept": lambda a, c, i: accept(a.invoice(i), c),
    f"POST /payment-api/v1/invoices{ID}/reject": reject_invoice,
    "GET /payment-api/v1/invoiceEvents": lambda a, c: payment_events(a.payment.collect_invoice_events, c),
    "GET /payment-api/v1/debitNotes": lambda a, c: a.payment.debit_notes(
        moment(query(c).get("afterTimestamp"))
    ),
    f"GET /payment-api/v1/debitNotes{ID}": lambda a, c, i: a.payment.debit_note(i),
    f"POST /payment-api/v1/debitNotes{ID}/accept": lambda a, c, i: accept(a.debit_note(i), c),
    f"POST /payment-api/v1/debitNotes{ID}/reject": lambda a, c, i: raw(a, c),  # not implemented in the daemon
    f"GET /payment-api/v1/debitNotes{ID}/payments": lambda a, c, i: raw(
        a, c
    ),  # not implemented in the daemon
    "GET /payment-api/v1/debitNoteEvents": lambda a, c: payment_events(
        a.payment.collect_debit_note_events, c
    ),
    # the daemon's own bookkeeping
    "GET /payment-api/v1/(?:batchCycles|batchOrders|payActivities|payAgreements)": raw,
}

NOT_ENOUGH = "(`yagna payment release-allocations`), or add funds (`yagna payment fund` on a test network)."


ERRORS: Errors = {
    "payment/allocation-create-platform-object-token-case": (BadRequestError, "there is no payment platform"),
    "payment/allocation-create-unknown-platform": (
        BadRequestError,
        "Creating an allocation of 1 on erc20-nonet-tglm failed: there is no payment platform "
        "'erc20-nonet-tglm' (Validate network failed (2): Invalid network name: nonet)",
    ),
    "payment/allocation-create-platform-without-account": (
        ServerError,
        "Chain polygon not found in config file",
    ),
    "payment/allocation-create-foreign-address": (ServerError, "Run `yagna payment init --sender`"),
    "payment/allocation-create-deposit-invalid": (ServerError, "Error while validating allocation"),
    "payment/allocation-create-too-much": (
        BadRequestError,
        "Creating an allocation of 1000000 on erc20-holesky-tglm failed: not enough funds: 1000000 was "
        "asked for, the account 0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a has 992.65 available on "
        "erc20-holesky-tglm (another 7.35 is reserved by existing allocations) "
        "(POST /payment-api/v1/allocations answered 400). "
        "Remedy: Lower the budget to at most 992.65, release allocations that are not needed any more "
        + NOT_ENOUGH,
    ),
    "payment/allocation-create-past-timeout": (
        BadRequestError,
        "the time-out 2020-01-01T00:00:00+00:00 is in the past",
    ),
    "payment/allocation-create-bad-timeout": BAD_JSON,
    "payment/allocation-create-naive-timeout": BAD_JSON,
    "payment/allocation-create-no-amount": BAD_JSON,
    "payment/allocation-create-malformed-json": BAD_JSON,
    "payment/allocation-create-no-content-type": (BadRequestError, "Content type error"),
    "payment/allocation-create-empty-body": (BadRequestError, "Content type error"),
    "payment/allocation-get-unknown": SILENT,
    "payment/allocation-get-other-identity": SILENT,
    "payment/allocation-get-released": SILENT,
    "payment/allocation-get-expired": SILENT,
    "payment/allocations-list-bad-after": BAD_QUERY,
    "payment/allocation-amend-too-much": (BadRequestError, "not enough funds: 1992.5 more was asked for"),
    "payment/allocation-amend-unknown": SILENT,
    "payment/allocation-amend-released": SILENT,
    "payment/allocation-amend-past-timeout": (BadRequestError, "New allocation timeout is in the past"),
    "payment/decorations-unknown": SILENT,
    "payment/decorations-released": SILENT,
    "payment/decorations-missing-param": BAD_QUERY,
    "payment/decorations-old-path": NO_ROUTE,
    "payment/payment-unknown": SILENT,
    "payment/invoice-unknown": SILENT,
    "payment/invoice-accept-unknown": SILENT,
    "payment/debit-note-unknown": SILENT,
    "payment/debit-note-accept-unknown": SILENT,
    "activity/debit-note-accept-wrong-amount": (BadRequestError, "Invalid amount accepted"),
    "activity/debit-note-accept-unknown-allocation": (BadRequestError, "Allocation 00000000-"),
    "activity/debit-note-payments": (NotSupportedError, "the daemon has not implemented this"),
    "activity/debit-note-reject": (NotSupportedError, "the daemon has not implemented this"),
    "invoice/get-other-identity": SILENT,
    "invoice/accept-wrong-amount": (BadRequestError, "Invalid amount accepted"),
    "invoice/accept-unknown-allocation": (BadRequestError, "Allocation 00000000-"),
    "invoice/accept-small-allocation": (
        BadRequestError,
        "Not enough funds. Allocated: 0.0000001 Needed: 0.0034",
    ),
    "invoice/accept-malformed": BAD_JSON,
    "invoice/reject-bad-reason": BAD_JSON,
    "invoice/reject-accepted": (BadRequestError, "Invoice accepted"),
}


ALLOCATION = {
    "id": "allocationId",
    "amount": "totalAmount",
    "platform": "paymentPlatform",
    "address": "address",
    "expires": "timeout",
}


INVOICE = {
    "invoice_id": "invoiceId",
    "issuer_id": "issuerId",
    "agreement_id": "agreementId",
    "activity_ids": "activityIds",
    "amount": "amount",
    "payment_platform": "paymentPlatform",
    "payment_due_date": "paymentDueDate",
    "timestamp": "timestamp",
    "status": "status",
}


DEBIT_NOTE = {
    "debit_note_id": "debitNoteId",
    "activity_id": "activityId",
    "agreement_id": "agreementId",
    "issuer_id": "issuerId",
    "total_amount_due": "totalAmountDue",
    "usage_counter_vector": "usageCounterVector",
    "payment_due_date": "paymentDueDate",
    "previous_debit_note_id": "previousDebitNoteId",
    "payment_platform": "paymentPlatform",
    "status": "status",
}


def compare_payment_events(document: str) -> Callable[[Any, Case], None]:
    attribute, key = {
        "Invoice": ("invoice_id", "invoiceId"),
        "DebitNote": ("debit_note_id", "debitNoteId"),
    }[document]

    def compare(result: Any, case: Case) -> None:
        for one, source in zip(result, answer(case), strict=True):
            assert one.kind == source["eventType"].removeprefix(document).removesuffix("Event").lower()
            same(one, source, {attribute: key, "date": "eventDate", "rejection": "rejection"})

    return compare


def compare_payment(result: Any, source: Mapping[str, Any]) -> None:
    same(
        result,
        source,
        {
            "payment_id": "paymentId",
            "payer_address": "payerAddr",
            "payee_address": "payeeAddr",
            "payee_id": "payeeId",
            "payment_platform": "paymentPlatform",
            "amount": "amount",
            "timestamp": "timestamp",
            "details": "details",
        },
    )
    parts = [*result.agreement_payments.values(), *result.activity_payments.values()]
    assert sum(parts) == result.amount


def compare_payments(result: Any, case: Case) -> None:
    for one, source in zip(result, answer(case), strict=True):
        compare_payment(one, source)


def compare_decoration(result: Any, case: Case) -> None:
    source = answer(case)
    assert result.properties == {pair["key"]: pair["value"] for pair in source["properties"]}
    assert result.constraints == source["constraints"]


SUCCESS: dict[str, Compare] = {
    "POST /payment-api/v1/allocations": whole(ALLOCATION),
    "GET /payment-api/v1/allocations": each(ALLOCATION),
    f"GET /payment-api/v1/allocations{ID}": whole(ALLOCATION),
    f"PUT /payment-api/v1/allocations{ID}": whole(
        {
            "allocation_id": "allocationId",
            "total_amount": "totalAmount",
            "spent_amount": "spentAmount",
            "remaining_amount": "remainingAmount",
            "timeout": "timeout",
        }
    ),
    "GET /payment-api/v1/demandDecorations": compare_decoration,
    "GET /payment-api/v1/requestorAccounts": each(
        {name: name for name in ("platform", "address", "driver", "network", "token", "send", "receive")}
    ),
    "GET /payment-api/v1/payments/status": each({"kind": "kind", "driver": "driver", "network": "network"}),
    "GET /payment-api/v1/payments": compare_payments,
    f"GET /payment-api/v1/payments{ID}": lambda r, c: compare_payment(r, answer(c)),
    "GET /payment-api/v1/invoices": each(INVOICE),
    f"GET /payment-api/v1/invoices{ID}": whole(INVOICE),
    f"GET /payment-api/v1/invoices{ID}/payments": compare_payments,
    "GET /payment-api/v1/invoiceEvents": compare_payment_events("Invoice"),
    "GET /payment-api/v1/debitNotes": each(DEBIT_NOTE),
    f"GET /payment-api/v1/debitNotes{ID}": whole(DEBIT_NOTE),
    "GET /payment-api/v1/debitNoteEvents": compare_payment_events("DebitNote"),
}
