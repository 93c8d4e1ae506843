from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from xml.etree import ElementTree

import attrs
import pytest

from golem_nb.ui.faces import (
    cluster_html,
    cluster_text,
    dashboard_html,
    dashboard_text,
    job_html,
    job_text,
    market_html,
    session_html,
    session_text,
    terminal_html,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>]]>&amp;\x1b[31m\x00\ud800\u202e"


def pages(stage: ModuleType) -> list[str]:
    job = attrs.evolve(stage.job.now, what=HOSTILE, outcome=HOSTILE, name=HOSTILE)
    session = attrs.evolve(stage.session.now, name=HOSTILE, subnet=HOSTILE, problem=HOSTILE, left=[HOSTILE])
    stall = stage.Stall(10)
    return [
        session_html(session, NOW),
        job_html(job, [(HOSTILE, "running", 1, 0, "0.1")], NOW),
        cluster_html(attrs.evolve(stage.cluster.now, service=HOSTILE), {"00000000-aaaa": HOSTILE}, NOW),
        dashboard_html(session, 3, {"running": 1}, {HOSTILE: 0.5}, NOW),
        market_html(HOSTILE, 10, stall.frame(), NOW),
        terminal_html(HOSTILE, HOSTILE * 100, NOW),
    ]


def test_snapshots_are_well_formed_and_hold_nothing_that_runs(stage: ModuleType) -> None:
    for page in pages(stage):
        root = ElementTree.fromstring(page)
        for node in root.iter():
            assert node.tag in {"div", "span", "table", "thead", "tbody", "tr", "th", "td", "pre", "b"}
            assert set(node.attrib) <= {"style", "role", "aria-label", "scope", "class"}
        assert "<img" not in page
        assert "&lt;img src=x" in page


def test_snapshots_say_when_they_were_made_and_follow_the_theme(stage: ModuleType) -> None:
    for page in pages(stage):
        assert "As of 2026-03-01" in page
        assert "var(--jp-layout-color1" in page
        assert "var(--jp-ui-font-color0" in page


def test_a_snapshot_is_the_same_each_time(stage: ModuleType) -> None:
    assert pages(stage) == pages(stage)


def test_a_snapshot_of_a_cluster_keeps_what_its_instances_have_written(stage: ModuleType) -> None:
    page = stage.desk.cluster(stage.cluster).face_html()
    assert page.count("line two") == len(stage.cluster.now.instances)
    assert "Output of the instance on sun-01" in page


def test_an_instance_that_is_over_costs_nothing_an_hour(stage: ModuleType) -> None:
    cluster = stage.cluster.now
    instances = [
        attrs.evolve(each, state="terminated", per_hour=Decimal("0.15")) for each in cluster.instances
    ]
    stage.cluster.change(instances=instances)
    panel = stage.desk.cluster(stage.cluster)
    assert "0.15" not in panel.face_html()
    assert {row["hour"] for row in panel.describe()["instances"].values()} == {None}
    stage.cluster.change(instances=[attrs.evolve(instances[0], state="running")])
    assert {row["hour"] for row in panel.describe()["instances"].values()} == {0.15}
    assert "0.15" in panel.face_html()


def test_the_card_of_a_session_that_is_over_names_no_way_to_end_it(stage: ModuleType) -> None:
    card = stage.desk.card()
    assert "session.stop() ends everything and pays" in card.face_html()
    stage.session.change(state="stopped", running=[])
    card.describe()
    assert "session.stop()" not in card.face_html()


@pytest.mark.parametrize("amount", ["0", "0.00000001", "123456"])
def test_odd_budgets(stage: ModuleType, amount: str) -> None:
    session = attrs.evolve(stage.session.now, budget=Decimal(amount))
    ElementTree.fromstring(session_html(session, NOW))
    assert session_text(session)


def test_lines_of_text(stage: ModuleType) -> None:
    assert session_text(stage.session.now) == (
        "Session default, ready on local: 0.2055 of 1.0000 tGLM spent, 0.0500 reserved, "
        "job-3, cluster-1 are running"
    )
    assert (
        job_text(stage.job.now) == "job-3 running: 32 of 50 done, 4 running, 2 failed, 3 retries, 0.0123 GLM"
    )
    assert cluster_text(stage.cluster.now) == (
        "cluster-1 of WebService running: 1 of 5 instances running, 0.0234 GLM"
    )
    assert dashboard_text(stage.session.now, 2, {"accepted": 3}) == (
        "Dashboard of session default: 2 offers, tasks: 3 accepted"
    )


def test_of_one_thing_it_is_said_in_the_singular(stage: ModuleType) -> None:
    assert "4 failed, 1 retry, " in job_text(attrs.evolve(stage.job.now, failed=4, retries=1))
    assert "1 of 1 instance running" in cluster_text(attrs.evolve(stage.cluster.now, wanted=1))
    assert "1 offer, " in dashboard_text(stage.session.now, 1, {})


def test_lines_have_no_line_break_whatever_comes(stage: ModuleType) -> None:
    texts: list[Callable[[], str]] = [
        lambda: session_text(attrs.evolve(stage.session.now, name="a\nb\u2028c")),
        lambda: job_text(attrs.evolve(stage.job.now, name="a\nb")),
        lambda: cluster_text(attrs.evolve(stage.cluster.now, service="a\r\nb")),
    ]
    for text in texts:
        assert len(text().splitlines()) == 1
