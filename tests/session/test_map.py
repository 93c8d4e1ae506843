"""Python functions on the local network."""

from __future__ import annotations

import json
import pickle
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from golem_nb import Session, vm
from golem_nb.session.errors import (
    ItemsFailedError,
    NotPicklableError,
    RemoteError,
    RemotePythonError,
    ResultError,
)
from golem_nb.session.item import Item, Outcome
from golem_nb.session.mapping import MapWork, _records

# functions here go out by value, as those of a notebook: no provider has this file


def square(number: int) -> int:
    return number * number


def statistics_of(values: Any) -> tuple[Any, dict[str, Any]]:
    import numpy

    print("working on", len(values))
    return numpy.sort(values), {"mean": numpy.mean(values), "n": len(values)}


def troublesome(number: int) -> Any:
    match number:
        case 1:
            raise ValueError("one is too few")
        case 2:
            import no_such_package  # noqa: F401
        case 3:
            return threading.current_thread()
        case 4:
            import os

            os._exit(9)
        case 5:
            return b"x" * 100_000
        case 6:
            raise SystemExit("enough")
    return number


class Point:
    """A class of the user's own."""

    def __init__(self, x: int) -> None:
        self.x = x


def moved(point: Point) -> Point:
    return Point(point.x + 1)


def test_a_function_is_called_of_each_item(session: Session) -> None:
    job = session.map(square, range(50))
    assert job.result(90) == [number * number for number in range(50)]
    assert job.kind == "map"


def test_arrays_and_tuples_come_back_as_they_are(session: Session) -> None:
    job = session.map(statistics_of, [np.array([3.0, 1.0, 2.0]), np.arange(4)])
    (ordered, facts), _ = job.result(90)
    assert ordered.tolist() == [1.0, 2.0, 3.0]
    assert type(facts["mean"]) is np.float64
    assert facts == {"mean": 2.0, "n": 3}
    assert job[0].stdout == "working on 3\n"


def test_a_lambda_with_what_it_has_captured(session: Session) -> None:
    factor = 3
    assert session.map(lambda number: number * factor, [1, 2]).result(90) == [3, 6]


def test_each_trouble_is_told_apart_and_harms_no_other_item(session: Session) -> None:
    job = session.map(troublesome, range(8), max_tries=1, max_workers=2, max_result=50_000)
    with pytest.raises(ItemsFailedError):
        job.result(120)
    assert job.values == [0, None, None, None, None, None, None, 7]
    raised, package, result, died, size, left = (job.errors[number] for number in range(1, 7))
    assert isinstance(raised, RemoteError)
    assert str(raised) == "ValueError: one is too few"
    assert "in troublesome" in raised.remote_traceback
    assert isinstance(package, RemotePythonError)
    assert "'no_such_package'" in str(package)
    assert isinstance(result, ResultError)
    assert "trust_results=True" in str(result)
    assert isinstance(died, RemotePythonError)
    assert "exit code 9" in str(died)
    assert isinstance(size, ResultError)
    assert "100000 bytes, more than the limit of 50000" in str(size)
    assert str(left) == "SystemExit: enough"


def test_results_of_other_types_are_unpickled_only_where_that_is_asked_for(session: Session) -> None:
    job = session.map(moved, [Point(1)], max_tries=1)
    with pytest.raises(ItemsFailedError, match="cannot be sent back safely"):
        job.result(90)
    (point,) = session.map(moved, [Point(1)], trust_results=True).result(90)
    assert point.x == 2


def test_an_image_without_python_says_so(session: Session, tmp_path: Path, network: Any) -> None:
    import asyncio

    for name in ("bin", "lib", "lib64", "usr"):
        if Path("/", name).is_symlink():
            (tmp_path / name).symlink_to(Path("/", name).readlink())
    (tmp_path / "usr").mkdir()
    for name in ("bin", "lib", "lib64"):
        (tmp_path / "usr" / name).mkdir()
    import shutil
    import subprocess

    shell = Path("/bin/sh").resolve()
    shutil.copy(shell, tmp_path / "usr" / "bin" / "sh")
    for line in subprocess.run(
        ["ldd", str(shell)], capture_output=True, text=True, check=True
    ).stdout.split():
        if line.startswith("/"):
            target = tmp_path / "usr" / Path(line).resolve().relative_to("/usr")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(line, target)
            link = tmp_path / line.lstrip("/")
            if not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(line, link)
    asyncio.run(network.add_image("test/no-python:latest", tmp_path))
    job = session.map(square, [1], payload=vm.repo(image_tag="test/no-python:latest"), max_tries=1)
    with pytest.raises(ItemsFailedError, match="has no Python"):
        job.result(90)


