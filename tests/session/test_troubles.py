"""What goes wrong outside of a session: its ledger, its daemon."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from golem_nb import Session
from golem_nb.ledger import Ledger, LedgerVersionError, LedgerWarning, LedgerWriteError, RecoveryReport
from golem_nb.localnet import LocalNetwork, state_of
from golem_nb.rest.errors import DaemonUnreachableError
from tests.waiting import soon


def ledger_file(data_dir: Path) -> Path:
    return data_dir / "ledger" / "ledger.sqlite3"


def test_a_newer_ledger_is_left_alone(network: LocalNetwork, data_dir: Path) -> None:
    Session(budget=1, network=network, name="older").stop()
    with sqlite3.connect(ledger_file(data_dir)) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = ledger_file(data_dir).read_bytes()
    with pytest.raises(LedgerVersionError, match="newer"):
        Session(budget=1, network=network, name="newer ledger")
    assert ledger_file(data_dir).read_bytes() == before
    assert Session.find("newer ledger") is None


def test_a_corrupt_ledger_is_put_aside(network: LocalNetwork, data_dir: Path, alpine: Any) -> None:
    ledger_file(data_dir).parent.mkdir(parents=True)
    ledger_file(data_dir).write_bytes(b"this was a ledger once" * 1000)
    with pytest.warns(LedgerWarning):
        session = Session(budget=1, network=network, name="corrupt ledger")
    assert session.run("echo {}", ["a"], payload=alpine).result(60) == ["a\n"]
    session.stop()
    files = (path for path in ledger_file(data_dir).parent.iterdir() if path.is_file())
    aside = [path for path in files if b"once" in path.read_bytes()[:100]]
    assert len(aside) == 1


def test_who_finds_no_provider_is_told_why(network: LocalNetwork, data_dir: Path, alpine: Any) -> None:
    with Session(budget=1, network=network, name="too dear", max_price="0.0000001") as session:
        job = session.run("echo", payload=alpine)
        assert soon(lambda: bool(session.warnings), 40)
        (warning,) = session.warnings
        assert "No provider was found in 20 s" in warning
        assert "we said 'Score too low'" in warning
        assert "session.offers(payload)" in warning
        assert not job.ended


def test_finished_items_are_remembered_by_later_sessions(
    network: LocalNetwork, data_dir: Path, alpine: Any
) -> None:
    session = Session(budget=1, network=network, name="memory")
    job = session.run("echo {}", ["a", "b"], payload=alpine)
    job.result(60)
    mapped = session.map(lambda number: (number, {"square": number**2}), [2, 3])
    mapped.result(60)
    session.stop()
    later = Session(budget=1, network=network, name="memory")
    assert later.remembered(job.id) == {0: "a\n", 1: "b\n"}
    assert later.remembered(mapped.id) == {0: (2, {"square": 4}), 1: (3, {"square": 9})}
    assert later.remembered("no such job") == {}
    assert later.remembered(job.id, name="another") == {}
    later.stop()


def test_a_full_disk_is_said(network: LocalNetwork, data_dir: Path, alpine: Any) -> None:
    """What runs goes on, what is new is refused, and the user hears of it, at the end, too."""
    session = Session(budget=1, network=network, name="no room")
    # SQLite's own limit gives the error that a full disk gives
    connection = session._core.ledger.writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    job = session.run(
        "head -c 20000 /dev/zero | tr '\\0' x; sleep {}", [0] * 20, payload=alpine, max_workers=1
    )
    assert soon(lambda: job.progress.running)
    connection.execute(f"PRAGMA max_page_count = {pages + 10}")
    assert [len(value) for value in job.result(60)] == [20000] * 20
    assert soon(lambda: bool(session.warnings))
    (warning,) = session.warnings
    assert "cannot be written (database or disk is full), so nothing new is reserved" in warning
    with pytest.raises(LedgerWriteError, match="make room on its disk"):
        session.run("true", payload=alpine).result(60)
    assert session.stop().accepted > 0
    assert "was closed without its last" in session.warnings[-1]


def test_a_ledger_that_is_deleted_under_a_session(
    network: LocalNetwork, data_dir: Path, alpine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session(budget=1, network=network, name="deleted ledger")
    before = session.run("echo {}", ["a"], payload=alpine)
    before.result(60)
    # at once: the session may be writing, and puts its file there again while the folder is being emptied
    shutil.rmtree(ledger_file(data_dir).parent.rename(data_dir / "deleted"))
    after = session.run("echo {}", ["b"], payload=alpine)
    after.result(60)
    assert sum("was deleted or replaced while it was in use" in line for line in caplog.messages) == 1
    assert session.remembered(before.id) == {0: "a\n"}
    bill = session.stop()
    later = Session(budget=1, network=network, name="deleted ledger")
    assert [later.remembered(job.id) for job in (before, after)] == [{0: "a\n"}, {0: "b\n"}]
    assert later.history().costs["accepted"].sum() == pytest.approx(float(bill.accepted))
    assert later.left == []
    later.stop()


@pytest.mark.localnet
def test_a_daemon_that_dies_is_said_and_nothing_is_lost(data_dir: Path, alpine: Any) -> None:
    with LocalNetwork(providers=1) as network:
        session = Session(budget=1, network=network, name="no daemon any more")
        job = session.run("echo {}; sleep {}", ["0", "60"], payload=alpine)
        next(iter(job))
        guard = asyncio.run(network.status())["processes"]["requestor"]
        os.kill(guard, signal.SIGKILL)
        with pytest.raises(DaemonUnreachableError, match="no Golem daemon can be reached"):
            job.result(60)
        assert job.values == ["0\n", None]
        with pytest.raises(DaemonUnreachableError):
            session.offers()
        started = time.monotonic()
        bill = session.stop()
        assert time.monotonic() - started < 40
        assert "unpaid" in str(bill)
        assert "1 GLM released" not in str(bill)
        assert "could not be released" in str(bill)
    with Ledger() as ledger:  # it still knows what is open
        (left,) = ledger.left()
    assert left.name == "no daemon any more"
    assert left.agreements
    assert len(left.allocations) == 1
    assert not left.suspended


@pytest.mark.localnet
def test_what_a_silent_daemon_has_kept_is_recovered(
    data_dir: Path, alpine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next session ends the agreement that the last one could not end, pays it, and frees the budget."""
    monkeypatch.setattr("golem_nb.engine.engine.SILENCE", 1.0)
    with LocalNetwork(providers=1) as network:
        session = Session(budget=1, network=network, name="without an answer")
        job = session.run("echo {}; sleep {}", ["0", "60"], payload=alpine, max_workers=1)
        next(iter(job))
        guard = asyncio.run(network.status())["processes"]["requestor"]
        (daemon,) = map(int, Path(f"/proc/{guard}/task/{guard}/children").read_text().split())
        os.kill(daemon, signal.SIGSTOP)
        try:
            bill = session.stop()
        finally:
            os.kill(daemon, signal.SIGCONT)
        assert "reserved until" in str(bill)
        later = Session(budget=1, network=network, name="with one")
        (text,) = later.left
        assert "1 agreement in force, 1 activity running, 1 reservation of its budget" in text
        assert text.endswith("left when it was stopped")
        report = later.recover()
        assert (len(report.ended), len(report.paid), len(report.released)) == (1, 1, 1)
        assert later.left == []
        assert later.stop().released == 1


