"""The engine's journal, as rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from golem_nb.ledger.records import now, plain, stamp

if TYPE_CHECKING:
    from golem_nb.engine.journal import JournalEntry
    from golem_nb.ledger.writer import Statement, Writer

__all__ = ["SessionJournal"]

#: Steps that reserve or bind: they are not taken if they cannot be written down. All others end something or
#: pay for it, which must not wait for room on a disk.
RESERVING: Final = frozenset(
    {
        "create_allocation",
        "amend_allocation",
        "subscribe",
        "create_agreement",
        "confirm_agreement",
        "create_activity",
        "create_network",
    }
)


class SessionJournal:
    """Writes the steps of one session down; a `golem_nb.engine.Journal`.

    Parameters
    ----------
    writer
        Where to.
    session_id
        The session whose steps they are.
    """

    def __init__(self, writer: Writer, session_id: str) -> None:
        self._writer = writer
        self.session_id = session_id

    async def intent(self, entry: JournalEntry) -> None:
        """Write down what is about to be done; on disk when this returns.

        Parameters
        ----------
        entry
            The step.

        Raises
        ------
        LedgerWriteError
            It cannot be written, and the step would reserve something.
        """
        statements: list[Statement] = [
            (
                "INSERT INTO step (id, session, action, subject, at) VALUES (?, ?, ?, ?, ?)",
                (entry.id, self.session_id, entry.action, _json(entry.subject), stamp(entry.at)),
            )
        ]
        if entry.action == "confirm_agreement":
            statements.append(
                (
                    "UPDATE agreement SET confirmed = ? WHERE id = ?",
                    (stamp(entry.at), entry.subject["agreement_id"]),
                )
            )
        await self._write(statements, can_wait=entry.action not in RESERVING)

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        """Write down what came of it. While the disk is full that is kept in memory.

        Parameters
        ----------
        entry
            The step, as it was given to `intent`.
        outcome
            What the daemon has given: ids, by their names.
        error
            What it has raised; None: nothing.
        """
        statements: list[Statement] = [
            (
                "UPDATE step SET finished = ?, outcome = ?, error = ? WHERE id = ?",
                (now(), _json(outcome), _error(error), entry.id),
            )
        ]
        if error is None:
            apply = _EFFECTS.get(entry.action)
            if apply is not None:
                statements += apply(self.session_id, {**entry.subject, **outcome}, entry.at)
        await self._write(statements, can_wait=True)

    async def _write(self, statements: Sequence[Statement], *, can_wait: bool) -> None:
        await asyncio.wrap_future(self._writer.write(statements, can_wait=can_wait))


def _json(mapping: Mapping[str, str]) -> str:
    return json.dumps({key: plain(value) for key, value in mapping.items()})


def _error(error: BaseException | None) -> str | None:
    return None if error is None else plain(f"{type(error).__name__}: {error}")


# -- what a step that was taken changes ----------------------------------------------------------------------

Effect = Callable[[str, Mapping[str, str], datetime], "list[Statement]"]


def _insert(table: str, **columns: Any) -> Statement:
    names = ", ".join(columns)
    places = ", ".join("?" * len(columns))
    return f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})", tuple(columns.values())  # noqa: S608


def _made(table: str, key: str, *more: str) -> Effect:
    def effect(session: str, known: Mapping[str, str], at: datetime) -> list[Statement]:
        columns = {name: plain(known[name]) for name in more}
        return [_insert(table, id=known[key], session=session, made=stamp(at), **columns)]

    return effect


def _marked(table: str, key: str, column: str) -> Effect:
    statement = f"UPDATE {table} SET {column} = coalesce({column}, ?) WHERE id = ?"  # noqa: S608

    def effect(_session: str, known: Mapping[str, str], _at: datetime) -> list[Statement]:
        return [(statement, (now(), known[key]))]

    return effect


def _activity_made(session: str, known: Mapping[str, str], at: datetime) -> list[Statement]:
    return [
        _insert(
            "activity",
            id=known["activity_id"],
            agreement=known["agreement_id"],
            session=session,
            made=stamp(at),
        )
    ]


def _allocation_amended(_session: str, known: Mapping[str, str], _at: datetime) -> list[Statement]:
    # the engine writes the time as `str` has it
    expires = datetime.fromisoformat(known["expires"]).astimezone(UTC)
    return [("UPDATE allocation SET expires = ? WHERE id = ?", (stamp(expires), known["allocation_id"]))]


def _paid(table: str, key: str, column: str) -> Effect:
    statement = (
        f"INSERT INTO {table} (id, session, amount, {column}) VALUES (?, ?, ?, ?) "  # noqa: S608
        f"ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}"
    )

    def effect(session: str, known: Mapping[str, str], _at: datetime) -> list[Statement]:
        return [(statement, (known[key], session, known["amount"], now()))]

    return effect


def _invoice_dealt_with(column: str) -> Effect:
    paid = _paid("invoice", "invoice_id", column)
    settled = (
        "UPDATE agreement SET settled = coalesce(settled, ?) "
        "WHERE id = (SELECT agreement FROM invoice WHERE id = ?)"
    )

    def effect(session: str, known: Mapping[str, str], at: datetime) -> list[Statement]:
        return [*paid(session, known, at), (settled, (now(), known["invoice_id"]))]

    return effect


_EFFECTS: Final[dict[str, Effect]] = {
    "create_allocation": _made("allocation", "allocation_id", "amount", "platform"),
    "amend_allocation": _allocation_amended,
    "release_allocation": _marked("allocation", "allocation_id", "released"),
    "subscribe": _made("demand", "subscription_id"),
    "unsubscribe": _marked("demand", "subscription_id", "ended"),
    "create_agreement": _made("agreement", "agreement_id", "provider_id"),
    "terminate_agreement": _marked("agreement", "agreement_id", "ended"),
    "create_activity": _activity_made,
    "destroy_activity": _marked("activity", "activity_id", "ended"),
    "accept_debit_note": _paid("debit_note", "debit_note_id", "accepted"),
    "accept_invoice": _invoice_dealt_with("accepted"),
    "reject_invoice": _invoice_dealt_with("rejected"),
    "create_network": _made("vpn", "network_id", "ip"),
    "remove_network": _marked("vpn", "network_id", "ended"),
}
