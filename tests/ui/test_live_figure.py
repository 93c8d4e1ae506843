from __future__ import annotations

from decimal import Decimal
from types import ModuleType

import numpy as np
import pytest

from golem_nb.figures import PARTS
from golem_nb.frames import Recorder
from golem_nb.ui import live_figure
from golem_nb.ui.dashboard import SLOTS, Dashboard
from golem_nb.ui.desk import Desk
from golem_nb.ui.live_figure import LiveFigure, _runtime
from tests.browser.rush import Rush


def test_plotly_is_sent_once_and_not_with_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_figure, "_is_kernel", lambda: True)
    first, second = LiveFigure(), LiveFigure()
    runtime = _runtime()
    assert runtime is not None
    assert runtime is _runtime()
    assert len(runtime.source) > 1_000_000
    assert len(first._esm) == len(second._esm) < 10_000


def test_where_there_is_no_kernel_a_figure_brings_plotly_itself() -> None:
    figure = LiveFigure()
    assert len(figure.get_state()["_esm"]) > 1_000_000


def test_a_page_that_is_loaded_later_gets_the_figure_as_it_is() -> None:
    figure = LiveFigure([{"type": "scatter", "x": [1.0], "y": [1.0]}])
    figure.change({0: {"x": np.array([1.0, 2.0]), "y": np.array([3.0, 4.0])}})
    state = figure.get_state()
    sent = state["_widget_data"][0]["y"]
    assert np.frombuffer(sent["buffer"], dtype=sent["dtype"]).tolist() == [3.0, 4.0]
    assert np.asarray(figure.data[0].y).tolist() == [3.0, 4.0]


def board(stage: ModuleType) -> tuple[Dashboard, Rush, Desk]:
    desk = Desk(stage.session, Recorder())
    rush = Rush([f"p{n}" for n in range(12)])
    dashboard = desk.dashboard()
    return dashboard, rush, desk


def test_a_dashboard_keeps_its_traces_whatever_happens(stage: ModuleType) -> None:
    dashboard, rush, desk = board(stage)
    count = len(dashboard.live.data)
    assert count == sum(SLOTS.values())
    for event in (*rush.begin(), *rush.turn()):
        desk.take(event)
    dashboard.flush()
    for event in rush.turn():
        desk.take(event)
    dashboard.flush()
    assert len(dashboard.live.data) == count
    names = [trace.name for trace in dashboard.live.data]
    assert "p11" not in names
    assert "5 others" in names
    accepted = next(trace for trace in dashboard.live.data if trace.name == "accepted")
    assert np.asarray(accepted.x).tolist() == [24.0]


def test_where_nothing_runs_any_more_the_projection_goes(stage: ModuleType) -> None:
    dashboard, rush, desk = board(stage)
    for event in (*rush.begin(), *rush.turn(), *rush.turn()):
        desk.take(event)
    dashboard.flush()
    assert "projection" in [trace.name for trace in dashboard.live.data]
    stage.session.change(per_hour=Decimal(0))
    dashboard.flush()
    assert "projection" not in [trace.name for trace in dashboard.live.data]
    stage.session.change(per_hour=Decimal(1), state="stopped")
    assert "projection" not in [trace.name for trace in dashboard.figure.data]


def test_only_what_has_changed_is_sent(stage: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard, rush, desk = board(stage)
    sent: list[list[int]] = []
    monkeypatch.setattr(
        dashboard.live, "_send_update_msg", lambda trace_indexes, **_: sent.append(list(trace_indexes))
    )
    dashboard.flush()
    assert sent == []
    desk.take(rush.proposal(1))
    dashboard.flush()
    # its points, and the axes that nothing has needed before
    assert sent == [[0], []]
    assert dashboard.live.layout.xaxis.showticklabels is True
    desk.take(rush.proposal(2))
    dashboard.flush()
    assert sent == [[0], [], [0]]


def test_where_there_is_little_room_subplots_are_below_each_other(stage: ModuleType) -> None:
    dashboard, _, _ = board(stage)
    assert dashboard.live.layout.xaxis.domain[1] < 0.5
    for narrow, right, height in ((True, 1.0, 106 + 6 * 280), (False, 0.445, 106 + 3 * 280)):
        dashboard._on_message(dashboard, {"kind": "room", "narrow": narrow}, [])
        dashboard.flush()
        assert dashboard.live.layout.xaxis.domain[1] == pytest.approx(right)
        assert dashboard.live.layout.height == height


def test_words_about_nothing_leave_with_it_and_each_heading_is_there_once(stage: ModuleType) -> None:
    dashboard, rush, desk = board(stage)
    for events in (rush.begin(), [rush.proposal(1)], rush.turn()):
        for event in events:
            desk.take(event)
        dashboard.flush()
        shown, plain = dashboard.live.layout.annotations, dashboard.figure.layout.annotations
        assert [(each.text, each.opacity) for each in shown] == [(each.text, each.opacity) for each in plain]
    dashboard.choose(["costs", "tasks"])
    assert [each.text for each in dashboard.live.layout.annotations] == [
        "<b>Cost, of a budget of 1 GLM</b>",
        "<b>Tasks by state</b>",
    ]


def test_a_choice_hides_the_rest(stage: ModuleType) -> None:
    dashboard, _, _ = board(stage)
    dashboard.choose(["costs"])
    assert [trace.visible for trace in dashboard.live.data].count(True) == SLOTS["costs"]
    assert dashboard.describe()["parts"]["costs"] == {"title": "Cost", "shown": True}
    dashboard.choose(PARTS)
    assert all(trace.visible for trace in dashboard.live.data)


def test_the_figure_is_a_plain_one_of_this_moment(stage: ModuleType) -> None:
    dashboard, rush, desk = board(stage)
    for event in (*rush.begin(), *rush.turn()):
        desk.take(event)
    figure = dashboard.figure
    assert type(figure).__name__ == "Figure"
    figure.update_layout(title="mine")
    assert dashboard.live.layout.title.text is None
    assert dashboard.bundle()["text/html"]
