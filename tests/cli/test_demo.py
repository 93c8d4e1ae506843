"""`golem-nb demo`: the main job, and what is left when it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from golem_nb.localnet import kept

pytestmark = pytest.mark.localnet


def test_json(golem_nb: Any, machine: Any, tmp_path: Path) -> None:
    started = time.monotonic()
    output, errors = golem_nb("demo", "--json", "--folder", str(tmp_path / "frames"))
    took = time.monotonic() - started
    assert machine.is_clean()
    assert errors == ""
    (line,) = output.splitlines()
    summary = json.loads(line)
    assert summary["tasks"] == summary["tasks_done"] == 12
    assert summary["providers_used"] == 3
    assert summary["agreements"] == summary["agreements_ended"] == summary["invoices_accepted"] >= 3
    assert Decimal(0) < Decimal(summary["cost"]) < Decimal(summary["budget"]) == 1
    assert summary["allocation_released"] is True
    assert 0 < summary["seconds_to_first_result"] < summary["seconds"] < took
    # 20 s where nothing else runs
    assert summary["seconds"] < 20 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    for name in summary["files"]:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert len(summary["files"]) == 12
    assert not list(machine.data.rglob("*.sock"))


def test_as_text(golem_nb: Any, machine: Any, tmp_path: Path) -> None:
    output, errors = golem_nb("demo", "--providers", "2")
    assert machine.is_clean()
    assert errors == ""
    assert "A network of 2 providers is up after " in output
    assert "The bill" in output
    assert "accepted, GLM" in output
    assert "paid" not in output  # what is accepted is paid later, at the daemon's next round
    assert "amber" in output
    assert "birch" in output
    text = " ".join(output.split())
    assert "12 of 12 frames are in golem-demo. 2 of 2 agreements ended, 2 invoices accepted, " in text
    assert "the rest released" in text
    assert max(map(len, output.splitlines())) <= 80
    assert len(list((tmp_path / "golem-demo").glob("*.png"))) == 12


def test_where_only_ascii_can_be_written(
    golem_nb: Any, machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    output, errors = golem_nb("demo", "--providers", "1", "--folder", str(tmp_path / "bil\u0142d"))
    assert errors == ""
    assert "12 of 12 frames are in" in " ".join(output.split())
    assert "bil?d" in output
    assert output.isascii()


def wait_for_work(process: Any, folder: Path) -> None:
    """Wait for the first frame."""
    deadline = time.monotonic() + 40
    while not list(folder.glob("*.png")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("moment", ["start", "work"])
def test_control_c(start: Any, machine: Any, tmp_path: Path, moment: str) -> None:
    process = start("demo", "--folder", str(tmp_path / "frames"))
    if moment == "work":
        wait_for_work(process, tmp_path / "frames")
    else:
        while len(machine.look().processes) < 4:
            time.sleep(0.02)
    machine.look()
    assert machine.ports or moment == "start"
    # what a terminal does: everything in the foreground gets it
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "golem-nb: interrupted; everything that was started ends with it"
    assert "Traceback" not in errors
    assert machine.is_clean(seconds=15 if moment == "start" else 0)
    if moment == "work":
        # ended in order: nothing is unsettled
        assert kept() == []


def test_termination_is_as_orderly(start: Any, machine: Any, tmp_path: Path) -> None:
    process = start("demo", "--json", "--folder", str(tmp_path / "frames"))
    wait_for_work(process, tmp_path / "frames")
    machine.look()
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert machine.is_clean(seconds=0)
    assert kept() == []


def test_who_does_not_wait_for_an_orderly_end_leaves_nothing_running(
    start: Any, machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # where it is measured, what measures it would be interrupted, too, and say so
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    process = start("demo", "--json", "--folder", str(tmp_path / "frames"))
    wait_for_work(process, tmp_path / "frames")
    machine.look()
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    assert "Traceback" not in process.communicate()[1]
    assert machine.is_clean(seconds=20)


@pytest.mark.parametrize("moment", ["start", "work"])
def test_kill(start: Any, machine: Any, tmp_path: Path, moment: str) -> None:
    process = start("demo", "--json", "--folder", str(tmp_path / "frames"))
    if moment == "work":
        wait_for_work(process, tmp_path / "frames")
    else:
        while len(machine.look().processes) < 4:
            time.sleep(0.02)
    machine.look()
    process.kill()
    process.wait()
    assert machine.is_clean(seconds=20)


def test_a_folder_that_cannot_be_made(golem_nb: Any, machine: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, why in ((tmp_path / "file" / "below", "Not a directory"), (tmp_path / "file", "File exists")):
        output, errors = golem_nb("demo", "--folder", str(folder), status=1)
        assert output == ""
        assert errors == (
            f"golem-nb: the results cannot go to {folder} ({why}): "
            "name a folder that can be made, --folder DIR\n"
        )
    assert machine.is_clean()
