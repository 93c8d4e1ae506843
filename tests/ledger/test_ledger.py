"""What is written down, and what is found again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from golem_nb.engine.journal import JournalEntry, step
from golem_nb.ledger import (
    Book,
    FinishedItem,
    Ledger,
    LedgerError,
    LedgerLockedError,
    LedgerVersionError,
    LedgerWarning,
    LedgerWriteError,
)
from golem_nb.ledger import schema as schema_module

from .conftest import NODE, PLACE

Begin = Callable[..., Book]


def elsewhere(ledger: Ledger, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Read the file as another process does: what is not on disk is not seen."""
    code = (
        "import sqlite3, sys, json; print(json.dumps(sqlite3.connect(sys.argv[1])"
        ".execute(sys.argv[2], json.loads(sys.argv[3])).fetchall()))"
    )
    import json

    done = subprocess.run(
        [sys.executable, "-c", code, str(ledger.path), statement, json.dumps(parameters)],
        check=True,
        capture_output=True,
    )
    return [tuple(row) for row in json.loads(done.stdout)]


async def test_the_intent_is_on_disk_before_the_step(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    async with step(book, "create_allocation", amount=1, platform="p") as outcome:
        (row,) = elsewhere(ledger, "SELECT session, action, finished FROM step")
        assert row == (book.session_id, "create_allocation", None)
        assert elsewhere(ledger, "SELECT * FROM allocation") == []
        outcome["allocation_id"] = "a"
    assert elsewhere(ledger, "SELECT id, amount FROM allocation") == [("a", "1")]
    assert elsewhere(ledger, "SELECT count(*) FROM step WHERE finished IS NULL") == [(0,)]


async def test_the_life_of_an_agreement(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    async with step(book, "create_agreement", proposal_id="p", provider_id="0x2") as outcome:
        outcome["agreement_id"] = "agreement"
    async with step(book, "confirm_agreement", agreement_id="agreement"):
        assert ledger.select("SELECT confirmed IS NOT NULL FROM agreement") == [(1,)]
    async with step(book, "create_activity", agreement_id="agreement") as outcome:
        outcome["activity_id"] = "activity"
    async with step(book, "accept_debit_note", debit_note_id="n", amount="0.5"):
        pass
    async with step(book, "destroy_activity", activity_id="activity"):
        pass
    async with step(book, "terminate_agreement", agreement_id="agreement"):
        pass
    assert ledger.select("SELECT ended IS NOT NULL FROM agreement") == [(1,)]
    assert ledger.select("SELECT agreement, ended IS NOT NULL FROM activity") == [("agreement", 1)]
    assert ledger.select("SELECT id, amount FROM debit_note WHERE accepted IS NOT NULL") == [("n", "0.5")]


async def test_a_step_that_has_failed_changes_nothing(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    with pytest.raises(OSError, match="refused"):
        async with step(book, "create_allocation", amount=1, platform="p"):
            raise OSError("refused")
    assert ledger.select("SELECT * FROM allocation") == []
    assert ledger.select("SELECT error FROM step") == [("OSError: refused",)]


async def test_amended_allocations(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    async with step(book, "create_allocation", amount=1, platform="p") as outcome:
        outcome["allocation_id"] = "a"
    async with step(book, "amend_allocation", allocation_id="a", expires="2030-01-01 12:00:00+02:00"):
        pass
    assert ledger.select("SELECT expires FROM allocation") == [("2030-01-01T10:00:00.000000+00:00",)]


async def test_many_writes_at_once_are_all_there(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    await asyncio.gather(
        *(book.finished("job", [FinishedItem(index, stdout=str(index))]) for index in range(2000))
    )
    assert len(ledger.items("job")) == 2000


async def test_items_come_back_as_they_were(ledger: Ledger, begin: Begin) -> None:
    book = begin("mine")
    item = FinishedItem(
        3, 0, "out\x00\ud800", "err", {"a/b.txt": "ab12"}, "json", b"\x00[1]", "0x2", 1.5, tries=2
    )
    await book.finished("job", [item])
    await book.close()
    again = begin("mine")
    await again.finished("job", [FinishedItem(9), FinishedItem(3, 1), FinishedItem(4)])
    found = ledger.items("job", name="mine")
    assert found[3] == FinishedItem(3, 1)
    assert list(found) == [3, 4, 9]  # in the order of their places
    assert ledger.items("job", name="another") == {}
    (first,) = ledger.select("SELECT stdout, files, value FROM item WHERE session = ?", book.session_id)
    assert first == ("out\x00?", '{"a/b.txt": "ab12"}', b"\x00[1]")


def test_the_file_is_for_its_owner_only(ledger: Ledger, folder: Path) -> None:
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert ledger.path == folder / "ledger.sqlite3"
    assert ledger.select("PRAGMA journal_mode") == [("wal",)]


# -- who is alive -------------------------------------------------------------------------------------------


async def reserve(book: Book, key: str = "a") -> None:
    async with step(book, "create_allocation", amount=1, platform="p") as outcome:
        outcome["allocation_id"] = key


async def test_a_living_session_has_left_nothing(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    await reserve(book)
    assert ledger.left() == []
    with pytest.raises(LedgerLockedError):
        ledger.lock(book.session_id)
    with Ledger() as another:
        assert another.left() == []


DIE = """
import asyncio, os, sys
from decimal import Decimal
from golem_nb.engine.journal import JournalEntry, step
from golem_nb.ledger import Ledger, Place
async def main():
    ledger = Ledger()
    book = ledger.begin("dead", sys.argv[1], "hoodi", Decimal("0.5"), Place("http://127.0.0.1:1"))
    async with step(book, "create_allocation", amount=1, platform="p") as outcome:
        outcome["allocation_id"] = "a"
    async with step(book, "create_agreement", proposal_id="p", provider_id="0x2") as outcome:
        outcome["agreement_id"] = "agreement"
    await book.intent(JournalEntry("confirm_agreement", {"agreement_id": "agreement"}))
    print(os.getpid(), flush=True)
    WHAT
asyncio.run(main())
"""


def die(what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DIE.replace("WHAT", what), NODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_process_has_left_what_it_had(ledger: Ledger) -> None:
    with die("import time; time.sleep(60)") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert ledger.left() == []
        process.kill()
    (left,) = ledger.left()
    assert (left.name, left.node_id, left.budget, left.place, left.process) == (
        "dead",
        NODE,
        Decimal("0.5"),
        PLACE,
        pid,
    )
    assert (left.allocations, left.agreements) == (("a",), ("agreement",))
    assert not left.suspended
    assert "1 agreement in force, 1 reservation of its budget; left when process" in str(left)
    assert ledger.left("0x" + "2" * 40) == []
    ledger.lock(left.session_id).release()


def test_a_process_whose_lock_was_deleted_is_alive(ledger: Ledger) -> None:
    with die("import time; time.sleep(60)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        shutil.rmtree(ledger.path.parent / "sessions")
        assert ledger.left() == []
        process.kill()
    assert len(ledger.left()) == 1


def test_a_fork_does_not_keep_its_parents_session_alive(ledger: Ledger) -> None:
    # both of them speak at the same moment: a line has to be one write
    fork = "import time; child = os.fork(); os.write(1, b'%d\\n' % child); time.sleep(60)"
    with die(fork) as process:
        assert process.stdout is not None
        process.stdout.readline()
        child = max(int(process.stdout.readline()), int(process.stdout.readline()))
        process.kill()
        process.wait()
        try:
            assert len(ledger.left()) == 1
        finally:
            os.kill(child, 9)


def test_a_process_that_is_stopped_is_alive(ledger: Ledger) -> None:
    with die("os.kill(os.getpid(), 19)") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        os.waitid(os.P_PID, pid, os.WSTOPPED)
        assert ledger.left() == []
        process.kill()


async def test_a_session_that_was_closed_is_over(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    await reserve(book)
    async with step(book, "release_allocation", allocation_id="a"):
        pass
    await book.close()
    assert ledger.left() == []
    assert ledger.select("SELECT count(*) FROM step") == [(0,)]
    assert list((ledger.path.parent / "sessions").iterdir()) == []


async def test_what_a_closed_session_could_not_release_is_found(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    await reserve(book)
    await book.close()
    (left,) = ledger.left()
    assert left.allocations == ("a",)
    # nothing goes on that it would be kept for
    assert not left.suspended
    assert str(left).endswith("1 reservation of its budget; left when it was stopped")


async def test_a_reservation_without_a_number_is_not_forgotten(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    await book.intent(JournalEntry("create_allocation", {"amount": "1", "platform": "p"}))
    await book.close()
    (left,) = ledger.left()
    assert left.uncertain == 1


# -- bad files ----------------------------------------------------------------------------------------------


def test_a_newer_ledger_is_left_alone(folder: Path) -> None:
    Ledger().close()
    with sqlite3.connect(folder / "ledger.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (folder / "ledger.sqlite3").read_bytes()
    with pytest.raises(LedgerVersionError, match=r"newer golem_nb .*pip install -U golem-nb"):
        Ledger()
    assert (folder / "ledger.sqlite3").read_bytes() == before


def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts, path = schema_module._SCRIPTS, folder / "ledger.sqlite3"
    for version in range(1, len(scripts)):
        with monkeypatch.context() as patch:
            patch.setattr(schema_module, "_SCRIPTS", scripts[:version])
            patch.setattr(schema_module, "VERSION", version)
            Ledger().close()
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "INSERT INTO service (id, session, class, agreement, activity, state) "
                "VALUES ('s', 'x', 'Web', 'g', 'a', 'running')"
            )
        Ledger().close()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(scripts),)
            rows = connection.execute("SELECT id, class, vpn, ip FROM service").fetchall()
        assert rows == [("s", "Web", None, None)]
        path.unlink()


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"SQLite format 3\x00" + b"\xff" * 9000])
def test_a_corrupt_ledger_is_kept_aside(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "ledger.sqlite3").write_bytes(content)
    with pytest.warns(LedgerWarning, match="cannot be read") as caught, Ledger() as ledger:
        assert ledger.left() == []
    (aside,) = folder.glob("ledger-unreadable-*.sqlite3")
    assert aside.read_bytes() == content
    assert aside.name in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ledger().close()


def test_another_programs_database_is_kept_aside(folder: Path) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / "ledger.sqlite3") as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")
    connection.close()
    with pytest.warns(LedgerWarning, match="another program's database"), Ledger():
        pass
    (aside,) = folder.glob("ledger-unreadable-*.sqlite3")
    with sqlite3.connect(aside) as connection:
        assert connection.execute("SELECT count(*) FROM recipe").fetchone() == (0,)
    connection.close()


def test_a_locked_ledger_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Ledger().close()
    monkeypatch.setattr(schema_module.connect, "__kwdefaults__", {"busy": 0.2})
    with sqlite3.connect(folder / "ledger.sqlite3", isolation_level=None) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerLockedError, match="locked by another program"):
            Ledger()
        connection.execute("ROLLBACK")
    connection.close()
    Ledger().close()


async def test_a_ledger_that_is_locked_in_use_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_module.connect, "__kwdefaults__", {"busy": 0.2})
    with Ledger() as ledger:
        book = ledger.begin("default", NODE, "hoodi", Decimal(1), PLACE)
        with sqlite3.connect(folder / "ledger.sqlite3", isolation_level=None) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerWriteError, match="close whatever else has it open for writing"):
                await reserve(book)
            connection.execute("ROLLBACK")
        connection.close()
        await reserve(book)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="GOLEM_NB_DATA_DIR"):
        Ledger(tmp_path / "file" / "ledger.sqlite3")


async def test_a_full_disk(ledger: Ledger, begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    book = begin()
    await reserve(book)
    # SQLite's own limit gives the error that a full disk gives
    (pages,) = ledger.writer._connection.execute("PRAGMA page_count").fetchone()
    ledger.writer._connection.execute(f"PRAGMA max_page_count = {pages}")

    async def fill() -> None:
        for _ in range(500):
            await book.intent(JournalEntry("create_activity", {"agreement_id": "x" * 1000}))

    with caplog.at_level(logging.WARNING):
        with pytest.raises(LedgerWriteError, match=r"cannot be written .*full.*nothing new is reserved"):
            await fill()
        assert book.problem is not None
        # what ends something is not kept waiting by a disk
        async with step(book, "release_allocation", allocation_id="a"):
            pass
        await book.finished("job", [FinishedItem(0, stdout="y" * 10_000)])
    # once each time that it begins: a small entry may still have found room in between
    assert 1 <= sum("cannot be written" in record.message for record in caplog.records) <= 2
    ledger.writer._connection.execute("PRAGMA max_page_count = 1000000")
    async with step(book, "create_activity", agreement_id="x") as outcome:
        outcome["activity_id"] = "activity"
    assert book.problem is None
    assert ledger.select("SELECT released IS NOT NULL FROM allocation") == [(1,)]
    assert len(ledger.items("job")) == 1


async def test_a_closed_ledger_says_so(folder: Path) -> None:
    ledger = Ledger()
    book = ledger.begin("default", NODE, "hoodi", Decimal(1), PLACE)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="was closed"):
        await book.intent(JournalEntry("create_allocation", {}))


# -- a file that is taken away -------------------------------------------------------------------------------


def delete_file(ledger: Ledger) -> None:
    ledger.path.unlink()


def delete_all(ledger: Ledger) -> None:
    shutil.rmtree(ledger.path.parent)


def set_aside(ledger: Ledger) -> None:
    for path in ledger.path.parent.glob("ledger.sqlite3*"):
        path.rename(path.with_name(f"old-{path.name}"))


@pytest.mark.parametrize("take_away", [delete_file, delete_all, set_aside])
async def test_a_ledger_that_is_deleted_in_use_is_written_again(
    ledger: Ledger, begin: Begin, take_away: Callable[[Ledger], None], caplog: pytest.LogCaptureFixture
) -> None:
    past = begin("past")
    await past.finished("job", [FinishedItem(0, stdout="earlier")])
    await past.close()
    book = begin()
    await reserve(book)
    assert ledger.left() == []
    take_away(ledger)
    await reserve(book, "b")
    (warning,) = (record.message for record in caplog.records)
    assert str(ledger.path) in warning
    assert "deleted or replaced" in warning
    assert elsewhere(ledger, "SELECT id FROM allocation ORDER BY id") == [("a",), ("b",)]
    assert elsewhere(ledger, "SELECT name FROM session ORDER BY name") == [("default",), ("past",)]
    assert ledger.items("job")[0].stdout == "earlier"
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
    # what comes then is there as well, also for whoever opens the file next
    await reserve(book, "c")
    with Ledger() as another:
        assert another.left() == []  # its session is alive, for others too
        assert another.select("SELECT count(*) FROM allocation") == [(3,)]
        with pytest.raises(LedgerLockedError):
            another.lock(book.session_id)
    await book.close()
    assert elsewhere(ledger, "SELECT count(*) FROM session WHERE ended IS NULL") == [(0,)]
    assert elsewhere(ledger, "PRAGMA integrity_check") == [("ok",)]
    assert len(caplog.records) == 1


def test_what_a_killed_process_wrote_into_a_deleted_ledger_is_found(folder: Path) -> None:
    Ledger().close()
    after = "input(); await book.intent(JournalEntry('release_allocation', {})); print(flush=True); input()"
    with die(after) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        shutil.rmtree(folder)
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        process.kill()
    with Ledger() as ledger:
        (left,) = ledger.left()
        assert (left.name, left.allocations, left.agreements) == ("dead", ("a",), ("agreement",))


async def test_a_ledger_that_is_replaced_has_what_both_knew(
    ledger: Ledger, begin: Begin, tmp_path: Path
) -> None:
    """As by putting a copy of an earlier day back."""
    book = begin()
    await reserve(book)
    await book.finished("ours", [FinishedItem(1)])
    copy = tmp_path / "copy"
    with contextlib.closing(sqlite3.connect(copy)) as to:
        ledger.writer._connection.backup(to)
        with to:
            to.execute(
                "INSERT INTO item (session, job, place, at, files) VALUES ('x', 'theirs', 7, '', '{}')"
            )
    async with step(book, "release_allocation", allocation_id="a"):
        pass
    copy.replace(ledger.path)  # beside it is what belongs to the other one
    await reserve(book, "b")
    rows = [("a", 1), ("b", 0)]
    assert elsewhere(ledger, "SELECT id, released IS NOT NULL FROM allocation ORDER BY id") == rows
    assert list(ledger.items("theirs")) == [7]
    assert list(ledger.items("ours")) == [1]
    assert elsewhere(ledger, "PRAGMA integrity_check") == [("ok",)]


async def test_another_process_is_the_first_to_miss_a_ledger(ledger: Ledger, begin: Begin) -> None:
    book = begin()
    await reserve(book)
    ledger.path.unlink()
    subprocess.run([sys.executable, "-W", "error", "-c", WRITE, "theirs"], check=True)
    await reserve(book, "b")
    assert elsewhere(ledger, "SELECT name, ended IS NULL FROM session ORDER BY name") == [
        ("default", 1),
        ("theirs", 0),
    ]
    assert elsewhere(ledger, "SELECT id FROM allocation ORDER BY id") == [("a",), ("b",)]
    assert len(ledger.items("job")) == 100
    assert elsewhere(ledger, "PRAGMA integrity_check") == [("ok",)]


async def test_sessions_side_by_side_follow_each_other(folder: Path) -> None:
    with Ledger() as one, Ledger() as two:
        first = one.begin("one", NODE, "hoodi", Decimal(1), PLACE)
        second = two.begin("two", NODE, "hoodi", Decimal(1), PLACE)
        shutil.rmtree(folder)
        for number in range(3):
            await reserve(first, f"first {number}")
            await reserve(second, f"second {number}")
        async with step(first, "release_allocation", allocation_id="first 0"):
            pass
        await second.close()
        await first.close()
    with Ledger() as ledger:
        assert ledger.select("SELECT count(*), count(released) FROM allocation") == [(6, 1)]
        assert ledger.select("SELECT count(ended) FROM session") == [(2,)]


async def test_a_deleted_ledger_that_cannot_be_written_again(
    ledger: Ledger, begin: Begin, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = begin()
    await reserve(book)
    shutil.rmtree(folder)
    folder.write_text("in its way")
    with pytest.raises(LedgerWriteError, match="cannot be written"):
        await reserve(book, "b")
    async with step(book, "release_allocation", allocation_id="a"):
        pass
    assert book.problem is not None
    folder.unlink()
    await reserve(book, "c")
    assert book.problem is None
    rows = [("a", 1), ("c", 0)]
    assert elsewhere(ledger, "SELECT id, released IS NOT NULL FROM allocation ORDER BY id") == rows


# -- several processes --------------------------------------------------------------------------------------

WRITE = """
import asyncio, sys
from decimal import Decimal
from golem_nb.ledger import FinishedItem, Ledger, Place
async def main():
    with Ledger() as ledger:
        book = ledger.begin(sys.argv[1], "0x1", "hoodi", Decimal(1), Place("http://127.0.0.1:1"))
        for index in range(100):
            await book.finished("job", [FinishedItem(index)])
        await book.close()
asyncio.run(main())
"""


def test_several_processes_write_at_once(folder: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(number)]) for number in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    with Ledger() as ledger:
        assert ledger.select("SELECT count(*) FROM item") == [(400,)]
        assert ledger.left() == []
