"""Intent before the step, outcome after it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from golem_nb.engine.journal import JournalEntry, step


class Recorder:
    """A journal in memory."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, Mapping[str, str]]] = []

    async def intent(self, entry: JournalEntry) -> None:
        self.lines.append(("intent", entry.action, entry.subject))

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        self.lines.append((type(error).__name__ if error else "done", entry.action, dict(outcome)))


async def test_intent_comes_first_and_the_outcome_is_what_the_block_says() -> None:
    journal = Recorder()
    async with step(journal, "create_allocation", amount=1) as outcome:
        assert journal.lines == [("intent", "create_allocation", {"amount": "1"})]
        outcome["allocation_id"] = "a"
    assert journal.lines[1:] == [("done", "create_allocation", {"allocation_id": "a"})]


async def test_an_error_is_written_down_and_passed_on() -> None:
    journal = Recorder()
    with pytest.raises(LookupError):
        async with step(journal, "accept_invoice", invoice_id="i"):
            raise LookupError
    assert journal.lines[1:] == [("LookupError", "accept_invoice", {})]


async def test_no_step_without_intent() -> None:
    class Full(Recorder):
        async def intent(self, entry: JournalEntry) -> None:
            raise OSError("disk full")

    taken = False
    with pytest.raises(OSError, match="disk full"):
        async with step(Full(), "create_agreement"):
            taken = True
    assert not taken
