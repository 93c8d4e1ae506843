from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from golem_nb.ui import pump as pump_module
from golem_nb.ui.pump import Pump


class Gauge:
    """Something to be kept up to date, and when it was."""

    ticking = False
    interval = 0.1

    def __init__(self) -> None:
        self.flushes: list[float] = []
        self.beats = 0
        self.error: Exception | None = None
        self.thread: str | None = None

    def flush(self) -> bool:
        self.flushes.append(time.monotonic())
        self.thread = threading.current_thread().name
        if self.error is not None:
            raise self.error
        return True

    def beat(self) -> None:
        self.beats += 1


@pytest.fixture
def pump() -> Iterator[Pump]:
    made = Pump()
    yield made
    made.close()


def until(condition: object, limit: float = 5.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_writes_at_once_and_then_no_more_often_than_allowed(pump: Pump) -> None:
    gauge = Gauge()
    pump.add(gauge)
    until(lambda: gauge.flushes)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        pump.mark()
        time.sleep(0.0005)
    gaps = [after - before for before, after in zip(gauge.flushes, gauge.flushes[1:], strict=False)]
    assert 5 <= len(gauge.flushes) <= 12
    assert min(gaps) > 0.095
    assert gauge.thread == "golem_nb pump"


def test_it_rests_when_nothing_happens(pump: Pump) -> None:
    gauge = Gauge()
    pump.add(gauge)
    until(lambda: gauge.flushes)
    time.sleep(0.6)
    assert len(gauge.flushes) <= 2


def test_the_last_change_is_written(pump: Pump) -> None:
    gauge = Gauge()
    pump.add(gauge)
    until(lambda: gauge.flushes)
    pump.mark()
    pump.mark()
    marked = time.monotonic()
    until(lambda: gauge.flushes[-1] >= marked)
    assert time.monotonic() - marked < 0.5


def test_what_changes_by_itself_is_looked_at(pump: Pump, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "TICK", 0.2)
    gauge = Gauge()
    gauge.ticking = True
    pump.add(gauge)
    until(lambda: len(gauge.flushes) > 3)


def test_it_says_that_the_kernel_is_alive(pump: Pump, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "BEAT", 0.2)
    gauge = Gauge()
    pump.add(gauge)
    until(lambda: gauge.beats > 1)


def test_it_says_so_too_where_something_is_looked_at_all_the_time(
    pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "BEAT", 0.5)
    monkeypatch.setattr(pump_module, "TICK", 0.1)

    class Still(Gauge):
        def flush(self) -> bool:
            super().flush()
            return False

    gauge = Still()
    gauge.ticking = True
    pump.add(gauge)
    until(lambda: gauge.beats > 1)


def test_an_error_of_one_does_not_stop_the_others(pump: Pump) -> None:
    bad, good = Gauge(), Gauge()
    bad.error = ValueError("broken")
    pump.add(bad)
    pump.add(good)
    until(lambda: good.flushes)
    pump.mark()
    until(lambda: len(good.flushes) > 1)


def test_costly_rounds_come_less_often(pump: Pump) -> None:
    class Costly(Gauge):
        spent = 0.0

        def flush(self) -> bool:
            started = time.thread_time()
            while time.thread_time() - started < 0.06:
                pass
            self.spent += time.thread_time() - started
            return super().flush()

    costly = Costly()
    pump.add(costly)
    begin = time.monotonic()
    while time.monotonic() - begin < 2.5:
        pump.mark()
        time.sleep(0.001)
    # about a tenth of a processor, with a round that has just begun
    assert costly.spent <= 0.1 * (time.monotonic() - begin) + 0.08
    assert len(costly.flushes) >= 2


def test_a_busy_machine_makes_it_no_slower(pump: Pump) -> None:
    class Waiting(Gauge):
        def flush(self) -> bool:
            time.sleep(0.06)
            return super().flush()

    waiting = Waiting()
    pump.add(waiting)
    begin = time.monotonic()
    while len(waiting.flushes) < 4:
        pump.mark()
        time.sleep(0.001)
        assert time.monotonic() - begin < 10
    gaps = [after - before for before, after in itertools.pairwise(waiting.flushes)]
    assert min(gaps) < 0.7, "it rests for what it costs, not for how long it lasts"


def test_removed_and_closed_it_writes_no_more(pump: Pump) -> None:
    gauge = Gauge()
    pump.add(gauge)
    until(lambda: gauge.flushes)
    pump.remove(gauge)
    time.sleep(0.2)
    count = len(gauge.flushes)
    pump.mark()
    time.sleep(0.3)
    assert len(gauge.flushes) == count
    started = time.monotonic()
    pump.close()
    assert time.monotonic() - started < 0.5
    pump.add(gauge)
    assert pump._thread is not None
    assert not pump._thread.is_alive()


def test_marking_costs_next_to_nothing(pump: Pump) -> None:
    pump.add(Gauge())
    started = time.perf_counter()
    for _ in range(100_000):
        pump.mark()
    assert time.perf_counter() - started < 0.2
