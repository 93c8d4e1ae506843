"""Takes over running services of a session that is no more."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from golem_nb.engine.charges import LinearPrice
from golem_nb.ledger.bills import ACCEPTED
from golem_nb.ledger.estate import Daemon, Estate
from golem_nb.ledger.records import hourly_price, moment
from golem_nb.ledger.report import RecoveryReport
from golem_nb.props.node import EXPIRATION
from golem_nb.rest import Configuration, Identity, Net
from golem_nb.rest.errors import ApiError, NotFoundError
from golem_nb.rest.ids import ActivityId, AgreementId, NetworkId

if TYPE_CHECKING:
    from golem_nb.config import ApiConfig
    from golem_nb.ledger.book import Book
    from golem_nb.ledger.ledger import Ledger
    from golem_nb.ledger.leftovers import Leftover, LeftService
    from golem_nb.network import NetworkSerialization
    from golem_nb.services import ServiceSerialization

__all__ = ["adopt"]


async def adopt(
    ledger: Ledger,
    leftover: Leftover,
    book: Book,
    api_config: ApiConfig,
    class_name: str | None,
    beside: ServiceSerialization | None,
) -> list[ServiceSerialization]:
    """See `Ledger.adopt`."""
    lock = await asyncio.to_thread(ledger.lock, leftover.session_id)
    over = False
    try:
        async with Configuration(api_config) as configuration:
            daemon = Daemon(configuration)
            me = (await Identity(configuration.root()).me()).identity
            (found,) = await asyncio.to_thread(ledger.leftovers, sessions=[leftover.session_id])
            handles = []
            for service in found.services:
                if class_name not in (None, service.class_name):
                    continue
                handle = await _handle(ledger, daemon, me, found, service)
                if handle is None:
                    continue
                beside = beside or handle
                if _network_id(handle) == _network_id(beside):
                    handles.append(handle)
            for handle in handles:
                await _move(ledger, handle, book.session_id)
            (rest,) = await asyncio.to_thread(ledger.leftovers, sessions=[leftover.session_id])
            if not rest.agreements:
                over = await Estate(ledger, daemon, rest, end=True, report=RecoveryReport()).recover()
    finally:
        lock.release(remove=over)
    return handles


async def _handle(
    ledger: Ledger, daemon: Daemon, me: str, leftover: Leftover, service: LeftService
) -> ServiceSerialization | None:
    """Return the handle of a service as it would have been serialized; None if it does not run any more."""
    agreement_id = AgreementId(service.agreement_id)
    activity = daemon.activities.attach(ActivityId(service.activity_id), agreement_id)
    try:
        agreement = await daemon.market.agreement(agreement_id)
        state = (await activity.state()).current
    except ApiError:
        return None
    details = agreement.details
    if details.state != "Approved" or state in ("Terminated", "Unresponsive"):
        return None
    rows = await asyncio.to_thread(ledger.select, "SELECT handle FROM service WHERE id = ?", service.id)
    if rows and rows[0][0] is not None:
        suspended: ServiceSerialization = json.loads(rows[0][0])
        return suspended
    rows = await asyncio.to_thread(
        ledger.select, "SELECT made FROM activity WHERE id = ?", service.activity_id
    )
    created = moment(rows[0][0]) if rows else details.approved or details.timestamp
    accepted = Decimal(0)
    since = leftover.started
    for note in await daemon.payment.debit_notes(after=leftover.started):
        if note.activity_id == service.activity_id and note.status in ACCEPTED:
            accepted = max(accepted, note.total_amount_due)
            since = max(since, note.timestamp)
    hourly = hourly_price(LinearPrice.agreed(details.offer_props))
    expires = details.demand_props.get(EXPIRATION)
    expiration = (
        datetime.fromtimestamp(expires / 1000, UTC) if isinstance(expires, int | float) else details.valid_to
    )
    network = None if service.network_id is None else await _network(daemon, me, service.network_id)
    return {
        "id": service.id,
        "state": service.state,
        "agreement_id": agreement_id,
        "activity_id": activity.id,
        "session_id": details.app_session_id or "",
        "created": created.isoformat(),
        "since": since.isoformat(),
        "expiration": expiration.isoformat(),
        "allocation_id": leftover.allocations[0] if leftover.allocations else None,
        "accepted": str(accepted),
        "cost_per_hour": None if hourly is None else str(hourly),
        "network": network,
        "ip": None if network is None else service.ip,
    }


def _network_id(handle: ServiceSerialization) -> str | None:
    return None if handle["network"] is None else handle["network"]["network_id"]


async def _network(daemon: Daemon, me: str, key: str) -> NetworkSerialization | None:
    """Return a VPN as it would have been serialized; None if it is gone."""
    net, network_id = Net(daemon.net), NetworkId(key)
    try:
        info = await net.network(network_id)
        nodes = {node.ip: str(node.id) for node in await net.nodes(network_id)}
        addresses = await net.addresses(network_id)
    except NotFoundError:
        return None
    if not addresses:
        return None
    owner_ip = addresses[0].partition("/")[0]
    return {
        "network_id": key,
        "ip": info.ip,
        "owner_id": me,
        "owner_ip": owner_ip,
        # where none was asked for, the daemon names the requestor's own address
        "gateway": None if info.gateway == owner_ip else info.gateway,
        "nodes": {ip: node for ip, node in nodes.items() if node != me},
    }


async def _move(ledger: Ledger, handle: ServiceSerialization, session: str) -> None:
    """Make agreement, activities, service and VPN those of another session."""
    agreement = handle["agreement_id"]
    statements = [
        ("UPDATE agreement SET session = ?, kept = 0 WHERE id = ?", (session, agreement)),
        ("UPDATE activity SET session = ? WHERE agreement = ?", (session, agreement)),
        ("UPDATE service SET session = ? WHERE id = ?", (session, handle["id"])),
    ]
    if handle["network"] is not None:
        statements.append(
            ("UPDATE vpn SET session = ? WHERE id = ?", (session, handle["network"]["network_id"]))
        )
    await ledger.write(*statements)
