"""Ends, pays and releases what sessions of dead processes have left at a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from golem_nb.exceptions import GolemError
from golem_nb.ledger.bills import OPEN
from golem_nb.ledger.errors import LedgerLockedError
from golem_nb.ledger.estate import Daemon, Estate
from golem_nb.ledger.records import moment, now, stamp
from golem_nb.ledger.report import RecoveryReport
from golem_nb.rest import Configuration, Identity

if TYPE_CHECKING:
    from golem_nb.config import ApiConfig
    from golem_nb.ledger.ledger import Ledger
    from golem_nb.ledger.leftovers import Leftover

__all__ = ["recover", "write_off"]

#: What says of each thing that it is over.
ENDS: Final = (
    ("allocation", "released"),
    ("demand", "ended"),
    ("vpn", "ended"),
    ("agreement", "ended"),
    ("activity", "ended"),
)

#: Why agreements have ended that nobody has ended.
GONE: Final = "The daemon is gone"

#: Invoices that come after that long are not paid any more.
LATE: Final = timedelta(days=7)


async def recover(
    ledger: Ledger,
    api_config: ApiConfig,
    *,
    how: Literal["end", "settle"],
    sessions: Sequence[str] | None,
) -> RecoveryReport:
    """See `Ledger.recover`."""
    report = RecoveryReport()
    async with Configuration(api_config) as configuration:
        me = await Identity(configuration.root()).me()
        daemon = Daemon(configuration)
        found = await asyncio.to_thread(ledger.leftovers, node_id=me.identity)
        if sessions is None:
            found = [leftover for leftover in found if not leftover.suspended]
        else:
            found = [leftover for leftover in found if leftover.session_id in sessions]
        known = {leftover.session_id for leftover in found}
        late = [key for key in await _late(ledger, daemon, me.identity) if key not in known]
        if late and sessions is None:
            found += await asyncio.to_thread(ledger.leftovers, node_id=me.identity, sessions=late)
        async with asyncio.TaskGroup() as group:
            for leftover in found:
                group.create_task(_recover(ledger, daemon, leftover, how, report))
    return report


async def write_off(ledger: Ledger, leftover: Leftover) -> None:
    """See `Ledger.write_off`."""
    lock = await asyncio.to_thread(ledger.lock, leftover.session_id)
    over = False
    try:
        at, key = now(), leftover.session_id
        await ledger.write(
            *(
                (f"UPDATE {table} SET {column} = coalesce({column}, ?) WHERE session = ?", (at, key))  # noqa: S608
                for table, column in ENDS
            ),
            ("UPDATE agreement SET reason = coalesce(reason, ?) WHERE session = ?", (GONE, key)),
            ("UPDATE session SET ended = coalesce(ended, ?) WHERE id = ?", (at, key)),
            ("DELETE FROM step WHERE session = ?", (key,)),
        )
        over = True
    finally:
        lock.release(remove=over)


async def _recover(
    ledger: Ledger, daemon: Daemon, leftover: Leftover, how: str, report: RecoveryReport
) -> None:
    try:
        lock = await asyncio.to_thread(ledger.lock, leftover.session_id)
    except LedgerLockedError:
        report.problems.append(f"session {leftover.name!r} is being recovered by another process")
        return
    over = False
    try:
        # as it is now that nobody else works on it
        again = await asyncio.to_thread(ledger.leftovers, sessions=[leftover.session_id])
        if again:
            over = await Estate(ledger, daemon, again[0], end=how == "end", report=report).recover()
    except GolemError as error:
        report.problems.append(f"session {leftover.name!r}: {error}")
    finally:
        lock.release(remove=over)


async def _late(ledger: Ledger, daemon: Daemon, node_id: str) -> list[str]:
    """Return closed sessions for whose agreements invoices have come after all."""
    rows = await asyncio.to_thread(
        ledger.select,
        "SELECT agreement.id, session.id, session.started FROM agreement JOIN session "
        "ON session = session.id WHERE node_id = ? AND session.ended IS NOT NULL "
        "AND agreement.ended > ? AND settled IS NULL AND agreement.id IN (SELECT agreement FROM activity)",
        node_id,
        stamp(datetime.now(UTC) - LATE),
    )
    if not rows:
        return []
    owing = {agreement: session for agreement, session, _ in rows}
    invoices = await daemon.payment.invoices(after=moment(min(started for _, _, started in rows)))
    return sorted(
        {owing[each.agreement_id] for each in invoices if each.agreement_id in owing and each.status in OPEN}
    )
