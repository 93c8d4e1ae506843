"""Runs `golem-nb` as a user does, and looks at what it leaves on the machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

VARIABLES = ("YAGNA_APPKEY", "YAGNA_API_URL", "YAGNA_SUBNET", "YAGNA_PAYMENT_NETWORK", "GOLEM_REGISTRY_URL")


class Machine:
    """The processes, sockets and ports of the networks below one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.processes: set[psutil.Process] = set()
        self.ports: set[int] = set()

    def look(self) -> Machine:
        """Take note of what there is now."""
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("GOLEM_NB_DATA_DIR") == str(self.data) or any(
                    str(self.data) in argument for argument in process.cmdline()
                )
            except psutil.Error:
                continue
            if ours and process.pid != os.getpid():
                family = [process]
                with contextlib.suppress(psutil.Error):
                    family += process.children(recursive=True)
                for one in family:
                    self.processes.add(one)
                    with contextlib.suppress(psutil.Error):
                        self.ports |= {
                            connection.laddr.port
                            for connection in one.net_connections("tcp")
                            if connection.status == psutil.CONN_LISTEN
                        }
        return self

    def left(self) -> list[str]:
        """What is still there."""
        left = [
            repr(process)
            for process in self.processes
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]
        for port in self.ports:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    left.append(f"port {port}")
        sockets = Path("/proc/net/unix").read_text().split()
        left += [name for name in sockets if str(self.data) in name]
        return left

    def is_clean(self, seconds: float = 0.0) -> bool:
        """Whether nothing is left, within some time."""
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            left = self.left()
            if not left:
                return True
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own, and no daemon in the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "data"


@pytest.fixture
def machine(data: Path) -> Iterator[Machine]:
    """What is left on the machine; all of it is ended when the test has failed to."""
    machine = Machine(data)
    yield machine
    for process in machine.look().processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(data: Path, tmp_path: Path) -> Iterator[Start]:
    """Start `golem-nb` with some arguments, as the head of a process group."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "golem_nb", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def golem_nb(start: Start) -> Callable[..., Any]:
    """Run `golem-nb` to its end; gives status, output and errors."""

    def run(*arguments: str, status: int = 0) -> tuple[str, str]:
        process = start(*arguments)
        output, errors = process.communicate(timeout=180)
        assert process.returncode == status, (output, errors)
        assert "Traceback" not in errors
        return output, errors

    return run
