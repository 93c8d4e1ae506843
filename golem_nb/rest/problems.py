"""What the daemon's refusals say, in words that help."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from golem_nb import foreign_json
from golem_nb.rest.errors import (
    ActivityGoneError,
    ApiError,
    ForbiddenError,
    RequestTimeoutError,
    UnauthorizedError,
    error_class,
)
from golem_nb.rest.fields import MalformedField, as_money

__all__ = ["explain"]

_MAX_MESSAGE = 2000

_SILENT: dict[int, str] = {
    400: "the daemon refused the request",
    403: "the daemon does not allow it",
    404: "there is no such thing",
    408: "the time ran out",
    409: "its state does not allow that",
    410: "it has ended already",
    501: "the daemon has not implemented this",
    504: "the other end did not answer in time",
}

_REMEDIES: dict[type[ApiError], str] = {
    UnauthorizedError: "Set YAGNA_APPKEY to a key of this daemon: `yagna app-key list` shows them, "
    "`yagna app-key create NAME` makes one.",
    ForbiddenError: "Use the application key of the identity that it belongs to.",
    ActivityGoneError: "The provider ended it or vanished: start the work again on another agreement.",
    RequestTimeoutError: "Try again, or give it more time.",
}


def explain(status: int, body: bytes) -> tuple[type[ApiError], str, str | None]:
    """Read a refusal: the class of the error, its message and what to do.

    Parameters
    ----------
    status : int
        The HTTP status.
    body : bytes
        JSON ``{"message": …}`` with a text or null, a problem object (RFC 9457), plain text, or nothing.
    """
    document = _document(body)
    message, remedy = "", None
    if isinstance(document, dict):
        told = document.get("message")
        if isinstance(told, str):
            message = told
        elif "detail" in document:
            message, remedy = _problem(document)
    else:
        message = body[: 4 * _MAX_MESSAGE].decode("utf-8", "replace")
    message = _tidy(message) or _SILENT.get(status, "the daemon gave no reason")
    kind = error_class(status, message)
    return kind, message, remedy or _REMEDIES.get(kind)


def _document(body: bytes) -> Any:
    if body[:1] != b"{":
        return None
    try:
        return foreign_json.loads(body.decode())
    except ValueError:
        return None


def _tidy(message: str) -> str:
    """Make one line of printable text of it: some of these words come from other nodes."""
    line = " ".join(message.split())
    line = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 3] + "..."


def _problem(document: Mapping[str, Any]) -> tuple[str, str | None]:
    """Put the problem objects of the payment API into words."""

    def told(key: str) -> str:
        value = document.get(key)
        return value if isinstance(value, str) else ""

    instance = told("instance") or told("type")
    platform = told("paymentPlatform")
    if instance.endswith("/insufficient-account-funds"):
        return _insufficient(document, told("address"), platform)
    if instance.endswith("/timeout-passed"):
        return f"the time-out {told('requestedTimeout')} is in the past", "Give a time-out in the future."
    if instance.endswith("/bad-payment-platform"):
        return (
            f"there is no payment platform {told('requestedPaymentPlatform')!r} ({told('parseError')})",
            "Check the payment driver and network: YAGNA_PAYMENT_DRIVER (erc20) and YAGNA_PAYMENT_NETWORK "
            "(such as hoodi or polygon).",
        )
    internal = told("internalError")
    if "not found in active accounts" in internal:
        return (
            internal,
            "Run `yagna payment init --sender` for this account and network, or give another address.",
        )
    if internal:
        return internal, "See whether the payment driver knows this network and its RPC endpoints answer."
    return told("detail"), None


def _insufficient(document: Mapping[str, Any], address: str, platform: str) -> tuple[str, str]:
    requested, available = _amount(document, "requestedFunds"), _amount(document, "availableFunds")
    asked = document.get("requestBody")
    total = _amount(asked, "totalAmount") if isinstance(asked, dict) else requested
    # the amendment of an allocation asks for the difference
    asked_for = "was asked for" if total == requested else "more was asked for"
    message = (
        f"not enough funds: {_shown(requested)} {asked_for}, the account {address} has "
        f"{_shown(available)} available on {platform} "
        f"(another {_shown(_amount(document, 'reservedFunds'))} is reserved by existing allocations)"
    )
    most = (
        available
        if total is None or requested is None or available is None
        else total - requested + available
    )
    return message, (
        f"Lower the budget to at most {_shown(most)}, release allocations that are not needed any more "
        "(`yagna payment release-allocations`), or add funds (`yagna payment fund` on a test network)."
    )


def _amount(document: Mapping[str, Any], key: str) -> Decimal | None:
    try:
        return as_money(document.get(key))
    except MalformedField:
        return None


def _shown(amount: Decimal | None) -> str:
    if amount is None:
        return "an unknown amount"
    # 992.6500000000000000 is how the daemon writes 992.65
    digits = format(amount, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
