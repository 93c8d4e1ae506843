"""What the parts of the API do beyond one request and its answer, on a local server."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import defaultdict
from contextlib import aclosing, suppress
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from golem_nb.config import ApiConfig
from golem_nb.props import NodeInfo
from golem_nb.rest import Activity, Configuration, Gsb, Market, Payment
from golem_nb.rest.errors import (
    BadRequestError,
    ConnectionDroppedError,
    GoneError,
    MalformedAnswerError,
    NotFoundError,
    RequestTimeoutError,
)
from golem_nb.rest.flexbuffers import decode, encode
from golem_nb.rest.market import OfferProposal, ProposalRejection

NOW = dt.datetime.now(dt.UTC)


class Answers:
    """Answers by method and path, one after another, the last for ever; notes what was asked."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.answers = {key: list(found) for key, found in answers.items()}
        self.asked: list[str] = []
        self.bodies: dict[str, list[Any]] = defaultdict(list)
        self.queries: dict[str, list[dict[str, str]]] = defaultdict(list)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        key = f"{request.method} {request.path}"
        self.asked.append(key)
        self.queries[key].append(dict(request.query))
        body = await request.read()
        self.bodies[key].append(json.loads(body) if body else None)
        waiting = self.answers[key]
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if found == "drop":
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(1)
        if callable(found):
            return await found(request)  # type: ignore[no-any-return]
        status, content = found if isinstance(found, tuple) else (200, found)
        return web.Response(
            status=status,
            text="" if content is None else json.dumps(content),
            content_type="application/json",
        )


def proposal(number: str, state: str = "Initial", **more: Any) -> dict[str, Any]:
    return {
        "eventType": "ProposalEvent",
        "eventDate": "2026-11-23T18:26:12.767Z",
        "proposal": {
            "proposalId": number,
            "issuerId": "0x1",
            "state": state,
            "timestamp": "2026-11-23T18:26:12.767123456Z",
            "properties": {"golem.node.id.name": "n"},
            "constraints": "()",
            **more,
        },
    }


AGREEMENT = {
    "agreementId": "a1",
    "state": "Proposal",
    "validTo": "2026-11-23T18:26:12Z",
    "timestamp": "2026-11-23T18:26:12Z",
    "offer": {
        "properties": {"golem.node.id.name": "provider", "golem.node.debug.subnet": "public"},
        "constraints": "",
        "providerId": "0x1",
    },
    "demand": {"properties": {}, "constraints": "", "requestorId": "0x2", "demandId": "s1"},
}

# --- market


@pytest.mark.contract("I06")
async def test_a_script_that_only_scans_the_market(serve: Any) -> None:
    answers = Answers(
        {
            "POST /market-api/v1/demands": [(201, "s1")],
            "GET /market-api/v1/demands/s1/events": [[], [proposal("R-1"), proposal("R-2")]],
            "DELETE /market-api/v1/demands/s1": [(204, None)],
        }
    )
    conf = Configuration(api_config=(await serve(answers)).api_config)
    async with conf.market() as client:
        market = Market(client)
        async with market.subscribe({"golem.srv.comp.expiration": 5}, "(a=b)") as subscription:
            async for event in subscription.events():
                assert isinstance(event, OfferProposal)
                assert (event.id, event.issuer, event.is_draft) == ("R-1", "0x1", False)
                assert event.props["golem.node.id.name"] == "n"
                break
    assert answers.bodies["POST /market-api/v1/demands"] == [
        {"properties": {"golem.srv.comp.expiration": 5}, "constraints": "(a=b)"}
    ]
    assert answers.asked[-1] == "DELETE /market-api/v1/demands/s1"


async def test_a_demand_is_withdrawn_however_the_block_ends(serve: Any) -> None:
    answers = Answers(
        {
            "POST /market-api/v1/demands": [(201, "s1")],
            "DELETE /market-api/v1/demands/s1": ["drop", "drop", "drop", (404, {"message": "gone"})],
        }
    )
    market = Market((await serve(answers)).market())
    with pytest.raises(ZeroDivisionError):
        async with market.subscribe({}, ""):
            raise ZeroDivisionError
    assert answers.asked.count("DELETE /market-api/v1/demands/s1") == 4

    async def work() -> None:
        async with market.subscribe({}, ""):
            inside.set()
            await asyncio.sleep(60)

    inside = asyncio.Event()
    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answers.asked.count("DELETE /market-api/v1/demands/s1") == 5
    subscription = await market.subscribe({}, "")
    assert subscription.id == "s1"
    assert answers.asked.count("DELETE /market-api/v1/demands/s1") == 5