FORK = """
import os, sys
from golem_nb import Session, vm
session = Session(budget=1, providers=1, name="forked")
child = os.fork()
if not child:
    sys.exit(0 if Session.find("forked") is None else 5)
print("the child has ended with", os.waitpid(child, 0)[1])
print(session.run("echo on it goes", payload=vm.repo(image_tag="golem/alpine:latest")).result(60))
session.stop()
"""


@pytest.mark.localnet
def test_a_forked_child_ends_and_its_parents_session_goes_on(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORK], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert said == "the child has ended with 0\n['on it goes\\n']\n"


IDLE = """
import os, sys
from golem_nb import Session, vm
session = Session(budget=1, providers=1, name="killed")
if sys.argv[1] == "at work":
    job = session.run("sleep 100", payload=vm.repo(image_tag="golem/alpine:latest"))
    while not job.progress.running: pass
os.kill(os.getpid(), 9)
"""


@pytest.mark.localnet
def test_an_idle_session_that_was_killed_leaves_nothing(network: LocalNetwork, data_dir: Path) -> None:
    """Its reservation was on a network that has ended with it: there is nothing to recover."""
    subprocess.run([sys.executable, "-c", IDLE, "idle"], check=False)
    session = Session(budget=1, network=network, name="after an idle one")
    assert session.recover().problems == []
    assert session.left == []
    session.stop()


@pytest.mark.localnet
def test_what_is_gone_with_its_network_is_said_once(network: LocalNetwork, data_dir: Path) -> None:
    subprocess.run([sys.executable, "-c", IDLE, "at work"], check=False)
    session = Session(budget=1, network=network, name="after a lost network")
    (folder,) = (data_dir / "localnet").iterdir()
    deadline = time.monotonic() + 40
    while state_of(folder.name) != "kept" and time.monotonic() < deadline:
        time.sleep(0.2)
    shutil.rmtree(folder)
    assert len(session.left) == 1
    (problem,) = session.recover().problems
    assert "is gone, and with it session 'killed'" in problem
    assert session.left == []
    assert session.recover() == RecoveryReport()
    session.stop()
    with Ledger() as ledger:
        assert ledger.select("SELECT reason FROM agreement") == [("The daemon is gone",)]
