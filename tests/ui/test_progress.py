from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from golem_nb.ui.desk import Desk
from golem_nb.ui.lanes import Lane
from golem_nb.ui.progress import PATIENCE, BatchProgress
from golem_nb.ui.pump import Pump


@pytest.fixture
def progress(stage: ModuleType) -> Iterator[tuple[Any, Lane]]:
    """A batch that has ended, with one provider whose invoice has not come."""
    lane = Lane("0x1", "sun", state="ended", done=4, owed={"a": Decimal("0.1")})
    desk = Desk(stage.session)
    desk._lanes._jobs["7"] = {"0x1": lane}
    before = stage.job.now
    stage.job.change(state="done", done=50, failed=0, ended=datetime.now(UTC), engine_jobs=["7"])
    yield BatchProgress(stage.job, desk._lanes, Pump()), lane
    stage.job.now = before


def test_a_batch_is_over_when_it_is_paid(progress: tuple[Any, Lane]) -> None:
    panel, lane = progress
    panel.flush()
    assert (panel.over, panel._ended) == (False, False)
    lane.pay("a", Decimal("0.09"))
    panel.flush()
    assert panel.state["lanes"]["0x1"]["state"] == "paid"
    assert (panel._ended, panel._replaced) == (True, True)
    assert not panel.flush()


def test_an_invoice_that_never_comes_is_not_waited_for_for_ever(
    progress: tuple[Any, Lane], stage: ModuleType
) -> None:
    panel, _ = progress
    stage.job.change(ended=datetime.now(UTC) - PATIENCE)
    panel.flush()
    assert panel._ended


def test_a_batch_goes_on_where_it_is_shown_when_failed_items_are_tried_again(
    progress: tuple[Any, Lane], stage: ModuleType
) -> None:
    panel, lane = progress
    lane.pay("a", Decimal("0.09"))
    stage.job.change(done=49, failed=1)
    panel.flush()
    assert (panel._ended, panel._replaced, panel.state["final"]) == (True, False, True)
    # by the button, or by a line of code
    stage.job.change(state="running", running=1)
    panel.flush()
    panel.flush()
    assert (panel._ended, panel.state["final"]) == (False, False)
    stage.job.change(state="done", done=50, failed=0, running=0)
    panel.flush()
    assert panel._replaced


def test_lanes_name_the_items_of_the_job(progress: tuple[Any, Lane], stage: ModuleType) -> None:
    panel, lane = progress
    lane.state = "running"
    # a script of three items: the first one is being computed
    lane.tasks = dict.fromkeys(["36", "37", "38"])
    stage.job.change(state="running", at_work={"36": "item 4", "12": "item 1"})
    panel.flush()
    assert panel.state["lanes"]["0x1"]["doing"] == "item 4"
    lane.doing = "downloads from the web"
    panel.flush()
    assert panel.state["lanes"]["0x1"]["doing"] == "item 4, downloads from the web"


def test_failures_are_those_that_the_job_tells_of(progress: tuple[Any, Lane], stage: ModuleType) -> None:
    panel, lane = progress
    # that its work has ended with an error
    lane.failed = 1
    panel.flush()
    assert panel.state["lanes"]["0x1"]["failed"] == 1
    stage.job.change(failed_tries={"0x1": 3})
    panel.flush()
    assert panel.state["lanes"]["0x1"]["failed"] == 3


def test_a_provider_has_one_lane_over_all_tries_of_a_job(
    progress: tuple[Any, Lane], stage: ModuleType
) -> None:
    panel, lane = progress
    lane.pay("a", Decimal("0.09"))
    panel._lanes._jobs["8"] = {"0x1": Lane("0x1", "sun", state="paid", accepted={"b": Decimal("0.01")})}
    stage.job.change(engine_jobs=["7", "8"])
    panel.flush()
    (shown,) = panel.state["lanes"].values()
    assert (shown["done"], shown["cost"]) == (4, 0.1)
    assert panel.face_html().count(">sun<") == 1