async def test_proposals_rejections_and_what_is_not_known(serve: Any) -> None:
    events = [
        proposal("R-1", "Draft", prevProposalId="R-0", somethingNew=1),
        {"eventType": "ProposalRejectedEvent", "proposalId": "R-9", "reason": {"message": "no", "x": 1}},
        {"eventType": "ProposalRejectedEvent", "proposalId": "R-8"},
        {"eventType": "SomethingNewEvent"},
    ]
    answers = Answers(
        {
            "POST /market-api/v1/demands": [(201, "s1")],
            "GET /market-api/v1/demands/s1/events": [
                events,
                (404, {"message": "Subscription [s1] not found."}),
            ],
        }
    )
    subscription = await Market((await serve(answers)).market()).subscribe({}, "")
    draft, *others = await subscription.collect(timeout=1.5, max_events=7)
    assert isinstance(draft, OfferProposal)
    assert (draft.is_draft, draft.prev_id) == (True, "R-0")
    assert others == [ProposalRejection("R-9", "no"), ProposalRejection("R-8", None)]  # type: ignore[arg-type]
    assert answers.queries["GET /market-api/v1/demands/s1/events"] == [{"timeout": "1.5", "maxEvents": "7"}]
    with pytest.raises(NotFoundError):
        await anext(subscription.events())


async def test_events_survive_a_broken_connection(serve: Any) -> None:
    answers = Answers(
        {
            "POST /market-api/v1/demands": [(201, "s1")],
            "GET /market-api/v1/demands/s1/events": ["drop", "drop", [proposal("R-1")]],
        }
    )
    subscription = await Market((await serve(answers)).market()).subscribe({}, "")
    async with aclosing(subscription.events()) as events:
        assert (await anext(events)).id == "R-1"


async def test_negotiation(serve: Any) -> None:
    answers = Answers(
        {
            "POST /market-api/v1/demands": [(201, "s1")],
            "GET /market-api/v1/demands/s1/events": [[proposal("R-1")]],
            "POST /market-api/v1/demands/s1/proposals/R-1": ["R-2"],
            "POST /market-api/v1/demands/s1/proposals/R-1/reject": [(204, None)],
            "POST /market-api/v1/agreements": ["a1"],
            "GET /market-api/v1/agreements/a1": ["drop", "drop", AGREEMENT],
        }
    )
    subscription = await Market((await serve(answers)).market()).subscribe({}, "")
    [offer] = await subscription.collect(timeout=0)
    assert isinstance(offer, OfferProposal)
    assert await offer.respond({"a": 1}, "(b=c)") == "R-2"
    await offer.reject("Score too low")
    await offer.reject({"message": "no", "golem.requestor.code": "x"})
    agreement = await offer.create_agreement(dt.timedelta(minutes=5))
    asked = answers.bodies["POST /market-api/v1/agreements"][0]
    assert asked["proposalId"] == "R-1"
    valid_to = dt.datetime.fromisoformat(asked["validTo"])
    assert abs(valid_to - dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)) < dt.timedelta(minutes=1)
    assert agreement.details.provider_node_info.name == "provider"
    assert agreement.details.extract(NodeInfo).subnet_tag == "public"
    assert agreement.details.approved is None
    assert answers.bodies["POST /market-api/v1/demands/s1/proposals/R-1/reject"] == [
        {"message": "Score too low"},
        {"message": "no", "golem.requestor.code": "x"},
    ]


async def test_an_agreement_is_terminated_once_and_for_all(serve: Any) -> None:
    answers = Answers(
        {
            "GET /market-api/v1/agreements/a1": [AGREEMENT, {**AGREEMENT, "state": "Terminated"}],
            "POST /market-api/v1/agreements/a1/terminate": ["drop", (410, {"message": "Terminated already"})],
        }
    )
    agreement = await Market((await serve(answers)).market()).agreement("a1")  # type: ignore[arg-type]
    await agreement.terminate({"message": "done", "golem.requestor.code": "Success"})
    assert (
        answers.bodies["POST /market-api/v1/agreements/a1/terminate"]
        == [{"message": "done", "golem.requestor.code": "Success"}] * 2
    )
    assert agreement.details.state == "Proposal"
    assert (await agreement.refresh()).state == "Terminated"
    assert agreement.details.state == "Terminated"


