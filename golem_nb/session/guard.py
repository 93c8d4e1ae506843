"""Stands in the way of agreements that cannot be paid for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from golem_nb.engine import Journal, JournalEntry
    from golem_nb.session.limits import Limits

__all__ = ["BudgetJournal"]


class BudgetJournal:
    """A journal that lets no agreement be made which cannot be paid for.

    It stands in the way at the one point that every agreement passes, whatever strategy has chosen it.

    Parameters
    ----------
    journal
        The journal behind it.
    limits
        Of the session.
    """

    def __init__(self, journal: Journal, limits: Limits) -> None:
        self._journal = journal
        self._limits = limits

    async def intent(self, entry: JournalEntry) -> None:
        """Check, then pass on what is about to be done."""
        if entry.action == "create_agreement":
            self._limits.reserve(
                entry.id,
                entry.subject.get("proposal_id", ""),
                entry.subject.get("provider_id", ""),
                entry.subject.get("job_id", ""),
            )
            try:
                await self._journal.intent(entry)
            except BaseException:
                self._limits.made(entry.id, None)
                raise
            return
        await self._journal.intent(entry)

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        """Pass on what came of it."""
        if entry.action == "create_agreement":
            self._limits.made(entry.id, outcome.get("agreement_id"))
        elif entry.action == "terminate_agreement":
            self._limits.withdrawn(entry.subject.get("agreement_id", ""))
        await self._journal.done(entry, outcome, error)
