from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from golem_nb import events as ev
from golem_nb import figures
from golem_nb.figures.costs import running_costs
from golem_nb.figures.dashboard import check
from golem_nb.figures.style import PALETTE, escaped
from golem_nb.figures.tasks import finished_counts
from golem_nb.figures.times import milliseconds, thinned
from golem_nb.frames import OfferTable, Recorder
from tests.browser.rush import Rush

HOSTILE = "<img src=x onerror=alert(1)>$x^2$&amp;\x1b[31m\u202e"


class Instance:
    """As much of a service as the recorder looks at."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.exc_info = (None, None, None)


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    made = Recorder()
    rush = Rush(["sun", HOSTILE, *(f"p{n}" for n in range(10))])
    for event in rush.begin():
        made.take(event)
    for number in range(8):
        made.take(rush.proposal(number))
        for event in rush.turn():
            made.take(event)
    for index, states in enumerate(
        (["pending", "starting", "running"], ["pending", "starting", "running", "stopping", "terminated"])
    ):
        for event in rush.service(Instance(f"instance-{index}"), index, *states):
            made.take(event)
    return made


def everything(recorder: Recorder) -> list[go.Figure]:
    """One of each, light."""
    sessions = pd.DataFrame(
        {
            "name": ["default", HOSTILE],
            "network": ["local", "hoodi"],
            "started": pd.to_datetime(["2026-03-01T12:00Z", "2026-03-02T12:00Z"]),
            "accepted": [0.2, 0.1],
            "settled": [0.1, 0.1],
        }
    )
    times = recorder.events()["time"][:5]
    counts = pd.DataFrame({"time": times, "offers": range(len(times))})
    return [
        figures.price_against_size(recorder.offers()),
        figures.price_distribution(recorder.offers()),
        figures.offers_over_time(counts),
        figures.cost_over_time(running_costs(recorder.events()), 1.0),
        figures.cost_by_provider(recorder.costs()),
        figures.cost_by_session(sessions),
        figures.service_states(recorder.services()),
        figures.task_states(recorder.tasks()),
        figures.throughput(recorder.tasks()),
        figures.dashboard(
            events=recorder.events(),
            offers=recorder.offers(),
            services=recorder.services(),
            tasks=recorder.tasks(),
            budget=0.02,
        ),
    ]


def test_every_figure_of_a_session_can_be_exported(recorder: Recorder) -> None:
    for figure in everything(recorder):
        assert type(figure) is go.Figure
        assert figure.to_json()
        assert figure.data


def test_every_figure_of_nothing(recorder: Recorder) -> None:
    for figure in everything(Recorder()):
        assert figure.to_json()


def test_what_is_not_there_is_said_in_words(recorder: Recorder) -> None:
    nothing = Recorder()
    words = [
        figures.price_distribution(nothing.offers()),
        figures.service_states(nothing.services()),
        figures.task_states(nothing.tasks()),
    ]
    assert [figure.layout.annotations[-1].text for figure in words] == [
        "No offers yet",
        "No services yet",
        "No tasks yet",
    ]
    for figure in words:
        assert figure.layout.xaxis.showticklabels is False
    assert not figures.task_states(recorder.tasks()).layout.annotations


def test_the_first_moments_have_a_time_before_them() -> None:
    at = 1_772_366_400_000.0
    counts = pd.DataFrame({"time": [at, at + 500], "offers": [3, 5]})
    (trace,) = figures.offers_over_time(counts).data
    assert list(trace.x) == [at - 9500, at, at + 500]
    assert list(trace.y) == [0, 3, 5]
    later = pd.DataFrame({"time": [at, at + 60_000], "offers": [3, 5]})
    assert len(figures.offers_over_time(later).data[0].x) == 2
    costs = pd.DataFrame({"time": [at], "provider": ["sun"], "cost": [0.5]})
    (area,) = figures.cost_over_time(costs).data
    assert list(area.y) == [0, 0.5]


def test_what_a_provider_says_is_shown_as_it_is(recorder: Recorder) -> None:
    shown = escaped(HOSTILE, 200)
    assert "<" not in shown
    assert "$" not in shown
    for figure in everything(recorder):
        text = figure.to_json()
        assert "<img" not in text
        assert "\\u003cimg" not in text
        assert "\\u001b" not in text
        assert "\u202e" not in text
        for template in json.dumps(
            [trace.hovertemplate for trace in figure.data if trace.hovertemplate]
        ).split("%{"):
            # a name that looks like a placeholder must not become one
            assert "onerror" not in template.split("}")[0]


def test_running_costs_are_the_accepted_sums(recorder: Recorder) -> None:
    costs = running_costs(recorder.events())
    last = costs.groupby("provider")["cost"].last()
    accepted = recorder.costs().groupby("provider", observed=True)["accepted"].sum()
    assert last["sun"] == pytest.approx(accepted["sun"])
    assert last.sum() == pytest.approx(float(recorder.totals().accepted))
    assert (
        costs["cost"].is_monotonic_increasing
        or (costs.groupby("provider")["cost"].diff().dropna() >= 0).all()
    )


def test_an_invoice_takes_the_place_of_its_notes() -> None:
    rush, recorder = Rush(["sun"]), Recorder()
    for event in (*rush.begin(), *rush.turn(), *rush.turn()):
        recorder.take(event)
    bill: Any = SimpleNamespace(
        amount=Decimal("0.0003"),
        invoice_id="i",
        agreement_id=rush.agreements[0].id,
        activity_ids=[],
    )
    recorder.take(ev.InvoiceAccepted(rush.job, rush.agreements[0], bill))
    assert running_costs(recorder.events())["cost"].tolist() == pytest.approx([0.0001, 0.0002, 0.0003])


def test_many_providers_become_few_areas(recorder: Recorder) -> None:
    figure = figures.cost_over_time(running_costs(recorder.events()), 0.02)
    names = [trace.name for trace in figure.data]
    assert "5 others" in names
    assert names[-2:] == ["projection", "budget"]
    areas = [trace for trace in figure.data if trace.stackgroup]
    total = sum(np.asarray(trace.y, dtype=float)[-1] for trace in areas)
    assert total == pytest.approx(float(recorder.totals().accepted))


def test_the_projection_goes_on_at_the_present_pace() -> None:
    start = pd.Timestamp("2026-03-01T12:00Z")
    costs = pd.DataFrame(
        {
            "time": [start + timedelta(seconds=n) for n in range(11)],
            "provider": "sun",
            "cost": np.arange(11.0),
        }
    )
    figure = figures.cost_over_time(costs, 100.0)
    line = next(trace for trace in figure.data if trace.name == "projection")
    assert list(line.y) == pytest.approx([10.0, 12.5])
    assert "budget" not in [trace.name for trace in figure.data]
    assert "budget" in [trace.name for trace in figures.cost_over_time(costs, 20.0).data]


def test_where_nothing_runs_any_more_there_is_no_projection() -> None:
    recorder, rush = Recorder(), Rush(["sun", "moon"])
    start = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    for second, event in enumerate((*rush.begin(), *rush.turn(), *rush.turn())):
        object.__setattr__(event, "timestamp", start + timedelta(seconds=second))
        recorder.take(event)

    def shown() -> dict[str, Any]:
        figure = figures.dashboard(
            events=recorder.events(),
            offers=recorder.offers(),
            services=recorder.services(),
            tasks=recorder.tasks(),
            budget=0.0005,
            show=["costs"],
        )
        return {trace.name: list(trace.y) for trace in figure.data if trace.visible}

    assert "projection" in shown()
    for agreement in rush.agreements:
        recorder.take(ev.AgreementTerminated(rush.job, agreement, {}))
    last = shown()
    assert "projection" not in last
    # what there is of the budget is told all the same
    assert "budget" in last
    assert last["sun"][-1] + last["moon"][-1] == pytest.approx(float(recorder.totals().accepted))


def test_states_are_told_by_pattern_too(recorder: Recorder) -> None:
    bars = figures.service_states(recorder.services(), datetime.now(UTC)).data
    looks = [(bar.marker.color, bar.marker.pattern.shape) for bar in bars]
    assert len({shape for _, shape in looks}) == len(looks)


def test_instances_are_called_as_in_their_panel() -> None:
    recorder, rush = Recorder(), Rush(["sun", HOSTILE])
    for event in rush.begin():
        recorder.take(event)
    for index, provider in enumerate((0, 1, 0)):
        for event in rush.service(Instance(f"instance-{index}"), provider, "pending", "starting", "running"):
            recorder.take(event)
    # another cluster counts its own
    other = Rush(["sun"], job="another")
    other.agreements[0].id, other.activities[0].id = "agreement-9", "activity-9"
    for event in (*other.begin(), *other.service(Instance("instance-9"), 0, "pending", "starting")):
        recorder.take(event)
    figure = figures.service_states(recorder.services(), datetime.now(UTC))
    ticks = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
    hostile = ticks.pop("instance-1")
    assert "<" not in hostile
    assert ticks == {"instance-0": "sun", "instance-2": "sun (2)", "instance-9": "sun"}
    # each has its bars in its own row, and says in full what it is
    (running,) = (bar for bar in figure.data if bar.name == "running")
    assert list(running.y) == ["instance-0", "instance-1", "instance-2"]
    assert running.customdata[2][0] == "Instance on sun (2)"


def test_offers_are_there_until_the_end() -> None:
    start = pd.Timestamp("2026-03-01T12:00Z")
    counts = pd.DataFrame({"time": [start, start + pd.Timedelta(minutes=1)], "offers": [1, 5]})
    assert figures.offers_over_time(counts).data[0].x[-1] == counts["time"].iloc[-1].timestamp() * 1000
    now = start + pd.Timedelta(minutes=10)
    (line,) = figures.offers_over_time(counts, now).data
    assert (line.x[-1], line.y[-1], len(line.x)) == (now.timestamp() * 1000, 5, 3)


def test_in_a_dashboard_they_are_there_until_its_last_event(recorder: Recorder) -> None:
    events = recorder.events()
    figure = figures.dashboard(
        events=events,
        offers=recorder.offers(),
        services=recorder.services(),
        tasks=recorder.tasks(),
        show=["offers"],
    )
    (seen,) = (trace for trace in figure.data if trace.name == "offers")
    assert seen.x[-1] == pytest.approx(events["time"].max().timestamp() * 1000)
    assert events.loc[events["event"] == "ProposalReceived", "time"].max() < events["time"].max()


def test_throughput_adds_up(recorder: Recorder) -> None:
    counts = finished_counts(recorder.tasks())
    assert counts["finished"].iloc[-1] == 96


def test_times_are_milliseconds() -> None:
    moments = pd.Series(pd.to_datetime(["2026-03-01T12:00:00.25Z", None]))
    found = milliseconds(moments)
    assert found[0] == 1772366400250.0
    assert np.isnan(found[1])


def test_long_columns_are_thinned() -> None:
    x = np.arange(100_000, dtype=np.float64)
    thin, other = thinned(x, x * 2, most=2000)
    assert len(thin) <= 2000
    assert (thin[0], thin[-1], other[-1]) == (0, 99_999, 199_998)


def test_a_market_of_ten_thousand_is_a_small_figure() -> None:
    table, rush = OfferTable(), Rush(["x"])
    for number in range(10_000):
        event: Any = rush.proposal(number)
        table.add(event.proposal)
    figure = figures.price_against_size(table.frame())
    assert sum(len(trace.x) for trace in figure.data) <= 4000


@pytest.mark.parametrize("wrong", ["cost", ["offers", "nothing"], []])
def test_a_part_that_does_not_exist(wrong: Any) -> None:
    with pytest.raises(ValueError, match="offers"):
        check(wrong)
    with pytest.raises(ValueError, match="is not one of threads"):
        figures.price_against_size(OfferTable().frame(), size="weight")


def test_a_choice_of_parts(recorder: Recorder) -> None:
    assert check(["tasks", "offers"]) == ("offers", "tasks")
    figure = figures.dashboard(
        events=recorder.events(),
        offers=recorder.offers(),
        services=recorder.services(),
        tasks=recorder.tasks(),
        show=["tasks", "costs"],
    )
    headings = [note.text for note in figure.layout.annotations]
    assert headings == ["<b>Cost</b>", "<b>Tasks by state</b>"]
    assert figure.layout.xaxis.visible is False
    assert figure.layout.xaxis5.visible is True


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_colours_can_be_seen_on_light_and_on_dark(page: str) -> None:
    for colour in PALETTE:
        dark, light = sorted([_luminance(colour), _luminance(page)])
        assert (light + 0.05) / (dark + 0.05) >= 3, colour


def test_offers_of_a_dashboard_are_counted_once_a_provider(recorder: Recorder) -> None:
    rush = Rush(["sun"], job="another")
    for number in range(40):
        recorder.take(rush.proposal(number))
    figure = figures.dashboard(
        events=recorder.events(),
        offers=recorder.offers(),
        services=recorder.services(),
        tasks=recorder.tasks(),
    )
    (seen,) = (trace for trace in figure.data if trace.name == "offers")
    assert seen.y[-1] == recorder.offers()["provider_id"].nunique()
