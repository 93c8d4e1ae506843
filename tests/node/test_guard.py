"""The guard with small programs in place of a daemon: how they end is what matters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from golem_nb.node import guard

OBEDIENT = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


class Guarded:
    def __init__(self, folder: Path, program: str, grace: float = 5, remove: str = "") -> None:
        self.log = folder / "log"
        command = [sys.executable, "-S", "-E", guard.__file__, str(os.getpid()), str(grace)]
        self.process = subprocess.Popen(
            [*command, str(self.log), "", remove, "--", sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        wait_until(lambda: self.log.exists() and "up" in self.log.read_text())
        (self.program,) = psutil.Process(self.process.pid).children()


def wait_until(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    started: list[Guarded] = []

    def go(program: str, **options: object) -> Guarded:
        started.append(Guarded(tmp_path, program, **options))  # type: ignore[arg-type]
        return started[-1]

    yield go
    for one in started:
        one.process.stdin.close()
        one.process.kill()
        one.process.wait()


def test_the_end_of_the_pipe_ends_the_program(start: object, tmp_path: Path) -> None:
    (tmp_path / "socket").touch()
    (tmp_path / "folder").mkdir()
    guarded = start(OBEDIENT, remove=f"{tmp_path}/socket:{tmp_path}/folder:{tmp_path}/absent")
    guarded.process.stdin.close()
    assert guarded.process.wait(10) == 128 + signal.SIGTERM
    assert not guarded.program.is_running()
    assert not (tmp_path / "socket").exists()
    assert not (tmp_path / "folder").exists()


def test_a_program_that_does_not_listen_is_killed(start: object) -> None:
    guarded = start(DEAF, grace=0.3)
    guarded.process.stdin.close()
    assert guarded.process.wait(10) == 128 + signal.SIGKILL


def test_the_program_s_exit_code_is_the_guard_s(start: object) -> None:
    guarded = start("print('up', flush=True); import time; time.sleep(0.5); raise SystemExit(7)")
    assert guarded.process.wait(10) == 7


def test_a_killed_guard_takes_the_program_with_it(start: object) -> None:
    guarded = start(DEAF)
    guarded.process.kill()
    wait_until(lambda: not guarded.program.is_running() or guarded.program.status() == "zombie")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_the_program(start: object, number: int) -> None:
    guarded = start(OBEDIENT)
    guarded.process.send_signal(number)
    guarded.process.wait(10)
    assert not guarded.program.is_running()


def test_the_owner_s_death_is_noticed_although_a_fork_of_it_holds_the_pipe(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"""
import os, subprocess, sys, time
command = [sys.executable, "-S", "-E", {guard.__file__!r}, str(os.getpid()), "5", {str(log)!r}, "", "", "--"]
program = [sys.executable, "-c", {OBEDIENT!r}]
guard = subprocess.Popen([*command, *program], stdin=subprocess.PIPE, start_new_session=True)
forked = os.fork()
if not forked:
    time.sleep(600)
print(guard.pid, forked, flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    guard_pid, forked = map(int, owner.stdout.readline().split())
    try:
        wait_until(lambda: log.exists() and "up" in log.read_text())
        processes = [psutil.Process(guard_pid), *psutil.Process(guard_pid).children()]
        assert len(processes) == 2
        owner.kill()
        owner.wait()
        wait_until(lambda: not any(one.is_running() for one in processes))
        assert psutil.pid_exists(forked)
    finally:
        owner.stdout.close()
        os.kill(forked, signal.SIGKILL)


def test_an_owner_that_is_gone_already(tmp_path: Path) -> None:
    process = subprocess.run(
        [
            sys.executable,
            "-S",
            "-E",
            guard.__file__,
            "1",
            "5",
            str(tmp_path / "log"),
            "",
            "",
            "--",
            "/bin/echo",
        ],
        stdin=subprocess.DEVNULL,
        timeout=10,
        check=False,
    )
    assert process.returncode == 0
    assert not (tmp_path / "log").exists()
