"""The provider's side of the daemon's REST API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Final

from golem_nb.config import ApiConfig
from golem_nb.rest.client import LONG_POLL_MARGIN, retried
from golem_nb.rest.configuration import Configuration
from golem_nb.rest.errors import RequestTimeoutError, ServerError, is_intermittent
from golem_nb.rest.fields import money_text, query, segment

__all__ = ["LONG_POLL", "ProviderApi", "now"]

#: Seconds of a long poll: events end it at once, so that only the idle traffic depends on it.
LONG_POLL: Final = 60.0
_SEND_TIMEOUT: Final = 30
_APPROVE_TIMEOUT: Final = 15


def now() -> str:
    """Return the time as the daemon wants it."""
    return _text(datetime.now(UTC))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class ProviderApi:
    """Requests of one provider, told apart from others of its daemon by its app key.

    All methods raise `golem_nb.rest.errors.ApiError` when the daemon refuses.

    Parameters
    ----------
    api_url
        The daemon's address.
    app_key
        The key of the provider's identity.
    session
        A name for this run: the daemon filters events by it.
    """

    def __init__(self, api_url: str, app_key: str, session: str) -> None:
        self._configuration = Configuration(ApiConfig(app_key=app_key, api_url=api_url))
        self._client = self._configuration.root()
        self.session = session

    async def __aenter__(self) -> ProviderApi:
        await self._configuration.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._configuration.__aexit__(kind, error, trace)

    async def _ask(self, method: str, path: str, what: str, body: Any = None, timeout: float = 60) -> Any:
        data = None if method in ("GET", "DELETE") else json.dumps(body).encode()
        return await self._client.request(method, path, what, _as_it_is, data, timeout=timeout)

    async def _insist(self, path: str, what: str, body: Any = None) -> Any:
        """Ask for what money depends on; again when the daemon was too busy, or did not reach the other side.

        A debit note or an invoice that is issued twice is sent once, so that nobody sees the first.
        """
        return await retried(
            lambda: self._ask("POST", path, what, body),
            tries=4,
            first_pause=0.5,
            worth=lambda error: is_intermittent(error) or isinstance(error, ServerError),
        )

    # -- market -----------------------------------------------------------------------------------

    async def publish(self, offer: Mapping[str, Any]) -> str:
        """Publish an offer; return its subscription."""
        return str(await self._ask("POST", "/market-api/v1/offers", "publishing an offer", offer))

    async def withdraw(self, subscription: str) -> None:
        """Take an offer back."""
        await self._ask("DELETE", f"/market-api/v1/offers/{segment(subscription)}", "withdrawing an offer")

    async def offers(self) -> list[str]:
        """Return the subscriptions of this node's published offers."""
        found = await self._ask("GET", "/market-api/v1/offers", "listing the offers")
        return [str(offer["offerId"]) for offer in found]

    async def market_events(self, subscription: str) -> list[dict[str, Any]]:
        """Wait for what requestors propose to an offer."""
        path = f"/market-api/v1/offers/{segment(subscription)}/events"
        return await self._poll(path + query(timeout=LONG_POLL, maxEvents=50), "waiting for proposals")

    async def counter(self, subscription: str, proposal: str, answer: Mapping[str, Any]) -> str:
        """Answer a proposal with one of ours."""
        path = f"/market-api/v1/offers/{segment(subscription)}/proposals/{segment(proposal)}"
        return str(await self._ask("POST", path, "answering a proposal", answer))

    async def reject_proposal(self, subscription: str, proposal: str, reason: str) -> None:
        """Refuse a proposal."""
        path = f"/market-api/v1/offers/{segment(subscription)}/proposals/{segment(proposal)}/reject"
        await self._ask("POST", path, "refusing a proposal", {"message": reason})

    async def agreement(self, agreement: str) -> dict[str, Any]:
        """Read an agreement."""
        path = f"/market-api/v1/agreements/{segment(agreement)}"
        result: dict[str, Any] = await self._ask("GET", path, "reading an agreement")
        return result

    async def approve(self, agreement: str) -> None:
        """Approve an agreement."""
        path = f"/market-api/v1/agreements/{segment(agreement)}/approve"
        path += query(timeout=_APPROVE_TIMEOUT, appSessionId=self.session)
        await self._ask("POST", path, "approving an agreement")

    async def reject_agreement(self, agreement: str, reason: Mapping[str, Any]) -> None:
        """Refuse an agreement."""
        path = f"/market-api/v1/agreements/{segment(agreement)}/reject"
        await self._ask("POST", path, "refusing an agreement", reason)

    async def terminate(self, agreement: str, reason: Mapping[str, Any]) -> None:
        """End an agreement."""
        path = f"/market-api/v1/agreements/{segment(agreement)}/terminate"
        await self._ask("POST", path, "ending an agreement", reason)

    async def agreement_events(self, after: str) -> list[dict[str, Any]]:
        """Wait for what happens to agreements."""
        return await self._events("/market-api/v1/agreementEvents", after, "waiting for agreement events")

    # -- activities and payments ------------------------------------------------------------------

    async def activity_events(self, after: str) -> list[dict[str, Any]]:
        """Wait for activities to be created and destroyed."""
        return await self._events("/activity-api/v1/events", after, "waiting for activity events")

    async def debit_note_events(self, after: str) -> list[dict[str, Any]]:
        """Wait for debit notes to be accepted."""
        return await self._events("/payment-api/v1/debitNoteEvents", after, "waiting for debit note events")

    async def send_debit_note(
        self, activity: str, amount: Decimal, usage: Sequence[float], due: datetime | None
    ) -> str:
        """Issue and send a debit note over an activity's total; return its id."""
        body: dict[str, Any] = {
            "activityId": activity,
            "totalAmountDue": money_text(amount),
            "usageCounterVector": list(usage),
        }
        if due is not None:
            body["paymentDueDate"] = _text(due)
        note = await self._insist("/payment-api/v1/debitNotes", "issuing a debit note", body)
        path = f"/payment-api/v1/debitNotes/{segment(note['debitNoteId'])}/send{query(timeout=_SEND_TIMEOUT)}"
        await self._insist(path, "sending a debit note")
        return str(note["debitNoteId"])

    async def send_invoice(
        self, agreement: str, activities: Sequence[str], amount: Decimal, due: datetime
    ) -> str:
        """Issue and send an invoice; return its id."""
        body = {
            "agreementId": agreement,
            "activityIds": list(activities),
            "amount": money_text(amount),
            "paymentDueDate": _text(due),
        }
        invoice = await self._insist("/payment-api/v1/invoices", "issuing an invoice", body)
        path = f"/payment-api/v1/invoices/{segment(invoice['invoiceId'])}/send{query(timeout=_SEND_TIMEOUT)}"
        await self._insist(path, "sending an invoice")
        return str(invoice["invoiceId"])

    async def _events(self, path: str, after: str, what: str) -> list[dict[str, Any]]:
        path += query(timeout=LONG_POLL, maxEvents=100, afterTimestamp=after, appSessionId=self.session)
        return await self._poll(path, what)

    async def _poll(self, path: str, what: str) -> list[dict[str, Any]]:
        try:
            result = await self._ask("GET", path, what, timeout=LONG_POLL + LONG_POLL_MARGIN)
        except RequestTimeoutError as error:
            if error.status is None:
                raise
            return []  # some of the daemon's long polls end with 408, others with an empty list
        return list(result or ())


def _as_it_is(value: Any) -> Any:
    return value
