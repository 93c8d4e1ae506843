"""Every recorded answer of the real daemon, played back to the client.

The recordings are of yagna 0.17.6; a playback is used since most of the error answers cannot be brought about
on demand.  The method that belongs to the recorded request is called, what it sends is compared with what was
recorded, and what it gives or raises with what the table says.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import attrs
import pytest
from aiohttp import web

from golem_nb.rest import Activity, Configuration, Gsb, Identity, Market, Net, Payment, fields
from golem_nb.rest.activity import CommandResult
from golem_nb.rest.agreements import Agreement, AgreementRejectedError, agreement_details
from golem_nb.rest.allocations import Allocation
from golem_nb.rest.client import RestClient
from golem_nb.rest.errors import (
    ActivityGoneError,
    ApiError,
    BadRequestError,
    ConflictError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    NotSupportedError,
    RequestTimeoutError,
    ServerError,
    UnauthorizedError,
)
from golem_nb.rest.notes import debit_note, invoice
from golem_nb.rest.proposals import DemandDetails, OfferProposal, ProposalRejection, Subscription

KEY = "the-very-secret-key"
DATA = Path(__file__).parents[1] / "data" / "wire"

Case = dict[str, Any]


def load() -> dict[str, Case]:
    """Read the recordings; a further answer to the same question gets a number."""
    cases: dict[str, Case] = {}
    for file in sorted(DATA.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            case = json.loads(line)
            cases[case["case"]] = case
            for number, more in enumerate(case.get("more", ()), 2):
                cases[f"{case['case']}#{number}"] = {**case, **more, "more": ()}
    return cases


CASES = load()


def answer(case: Case) -> Any:
    """Give the recorded JSON."""
    body = case["response"]["body"]
    return None if body is None else body.get("json")


def asked(case: Case) -> Any:
    """Give the recorded body of the request."""
    body = case["request"]["body"]
    return {} if body is None or body.get("json") is None else body["json"]


def query(case: Case) -> dict[str, str]:
    return dict(parse_qsl(case["request"]["query"] or ""))


def moment(text: str | None) -> dt.datetime | None:
    return None if text is None else fields.as_moment(text)


# --- the methods that belong to the requests


class Api:
    """The client, whole."""

    def __init__(self, configuration: Configuration) -> None:
        self.root = configuration.root()
        self.identity = Identity(self.root)
        self.market = Market(configuration.market())
        self.activities = Activity(configuration.activity())
        self.payment = Payment(configuration.payment())
        self.net = Net(configuration.net())
        self.net_v2 = Net(
            RestClient(configuration._pool, configuration.api_config.api_url + "/net-api/v2/vpn")
        )
        self.gsb = Gsb(configuration.gsb())
        self._market_client = configuration.market()
        self._payment_client = configuration.payment()

    def subscription(self, subscription_id: str) -> Subscription:
        return Subscription(self._market_client, subscription_id, DemandDetails({}, "", None))

    def proposal(self, subscription_id: str, proposal_id: str) -> OfferProposal:
        now = dt.datetime.now(dt.UTC)
        return OfferProposal(
            self._market_client, subscription_id, proposal_id, "0x1", True, {}, "", None, now
        )

    def agreement(self, agreement_id: str) -> Agreement:
        details = agreement_details(answer(CASES["market/agreement-get"]))
        return Agreement(self._market_client, agreement_id, details)

    def allocation(self, allocation_id: str) -> Allocation:
        return Allocation(self._payment_client, allocation_id, Decimal(1), "erc20-hoodi-tglm", "0x1", None)

    def invoice(self, invoice_id: str) -> Any:
        known = invoice(self._payment_client, answer(CASES["invoice/get-received"]))
        return attrs.evolve(known, invoice_id=invoice_id)

    def debit_note(self, debit_note_id: str) -> Any:
        known = debit_note(self._payment_client, answer(CASES["activity/debit-note-get"]))
        return attrs.evolve(known, debit_note_id=debit_note_id)


async def raw(api: Api, case: Case, *_: str) -> Any:
    """For what is of no use to a requestor and has no method of its own."""
    request = case["request"]
    path = request["path"] + ("?" + request["query"] if request["query"] else "")
    return await api.root.request(request["method"], path, "Asking", lambda value: value)


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


async def results(api: Api, case: Case, activity_id: str, batch_id: str) -> Any:
    activity = api.activities.attach(activity_id)
    if "event-stream" in case["request"]["headers"].get("accept", ""):
        recorded = "".join(text for _, text in case["response"]["chunks"])
        async with aclosing(activity.events(batch_id)) as stream:
            events = [await anext(stream) for _ in range(recorded.count("event: runtime"))]
            # the stream stays open after the last event: nothing more comes, and nothing is raised
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.1)
        return events
    parameters = query(case)
    index = parameters.get("commandIndex")
    return await activity.results(
        batch_id,
        command_index=None if index is None else int(index),
        timeout=float(parameters.get("timeout", 0)),
    )


async def scan_events(api: Api, case: Case, scan_id: str) -> Any:
    scan = api.market.scan()
    scan._path = f"/scan/{scan_id}"  # a scan that was begun before
    if "event-stream" in case["request"]["headers"].get("accept", ""):
        recorded = "".join(text for _, text in case["response"]["chunks"])
        async with aclosing(scan.stream()) as stream:
            return [await anext(stream) for _ in range(recorded.count("event: offer"))]
    parameters = query(case)
    return await scan.collect(
        float(parameters["timeout"]), int(parameters.get("maxEvents", 100)), parameters.get("peerId")
    )


async def begin_scan(api: Api, case: Case) -> Any:
    scan = api.market.scan(asked(case).get("constraints", ""), asked(case).get("timeout", 600))
    await scan.__aenter__()
    return scan._path


async def end_scan(api: Api, case: Case, scan_id: str) -> None:
    scan = api.market.scan()
    scan._path = f"/scan/{scan_id}"
    await scan.__aexit__(None, None, None)


async def monitor(api: Api, case: Case) -> Any:
    async with aclosing(api.root.stream(case["request"]["path"], "Watching activities")) as stream:
        return json.loads((await anext(stream)).data)


async def collect(api: Api, case: Case, subscription_id: str) -> Any:
    parameters = query(case)
    timeout = parameters.get("timeout", "5")
    return await api.subscription(subscription_id).collect(
        float(timeout) if timeout != "abc" else 1.0, int(parameters.get("maxEvents", 50))
    )


async def agreement_events(api: Api, case: Case) -> Any:
    parameters = query(case)
    after = moment(parameters["afterTimestamp"])
    assert after is not None
    return await api.market.collect_agreement_events(
        after,
        float(parameters.get("timeout", 5)),
        int(parameters.get("maxEvents", 50)),
        parameters.get("appSessionId"),
    )


async def agreements(api: Api, case: Case) -> Any:
    parameters = query(case)
    return await api.market.agreements(
        state=parameters.get("state"),  # type: ignore[arg-type]
        after=moment(parameters.get("afterDate")),
        app_session_id=parameters.get("appSessionId"),
    )


async def create_agreement(api: Api, case: Case) -> Any:
    try:
        valid_to = moment(asked(case).get("validTo"))
    except fields.MalformedField:
        valid_to = None
    return await api.market.create_agreement(
        asked(case)["proposalId"], valid_to or dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    )


async def terminate(api: Api, case: Case, agreement_id: str) -> None:
    body = case["request"]["body"]
    await api.agreement(agreement_id).terminate(body["json"] if body else None)


def net(api: Api, case: Case) -> Net:
    return api.net_v2 if "/net-api/v2/" in case["request"]["path"] else api.net


async def payments(api: Api, case: Case) -> Any:
    parameters = query(case)
    return await api.payment.payments(
        moment(parameters.get("afterTimestamp")), float(parameters.get("timeout", 0))
    )


_NET = r"/net-api/(?:v1/net|v2/vpn/net)"
_ID = r"/([^/]+)"

# request, and what is called for it
CALLS: dict[str, Callable[..., Awaitable[Any]]] = {
    "GET /me": lambda a, c: a.identity.me(),
    "GET /version/get": lambda a, c: a.identity.version(),
    "GET /no/such/route": raw,
    # market
    "POST /market-api/v1/demands": lambda a, c: subscribe(a, c),
    "GET /market-api/v1/demands": lambda a, c: a.market.subscriptions(),
    "PATCH /market-api/v1/demands": raw,
    f"DELETE /market-api/v1/demands{_ID}": lambda a, c, i: a.subscription(i).delete(),
    f"GET /market-api/v1/demands{_ID}/events": collect,
    f"GET /market-api/v1/demands{_ID}/proposals{_ID}": lambda a, c, i, p: a.subscription(i).proposal(p),
    f"POST /market-api/v1/demands{_ID}/proposals{_ID}": lambda a, c, i, p: a.proposal(i, p).respond(
        asked(c)["properties"], asked(c).get("constraints", "")
    ),
    f"POST /market-api/v1/demands{_ID}/proposals{_ID}/reject": lambda a, c, i, p: a.proposal(i, p).reject(
        asked(c)
    ),
    "GET /market-api/v1/offers": raw,  # a provider's own
    "POST /market-api/v1/agreements": create_agreement,
    "GET /market-api/v1/agreements": agreements,
    f"GET /market-api/v1/agreements{_ID}": lambda a, c, i: a.market.agreement(i),
    f"POST /market-api/v1/agreements{_ID}/confirm": lambda a, c, i: a.agreement(i).confirm(
        query(c).get("appSessionId")
    ),
    f"POST /market-api/v1/agreements{_ID}/wait": lambda a, c, i: a.agreement(i).wait_for_approval(
        float(query(c).get("timeout", 5))
    ),
    f"POST /market-api/v1/agreements{_ID}/cancel": lambda a, c, i: a.agreement(i).cancel(asked(c)["message"]),
    f"POST /market-api/v1/agreements{_ID}/terminate": terminate,
    f"GET /market-api/v1/agreements{_ID}/terminate/reason": lambda a, c, i: a.agreement(
        i
    ).termination_reason(),
    "GET /market-api/v1/agreementEvents": agreement_events,
    "POST /market-api/v1/scan": begin_scan,
    f"GET /market-api/v1/scan{_ID}/events": scan_events,
    f"DELETE /market-api/v1/scan{_ID}": end_scan,
    # activity
    "POST /activity-api/v1/activity": lambda a, c: a.activities.new_activity(
        agreement_of(c), float(query(c).get("timeout", 5))
    ),
    "GET /activity-api/v1/activity": lambda a, c: a.activities.activities(query(c).get("agreementId", "x")),
    "GET /activity-api/v1/_monitor": monitor,
    f"DELETE /activity-api/v1/activity{_ID}": lambda a, c, i: a.activities.attach(i).destroy(
        float(query(c).get("timeout", 5))
    ),
    f"GET /activity-api/v1/activity{_ID}/agreement": lambda a, c, i: a.activities.attach(i).agreement(),
    f"GET /activity-api/v1/activity{_ID}/state": lambda a, c, i: a.activities.attach(i).state(),
    f"GET /activity-api/v1/activity{_ID}/usage": lambda a, c, i: a.activities.attach(i).usage(),
    f"GET /activity-api/v1/activity{_ID}/command": raw,  # no handler is bound in the daemon: always an error
    f"POST /activity-api/v1/activity{_ID}/exec": lambda a, c, i: a.activities.attach(i).send(script_of(c)),
    f"GET /activity-api/v1/activity{_ID}/exec{_ID}": results,
    # payment
    "POST /payment-api/v1/allocations": create_allocation,
    "GET /payment-api/v1/allocations": lambda a, c: a.payment.allocations(),
    f"GET /payment-api/v1/allocations{_ID}": lambda a, c, i: a.payment.allocation(i),
    f"PUT /payment-api/v1/allocations{_ID}": amend,
    f"DELETE /payment-api/v1/allocations{_ID}": lambda a, c, i: a.allocation(i).release(),
    "GET /payment-api/v1/demandDecorations": lambda a, c: a.payment.decorate_demand(
        query(c).get("allocationIds", "").split(",")
    ),
    "GET /payment-api/v1/decorations": raw,  # its old name
    "GET /payment-api/v1/requestorAccounts": lambda a, c: a.payment.accounts(),
    "GET /payment-api/v1/providerAccounts": raw,
    "GET /payment-api/v1/payments/status": lambda a, c: a.payment.status(**query(c)),
    "GET /payment-api/v1/payments": payments,
    f"GET /payment-api/v1/payments{_ID}": lambda a, c, i: a.payment.payment(i),
    "GET /payment-api/v1/invoices": lambda a, c: a.payment.invoices(moment(query(c).get("afterTimestamp"))),
    f"GET /payment-api/v1/invoices{_ID}": lambda a, c, i: a.payment.invoice(i),
    f"GET /payment-api/v1/invoices{_ID}/payments": lambda a, c, i: a.invoice(i).payments(),
    f"POST /payment-api/v1/invoices{_ID}/accept": lambda a, c, i: accept(a.invoice(i), c),
    f"POST /payment-api/v1/invoices{_ID}/reject": reject_invoice,
    "GET /payment-api/v1/invoiceEvents": lambda a, c: payment_events(a.payment.collect_invoice_events, c),
    "GET /payment-api/v1/debitNotes": lambda a, c: a.payment.debit_notes(
        moment(query(c).get("afterTimestamp"))
    ),
    f"GET /payment-api/v1/debitNotes{_ID}": lambda a, c, i: a.payment.debit_note(i),
    f"POST /payment-api/v1/debitNotes{_ID}/accept": lambda a, c, i: accept(a.debit_note(i), c),
    f"POST /payment-api/v1/debitNotes{_ID}/reject": lambda a, c, i: raw(
        a, c
    ),  # not implemented in the daemon
    f"GET /payment-api/v1/debitNotes{_ID}/payments": lambda a, c, i: raw(
        a, c
    ),  # not implemented in the daemon
    "GET /payment-api/v1/debitNoteEvents": lambda a, c: payment_events(
        a.payment.collect_debit_note_events, c
    ),
    # the daemon's own bookkeeping
    "GET /payment-api/v1/(?:batchCycles|batchOrders|payActivities|payAgreements)": raw,
    # networks, under both of their paths
    f"POST {_NET}": lambda a, c: net(a, c).create_network(
        asked(c).get("ip", ""), asked(c).get("mask"), asked(c).get("gateway")
    ),
    f"GET {_NET}": lambda a, c: net(a, c).networks(),
    f"GET {_NET}{_ID}": lambda a, c, i: net(a, c).network(i),
    f"DELETE {_NET}{_ID}": lambda a, c, i: net(a, c).remove_network(i),
    f"POST {_NET}{_ID}/addresses": lambda a, c, i: net(a, c).add_address(i, asked(c)["ip"]),
    f"GET {_NET}{_ID}/addresses": lambda a, c, i: net(a, c).addresses(i),
    f"POST {_NET}{_ID}/nodes": lambda a, c, i: net(a, c).add_node(i, asked(c)["id"], asked(c)["ip"]),
    f"GET {_NET}{_ID}/nodes": lambda a, c, i: net(a, c).nodes(i),
    f"DELETE {_NET}{_ID}/nodes{_ID}": lambda a, c, i, n: net(a, c).remove_node(i, n),
    f"GET {_NET}{_ID}/tcp": raw,  # not in this build of the daemon
    "GET /net-api/v2/net/status": raw,
    # service bus
    "POST /gsb-api/v1/services": lambda a, c: a.gsb.create_service(
        asked(c)["listen"]["on"], asked(c)["listen"].get("components", [])
    ),
    f"DELETE /gsb-api/v1/services{_ID}": lambda a, c, i: a.gsb.delete_service(i),
    f"GET /gsb-api/v1/services{_ID}": raw,  # a websocket
}


async def subscribe(api: Api, case: Case) -> Any:
    return await api.market.subscribe(asked(case).get("properties", {}), asked(case).get("constraints", ""))


def agreement_of(case: Case) -> str:
    body = asked(case)
    return body if isinstance(body, str) else body.get("agreementId", "x")


def script_of(case: Case) -> Any:
    try:
        return json.loads(asked(case)["text"])
    except (KeyError, ValueError):
        return [{}]


# What was sent there is what the client never sends; the answer is what matters.
OTHER_REQUEST = {
    "auth/me-query-token": "the key in the query",
    "activity/create-string-body": "the agreement as a bare string",
    "activity/debit-note-accept-number-amount": "an amount as a number",
    "market/demand-subscribe-nested-properties": "properties as a tree, which are sent as they were given",
    "market/scan-begin": "no time-out",
    "market/scan-begin-demand": "a scan for demands",
    "payment/allocation-create-minimal": "no platform",
    "payment/allocation-create-number-amount": "an amount as a number",
    "payment/allocation-create-zero": "an amount that is refused",
    "payment/allocation-create-negative": "an amount that is refused",
    "payment/allocation-create-platform-object": "the platform in parts",
    "payment/allocation-create-yapapi-body": "fields that belong to the answer",
    "payment/allocations-list-max-items": "a limit",
    "payment/allocations-list-after": "a limit",
    "invoice/list-max": "a limit",
    "activity/debit-note-accept": "a time-out",
    "invoice/accept": "a time-out",
    "longpoll/demand-collect-no-timeout": "the daemon's own time-out",
    "longpoll/agreement-events-no-timeout": "the daemon's own time-out",
}

# --- what comes of it

# The answer is an error, which the method takes for done: the thing has ended already.
DONE = {
    "activity/destroy-again",
    "fault-provider-terminates/agreement-terminate",
    "gsb/services-delete-again",
    "market/agreement-terminate-again",
    "market/demand-unsubscribe-again",
    "market/demand-unsubscribe-unknown",
    "market/scan-end-again",
    "net-v1/remove-again",
    "net/remove-again",
    "payment/allocation-release-again",
    "payment/allocation-release-unknown",
}
# The answer is an error, which means that there is nothing yet.
NOTHING_YET = {"activity/results-slow-index-timeout", "fault-provider-terminates/results"}

GONE = (ActivityGoneError, "endpoint address not found")
SILENT = (NotFoundError, "there is no such thing")
NO_ROUTE = (NotFoundError, "there is no such thing")
BAD_JSON = (BadRequestError, "Json deserialize error")
BAD_QUERY = (BadRequestError, "Query deserialize error")
NOT_ENOUGH = "(`yagna payment release-allocations`), or add funds (`yagna payment fund` on a test network)."

ERRORS: dict[str, tuple[type[ApiError], str]] = {
    "auth/me-bad-key": (UnauthorizedError, "Invalid application key"),
    "auth/me-no-key": (UnauthorizedError, "Missing application key"),
    "auth/me-lowercase-scheme": (UnauthorizedError, "Missing application key"),
    "auth/me-no-scheme": (UnauthorizedError, "Set YAGNA_APPKEY to a key of this daemon"),
    "auth/market-bad-key": (UnauthorizedError, "Listing the demands failed: Invalid application key"),
    "auth/unknown-route-no-key": (UnauthorizedError, "Missing application key"),
    "auth/unknown-route": NO_ROUTE,
    "auth/method-not-allowed": NO_ROUTE,
    # market
    "market/demand-subscribe-malformed-json": BAD_JSON,
    "market/demand-subscribe-no-constraints": BAD_JSON,
    "market/demand-collect-unknown": (NotFoundError, "not found"),
    "market/demand-collect-after-unsubscribe": (NotFoundError, "not found"),
    "market/demand-collect-unsubscribed-meanwhile": (NotFoundError, "not found"),
    "market/demand-collect-malformed-id": (BadRequestError, "Subscription id [xyz] has invalid format"),
    "market/demand-collect-max-0": (BadRequestError, "Invalid maxEvents '0', should be between 1 and 100"),
    "market/demand-collect-max-negative": (BadRequestError, "Invalid maxEvents '-1'"),
    "market/demand-collect-bad-timeout": (BadRequestError, "invalid float literal"),
    "market/proposal-get-unknown": (NotFoundError, "not found"),
    "market/proposal-get-malformed-id": (BadRequestError, "Id [xyz] has invalid format"),
    "market/counter-unknown": (NotFoundError, "not found"),
    "market/counter-not-matching": (BadRequestError, "doesn't match previous Propos"),
    "market/counter-missing-field": BAD_JSON,
    "market/counter-again": (GoneError, "already has counter proposal"),
    "market/reject-unknown": (ServerError, "not found"),
    "market/agreement-create-from-initial": (BadRequestError, "No negotiation with Provider took place"),
    "market/agreement-create-unknown-proposal": (BadRequestError, "Can't create Agreement for Proposal"),
    "market/agreement-create-malformed-proposal": (BadRequestError, "Id [xyz] has invalid format"),
    "market/agreement-create-no-valid-to": BAD_JSON,
    "market/agreement-create-bad-valid-to": BAD_JSON,
    "market/agreement-create-again": (ConflictError, "Can't create second Agreement"),
    "market/agreement-confirm-past-valid-to": (GoneError, "from Expired to Pending"),
    "market/agreement-confirm-again": (GoneError, "from Approved to Pending"),
    "fault-valid-to/agreement-confirm-expired": (GoneError, "from Expired to Pending"),
    "market/agreement-wait-unconfirmed": (BadRequestError, "should be confirmed, before waiting"),
    "market/agreement-wait-timeout-tiny": (RequestTimeoutError, "Timeout while waiting for Agreement"),
    "fault-no-approve/agreement-wait": (RequestTimeoutError, "Timeout while waiting for Agreement"),
    "fault-valid-to/agreement-wait": (RequestTimeoutError, "Timeout while waiting for Agreement"),
    "fault-no-approve/agreement-wait-cancelled": (AgreementRejectedError, "failed: Cancelled ("),
    "fault-reject-agreement/agreement-wait": (AgreementRejectedError, "failed: Rejected ("),
    "fault-reject-agreement/agreement-wait-again": (
        AgreementRejectedError,
        "Negotiate with another provider",
    ),
    "fault-valid-to/agreement-wait-2": (AgreementRejectedError, "expired"),
    "market/agreement-cancel-approved": (GoneError, "from Approved to Cancelled"),
    "market/agreement-cancel-unconfirmed": (ServerError, "Remote failed to approve"),
    "market/agreement-terminate-unconfirmed": (ConflictError, "from Proposal to Terminated"),
    "market/agreement-terminate-unknown": (NotFoundError, "not found"),
    "market/agreement-terminate-no-body": (BadRequestError, "Content type error"),
    "market/agreement-terminate-no-message": (BadRequestError, "missing field `message`"),
    "market/agreement-terminate-reason-not-terminated": (BadRequestError, "not terminated yet"),
    "market/agreement-get-unknown": (NotFoundError, "not found"),
    "market/agreement-get-other-identity": (NotFoundError, "not found"),
    "market/agreement-get-malformed": (BadRequestError, "contains non hexadecimal characters"),
    "market/agreements-list-bad-state": BAD_QUERY,
    "market/agreement-events-max-0": (BadRequestError, "should be between 1 and 100"),
    "market/scan-begin-bad-constraints": (BadRequestError, "Invalid constraint. Incomplete expression"),
    "market/scan-begin-bad-type": (BadRequestError, "unknown variant `nope`"),
    "market/scan-events-unknown": (NotFoundError, 'Iterator with id "0" not found'),
    "market/scan-events-other-identity": (ForbiddenError, "Access denied"),
    "market/scan-events-peer-unknown": (ServerError, "discovery/offers/Query` error"),
    # activity
    "market/activity-create-unapproved": (NotFoundError, "Not found: 30ad98c9"),
    "market/activity-create-terminated-agreement": (
        BadRequestError,
        "is not Approved. Current state: Terminated",
    ),
    "activity/create-unknown-agreement": (NotFoundError, "Not found: 0000"),
    "activity/create-malformed": (BadRequestError, "did not match any variant"),
    "activity/create-bad-pubkey": (BadRequestError, "Invalid requestor pub key"),
    "fault-no-exeunit/activity-create": (RequestTimeoutError, "Creating an activity on agreement"),
    "activity/list-no-agreement": BAD_QUERY,
    "activity/state-unknown": (ServerError, "DAO error: Not found"),
    "activity/usage-unknown": (ServerError, "DAO error: Not found"),
    "activity/state-other-identity": (ForbiddenError, "is not authorized"),
    "activity/exec-text-not-json": (BadRequestError, "expected ident"),
    "activity/exec-unknown-command": (BadRequestError, "unknown variant `fly`"),
    "activity/exec-no-text": BAD_JSON,
    "activity/exec-unknown-activity": (ServerError, "DAO error: Not found"),
    "activity/exec-terminated": GONE,
    "fault-provider-vanishes/exec-gone": GONE,
    "fault-unresponsive/exec": GONE,
    "activity/results-unknown-batch": (NotFoundError, "Not found: batch_id"),
    "activity/results-terminated": GONE,
    "fault-provider-terminates/results-2": GONE,
    "fault-provider-vanishes/results-gone": GONE,
    "activity/command-running": (ActivityGoneError, "GetRunningCommand"),
    "activity/command-none": (ActivityGoneError, "GetRunningCommand"),
    "activity/destroy-unknown": (ServerError, "DAO error: Not found"),
    "fault-provider-vanishes/destroy-gone": (RequestTimeoutError, "Destroying activity"),
    # payment
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
    # networks
    **{
        f"{group}/{name}": expected
        for group in ("net", "net-v1")
        for name, expected in {
            "address-add-outside": (BadRequestError, "Network not found for IP address: 10.0.0.1"),
            "address-add-invalid": (BadRequestError, "Invalid IP address"),
            "node-add-outside": (BadRequestError, "Invalid network IP address: 10.1.1.1"),
            "connections": NO_ROUTE,
            "get-unknown": (NotFoundError, "Network not found"),
            "create-invalid-ip": (BadRequestError, "Creating network nope failed: Invalid IP address"),
            "create-no-ip": BAD_JSON,
        }.items()
    },
    # service bus
    "gsb/services-malformed": BAD_JSON,
    "gsb/services-create-again": (BadRequestError, "Duplicated service address prefix"),
    "gsb/services-get-without-upgrade": (ServerError, "WebSocket upgrade is expected"),
    "gsb/services-delete-not-base64": (BadRequestError, "should be encoded in base64"),
}


def same_result(result: CommandResult, recorded: Mapping[str, Any]) -> None:
    def output(value: Any) -> Any:
        return bytes(value) if isinstance(value, list) else value

    assert result.index == recorded["index"]
    assert result.success == (recorded["result"] == "Ok")
    assert result.stdout == output(recorded["stdout"])
    assert result.stderr == output(recorded["stderr"])
    assert result.message == recorded["message"]
    assert result.is_batch_finished == recorded["isBatchFinished"]
    assert result.event_date == moment(recorded["eventDate"])


def same_events(events: list[Any], case: Case) -> None:
    """Compare what was streamed with an independent reading of the recording."""
    text = "".join(part for _, part in case["response"]["chunks"])
    recorded = [json.loads(data) for data in re.findall(r"^data: (.*)$", text, re.MULTILINE)]
    assert len(events) == len(recorded)
    for event, source in zip(events, recorded, strict=True):
        [(kind, content)] = source["kind"].items()
        assert (event.batch_id, event.index, event.kind) == (source["batch_id"], source["index"], kind)
        assert event.timestamp == moment(source["timestamp"])
        if kind == "started":
            assert event.command == content["command"]
        elif kind in ("stdout", "stderr"):
            assert event.output == content
        elif kind == "finished":
            assert (event.return_code, event.message) == (content["return_code"], content["message"])


def same(result: Any, source: Any, names: Mapping[str, str]) -> None:
    """Compare attributes with the fields of the recording, by the type of the attribute."""
    for attribute, key in names.items():
        value, recorded = getattr(result, attribute), source.get(key)
        if isinstance(value, Decimal):
            recorded = Decimal(recorded)
        elif isinstance(value, dt.datetime):
            recorded = moment(recorded)
        assert value == recorded, attribute


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
PROPOSAL = {
    "id": "proposalId",
    "issuer": "issuerId",
    "props": "properties",
    "constraints": "constraints",
    "prev_id": "prevProposalId",
    "timestamp": "timestamp",
}
OFFER = {
    "id": "offerId",
    "issuer": "providerId",
    "props": "properties",
    "constraints": "constraints",
    "timestamp": "timestamp",
}
NETWORK = {"id": "id", "ip": "ip", "mask": "mask", "gateway": "gateway"}


def each(names: Mapping[str, str]) -> Callable[[Any, Case], None]:
    def compare(result: Any, case: Case) -> None:
        for one, source in zip(result, answer(case), strict=True):
            same(one, source, names)

    return compare


def whole(names: Mapping[str, str]) -> Callable[[Any, Case], None]:
    return lambda result, case: same(result, answer(case), names)


def equal(result: Any, case: Case) -> None:
    assert result == answer(case)


def nothing(result: Any, case: Case) -> None:
    assert result is None


def named(attribute: str, key: str | None = None) -> Callable[[Any, Case], None]:
    def compare(result: Any, case: Case) -> None:
        recorded = answer(case)
        assert getattr(result, attribute) == (
            recorded if key is None or isinstance(recorded, str) else recorded[key]
        )

    return compare


def compare_collected(result: Any, case: Case) -> None:
    for one, event in zip(result, answer(case), strict=True):
        if event["eventType"] == "ProposalEvent":
            assert isinstance(one, OfferProposal)
            same(one, event["proposal"], PROPOSAL)
            assert one.is_draft == (event["proposal"]["state"] == "Draft")
        else:
            assert isinstance(one, ProposalRejection)
            assert one.proposal_id == event["proposalId"]
            assert one.reason == (event.get("reason") or {}).get("message")


def compare_agreement(result: Agreement, case: Case) -> None:
    source = answer(case)
    assert result.id == source["agreementId"]
    same(
        result.details,
        source,
        {
            "agreement_id": "agreementId",
            "state": "state",
            "valid_to": "validTo",
            "approved": "approvedDate",
            "timestamp": "timestamp",
            "app_session_id": "appSessionId",
        },
    )
    assert result.details.provider_id == source["offer"]["providerId"]
    assert result.details.requestor_id == source["demand"]["requestorId"]
    assert result.details.offer_props == source["offer"]["properties"]
    assert result.details.demand_props == source["demand"]["properties"]
    name = source["offer"]["properties"]["golem.node.id.name"]
    assert result.details.provider_node_info.name == name
    assert (
        result.details.requestor_node_info.subnet_tag
        == source["demand"]["properties"]["golem.node.debug.subnet"]
    )


def compare_agreement_event(result: Any, source: Mapping[str, Any]) -> None:
    kind = source["eventType"].removeprefix("Agreement").removesuffix("Event").lower()
    assert result.kind == kind
    same(
        result,
        source,
        {"agreement_id": "agreementId", "date": "eventDate", "reason": "reason", "terminator": "terminator"},
    )


def compare_agreement_events(result: Any, case: Case) -> None:
    for one, source in zip(result, answer(case), strict=True):
        compare_agreement_event(one, source)


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


def compare_results(result: Any, case: Case) -> None:
    if case["response"].get("chunks"):
        same_events(result, case)
        return
    for one, source in zip(result, answer(case), strict=True):
        same_result(one, source)


def compare_state(result: Any, case: Case) -> None:
    source = answer(case)
    assert result.state == source["state"]
    same(result, source, {"reason": "reason", "error_message": "errorMessage"})


def compare_usage(result: Any, case: Case) -> None:
    source = answer(case)
    assert result.current_usage == source["currentUsage"]
    assert result.timestamp.timestamp() == source["timestamp"]


def compare_offers(result: Any, case: Case) -> None:
    if case["response"].get("chunks"):
        text = "".join(part for _, part in case["response"]["chunks"])
        recorded = [json.loads(data) for data in re.findall(r"^data: (.*)$", text, re.MULTILINE)]
    else:
        recorded = answer(case)
    for one, source in zip(result, recorded, strict=True):
        same(one, source, OFFER)


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


def compare_version(result: Any, case: Case) -> None:
    assert (result.version, result.name, result.pending) == ("0.17.6", "(a98d28015 2026-03-13)", None)


def compare_demands(result: Any, case: Case) -> None:
    for one, source in zip(result, answer(case), strict=True):
        assert one.id == source["demandId"]
        same(
            one.details,
            source,
            {"properties": "properties", "constraints": "constraints", "timestamp": "timestamp"},
        )


def compare_monitor(result: Any, case: Case) -> None:
    assert result["activities"] == []


SUCCESS: dict[str, Callable[[Any, Case], None]] = {
    "GET /me": whole({"identity": "identity", "name": "name", "role": "role"}),
    "GET /version/get": compare_version,
    "POST /market-api/v1/demands": named("id"),
    "GET /market-api/v1/demands": compare_demands,
    f"GET /market-api/v1/demands{_ID}/events": compare_collected,
    f"GET /market-api/v1/demands{_ID}/proposals{_ID}": whole(PROPOSAL),
    f"POST /market-api/v1/demands{_ID}/proposals{_ID}": equal,
    "POST /market-api/v1/agreements": named("id"),
    "GET /market-api/v1/agreements": each(
        {"id": "id", "timestamp": "timestamp", "approved": "approvedDate", "role": "role"}
    ),
    f"GET /market-api/v1/agreements{_ID}": compare_agreement,
    f"GET /market-api/v1/agreements{_ID}/terminate/reason": lambda r, c: compare_agreement_event(
        r, answer(c)
    ),
    "GET /market-api/v1/agreementEvents": compare_agreement_events,
    "POST /market-api/v1/scan": lambda r, c: equal(r.removeprefix("/scan/"), c),
    f"GET /market-api/v1/scan{_ID}/events": compare_offers,
    "POST /activity-api/v1/activity": named("id", "activityId"),
    "GET /activity-api/v1/_monitor": compare_monitor,
    f"GET /activity-api/v1/activity{_ID}/state": compare_state,
    f"GET /activity-api/v1/activity{_ID}/usage": compare_usage,
    f"GET /activity-api/v1/activity{_ID}/exec{_ID}": compare_results,
    "POST /payment-api/v1/allocations": whole(ALLOCATION),
    "GET /payment-api/v1/allocations": each(ALLOCATION),
    f"GET /payment-api/v1/allocations{_ID}": whole(ALLOCATION),
    f"PUT /payment-api/v1/allocations{_ID}": whole(
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
    f"GET /payment-api/v1/payments{_ID}": lambda r, c: compare_payment(r, answer(c)),
    "GET /payment-api/v1/invoices": each(INVOICE),
    f"GET /payment-api/v1/invoices{_ID}": whole(INVOICE),
    f"GET /payment-api/v1/invoices{_ID}/payments": compare_payments,
    "GET /payment-api/v1/invoiceEvents": compare_payment_events("Invoice"),
    "GET /payment-api/v1/debitNotes": each(DEBIT_NOTE),
    f"GET /payment-api/v1/debitNotes{_ID}": whole(DEBIT_NOTE),
    "GET /payment-api/v1/debitNoteEvents": compare_payment_events("DebitNote"),
    f"POST {_NET}": whole(NETWORK),
    f"GET {_NET}": each(NETWORK),
    f"GET {_NET}{_ID}": whole(NETWORK),
    f"GET {_NET}{_ID}/addresses": lambda r, c: equal([{"ip": ip} for ip in r], c),
    f"GET {_NET}{_ID}/nodes": each({"id": "id", "ip": "ip"}),
    "POST /gsb-api/v1/services": lambda r, c: equal({**answer(c), "servicesId": r}, c),
}


def row(case: Case) -> tuple[str, re.Match[str]]:
    """Find the row of the table for a recording."""
    request = f"{case['request']['method']} {case['request']['path']}"
    found = [(pattern, match) for pattern in CALLS if (match := re.fullmatch(pattern, request))]
    # "payments/status" also looks like the number of a payment
    exact = [pair for pair in found if not pair[1].groups()]
    assert found, f"no row for {request}"
    return (exact or found)[0]


def comparable(value: Any) -> Any:
    """Make amounts and dates comparable however they are written."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, str):
        try:
            return fields.as_moment(value)
        except fields.MalformedField:
            pass
        try:
            return fields.as_money(value)
        except fields.MalformedField:
            pass
    return value


