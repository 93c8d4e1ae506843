"""A program with a session, which kills itself in the middle of a step.

usage: dying_program.py batch|service|recover MOMENT ACTION [SECONDS]

MOMENT is ``asked`` (the intent is on disk, the daemon was not asked), ``answered`` (the daemon has done it,
the ledger does not know), ``done`` (both know) or ``never``. SECONDS is how long a task takes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from golem_nb import ApiConfig, Golem, Task, WorkContext, vm
from golem_nb.engine.journal import JournalEntry
from golem_nb.ledger import Book, FinishedItem, Ledger, Place
from golem_nb.ledger.journal import SessionJournal
from golem_nb.rest import Configuration, Identity
from golem_nb.services import Service

# also imported by the tests, for the service: then there are no arguments
MOMENT, ACTION = sys.argv[2:4] if __name__ == "__main__" else ("never", "")
SECONDS = sys.argv[4] if __name__ == "__main__" and len(sys.argv) > 4 else "0.1"


class DyingJournal:
    """Passes steps on, and dies in the middle of one.

    Parameters
    ----------
    journal
        Where they go.
    """

    def __init__(self, journal: Any) -> None:
        self._journal = journal

    async def intent(self, entry: JournalEntry) -> None:
        await self._journal.intent(entry)
        self._perhaps("asked", entry)

    async def done(
        self, entry: JournalEntry, outcome: Mapping[str, str], error: BaseException | None
    ) -> None:
        self._perhaps("answered", entry)
        await self._journal.done(entry, outcome, error)
        self._perhaps("done", entry)

    def _perhaps(self, moment: str, entry: JournalEntry) -> None:
        if (moment, entry.action) == (MOMENT, ACTION):
            os.kill(os.getpid(), signal.SIGKILL)


async def worker(context: WorkContext, tasks: AsyncIterator[Task[Any, Any]]) -> AsyncGenerator[Any, Any]:
    """Sleep, and tell that it does."""
    async for task in tasks:
        script = context.new_script(timeout=timedelta(minutes=2))
        script.run("/bin/sleep", SECONDS)
        print("working", flush=True)
        yield script
        task.accept_result(task.data)


class Sleeper(Service):
    """Runs, and does nothing."""

    @staticmethod
    async def get_payload() -> Any:
        """An image."""
        return await payload()

    async def run(self) -> AsyncGenerator[Any, Any]:
        """Run until it is stopped."""
        print("working", flush=True)
        async for script in super().run():
            yield script


async def payload() -> Any:
    """Any image."""
    return await vm.repo(image_tag="golem/alpine:latest", repository_url=os.environ["GOLEM_REGISTRY_URL"])


async def batch(golem: Golem, book: Book) -> None:
    """Run two tasks; what is done is kept."""
    data = [Task(index) for index in range(2)]
    async for task in golem.execute_tasks(worker, data, await payload(), max_workers=2):
        await book.finished("batch", [FinishedItem(task.data, 0, provider_id="0x")])


async def service(golem: Golem, _book: Book) -> None:
    """Run a service for ever."""
    network = await golem.create_network("192.168.73.0/24") if os.environ.get("VPN") else None
    await golem.run_service(Sleeper, network=network)
    await asyncio.sleep(600)


async def main() -> None:
    """Live until the step comes."""
    config = ApiConfig()
    if sys.argv[1] == "recover":
        for name in ("intent", "done"):
            setattr(SessionJournal, f"_{name}", getattr(SessionJournal, name))

        class Plain(SessionJournal):
            intent = SessionJournal._intent
            done = SessionJournal._done

        def dying(self: Any) -> DyingJournal:
            return DyingJournal(Plain(self._writer, self.session_id))

        SessionJournal.intent = lambda self, *args: dying(self).intent(*args)
        SessionJournal.done = lambda self, *args: dying(self).done(*args)
        with Ledger() as ledger:
            await ledger.recover(config)
        return
    async with Configuration(config) as configuration:
        me = await Identity(configuration.root()).me()
    ledger = Ledger()
    book = ledger.begin("dying", me.identity, "local", Decimal(1), Place(config.api_url))
    golem = Golem(budget=1, api_config=config)
    golem.journal = DyingJournal(book)
    golem.add_event_consumer(book.take, book.EVENTS)
    async with golem:
        await {"batch": batch, "service": service}[sys.argv[1]](golem, book)
    await book.close()
    print("closed", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