def test_what_cannot_be_sent_is_said_at_once(session: Session) -> None:
    before = list(session.jobs)
    lock = threading.Lock()
    with pytest.raises(NotPicklableError, match="locks"):
        session.map(lambda number: lock, [1])
    with pytest.raises(NotPicklableError, match="Item 1"):
        session.map(square, [1, threading.Lock()])
    with pytest.raises(NotPicklableError):
        session.map(lambda number: session, [1])
    with pytest.raises(TypeError, match="must be a function"):
        session.map(7, [1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean 'trust_results'"):
        session.map(square, [1], trust_result=True)  # type: ignore[call-arg]

    async def coroutine(_: int) -> None: ...

    with pytest.raises(TypeError, match="plain function"):
        session.map(coroutine, [1])
    assert list(session.jobs) == before


# -- what a provider may send ------------------------------------------------------------


def record(header: dict[str, Any], payload: bytes = b"") -> bytes:
    head = json.dumps({"size": len(payload), **header}).encode()
    return struct.pack(">I", len(head)) + head + payload


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (sys.exit, ("it was unpickled",))


def outcome(header: dict[str, Any], payload: bytes = b"", *, trusted: bool = False) -> Outcome | Exception:
    from collections import Counter

    from golem_nb.executor import Task

    work = MapWork(square, trusted=trusted, limit=1000)
    item = Item(0, 1, Task(1), Counter(waiting=1))
    return work.outcome(item, header, payload)


def test_a_pickle_that_nobody_has_asked_for_is_not_read() -> None:
    answer = outcome({"encoding": "pickle"}, pickle.dumps(Bomb()))
    assert isinstance(answer, ResultError)
    assert "refused" in str(answer)


@pytest.mark.parametrize(
    "header",
    [
        {"encoding": "json"},
        {"encoding": None},
        {"encoding": ["json"]},
        {"kind": "raised", "type": 7, "message": None, "traceback": [1]},
        {"kind": "package"},
        {"kind": {"a": 1}},
        {},
        {"stdout": 7},
    ],
    ids=str,
)
def test_records_that_make_no_sense_are_errors_of_their_items(header: dict[str, Any]) -> None:
    assert isinstance(outcome(header, b"\xff"), Exception)


@pytest.mark.parametrize("seconds", [-1, "x", float("nan"), 1e300, None, True])
def test_times_that_make_no_sense_do_not_count(seconds: Any) -> None:
    answer = outcome({"encoding": "json", "seconds": seconds}, b"1")
    assert isinstance(answer, Outcome)
    assert answer.seconds is None or 0 <= answer.seconds < 1e9


def test_an_item_has_not_taken_longer_than_its_script(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the runner on a provider of ours measures truly
    honest = MapWork.outcome

    def outcome(*args: Any) -> Any:
        return attrs.evolve(honest(*args), seconds=1e8)

    monkeypatch.setattr(MapWork, "outcome", outcome)
    job = session.map(square, [1, 2])
    assert job.result(60) == [1, 4]
    assert all(item.seconds < 60 and item.cost < 1 for item in job.items)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff",
        struct.pack(">I", 100) + b"{}",
        struct.pack(">I", 2) + b"{}",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 4) + b'"a"x',
        record({"index": 0, "size": -1}),
        record({"index": 0, "size": 10**9}),
        record({"index": 0, "size": "1"}),
        struct.pack(">I", 100_000) + b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:24]),
)
def test_bytes_that_make_no_sense_hold_no_records(data: bytes) -> None:
    assert list(_records(data)) == []


def test_what_is_complete_is_read_before_what_is_not() -> None:
    data = record({"index": 0}, b"one") + record({"index": 1}, b"two")[:-1]
    assert [(header["index"], payload) for header, payload in _records(data)] == [(0, b"one")]
