"""Batches of commands on the local network."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from golem_nb import Session
from golem_nb.engine.errors import JobTimeoutError
from golem_nb.ledger import Ledger
from golem_nb.localnet import Misbehaviour
from golem_nb.payload import PackageException
from golem_nb.payload import vm as vm_module
from golem_nb.session.errors import ItemError, ItemsFailedError, JobCancelledError, SessionError
from golem_nb.session.template import TemplateError

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork


def test_a_command_runs_for_each_item_and_results_are_in_order(session: Session, alpine: Any) -> None:
    job = session.run("echo item {} of {index}", ["a b", "$HOME", "'"], payload=alpine)
    assert job.result(60) == ["item a b of 0\n", "item $HOME of 1\n", "item ' of 2\n"]
    assert job.state == "done"
    assert [item.exit_code for item in job] == [0, 0, 0]
    assert job.progress.fraction == 1


def test_a_command_without_data_runs_once(session: Session, alpine: Any) -> None:
    assert session.run("echo $((6 * 7))", payload=alpine).result(60) == ["42\n"]


def test_files_go_out_and_come_back(session: Session, alpine: Any, tmp_path: Path) -> None:
    poems = []
    for number in range(5):
        poem = tmp_path / f"poem {number}.txt"
        poem.write_text("word " * number)
        poems.append(poem)
    dictionary = tmp_path / "dictionary"
    dictionary.write_text("shared")
    job = session.run(
        "wc -w < /golem/input/{} > /golem/output/{}.count; cat /golem/work/shared >> /golem/output/{}.count",
        poems,
        payload=alpine,
        inputs={dictionary: "/golem/work/shared"},
        outputs={"/golem/output/{}.count": tmp_path / "counts" / "{index}.txt"},
    )
    for item in job:  # a file is there when its item is done
        assert item.files[0].is_file()
    job.result(60)
    for number in range(5):
        assert (tmp_path / "counts" / f"{number}.txt").read_text() == f"{number}\nshared"
        assert job[number].files == (tmp_path / "counts" / f"{number}.txt",)


def test_many_items_go_into_few_scripts(session: Session, alpine: Any) -> None:
    job = session.run("echo {}", range(200), payload=alpine, max_workers=3)
    assert job.result(60) == [f"{number}\n" for number in range(200)]
    events = session.events
    assert int(((events["event"] == "ScriptSent") & (events["job"] == job.id)).sum()) < 40
    assert len(job.frame) == 200


def test_results_come_one_by_one_although_scripts_have_many(session: Session, alpine: Any) -> None:
    # the first ones are quick, so that the slow ones are packed together
    job = session.run("sleep {}", ["0"] * 40 + ["0.7"] * 10, payload=alpine, max_workers=1)
    arrivals = {str(item.task.id): time.monotonic() for item in job if item.data == "0.7"}
    assert len(arrivals) == 10
    events = session.events
    events = events[events["job"] == job.id]
    together: list[str] = []
    largest: list[str] = []
    for event, task in zip(events["event"], events["task"].astype(str), strict=True):
        if event == "TaskStarted" and task in arrivals:
            together.append(task)
        elif event == "ScriptSent":
            largest, together = max(largest, together, key=len), []
    # together they take longer than the daemon's first answer may; those after it are not kept for the last
    assert len(largest) >= 4
    times = sorted(arrivals[task] for task in largest)
    assert times[-1] - times[0] > 0.3


def test_one_failure_is_one_failure(session: Session, alpine: Any) -> None:
    job = session.run("echo out; echo wrong >&2; test {} != 3", range(8), payload=alpine, max_tries=2)
    with pytest.raises(ItemsFailedError, match="1 of 8 items") as caught:
        job.result(60)
    assert list(caught.value.errors) == [3]
    error = job.errors[3]
    assert isinstance(error, ItemError)
    assert str(error) == "the command exited with code 1: wrong"
    assert job[3].exit_code == 1
    assert job[3].stdout == "out\n"
    assert len(job[3].tries) == 2
    assert [item.state for item in job.items].count("done") == 7
    assert job.values[4] == "out\n"
    frame = job.frame
    assert frame.loc[3, "state"] == "failed"
    assert frame.loc[3, "error"] == "the command exited with code 1: wrong"
    assert frame["tries"].tolist() == [1, 1, 1, 2, 1, 1, 1, 1]


def test_what_has_failed_can_be_tried_again(session: Session, alpine: Any, tmp_path: Path) -> None:
    for name, text in (("a", ""), ("b", "exit 1")):
        (tmp_path / name).write_text(text)
    job = session.run(
        ". /golem/work/{}; echo {}",
        ["a", "b"],
        payload=alpine,
        inputs={tmp_path / "{}": "/golem/work/{}"},
        max_tries=1,
    )
    with pytest.raises(ItemsFailedError):
        job.result(60)
    (tmp_path / "b").write_text("")
    assert job.retry_failed() is job
    assert job.result(60) == ["a\n", "b\n"]
    assert job.state == "done"
    assert len(job.engine_jobs) == 2
    with pytest.raises(SessionError, match="are done"):
        job.retry_failed()


def test_the_panel_of_a_job_that_is_tried_again_adds_up(session: Session, alpine: Any) -> None:
    job = session.run("sleep 0.05; test $(({} % 7)) != 3", range(30), payload=alpine, max_workers=3)
    panel: Any = job._panel()
    seen: list[str] = []
    for again in (False, True):
        if again:
            job.retry_failed()
        while not job.wait(0.02):
            assert job.progress.running <= 3
            assert sum(attrs.astuple(job.progress)[1:5]) <= 30
            for lane in panel.describe()["lanes"].values():
                if lane["state"] == "running" and lane["doing"]:
                    seen += lane["doing"].split(", ")
        state = panel.describe()
        assert (state["done"], state["failed"]) == (26, 4)
        assert sum(lane["done"] for lane in state["lanes"].values()) == 26
        assert sum(lane["failed"] for lane in state["lanes"].values()) == state["retries"] + 4
    assert seen
    assert set(seen) <= {f"item {index}" for index in range(30)}
    deadline = time.monotonic() + 60
    while not panel.over and time.monotonic() < deadline:
        time.sleep(0.1)
        panel.flush()
    costs = session.costs
    costs = costs[costs["job"].isin(job.engine_jobs)].groupby("provider_id", observed=True)["accepted"].sum()
    lanes = panel.describe()["lanes"]
    assert {key: lane["cost"] for key, lane in lanes.items()} == pytest.approx(costs.to_dict())
    for lane in lanes.values():
        assert panel.face_html().count(f">{lane['name']}<") == 1
    # an item is one task, whichever of the engine's jobs has tried it
    tasks = session.tasks
    states = tasks[tasks["job"].isin(job.engine_jobs)]["state"].value_counts()
    assert {state: number for state, number in states.items() if number} == {"accepted": 26, "failed": 4}


def test_a_missing_result_file_is_the_failure_of_its_item(
    session: Session, alpine: Any, tmp_path: Path
) -> None:
    job = session.run(
        "test {} = b || echo {} > /golem/output/{}",
        ["a", "b", "c"],
        payload=alpine,
        outputs={"/golem/output/{}": tmp_path / "{}"},
        max_tries=1,
    )
    job.wait(60)
    assert list(job.errors) == [1]
    assert (tmp_path / "a").read_text() == "a\n"
    assert (tmp_path / "c").read_text() == "c\n"
    assert not (tmp_path / "b").exists()


def test_when_everything_fails_it_is_not_tried_for_ever(session: Session, alpine: Any) -> None:
    job = session.run("no-such-program {}", range(100), payload=alpine, max_tries=1, max_workers=2)
    with pytest.raises(ItemsFailedError, match=r"\n  the first \d+ items have all failed.*not tried$"):
        job.result(60)
    assert len(job.errors) < 60
    assert "not tried" in job.notes[0]


def test_cancelling_keeps_what_is_finished(session: Session, alpine: Any) -> None:
    job = session.run("sleep {}", ["0", "0", "30", "30"], payload=alpine, max_workers=2)
    items = iter(job)
    next(items), next(items)
    job.cancel()
    with pytest.raises(JobCancelledError, match="was cancelled"):
        job.result(10)
    assert job.state == "cancelled"
    assert [item.state for item in job.items] == ["done", "done", "cancelled", "cancelled"]
    panel: Any = job._panel()
    lanes = panel.describe()["lanes"].values()
    assert {lane["state"] for lane in lanes} == {"cancelled"}
    assert [lane["failed"] for lane in lanes] == [0] * len(lanes)
    job.cancel()
    job.retry_failed()
    assert not job.wait(0.2)
    job.cancel()
    job.wait(10)


def test_time_is_limited(session: Session, alpine: Any) -> None:
    job = session.run("sleep {}", ["0", "60"], payload=alpine, timeout=4)
    with pytest.raises(JobTimeoutError, match=r"1 item was done; at work: item 1 on '\w+' since \d\.\d s;"):
        job.result(30)
    assert job.values == ["", None]
    # what it was stopped at has cost something, and somebody was at it
    (attempt,) = job[1].tries
    assert attempt.seconds is not None
    assert 0 < attempt.seconds < 5
    assert job.frame["cost"][1] == pytest.approx(float(job[1].cost)) != 0
    assert job.frame["provider"][1] == attempt.provider


def test_a_provider_that_stalls_is_named_and_its_item_begun_again(
    session: Session, network: LocalNetwork, alpine: Any
) -> None:
    bad = network.providers[0]
    asyncio.run(bad.misbehave(Misbehaviour(kind="stall", times=1)))
    job = session.run("sleep 0.5; echo {}", range(12), payload=alpine, max_workers=3, timeout=8)
    with pytest.raises(
        JobTimeoutError, match=rf"11 items were done; at work: item \d+ on '{bad.name}' since"
    ):
        job.result(30)
    assert job.retry_failed().result(60) == [f"{number}\n" for number in range(12)]


def test_a_wait_that_is_too_short_says_so_and_harms_nothing(session: Session, alpine: Any) -> None:
    job = session.run("sleep 1; echo {}", ["a"], payload=alpine)
    assert job.wait(0.05) is False
    with pytest.raises(TimeoutError, match="goes on"):
        job.result(0.05)
    assert job.result(60) == ["a\n"]


async def test_a_job_is_awaited_in_any_loop(session: Session, alpine: Any) -> None:
    job = session.run("echo {}", range(3), payload=alpine)
    indexes = [item.index async for item in job]
    assert sorted(indexes) == [0, 1, 2]
    assert await job == ["0\n", "1\n", "2\n"]
    assert await job == ["0\n", "1\n", "2\n"]


async def test_who_stops_awaiting_leaves_the_job_alone(session: Session, alpine: Any) -> None:
    job = session.run("sleep 1; echo {}", ["a"], payload=alpine)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await job
    assert await job == ["a\n"]


def test_an_image_that_does_not_exist_is_the_jobs_error(session: Session) -> None:
    job = session.run("true", payload=vm_module.repo(image_tag="golem/no-such-image:latest"))
    with pytest.raises(PackageException, match="no image"):
        job.result(60)
    assert job.state == "failed"


def test_an_empty_batch_is_done(session: Session, alpine: Any) -> None:
    job = session.run("echo {}", [], payload=alpine)
    assert job.result(10) == []
    assert job.frame.empty
    some = session.run("echo {}", ["a"], payload=alpine)
    waiting = some.frame
    some.result(60)
    assert kinds(job.frame) == kinds(waiting) == kinds(some.frame)


def kinds(frame: Any) -> dict[str, str]:
    """The kind of each column, and of the labels of its categories."""
    kinds = {}
    for name, dtype in frame.dtypes.items():
        kinds[name] = f"category of {dtype.categories.dtype}" if hasattr(dtype, "categories") else str(dtype)
    return kinds


def test_finished_items_are_in_the_ledger(session: Session, alpine: Any, tmp_path: Path) -> None:
    job = session.run(
        "echo {} | tee /golem/output/{}",
        ["a", "b"],
        payload=alpine,
        outputs={"/golem/output/{}": tmp_path / "{}"},
    )
    job.result(60)
    with Ledger() as ledger:  # the session's own, through another door
        items = ledger.items(job.id)
    assert sorted(items) == [0, 1]
    assert items[1].stdout == "b\n"
    assert items[1].exit_code == 0
    assert list(items[1].files) == [str(tmp_path / "b")]
    assert items[0].tries == 1


def test_several_jobs_at_once(session: Session, alpine: Any) -> None:
    jobs = [session.run("echo {}", [name], payload=alpine) for name in "abc"]
    assert [job.result(60) for job in jobs] == [["a\n"], ["b\n"], ["c\n"]]
    assert list(session.jobs)[-3:] == [job.id for job in jobs]
    assert session.jobs[jobs[0].id] is jobs[0]
    with pytest.raises(KeyError, match="there are"):
        session.jobs["nothing"]


async def worker(context: Any, tasks: Any) -> Any:
    async for task in tasks:
        yield context.new_script()
        task.accept_result(None)


def test_mistakes_are_found_before_anything_is_spent(session: Session, alpine: Any, tmp_path: Path) -> None:
    before = list(session.jobs)
    with pytest.raises(TypeError, match="did you mean 'max_workers'"):
        session.run("true", payload=alpine, max_worker=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="several items"):
        session.run("echo {}", "abc", payload=alpine)
    with pytest.raises(ValueError, match="max_workers must be at least 1"):
        session.run("echo {}", ["a"], payload=alpine, max_workers=0)
    with pytest.raises(ValueError, match="timeout must be positive"):
        session.run("echo {}", ["a"], payload=alpine, timeout=0)
    with pytest.raises(FileNotFoundError):
        session.run("echo {}", [Path("/no/such/file")], payload=alpine)
    with pytest.raises(IsADirectoryError, match="is a folder: `outputs` needs the path of the file that /x "):
        session.run("true", payload=alpine, outputs={"/x": tmp_path})
    with pytest.raises(TypeError, match="command must be a text, not list"):
        session.run(["echo", "{}"], ["a"], payload=alpine)  # type: ignore[arg-type]
    with pytest.raises(TemplateError, match="nothing to go there"):
        session.run("echo {}", payload=alpine)
    with pytest.raises(TypeError, match=r"max_result must be a whole number"):
        session.map(len, ["a"], max_result="1")  # type: ignore[arg-type]
    for nothing in ("golem/alpine:latest", None, vm_module.repo):
        for begin in (
            lambda payload: session.run("true", payload=payload),
            lambda payload: session.execute_tasks(worker, [1], payload),
            lambda payload: session.estimate(payload, tasks=1, seconds=1),
        ):
            with pytest.raises(TypeError, match=r"payload must be a payload, such as vm\.repo"):
                begin(nothing)
    assert list(session.jobs) == before


def test_a_payload_that_can_be_awaited_once_does_for_several_tries(session: Session, alpine: Any) -> None:
    async def payload() -> Any:
        return await alpine

    job = session.run("exit 1", payload=payload(), max_tries=1)
    for _ in range(2):
        with pytest.raises(ItemsFailedError):
            job.result(60)
        job.retry_failed()
    job.wait(60)


def test_the_frame_has_a_row_for_any_data(session: Session, alpine: Any) -> None:
    class Unspeakable:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    job = session.run("true", [Unspeakable(), "x" * 10_000, "a\x1b[2J"], payload=alpine)
    job.result(60)
    first, second, third = job.frame["item"]
    assert first == "<Unspeakable whose repr has failed: RuntimeError>"
    assert len(second) == 4096
    assert third == "a\\x1b[2J"


def test_output_that_was_cut_is_told(session: Session, alpine: Any) -> None:
    before = len(session.warnings)
    job = session.run("head -c {} /dev/zero | tr '\\0' x", ["10", "5000000", "6000000"], payload=alpine)
    short, long, longer = job.result(60)
    assert len(short) == 10
    assert 10 < len(long) == len(longer) < 5_000_000
    assert job[0].cut is None
    assert "bytes that are kept" in str(job[1].cut)
    (warning,) = session.warnings[before:]
    assert warning.startswith(f"run {job.id}: what item ")
    assert "fetch that with `outputs`" in warning


def test_hostile_output_is_text(session: Session, alpine: Any, network: LocalNetwork) -> None:
    job = session.run(r"printf '\033[2J<img src=x onerror=alert(1)>\377'", payload=alpine)
    (text,) = job.result(60)
    assert text == "\x1b[2J<img src=x onerror=alert(1)>�"
    html = job._repr_html_()
    assert "<img" not in html
    del network
