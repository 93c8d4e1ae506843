"""The queue of items, and the sizes of scripts."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from golem_nb.executor import Task
from golem_nb.session.item import Item, Outcome, Try
from golem_nb.session.pace import TARGET, Pace, Tempo
from golem_nb.session.queue import ItemQueue
from golem_nb.session.settling import Settling


class Batch:
    """Items, a queue, and what was told of them."""

    def __init__(self, number: int, max_tries: int = 2) -> None:
        self.counts: Counter[str] = Counter(waiting=number)
        self.items = [Item(index, index, Task(index), self.counts) for index in range(number)]
        self.ended: list[int] = []
        self.failures: list[int] = []
        self.queue = ItemQueue(
            self.items,
            max_tries,
            lambda item: self.ended.append(item.index),
            lambda item, _: self.failures.append(item.index),
        )

    def begin(self, items: list[Item]) -> None:
        for item in items:
            item.begin(Try("p", "0x1", "a"), lambda *_, **__: None)

    def fail(self, item: Item, consumer: str) -> None:
        item.give_back()
        self.queue.fail(item, ValueError("failed"), consumer)


def test_items_are_handed_out_in_order_and_counted() -> None:
    batch = Batch(5)
    first = batch.queue.take("a", 3)
    batch.begin(first)
    assert [item.index for item in first] == [0, 1, 2]
    assert batch.counts == Counter(waiting=2, running=3)
    for item in first:
        item.accept(Outcome(value=item.data))
        batch.queue.finish(item)
    assert batch.ended == [0, 1, 2]
    assert batch.counts["done"] == 3
    assert not batch.queue.over


def test_what_has_failed_goes_elsewhere_and_is_given_up_in_the_end() -> None:
    batch = Batch(2)
    (item, _) = batch.queue.take("a", 2)
    batch.begin([item])
    batch.fail(item, "a")
    assert batch.queue.take("a", 1) == []
    (again,) = batch.queue.take("b", 1)
    assert again is item
    batch.begin([item])
    batch.fail(item, "b")
    assert item.state == "failed"
    assert str(item.error) == "failed"
    assert batch.ended == [0]
    assert batch.failures == [0, 0]


def test_what_was_not_begun_is_not_blamed() -> None:
    batch = Batch(3, max_tries=1)
    items = batch.queue.take("a", 3)
    batch.queue.put_back(items)
    assert [item.index for item in batch.queue.take("a", 3)] == [0, 1, 2]
    assert [item.blamed for item in items] == [0, 0, 0]


async def test_lanes_come_only_for_items_that_nobody_comes_for() -> None:
    batch = Batch(2)
    assert await batch.queue.claim()
    assert await batch.queue.claim()
    third = asyncio.create_task(batch.queue.claim())
    await asyncio.sleep(0.01)
    assert not third.done()
    batch.queue.unclaim()
    assert await third


async def test_lanes_end_when_everything_is_over_and_not_before() -> None:
    batch = Batch(1)
    (item,) = batch.queue.take("a", 1)
    lane = asyncio.create_task(batch.queue.claim())
    await asyncio.sleep(0.01)
    assert not lane.done()
    batch.begin([item])
    item.accept(Outcome())
    batch.queue.finish(item)
    assert await lane is False


async def test_finished_items_count_when_they_are_on_disk_and_are_written_together() -> None:
    written: list[list[int]] = []
    disk = asyncio.Event()

    async def write(pending: Any) -> None:
        written.append([item.index for item, _ in pending])
        await disk.wait()

    batch = Batch(4)
    batch.begin(batch.queue.take("a", 4))
    settling = Settling(write, batch.queue.finish)
    task = asyncio.create_task(settling.run())
    settling.put(batch.items[0], Outcome())
    await asyncio.sleep(0.01)
    for item in batch.items[1:]:
        settling.put(item, Outcome())
    await asyncio.sleep(0.01)
    assert batch.ended == []
    disk.set()
    await settling.flush()
    assert written == [[0], [1, 2, 3]]
    assert batch.ended == [0, 1, 2, 3]
    task.cancel()


async def test_a_disk_that_fails_loses_no_result() -> None:
    async def write(_: Any) -> None:
        raise OSError("no space left")

    batch = Batch(1)
    batch.begin(batch.queue.take("a", 1))
    settling = Settling(write, batch.queue.finish)
    task = asyncio.create_task(settling.run())
    settling.put(batch.items[0], Outcome(value=7))
    await settling.flush()
    assert batch.items[0].value == 7
    assert batch.ended == [0]
    task.cancel()


def test_the_first_script_has_one_item() -> None:
    assert Pace(200, Tempo()).size(waiting=1000, running=0, lanes=4) == 1


def test_quick_items_are_packed_and_slow_ones_are_not() -> None:
    pace = Pace(200, Tempo())
    pace.took(10, 0.1)
    assert pace.size(1000, 0, 4) == int(TARGET / 0.01)
    pace = Pace(200, Tempo())
    pace.took(1, 0.03)
    assert pace.size(1000, 0, 4) == int(TARGET / 0.015)
    pace.took(50, 50 * 2.0)
    assert pace.size(1000, 0, 4) == 1


def test_lanes_share_what_is_left() -> None:
    pace = Pace(200, Tempo())
    pace.took(1, 0.001)
    assert pace.size(waiting=40, running=0, lanes=4) == 10
    # the others are at theirs, which are as many
    assert pace.size(waiting=10, running=30, lanes=4) == 10
    assert pace.size(waiting=3, running=0, lanes=4) == 1
    assert pace.size(waiting=10_000, running=0, lanes=4) == 200


def test_a_new_lane_knows_what_others_have_found_out() -> None:
    tempo = Tempo()
    first, second = Pace(200, tempo), Pace(200, tempo)
    assert first.size(waiting=100, running=0, lanes=2) == second.size(waiting=99, running=1, lanes=2) == 1
    first.took(10, 0.1)
    assert second.size(waiting=100, running=0, lanes=2) == 50
    # one by one until it is found which item makes a script fail
    second.alone()
    assert second.size(waiting=100, running=0, lanes=2) == 1
    # whether the first item has warmed something up is not known yet
    unsure = Tempo()
    Pace(200, unsure).took(1, 0.9, warms_up=True)
    assert Pace(200, unsure).size(waiting=100, running=0, lanes=2) == 1


def test_what_a_script_costs_by_itself_makes_it_longer() -> None:
    pace = Pace(10_000, Tempo())
    pace.took(2, 2.0, overhead=1.9, warms_up=True)
    assert pace.size(10_000, 0, 1) == int(1.9 / 0.25 / 0.05)


def test_after_one_item_it_is_not_known_what_was_warming_up() -> None:
    pace = Pace(10_000, Tempo())
    pace.took(1, 0.9, warms_up=True)
    assert pace.size(100, 0, 1) == 2
    pace = Pace(10_000, Tempo())
    pace.took(1, 3.0, warms_up=True)
    assert pace.size(100, 0, 1) == 1
    pace = Pace(10_000, Tempo())
    pace.took(1, 0.3, overhead=0.299, warms_up=True)
    assert pace.size(100, 0, 1) == 100


@pytest.mark.parametrize("waiting", [0, 1])
def test_there_is_always_one(waiting: int) -> None:
    pace = Pace(10, Tempo())
    pace.took(1, 100.0)
    assert pace.size(waiting, 0, 0) == 1
