"""A session where there is no notebook: in IPython, and in Python, in a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

#: What a provider would like the terminal to do: another title, a colour, a cleared screen, other order.
HOSTILE = r"\033]0;hacked\007\033[31mred\033[2J\342\200\256gnp"

PROGRAM = f"""
from golem_nb import Session, vm
session = Session(budget=1, network="hoodi", name="plain")
alpine = vm.repo(image_tag="golem/alpine:latest")
job = session.run(r"sleep 1; printf '{HOSTILE}'; test {{}} -ne 3", range(4), payload=alpine, max_tries=1)
print("ended:", job.wait(60))
"""


class Console:
    """A program in a terminal of 100 columns."""

    def __init__(self, *command: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self.shown = ""

    def type(self, line: str) -> None:
        os.write(self._ours, line.encode() + b"\n")

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Read until a pattern was written; return all that was, since the last time."""
        deadline = time.monotonic() + seconds
        read = ""
        while not re.search(pattern, read):
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"{pattern!r} was not written within {seconds} s, but {read!r}")
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # the program has ended
                break
            read += piece.decode("utf-8", "replace")
        self.shown += read
        return read

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def script(on_network: LocalNetwork, data_dir: Path, tmp_path: Path) -> Path:
    """The program, and a terminal's environment that leads to the network."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def ipython(tmp_path: Path, script: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """IPython, which has run the program."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    options = ("--no-banner", "--simple-prompt", "--no-confirm-exit", "--colors=NoColor", "--no-term-title")
    console = Console("-m", "IPython", *options, "-i", str(script))
    yield console
    console.close()


def harmless(text: str) -> bool:
    """Whether all that is written to a terminal is text, and the few sequences that are ours."""
    ours = re.sub(r"\x1b\[K|\x1b\[\?2004[hl]", "", text)
    return not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", ours)


def test_a_running_job_is_a_bar_of_characters_in_ipython(ipython: Console) -> None:
    shown = ipython.until(r"ended: True[\s\S]*In \[1\]: ", 120)
    assert re.search(r"\rrun 1 [█x▒·]{24} +\d+ %  \d of 4 done", shown)
    # it goes when the waiting is over
    assert re.search(r"\r\x1b\[Kended: True", shown)
    ipython.type("job")
    assert "run 1 failed: 3 of 4 done, 1 failed" in ipython.until(r"In \[2\]: ")
    for number, line in enumerate(
        (
            "job.result()",
            "job.items[3]",
            "print(job.items[3].error)",
            "job.show()",
            "print(job.errors)",
            "print(job.frame.to_string())",
            "print(session.events)",
            "session",
        ),
        3,
    ):
        ipython.type(line)
        ipython.until(rf"In \[{number}\]: ")
    assert "]0;hacked" in ipython.shown
    assert harmless(ipython.shown), repr(ipython.shown)
    ipython.type("session.stop()")
    ipython.until(r"In \[\d+\]: ")
    ipython.type("exit")
    ipython.until("never", 60)
    assert ipython.process.wait(30) == 0


def test_a_program_shows_it_in_a_terminal_and_nothing_in_a_pipe(script: Path) -> None:
    script.write_text(PROGRAM + "print(job)\nsession.stop()\n")
    console = Console(str(script))
    shown = console.until("never", 120)
    assert console.process.wait(30) == 0
    console.close()
    assert re.search(r"\rrun 1 [█x▒·]{24} +\d+ %  \d of 4 done", shown)
    assert "run 1 failed: 3 of 4 done, 1 failed" in shown
    assert harmless(shown), repr(shown)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True
    )
    assert "%  " not in done.stdout + done.stderr
    assert done.stdout.startswith("ended: True\nrun 1 failed: ")
