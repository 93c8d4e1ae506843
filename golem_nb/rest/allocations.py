"""Money set aside."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any

import attrs

from golem_nb.rest import fields
from golem_nb.rest.client import RestClient
from golem_nb.rest.errors import GoneError, NotFoundError
from golem_nb.rest.ids import AllocationId

__all__ = [
    "Account",
    "Allocation",
    "AllocationDetails",
    "MarketDecoration",
    "accounts",
    "allocation_details",
    "decoration",
]


@attrs.frozen
class Account:
    """An account of the daemon on a payment platform."""

    address: str
    platform: str
    """Such as ``erc20-hoodi-tglm``."""
    driver: str
    network: str
    token: str
    send: bool
    """It can pay."""
    receive: bool
    """It can be paid."""


def _account(value: Any) -> Account:
    source = fields.as_mapping(value)
    return Account(
        address=fields.text(source, "address"),
        platform=fields.text(source, "platform"),
        driver=fields.text(source, "driver"),
        network=fields.text(source, "network"),
        token=fields.text(source, "token"),
        send=fields.boolean(source, "send"),
        receive=fields.boolean(source, "receive"),
    )


accounts = fields.as_list(_account)


@attrs.frozen
class MarketDecoration:
    """What a demand must say so that its work can be paid."""

    properties: dict[str, str]
    constraints: list[str]


def decoration(value: Any) -> MarketDecoration:
    """Read a decoration."""

    def pair(item: Any) -> tuple[str, str]:
        entry = fields.as_mapping(item)
        return fields.text(entry, "key"), fields.text(entry, "value")

    source = fields.as_mapping(value)
    pairs = fields.as_list(pair)(source.get("properties"))
    return MarketDecoration(dict(pairs), fields.texts(source, "constraints"))


@attrs.frozen
class AllocationDetails:
    """What the daemon knows about an allocation."""

    allocation_id: AllocationId
    address: str
    payment_platform: str
    total_amount: Decimal
    spent_amount: Decimal
    """Accepted so far, whether paid already or not."""
    remaining_amount: Decimal
    timestamp: dt.datetime
    timeout: dt.datetime | None
    """When the daemon gives it back by itself."""


def allocation_details(value: Any) -> AllocationDetails:
    """Read an allocation."""
    source: Mapping[str, Any] = fields.as_mapping(value)
    return AllocationDetails(
        allocation_id=AllocationId(fields.identifier(source.get("allocationId"))),
        address=fields.text(source, "address"),
        payment_platform=fields.text(source, "paymentPlatform"),
        total_amount=fields.money(source, "totalAmount"),
        spent_amount=fields.money(source, "spentAmount"),
        remaining_amount=fields.money(source, "remainingAmount"),
        timestamp=fields.moment(source, "timestamp"),
        timeout=fields.optional_moment(source, "timeout"),
    )


@attrs.define(eq=False)
class Allocation:
    """Money set aside; comes from `Payment`, and as ``async with`` is released at the end."""

    _client: RestClient = attrs.field(repr=False)
    id: AllocationId
    amount: Decimal
    platform: str
    address: str
    expires: dt.datetime | None
    """When the daemon gives it back by itself."""

    @classmethod
    def of(cls, client: RestClient, details: AllocationDetails) -> Allocation:
        """Make one from what the daemon tells."""
        return cls(
            client,
            details.allocation_id,
            details.total_amount,
            details.payment_platform,
            details.address,
            details.timeout,
        )

    @property
    def _path(self) -> str:
        return f"/allocations/{fields.segment(self.id)}"

    async def details(self) -> AllocationDetails:
        """Ask how much of it is spent.

        Raises
        ------
        NotFoundError
            It was released, or has expired.
        """
        return await self._client.get(self._path, f"Reading allocation {self.id}", allocation_details)

    async def amend(
        self, amount: Decimal | None = None, expires: dt.datetime | None = None
    ) -> AllocationDetails:
        """Change the amount, or the time until which it is set aside.

        Parameters
        ----------
        amount : Decimal, optional
            The new total, in tokens.
        expires : datetime, optional
            The new end, with a time zone.

        Raises
        ------
        BadRequestError
            Not enough funds, or the end is in the past.
        NotFoundError
            It was released, or has expired.
        """
        body: dict[str, Any] = {}
        changes = []
        if amount is not None:
            body["totalAmount"] = fields.money_text(amount)
            if amount <= 0:
                raise ValueError(f"The amount of an allocation must be greater than zero, not {amount}")
            changes.append(f"to {body['totalAmount']}")
        if expires is not None:
            body["timeout"] = fields.moment_text(expires, "expires")
            changes.append(f"until {body['timeout']}")
        if not body:
            raise ValueError("Give an amount or a time to change the allocation to")
        details = await self._client.put(
            self._path, f"Changing allocation {self.id} {' '.join(changes)}", allocation_details, body
        )
        self.amount = details.total_amount
        self.expires = details.timeout
        return details

    async def release(self) -> None:
        """Give back what is left of it; one that is gone already is fine."""
        try:
            await self._client.delete(self._path, f"Releasing allocation {self.id}")
        except (GoneError, NotFoundError):
            return

    async def __aenter__(self) -> Allocation:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
