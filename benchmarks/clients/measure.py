"""What a client measures of itself."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any


def cpu(children: bool = False) -> float:
    """Seconds of processor time of this process so far, or of its ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_memory() -> float:
    """Most memory that this process has held at once, MiB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


class Clock:
    """Notes moments, each with the processor time used up to it."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[float, float]] = {}

    def mark(self, name: str) -> None:
        """Note this moment; a second mark of the same name replaces the first."""
        self._marks[name] = (time.perf_counter(), cpu())

    def mark_once(self, name: str) -> None:
        """Note this moment, unless it was noted before."""
        if name not in self._marks:
            self.mark(name)

    def seconds(self, start: str, end: str) -> float:
        """Time between two moments."""
        return self._marks[end][0] - self._marks[start][0]

    def cpu(self, start: str, end: str) -> float:
        """Seconds of processor time between two moments."""
        return self._marks[end][1] - self._marks[start][1]


def report(**values: Any) -> None:
    """Print what was measured, with what holds for the whole process, as one line of JSON; the last act."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    values |= {
        "cpu_s": cpu(),
        "children_cpu_s": cpu(children=True),
        "memory_mib": peak_memory(),
        "children_memory_mib": children.ru_maxrss / 1024,
    }
    print(json.dumps(values))
    sys.stdout.flush()
