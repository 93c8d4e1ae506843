"""Rows for the market: demands, proposals, agreements, scans."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from golem_nb.rest import fields
from golem_nb.rest.agreements import Agreement, AgreementRejectedError
from golem_nb.rest.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    RequestTimeoutError,
    ServerError,
)
from golem_nb.rest.proposals import OfferProposal, ProposalRejection
from tests.rest.wire.recorded import (
    BAD_JSON,
    BAD_QUERY,
    ID,
    Api,
    Calls,
    Case,
    Compare,
    Errors,
    answer,
    asked,
    each,
    equal,
    moment,
    named,
    query,
    raw,
    same,
    whole,
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


async def subscribe(api: Api, case: Case) -> Any:
    return await api.market.subscribe(asked(case).get("properties", {}), asked(case).get("constraints", ""))


CALLS: Calls = {
    "POST /market-api/v1/demands": lambda a, c: subscribe(a, c),
    "GET /market-api/v1/demands": lambda a, c: a.market.subscriptions(),
    "PATCH /market-api/v1/demands": raw,
    f"DELETE /market-api/v1/demands{ID}": lambda a, c, i: a.subscription(i).delete(),
    f"GET /market-api/v1/demands{ID}/events": collect,
    f"GET /market-api/v1/demands{ID}/proposals{ID}": lambda a, c, i, p: a.subscription(i).proposal(p),
    f"POST /market-api/v1/demands{ID}/proposals{ID}": lambda a, c, i, p: a.proposal(i, p).respond(
        asked(c)["properties"], asked(c).get("constraints", "")
    ),
    f"POST /market-api/v1/demands{ID}/proposals{ID}/reject": lambda a, c, i, p: a.proposal(i, p).reject(
        asked(c)
    ),
    "GET /market-api/v1/offers": raw,  # a provider's own
    "POST /market-api/v1/agreements": create_agreement,
    "GET /market-api/v1/agreements": agreements,
    f"GET /market-api/v1/agreements{ID}": lambda a, c, i: a.market.agreement(i),
    f"POST /market-api/v1/agreements{ID}/confirm": lambda a, c, i: a.agreement(i).confirm(
        query(c).get("appSessionId")
    ),
    f"POST /market-api/v1/agreements{ID}/wait": lambda a, c, i: a.agreement(i).wait_for_approval(
        float(query(c).get("timeout", 5))
    ),
    f"POST /market-api/v1/agreements{ID}/cancel": lambda a, c, i: a.agreement(i).cancel(asked(c)["message"]),
    f"POST /market-api/v1/agreements{ID}/terminate": terminate,
    f"GET /market-api/v1/agreements{ID}/terminate/reason": lambda a, c, i: a.agreement(
        i
    ).termination_reason(),
    "GET /market-api/v1/agreementEvents": agreement_events,
    "POST /market-api/v1/scan": begin_scan,
    f"GET /market-api/v1/scan{ID}/events": scan_events,
    f"DELETE /market-api/v1/scan{ID}": end_scan,
}

ERRORS: Errors = {
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


def compare_offers(result: Any, case: Case) -> None:
    if case["response"].get("chunks"):
        text = "".join(part for _, part in case["response"]["chunks"])
        recorded = [json.loads(data) for data in re.findall(r"^data: (.*)$", text, re.MULTILINE)]
    else:
        recorded = answer(case)
    for one, source in zip(result, recorded, strict=True):
        same(one, source, OFFER)


def compare_demands(result: Any, case: Case) -> None:
    for one, source in zip(result, answer(case), strict=True):
        assert one.id == source["demandId"]
        same(
            one.details,
            source,
            {"properties": "properties", "constraints": "constraints", "timestamp": "timestamp"},
        )


SUCCESS: dict[str, Compare] = {
    "POST /market-api/v1/demands": named("id"),
    "GET /market-api/v1/demands": compare_demands,
    f"GET /market-api/v1/demands{ID}/events": compare_collected,
    f"GET /market-api/v1/demands{ID}/proposals{ID}": whole(PROPOSAL),
    f"POST /market-api/v1/demands{ID}/proposals{ID}": equal,
    "POST /market-api/v1/agreements": named("id"),
    "GET /market-api/v1/agreements": each(
        {"id": "id", "timestamp": "timestamp", "approved": "approvedDate", "role": "role"}
    ),
    f"GET /market-api/v1/agreements{ID}": compare_agreement,
    f"GET /market-api/v1/agreements{ID}/terminate/reason": lambda r, c: compare_agreement_event(r, answer(c)),
    "GET /market-api/v1/agreementEvents": compare_agreement_events,
    "POST /market-api/v1/scan": lambda r, c: equal(r.removeprefix("/scan/"), c),
    f"GET /market-api/v1/scan{ID}/events": compare_offers,
}
