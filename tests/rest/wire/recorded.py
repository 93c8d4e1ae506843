"""What the tables are made of: the recordings, the client, and ways to compare what it gives with them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import attrs

from golem_nb.rest import Activity, Configuration, Gsb, Identity, Market, Net, Payment, fields
from golem_nb.rest.agreements import Agreement, agreement_details
from golem_nb.rest.allocations import Allocation
from golem_nb.rest.client import RestClient
from golem_nb.rest.errors import ActivityGoneError, ApiError, BadRequestError, NotFoundError
from golem_nb.rest.notes import debit_note, invoice
from golem_nb.rest.proposals import DemandDetails, OfferProposal, Subscription

KEY = "the-very-secret-key"
DATA = Path(__file__).parents[2] / "data" / "wire"

Case = dict[str, Any]
#: What is called for a request, with what its path names.
Calls = dict[str, Callable[..., Awaitable[Any]]]
#: What is raised for a recording, and a part of what that says.
Errors = dict[str, tuple[type[ApiError], str]]
Compare = Callable[[Any, Case], None]

ID = r"/([^/]+)"

GONE = (ActivityGoneError, "endpoint address not found")
SILENT = (NotFoundError, "there is no such thing")
NO_ROUTE = (NotFoundError, "there is no such thing")
BAD_JSON = (BadRequestError, "Json deserialize error")
BAD_QUERY = (BadRequestError, "Query deserialize error")


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


def same(result: Any, source: Any, names: Mapping[str, str]) -> None:
    """Compare attributes with the fields of the recording, by the type of the attribute."""
    for attribute, key in names.items():
        value, recorded = getattr(result, attribute), source.get(key)
        if isinstance(value, Decimal):
            recorded = Decimal(recorded)
        elif isinstance(value, dt.datetime):
            recorded = moment(recorded)
        assert value == recorded, attribute


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
