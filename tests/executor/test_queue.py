"""How tasks are read, handed out, given back and given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from golem_nb import Task
from golem_nb.events import TaskAccepted, TaskFinished, TaskStarted
from golem_nb.executor.queue import TaskQueue, TaskSource, WorkerTasks
from golem_nb.rest.activity import CommandExecutionError
from golem_nb.storage import DownloadTooLargeError


class Context:
    """As much of a work context as a worker's tasks need."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.events: list[tuple[type, str]] = []

    def emit(self, event_class: type, *, task: Task[Any, Any], **fields: Any) -> None:
        self.events.append((event_class, task.data))


class Harness:
    """A queue with its feeder, and the results that came out of it."""

    def __init__(self, source: TaskSource, max_tries: int = 3) -> None:
        self.results: list[Task[Any, Any]] = []
        self.queue = TaskQueue(source, max_tries, self.results.append)

    async def __aenter__(self) -> Harness:
        self.feeder = asyncio.create_task(self.queue.feed())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.feeder.cancel()
        await asyncio.gather(self.feeder, return_exceptions=True)

    async def worker(self, id: str) -> tuple[WorkerTasks, Context]:
        async with asyncio.timeout(1):
            claim = await self.queue.claim()
        assert claim is not None
        context = Context(id)
        return WorkerTasks(self.queue, context, claim), context  # type: ignore[arg-type]


def tasks(*data: Any) -> list[Task[Any, Any]]:
    return [Task(item) for item in data]


async def test_one_worker_takes_all_in_order() -> None:
    async with Harness(tasks("a", "b", "c")) as harness:
        mine, context = await harness.worker("1")
        async for task in mine:
            task.accept_result(task.data.upper())
        mine.end(None)
        assert [task.result for task in harness.results] == ["A", "B", "C"]
        assert await harness.queue.claim() is None
    assert context.events == [
        (kind, name) for name in "abc" for kind in (TaskStarted, TaskAccepted, TaskFinished)
    ]


@pytest.mark.contract("T11")
async def test_data_is_read_only_when_it_is_wanted() -> None:
    read = []

    def source() -> Iterator[Task[Any, Any]]:
        for number in range(1000):
            read.append(number)
            yield Task(number)

    async with Harness(source()) as harness:
        await asyncio.sleep(0)
        mine, _ = await harness.worker("1")
        for expected in range(5):
            task = await anext(mine)
            assert task.data == expected
            task.accept_result()
        assert len(read) <= 8


@pytest.mark.contract("T11")
async def test_async_data_that_comes_slowly() -> None:
    more = asyncio.Event()

    async def source() -> AsyncIterator[Task[Any, Any]]:
        yield Task("first")
        await more.wait()
        yield Task("second")

    async with Harness(source()) as harness:
        mine, _ = await harness.worker("1")
        (await anext(mine)).accept_result()
        waiting = asyncio.create_task(anext(mine))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        more.set()
        async with asyncio.timeout(1):
            (await waiting).accept_result()
            with pytest.raises(StopAsyncIteration):
                await anext(mine)


async def test_no_more_workers_are_called_than_there_are_tasks() -> None:
    async with Harness(tasks("only")) as harness:
        mine, _ = await harness.worker("1")
        second = asyncio.create_task(harness.queue.claim())
        await asyncio.sleep(0.01)
        assert not second.done()
        (await anext(mine)).accept_result()
        mine.end(None)
        async with asyncio.timeout(1):
            assert await second is None


@pytest.mark.contract("T04")
async def test_a_failed_task_goes_to_another_worker_and_is_given_up_in_the_end() -> None:
    async with Harness(tasks("bad"), max_tries=3) as harness:
        errors = [RuntimeError(f"failure {number}") for number in range(3)]
        for number, error in enumerate(errors):
            mine, _ = await harness.worker(str(number))
            task = await anext(mine)
            assert task.data == "bad"
            mine.end(error)
        assert await harness.queue.claim() is None
        (failure,) = harness.queue.failures
    assert failure.causes == tuple(errors)
    assert failure.task.data == "bad"
    assert "failed 3 times" in str(failure)
    assert all(str(error) in str(failure) for error in errors)
    assert harness.queue.hopeless


