"""What sessions whose process is no more have left in force, as far as the disk knows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs

from golem_nb.engine.allocation import MARGIN
from golem_nb.ledger.locks import Process, is_alive
from golem_nb.ledger.records import Place, moment, now, stamp

__all__ = ["LeftService", "Leftover", "left"]

#: The daemon itself forgets a demand after this time.
DEMAND_LIFE: Final = timedelta(hours=1)

#: Services in these states do not run any more.
OVER: Final = ("terminated", "unresponsive")


@attrs.frozen
class LeftService:
    """An instance of a service that may still be running."""

    id: str
    class_name: str
    state: str
    agreement_id: str
    activity_id: str
    #: The VPN that it is in, and its address there.
    network_id: str | None
    ip: str | None


@attrs.frozen
class Leftover:
    """What one session has left.

    Attributes
    ----------
    session_id, name, network, node_id, place
        Which session, and where.
    started
        When it began.
    process
        Number of the process that has died.
    budget
        What it was allowed to spend, GLM.
    stopped
        The session was stopped: what is left could not be ended then, or was suspended.
    suspended
        It was stopped, and what goes on was meant to.
    agreements
        Ids of agreements that may be in force.
    activities
        Ids of activities that may be running.
    unpaid
        Ids of agreements that are over, with an invoice that is not dealt with.
    allocations
        Ids of reservations that may not be released.
    uncertain
        Reservations that may have been made: the process died while it was asking for them.
    networks
        Ids of VPNs.
    demands
        Ids of demands that may still be on the market.
    services
        Instances of services that may still be running.
    items
        Finished items of each job, to be had from `Ledger.items`.
    """

    session_id: str
    name: str
    network: str
    node_id: str
    place: Place
    started: datetime
    process: int
    budget: Decimal
    stopped: bool
    suspended: bool
    agreements: tuple[str, ...] = ()
    activities: tuple[str, ...] = ()
    unpaid: tuple[str, ...] = ()
    allocations: tuple[str, ...] = ()
    uncertain: int = 0
    networks: tuple[str, ...] = ()
    demands: tuple[str, ...] = ()
    services: tuple[LeftService, ...] = ()
    items: dict[str, int] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything to be ended, settled or released."""
        return bool(
            self.agreements
            or self.unpaid
            or self.allocations
            or self.uncertain
            or self.networks
            or self.demands
        )

    def __str__(self) -> str:
        parts = [
            _many(len(self.agreements), "agreement", "in force"),
            _many(len(self.activities), "activity", "running"),
            _many(len(self.unpaid), "invoice", "to come or unpaid"),
            _many(len(self.allocations) + self.uncertain, "reservation", "of its budget"),
            _many(len(self.networks), "VPN", ""),
            _many(len(self.demands), "demand", "on the market"),
            _many(sum(self.items.values()), "finished item", "kept"),
        ]
        what = ", ".join(part for part in parts if part) or "nothing"
        if self.suspended:
            how = "suspended"
        elif self.stopped:
            how = "left when it was stopped"
        else:
            how = f"left when process {self.process} died"
        return f"session {self.name!r} of {self.started:%Y-%m-%d %H:%M} UTC on {self.network}: {what}; {how}"


def _many(number: int, noun: str, rest: str) -> str:
    if not number:
        return ""
    plural = noun if number == 1 else f"{noun[:-1]}ies" if noun.endswith("ty") else f"{noun}s"
    return f"{number} {plural} {rest}".rstrip()