@pytest.mark.parametrize("operation", ["terminate", "cancel"])
async def test_the_end_of_an_agreement_is_not_cut_off(serve: Any, operation: str) -> None:
    """The real daemon is done too soon to be held in the middle; what comes of it is tested with recovery."""
    asked, answer = asyncio.Event(), asyncio.Event()
    cut: list[bool] = []

    async def slowly(request: web.Request) -> web.Response:
        asked.set()
        await answer.wait()
        cut.append(request.transport is None or request.transport.is_closing())
        return web.Response(status=204)

    path = f"POST /market-api/v1/agreements/a1/{operation}"
    answers = Answers({"GET /market-api/v1/agreements/a1": [AGREEMENT], path: [slowly]})
    agreement = await Market((await serve(answers)).market()).agreement("a1")
    ending = asyncio.create_task(getattr(agreement, operation)())
    await asyncio.wait_for(asked.wait(), 5)
    ending.cancel()
    _, waiting = await asyncio.wait({ending}, timeout=0.2)
    assert waiting
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(ending, 5)
    assert cut == [False]
    # … but nobody waits for ever, and who is cancelled twice not at all
    answer.clear()
    for patience, cancels in ((3, 1), (0.5, 2)):
        asked.clear()
        ending = asyncio.create_task(getattr(agreement, operation)())
        await asyncio.wait_for(asked.wait(), 5)
        async with asyncio.timeout(patience):
            for _ in range(cancels):
                ending.cancel()
                await asyncio.sleep(0)  # two cancellations in one turn would be one
            await asyncio.wait({ending})
        assert ending.cancelled()
    answer.set()


async def test_agreement_events_that_are_not_known_keep_their_date(serve: Any) -> None:
    event = {
        "eventType": "AgreementPausedEvent",
        "agreementId": "a1",
        "eventDate": "2026-11-23T18:26:12.123456Z",
    }
    answers = Answers({"GET /market-api/v1/agreementEvents": [[event]]})
    market = Market((await serve(answers)).market())
    [found] = await market.collect_agreement_events(NOW, timeout=0, app_session_id="s")
    assert found.kind == "AgreementPausedEvent"
    assert found.date.microsecond == 123456
    with pytest.raises(ValueError, match="time zone"):
        await market.collect_agreement_events(dt.datetime(2026, 1, 1), timeout=0)