async def test_a_download_that_two_providers_find_too_large_is_given_up() -> None:
    async with Harness(tasks("big"), max_tries=5) as harness:
        failed = CommandExecutionError("DownloadBytes /x", "transfer failed")
        failed.__cause__ = DownloadTooLargeError(5000)
        # one provider alone may have sent too much
        for number, error in enumerate([failed, RuntimeError("something else"), failed]):
            assert not harness.queue.failures
            mine, _ = await harness.worker(str(number))
            await anext(mine)
            mine.end(error)
        (failure,) = harness.queue.failures
    assert len(failure.causes) == 3


@pytest.mark.contract("T04")
async def test_a_task_is_not_given_twice_to_the_same_activity() -> None:
    async with Harness(tasks("picky", "easy")) as harness:
        mine, _ = await harness.worker("1")
        (await anext(mine)).reject_result("no", retry=True)
        task = await anext(mine)
        assert task.data == "easy"
        task.accept_result()
        with pytest.raises(StopAsyncIteration):
            await anext(mine)
        other, _ = await harness.worker("2")
        again = await anext(other)
        assert again.data == "picky"
        again.accept_result()
    assert [task.data for task in harness.results] == ["easy", "picky"]
    assert not harness.queue.hopeless


@pytest.mark.contract("T03")
async def test_a_rejected_task_that_is_not_wanted_again_is_done_but_never_handed_over() -> None:
    async with Harness(tasks("dropped")) as harness:
        mine, context = await harness.worker("1")
        (await anext(mine)).reject_result("useless")
        mine.end(None)
        assert await harness.queue.claim() is None
    assert harness.results == []
    assert harness.queue.failures == []
    assert context.events[-1] == (TaskFinished, "dropped")


async def test_a_worker_that_forgets_a_task_has_failed_on_it() -> None:
    async with Harness(tasks("forgotten"), max_tries=1) as harness:
        mine, _ = await harness.worker("1")
        await anext(mine)
        mine.end(None)
        (failure,) = harness.queue.failures
    assert "without accepting" in str(failure)


async def test_a_worker_may_have_several_tasks_at_once() -> None:
    async with Harness(tasks(*range(4))) as harness:
        mine, _ = await harness.worker("1")
        batch = [await anext(mine) for _ in range(4)]
        for task in reversed(batch):
            task.accept_result()
        mine.end(None)
    assert [task.data for task in harness.results] == [3, 2, 1, 0]


@pytest.mark.contract("T08")
async def test_a_worker_that_closes_its_tasks_gets_no_more() -> None:
    async with Harness(tasks("a", "b")) as harness:
        mine, _ = await harness.worker("1")
        (await anext(mine)).accept_result()
        await mine.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(mine)
        other, _ = await harness.worker("2")
        assert (await anext(other)).data == "b"


async def test_data_that_is_no_task() -> None:
    async with Harness([1, 2]) as harness:  # type: ignore[list-item]
        with pytest.raises(TypeError, match=r"not 1: wrap it as Task\(data=...\)"):
            await harness.feeder


async def test_thousands_of_waiting_workers_are_not_quadratic() -> None:
    number = 5000
    async with Harness(iter(tasks(*range(number)))) as harness, asyncio.timeout(5):

        async def one(id: str) -> None:
            claim = await harness.queue.claim()
            if claim is None:
                return
            mine = WorkerTasks(harness.queue, Context(id), claim)  # type: ignore[arg-type]
            (await anext(mine)).accept_result()
            mine.end(None)

        async with asyncio.TaskGroup() as group:
            for worker in range(number):
                group.create_task(one(str(worker)))
    assert len(harness.results) == number


async def test_all_workers_that_come_at_once_have_something_to_come_for() -> None:
    async with Harness(tasks(*range(10))) as harness, asyncio.timeout(1):
        claims = await asyncio.gather(*(harness.queue.claim() for _ in range(6)))
        assert None not in claims