def check_request(request: web.Request, body: bytes, case: Case) -> None:
    """Compare what the client sent with what was recorded; it may say more, and nothing else."""
    recorded = case["request"]
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    if case["case"] in OTHER_REQUEST or case["response"]["status"] >= 400:
        return
    sent = dict(parse_qsl(request.query_string))
    for name, value in query(case).items():
        assert comparable(sent[name]) == comparable(value), name
    if recorded["body"] is not None:
        assert request.headers["Content-Type"] == "application/json"
        content = comparable(json.loads(body))
        expected = comparable(recorded["body"]["json"])
        if isinstance(expected, dict):
            if "text" in expected:
                content, expected = (json.loads(side["text"]) for side in (content, expected))
                assert content == expected
            else:
                assert {key: content[key] for key in expected} == expected
        else:
            assert content == expected
    events = recorded["headers"].get("x-requestor-events")
    assert request.headers.get("X-Requestor-Events") == events


@pytest.mark.parametrize("name", sorted(CASES))
async def test_recorded_answer(name: str, serve: Any) -> None:
    case = CASES[name]
    failures: list[BaseException] = []
    asked_for: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked_for.append(f"{request.method} {request.path}")
        response = case["response"]
        if asked_for[-1] != f"{case['request']['method']} {case['request']['path']}":
            # the agreement is read after it was created
            assert asked_for[:-1] == ["POST /market-api/v1/agreements"]
            return web.json_response(answer(CASES["market/agreement-get"]))
        try:
            check_request(request, body, case)
        except BaseException as error:
            failures.append(error)
        headers = {"Content-Type": response["headers"].get("content-type", "")}
        if not headers["Content-Type"]:
            headers = {}
        if "chunks" in response:
            stream = web.StreamResponse(headers=headers)
            await stream.prepare(request)
            for _, text in response["chunks"]:
                await stream.write(text.encode())
                await asyncio.sleep(0)
            await asyncio.sleep(3600)  # it never ends by itself
        recorded = response["body"]
        if recorded is None:
            return web.Response(status=response["status"], headers=headers)
        text = recorded["text"] if "text" in recorded else json.dumps(recorded["json"])
        return web.Response(status=response["status"], body=text.encode(), headers=headers)

    pattern, match = row(case)
    base = name.partition("#")[0]
    api = Api(await serve(handler))
    call = CALLS[pattern](api, case, *match.groups())
    if base in ERRORS:
        kind, text = ERRORS[base]
        with pytest.raises(ApiError) as caught:
            await call
        error = caught.value
        assert type(error) is kind
        assert text in str(error)
        assert error.status == case["response"]["status"]
        assert f"{error.method} {unquote(error.path)}" == asked_for[0]
        assert KEY not in str(error) + repr(error)
    else:
        result = await call
        if base in DONE:
            assert result is None
        elif base in NOTHING_YET:
            assert result == []
        else:
            assert case["response"]["status"] < 300
            SUCCESS.get(pattern, nothing if answer(case) is None else equal)(result, case)
    if failures:
        raise failures[0]


def test_each_recorded_error_stands_in_the_table_and_no_other() -> None:
    failed = {name for name, case in CASES.items() if case["response"]["status"] >= 300 and "#" not in name}
    assert failed == (set(ERRORS) | DONE | NOTHING_YET) - {"activity/destroy-again"}
    assert set(OTHER_REQUEST) <= set(CASES)
    for case in CASES.values():
        row(case)


def test_each_row_has_a_recording() -> None:
    assert {row(case)[0] for case in CASES.values()} == set(CALLS)
    assert set(SUCCESS) <= set(CALLS)