async def test_a_scan_ends_with_its_block_and_its_time(serve: Any) -> None:
    offer = {
        "offerId": "o1",
        "providerId": "0x1",
        "properties": {},
        "constraints": "",
        "timestamp": "2026-11-23T18:26:12Z",
    }

    async def later(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(float(request.query["timeout"]))
        return web.json_response([])

    answers = Answers(
        {
            "POST /market-api/v1/scan": [(201, "7")],
            "GET /market-api/v1/scan/7/events": ["drop", "drop", [offer], later],
            "DELETE /market-api/v1/scan/7": [(404, None)],
        }
    )
    market = Market((await serve(answers)).market())
    async with market.scan("(a=b)", timeout=30) as scan:
        assert [found.id async for found in scan.offers(timeout=0.6)] == ["o1"]
    assert answers.bodies["POST /market-api/v1/scan"] == [
        {"type": "offer", "timeout": 30, "constraints": "(a=b)"}
    ]
    assert answers.asked[-1] == "DELETE /market-api/v1/scan/7"
    with pytest.raises(RuntimeError, match="async with"):
        await market.scan().collect(0)


# --- activities


async def test_an_activity_that_is_gone_is_destroyed(serve: Any) -> None:
    gone = (
        500,
        {"message": "GSB error: Remote service at `x` error: GSB failure: endpoint address not found"},
    )
    answers = Answers({"DELETE /activity-api/v1/activity/a1": [gone, (408, {"message": "Timeout"})]})
    activity = Activity((await serve(answers)).activity()).attach("a1")  # type: ignore[arg-type]
    await activity.destroy(timeout=2)
    with pytest.raises(RequestTimeoutError):
        await activity.destroy(timeout=2)
    assert answers.queries["DELETE /activity-api/v1/activity/a1"] == [{"timeout": "2"}] * 2


async def test_results_as_they_are_asked_for(serve: Any) -> None:
    result = {
        "index": 0,
        "result": "Ok",
        "isBatchFinished": False,
        "eventDate": "2026-11-23T18:26:12Z",
        "new": 1,
    }
    answers = Answers({"GET /activity-api/v1/activity/a1/exec/b1": [[result], (408, None), (504, None)]})
    activity = Activity((await serve(answers)).activity()).attach("a1")  # type: ignore[arg-type]
    [found] = await activity.results("b1", command_index=3, timeout=2.5)  # type: ignore[arg-type]
    assert (found.stdout, found.stderr, found.message) == (None, None, None)
    assert await activity.results("b1", timeout=1) == []  # type: ignore[arg-type]
    assert await activity.results("b1", timeout=1) == []  # type: ignore[arg-type]
    assert answers.queries["GET /activity-api/v1/activity/a1/exec/b1"] == [
        {"timeout": "2.5", "commandIndex": "3"},
        {"timeout": "1"},
        {"timeout": "1"},
    ]


# --- money

ALLOCATION = {
    "allocationId": "al1",
    "address": "0x1",
    "paymentPlatform": "erc20-hoodi-tglm",
    "totalAmount": "5.000000",
    "spentAmount": "0",
    "remainingAmount": "5",
    "timestamp": "2026-11-23T18:26:12Z",
    "timeout": None,
}
INVOICE = {
    "invoiceId": "i1",
    "issuerId": "0x1",
    "agreementId": "a1",
    "activityIds": ["x"],
    "amount": "0.100000000000000000",
    "paymentPlatform": "erc20-hoodi-tglm",
    "timestamp": "2026-11-23T18:26:12Z",
    "status": "RECEIVED",
}


async def test_an_allocation_is_released_with_its_block(serve: Any) -> None:
    answers = Answers(
        {
            "POST /payment-api/v1/allocations": [(201, ALLOCATION)],
            "DELETE /payment-api/v1/allocations/al1": ["drop", "drop", (410, {"message": "released"})],
        }
    )
    payment = Payment((await serve(answers)).payment())
    with suppress(ZeroDivisionError):
        async with await payment.create_allocation(
            Decimal("5"), "erc20-hoodi-tglm", "0x1", NOW
        ) as allocation:
            assert allocation.amount == 5
            raise ZeroDivisionError
    assert answers.bodies["POST /payment-api/v1/allocations"] == [
        {
            "paymentPlatform": "erc20-hoodi-tglm",
            "totalAmount": "5",
            "makeDeposit": False,
            "address": "0x1",
            "timeout": NOW.isoformat().replace("+00:00", "Z"),
        }
    ]
    assert answers.asked.count("DELETE /payment-api/v1/allocations/al1") == 3


async def test_only_sensible_amounts_are_allocated(serve: Any) -> None:
    answers = Answers({})
    payment = Payment((await serve(answers)).payment())
    for amount, error in (
        (Decimal(0), ValueError),
        (Decimal(-1), ValueError),
        (Decimal("NaN"), ValueError),
        (Decimal("Infinity"), ValueError),
        (1.5, TypeError),
    ):
        with pytest.raises(error):
            await payment.create_allocation(amount, "erc20-hoodi-tglm")  # type: ignore[arg-type]
    assert answers.asked == []


async def test_an_allocation_is_amended(serve: Any) -> None:
    changed = {**ALLOCATION, "totalAmount": "7", "timeout": "2030-01-01T00:00:00Z"}
    answers = Answers(
        {
            "GET /payment-api/v1/allocations/al1": [ALLOCATION],
            "PUT /payment-api/v1/allocations/al1": ["drop", "drop", changed],
        }
    )
    allocation = await Payment((await serve(answers)).payment()).allocation("al1")  # type: ignore[arg-type]
    end = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    details = await allocation.amend(Decimal("7.0"), end)
    assert details.total_amount == allocation.amount == 7
    assert details.timeout == allocation.expires == end
    assert answers.bodies["PUT /payment-api/v1/allocations/al1"][-1] == {
        "totalAmount": "7.0",
        "timeout": "2030-01-01T00:00:00Z",
    }
    for nonsense in ({}, {"amount": Decimal(0)}):
        with pytest.raises(ValueError, match="amount"):
            await allocation.amend(**nonsense)


async def test_accepting_an_invoice_is_tried_again_and_not_for_ever(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golem_nb.rest.client.retried.__defaults__", (5, 0.001, 0.004))
    late = (504, {"message": "Timeout"})
    answers = Answers(
        {
            "GET /payment-api/v1/invoices/i1": [INVOICE],
            "POST /payment-api/v1/invoices/i1/accept": [
                "drop",
                late,
                late,
                None,
                (400, {"message": "no"}),
                late,
            ],
        }
    )
    payment = Payment((await serve(answers)).payment())
    invoice = await payment.invoice("i1")  # type: ignore[arg-type]
    await invoice.accept(invoice.amount, "al1")  # type: ignore[arg-type]
    accepted = answers.bodies["POST /payment-api/v1/invoices/i1/accept"]
    assert accepted == [{"totalAmountAccepted": "0.100000000000000000", "allocationId": "al1"}] * 4
    with pytest.raises(BadRequestError, match=r"Accepting invoice i1 over 0\.1.* failed: no"):
        await invoice.accept(invoice.amount, "al1")  # type: ignore[arg-type]
    assert len(accepted) == 5
    with pytest.raises(RequestTimeoutError):
        await invoice.accept(invoice.amount, "al1")  # type: ignore[arg-type]
    assert len(accepted) == 10


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e999999999", True, None, ["1"]])
async def test_a_hostile_amount_is_no_amount(amount: Any, serve: Any) -> None:
    answers = Answers({"GET /payment-api/v1/invoices/i1": [{**INVOICE, "amount": amount}]})
    with pytest.raises(
        MalformedAnswerError, match=r"Reading invoice i1 failed.*'amount': expected an amount"
    ):
        await Payment((await serve(answers)).payment()).invoice("i1")  # type: ignore[arg-type]


async def test_usage_counters_that_make_no_sense_do_no_harm(serve: Any) -> None:
    note = {
        "debitNoteId": "d1",
        "issuerId": "0x1",
        "agreementId": "a1",
        "activityId": "x",
        "totalAmountDue": "0.1",
        "usageCounterVector": {"a": 1},
        "paymentPlatform": "p",
        "timestamp": "2026-11-23T18:26:12Z",
        "status": "RECEIVED",
    }
    answers = Answers({"GET /payment-api/v1/debitNotes/d1": [note]})
    found = await Payment((await serve(answers)).payment()).debit_note("d1")  # type: ignore[arg-type]
    assert found.usage_counter_vector is None
    assert found.total_amount_due == Decimal("0.1")


async def test_payment_events_that_are_not_known_keep_their_date(serve: Any) -> None:
    events = [
        {"eventType": f"Invoice{kind}Event", "invoiceId": "i1", "eventDate": "2026-11-23T18:26:12.123456Z"}
        for kind in ("Received", "PaymentOk", "PaymentStatus", "SomethingNew")
    ]
    answers = Answers({"GET /payment-api/v1/invoiceEvents": [events]})
    payment = Payment((await serve(answers)).payment())
    found = await payment.collect_invoice_events(NOW, timeout=2, max_events=5)
    assert [event.kind for event in found] == ["received", "payment_ok", "payment_status", "something_new"]
    [query] = answers.queries["GET /payment-api/v1/invoiceEvents"]
    assert dt.datetime.fromisoformat(query.pop("afterTimestamp")) == NOW
    assert query == {"timeout": "2", "maxEvents": "5"}


# --- services on the bus


def bus(calls: list[Any], replies: list[Any], then: str = "wait") -> Any:
    """Play the daemon's part of a service."""

    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["gsb+flexbuffers"])
        await socket.prepare(request)
        assert socket.ws_protocol == "gsb+flexbuffers"
        for call in calls:
            await socket.send_bytes(call if isinstance(call, bytes) else encode(call))
            if not isinstance(call, bytes):
                replies.append(decode(await socket.receive_bytes()))
        if then == "close":
            await socket.close(code=1011)
        else:
            await socket.receive()
        return socket

    return handler


async def test_a_service_answers_and_ends(serve: Any) -> None:
    replies: list[Any] = []
    calls = [
        {"id": "1", "component": "GetChunk", "payload": {"offset": 1, "size": 3}},
        {"id": "2", "component": "GetChunk", "payload": {"offset": 0, "size": 1 << 20}},
        {
            "id": "3",
            "component": "UploadChunk",
            "payload": {"chunk": {"offset": 0, "content": b"x" * 70_000}},
        },
        {"id": "4", "component": "Other", "payload": None},
    ]
    answers = Answers(
        {
            "POST /gsb-api/v1/services": [(201, {"servicesId": "L3g", "listen": {}})],
            "GET /gsb-api/v1/services/L3g": [bus(calls, replies)],
            "DELETE /gsb-api/v1/services/L3g": ["drop", (404, {"message": "gone"})],
        }
    )
    content = bytes(range(256)) * 4096

    async def work() -> None:
        async with (
            Gsb((await serve(answers)).gsb()).bind("/public/x", ["GetChunk"]) as service,
            aclosing(service.requests()) as requests,
        ):
            async for request in requests:
                if request.component == "GetChunk":
                    start, size = request.payload["offset"], request.payload["size"]
                    await service.reply(request, {"content": memoryview(content)[start : start + size]})
                elif request.component == "UploadChunk":
                    assert request.payload["chunk"]["content"] == b"x" * 70_000
                    await service.reply(request, None)
                else:
                    await service.reply_error(request, "no such thing")
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert replies == [
        {"id": "1", "payload": {"content": b"\x01\x02\x03"}},
        {"id": "2", "error": {"ReadError": "an answer has 65536 bytes at most: ask for less at a time"}},
        {"id": "3", "payload": None},
        {"id": "4", "error": {"ReadError": "no such thing"}},
    ]
    assert answers.asked[-1] == "DELETE /gsb-api/v1/services/L3g"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (b"", "a FlexBuffer has at least three bytes"),
        (b"\xff" * 100, "the width of the root"),
        (encode([]), "expected an object"),
        (encode({"id": 5, "component": "x", "payload": None}), "field 'id'"),
        (encode({"id": "5", "payload": None}), "field 'component' is missing"),
    ],
)
async def test_a_call_that_makes_no_sense(call: bytes, said: str, serve: Any) -> None:
    answers = Answers(
        {
            "POST /gsb-api/v1/services": [(201, {"servicesId": "L3g"})],
            "GET /gsb-api/v1/services/L3g": [bus([call], [])],
            "DELETE /gsb-api/v1/services/L3g": [None],
        }
    )
    async with Gsb((await serve(answers)).gsb()).bind("/public/x", ["GetChunk"]) as service:
        with pytest.raises(MalformedAnswerError, match=said):
            await anext(service.requests())


