"""What the engine writes down before and after everything that reserves or ends something.

The engine itself keeps nothing on disk. Whoever has to survive a dead process (the notebook session's
ledger, or a service of
your own) passes a `Journal`: its `intent` is awaited *before* the daemon is asked, its `done` after the
answer, so that what is on
disk is never behind what the daemon may hold.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Literal, Protocol

import attrs

from golem_nb.log import get_logger

logger = get_logger(__name__)

Action = Literal[
    "create_allocation",
    "amend_allocation",
    "release_allocation",
    "subscribe",
    "unsubscribe",
    "create_agreement",
    "confirm_agreement",
    "terminate_agreement",
    "create_activity",
    "destroy_activity",
    "accept_debit_note",
    "accept_invoice",
    "reject_invoice",
    "create_network",
    "remove_network",
]


#: What ends something is done whatever becomes of the journal: a full disk must not cost money.
ENDING: frozenset[Action] = frozenset(
    {
        "release_allocation",
        "unsubscribe",
        "terminate_agreement",
        "destroy_activity",
        "reject_invoice",
        "remove_network",
    }
)


@attrs.frozen
class JournalEntry:
    """One intended step.

    Attributes
    ----------
    id
        Unique; `Journal.done` is called with the same entry.
    action
        What is about to be asked of the daemon.
    subject
        Ids and amounts that name the thing, as text.
    at
        When the step was intended, UTC.
    """

    action: Action
    subject: Mapping[str, str]
    id: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    at: datetime = attrs.field(factory=lambda: datetime.now(UTC))


class Journal(Protocol):
    """Where the engine's intents and outcomes go.

    Both methods are awaited on the engine's loop: do disk work in a thread. An exception of `intent` keeps a
    step that begins or pays something from being taken; an exception of its `done` is passed on, and what was
    begun is ended. Where a step ends something, exceptions of both are logged, and it is ended.
    """

    async def intent(self, entry: JournalEntry) -> None:
        """Write down what is about to be done; the daemon is asked when this has returned."""

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        """Write down what came of it: ids that the daemon gave, or the error."""


class NullJournal:
    """The default: writes nothing."""

    async def intent(self, entry: JournalEntry) -> None:
        """Do nothing."""

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        """Do nothing."""


@asynccontextmanager
async def step(journal: Journal, action: Action, **subject: object) -> AsyncIterator[dict[str, str]]:
    """Wrap one call to the daemon into intent and outcome; the block fills the outcome."""
    entry = JournalEntry(action, {key: str(value) for key, value in subject.items()})
    outcome: dict[str, str] = {}
    with _tolerant(entry):
        await journal.intent(entry)
    try:
        yield outcome
    except BaseException as error:
        with _tolerant(entry):
            await journal.done(entry, outcome, error)
        raise
    with _tolerant(entry):
        await journal.done(entry, outcome, None)


@contextmanager
def _tolerant(entry: JournalEntry) -> Iterator[None]:
    try:
        yield
    except Exception:
        if entry.action not in ENDING:
            raise
        logger.exception("The journal cannot be written (%s); what is to be ended is ended", entry.action)