def left(
    connection: sqlite3.Connection,
    locks: Path,
    *,
    node_id: str | None = None,
    sessions: Sequence[str] | None = None,
) -> list[Leftover]:
    """Return what dead sessions have left, oldest first; those that have left nothing, too.

    Parameters
    ----------
    connection
        Of the ledger.
    locks
        Folder of the sessions' locks.
    node_id
        Only sessions of this daemon.
    sessions
        Only these sessions, alive or not.
    """
    found = []
    columns = "id, name, network, node_id, place, started, process, budget, ended"
    if sessions is not None:
        rows = connection.execute(
            f"SELECT {columns} FROM session "  # noqa: S608 - no part of it comes from outside
            "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY started",
            (json.dumps(list(sessions)),),
        ).fetchall()
    else:
        rows = connection.execute(
            f"SELECT {columns} FROM session "  # noqa: S608 - no part of it comes from outside
            "WHERE (?1 IS NULL OR node_id = ?1) AND (ended IS NULL OR id IN (SELECT session FROM step) "
            "OR id IN (SELECT session FROM agreement WHERE confirmed IS NOT NULL AND ended IS NULL) "
            "OR id IN (SELECT session FROM allocation WHERE released IS NULL "
            "AND coalesce(expires, ?2) >= ?2)) ORDER BY started",
            (node_id, now()),
        ).fetchall()
    for key, name, network, node, place, started, process_text, budget, ended in rows:
        process = Process.from_json(process_text)
        if sessions is None and is_alive(locks / f"{key}.lock", process):
            continue
        leftover = Leftover(
            session_id=key,
            name=name,
            network=network,
            node_id=node,
            place=Place.from_json(place),
            started=moment(started),
            process=process.pid,
            budget=Decimal(budget),
            stopped=ended is not None,
            suspended=ended is not None and _all_kept(connection, key),
            agreements=_ids(
                connection,
                "SELECT id FROM agreement WHERE session = ? AND confirmed IS NOT NULL AND ended IS NULL",
                key,
            ),
            activities=_ids(
                connection,
                "SELECT id FROM activity WHERE session = ? AND ended IS NULL "
                "AND agreement NOT IN (SELECT id FROM agreement WHERE ended IS NOT NULL)",
                key,
            ),
            unpaid=()
            if ended
            else _ids(
                connection,
                "SELECT id FROM agreement WHERE session = ? AND ended IS NOT NULL AND settled IS NULL "
                "AND id IN (SELECT agreement FROM activity)",
                key,
            ),
            allocations=_ids(
                connection,
                "SELECT id FROM allocation WHERE session = ? AND released IS NULL "
                "AND (expires IS NULL OR expires > ?)",
                key,
                now(),
            ),
            uncertain=len(uncertain_allocations(connection, key)),
            networks=_ids(connection, "SELECT id FROM vpn WHERE session = ? AND ended IS NULL", key),
            demands=_ids(
                connection,
                "SELECT id FROM demand WHERE session = ? AND ended IS NULL AND made > ?",
                key,
                stamp(datetime.now(UTC) - DEMAND_LIFE),
            ),
            services=tuple(
                LeftService(*row)
                for row in connection.execute(
                    "SELECT id, class, state, agreement, activity, vpn, ip FROM service WHERE session = ? "
                    "AND state NOT IN (?, ?) AND agreement IN (SELECT id FROM agreement WHERE ended IS NULL)",
                    (key, *OVER),
                )
            ),
            items=dict(
                connection.execute("SELECT job, count(*) FROM item WHERE session = ? GROUP BY job", (key,))
            ),
        )
        found.append(leftover)
    return found


@attrs.frozen
class UncertainAllocation:
    """A reservation that was asked for; whether it was made is not known."""

    step_id: str
    amount: Decimal
    platform: str
    at: datetime


def uncertain_allocations(connection: sqlite3.Connection, session: str) -> list[UncertainAllocation]:
    """Return the reservations of a session that may have been made, without their numbers being known."""
    found = []
    for key, subject, at, error in connection.execute(
        "SELECT id, subject, at, error FROM step WHERE session = ? AND action = 'create_allocation' "
        "AND coalesce(outcome, '{}') = '{}'",
        (session,),
    ):
        # a refusal is certain; so is the end of a reservation that nobody has made last longer
        refused = error is not None and error.startswith(("InsufficientFunds", "BadRequest"))
        if not refused and moment(at) > datetime.now(UTC) - MARGIN - timedelta(minutes=1):
            asked = json.loads(subject)
            found.append(UncertainAllocation(key, Decimal(asked["amount"]), asked["platform"], moment(at)))
    return found


def _all_kept(connection: sqlite3.Connection, session: str) -> bool:
    """Whether something is in force, and all of it was left on purpose."""
    kept = {
        bool(kept)
        for (kept,) in connection.execute(
            "SELECT kept FROM agreement WHERE session = ? AND confirmed IS NOT NULL AND ended IS NULL",
            (session,),
        )
    }
    return kept == {True}


def _ids(connection: sqlite3.Connection, statement: str, *parameters: str) -> tuple[str, ...]:
    return tuple(key for (key,) in connection.execute(statement, parameters))