async def test_the_daemon_closes_the_channel(serve: Any) -> None:
    answers = Answers(
        {
            "POST /gsb-api/v1/services": [(201, {"servicesId": "L3g"})],
            "GET /gsb-api/v1/services/L3g": [bus([], [], "close")],
            "DELETE /gsb-api/v1/services/L3g": [None],
        }
    )
    async with Gsb((await serve(answers)).gsb()).bind("/public/x", ["GetChunk"]) as service:
        with pytest.raises(ConnectionDroppedError, match=r"Serving /public/x failed: .* \(code 1011\)"):
            await anext(service.requests())
    assert answers.asked[-1] == "DELETE /gsb-api/v1/services/L3g"


async def test_a_service_whose_channel_cannot_be_opened_is_ended(serve: Any) -> None:
    answers = Answers(
        {
            "POST /gsb-api/v1/services": [(201, {"servicesId": "L3g"})],
            "GET /gsb-api/v1/services/L3g": [(410, None)],
            "DELETE /gsb-api/v1/services/L3g": [None],
        }
    )
    gsb = Gsb((await serve(answers)).gsb())
    with pytest.raises(GoneError):
        async with gsb.bind("/public/x", ["GetChunk"]):
            pass
    assert answers.asked[-1] == "DELETE /gsb-api/v1/services/L3g"


def test_the_documented_names() -> None:
    from golem_nb import rest
    from golem_nb.rest import activity, market, payment

    assert {"Configuration", "Market", "Activity", "Payment", "Net"} <= set(rest.__all__)
    assert {"OfferProposal", "Agreement", "AgreementDetails", "Subscription"} <= set(market.__all__)
    assert {"Allocation", "DebitNote", "Invoice"} <= set(payment.__all__)
    assert {"Activity", "BatchError", "BatchTimeoutError", "CommandExecutionError"} <= set(activity.__all__)
    assert isinstance(Configuration(ApiConfig(app_key="k")).market(), rest.market.RestClient)
