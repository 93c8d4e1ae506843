"""Consumers get events in order, and cannot harm whoever emits them."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from golem_nb.engine import dispatcher as module
from golem_nb.engine.dispatcher import EventDispatcher
from golem_nb.events import Event, ExecutionInterrupted, ShutdownFinished


async def test_events_arrive_in_order_one_at_a_time() -> None:
    dispatcher = EventDispatcher()
    seen: list[tuple[str, Event]] = []
    busy = False

    async def slow(event: Event) -> None:
        nonlocal busy
        assert not busy
        busy = True
        await asyncio.sleep(0.001)
        busy = False
        seen.append(("slow", event))

    dispatcher.add(slow, (Event,))
    dispatcher.add(lambda event: seen.append(("quick", event)), (Event,))
    dispatcher.start()
    events: list[Event] = [ShutdownFinished() for _ in range(20)]
    for event in events:
        dispatcher.emit(event)
    await dispatcher.stop()
    assert [event for name, event in seen if name == "slow"] == events
    assert [event for name, event in seen if name == "quick"] == events


@pytest.mark.contract("G09")
async def test_classes_filter_and_exceptions_are_logged_only(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = EventDispatcher()
    seen: list[Event] = []

    def picky(event: Event) -> None:
        seen.append(event)
        raise RuntimeError("consumer broke")

    dispatcher.add(picky, (ExecutionInterrupted,))
    dispatcher.start()
    with caplog.at_level(logging.ERROR):
        dispatcher.emit(ShutdownFinished())
        dispatcher.emit(ExecutionInterrupted())
        dispatcher.emit(ExecutionInterrupted())
        await dispatcher.stop()
    assert [type(event) for event in seen] == [ExecutionInterrupted] * 2
    assert caplog.text.count("RuntimeError: consumer broke") == 2
    assert "Unhandled exception in event consumer" in caplog.text


async def test_a_consumer_that_wants_to_exit_does_not_take_the_loop_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dispatcher = EventDispatcher()

    def leave(event: Event) -> None:
        raise SystemExit(1)

    dispatcher.add(leave, (Event,))
    dispatcher.start()
    dispatcher.emit(ShutdownFinished())
    await dispatcher.stop()
    assert "SystemExit" in caplog.text


async def test_a_consumer_that_is_cancelled_gets_the_next_event(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = EventDispatcher()
    seen: list[Event] = []

    async def lost(event: Event) -> None:
        seen.append(event)
        raise asyncio.CancelledError("what it has waited for is no more")

    dispatcher.add(lost, (Event,))
    dispatcher.start()
    for _ in range(2):
        dispatcher.emit(ShutdownFinished())
    await dispatcher.stop()
    assert len(seen) == 2
    assert caplog.text.count("CancelledError: what it has waited for is no more") == 2


async def test_a_consumer_that_blocks_the_loop_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add(lambda event: time.sleep(0.12), (Event,))
    dispatcher.start()
    dispatcher.emit(ShutdownFinished())
    dispatcher.emit(ShutdownFinished())
    await dispatcher.stop()
    assert caplog.text.count("kept the engine waiting") == 1


async def test_a_consumer_that_never_ends_does_not_hold_up_the_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "DRAIN_LIMIT", 0.05)
    dispatcher = EventDispatcher()

    async def stuck(event: Event) -> None:
        await asyncio.Event().wait()

    dispatcher.add(stuck, (Event,))
    dispatcher.start()
    for _ in range(3):
        dispatcher.emit(ShutdownFinished())
    async with asyncio.timeout(1):
        await dispatcher.stop()
    assert "2 events were not delivered" in caplog.text


async def test_a_slow_backlog_leaves_the_loop_to_others() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add(lambda event: time.sleep(0.001), (Event,))
    dispatcher.start()
    for _ in range(200):
        dispatcher.emit(ShutdownFinished())
    longest, last = 0.0, time.perf_counter()
    for _ in range(20):
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert longest < 0.1
    await dispatcher.stop()


async def test_consumers_survive_a_restart_and_see_what_came_in_between() -> None:
    dispatcher = EventDispatcher()
    seen: list[Event] = []
    dispatcher.add(seen.append, (Event,))
    first, between, second = ShutdownFinished(), ShutdownFinished(), ShutdownFinished()
    dispatcher.start()
    dispatcher.emit(first)
    await dispatcher.stop()
    dispatcher.emit(between)
    dispatcher.start()
    dispatcher.emit(second)
    await dispatcher.stop()
    assert seen == [first, between, second]
