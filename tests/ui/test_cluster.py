"""What the panel of a cluster calls its instances, and how it colours their states."""

from __future__ import annotations

import re
from datetime import timedelta
from types import ModuleType

import attrs

from golem_nb.frames.instances import STATE_COLOURS
from golem_nb.services.state import ServiceState
from golem_nb.ui import assets
from golem_nb.ui.cluster import ClusterControl


def test_instances_on_one_provider_are_told_apart(stage: ModuleType) -> None:
    first, *_, last = stage.cluster.now.instances
    again = attrs.evolve(first, id="again", state="terminated")
    control = stage.desk.cluster(
        stage.Source(attrs.evolve(stage.cluster.now, instances=[first, again, last]))
    )
    rows = control.describe()["instances"]
    assert [(row["name"], row["placed"]) for row in rows.values()] == [
        ("sun-01", True),
        ("no provider yet", False),
        # it is over, and so it is last, but it was the second one
        ("sun-01 (2)", True),
    ]
    assert "Output of the instance on sun-01 (2)" in control.face_html()


def test_instances_are_numbered_as_they_were_started(stage: ModuleType) -> None:
    # as figures have them, which know of nothing else
    first = stage.cluster.now.instances[0]
    before = attrs.evolve(first, id="before", started=first.started - timedelta(seconds=1))
    waiting = attrs.evolve(first, id="waiting", started=None)
    facts = attrs.evolve(stage.cluster.now, instances=[waiting, first, before])
    assert facts.names == {"before": "sun-01", first.id: "sun-01 (2)", "waiting": "sun-01 (3)"}


def test_each_state_has_the_colour_that_it_has_in_figures() -> None:
    drawn = set(re.findall(r'i\[data-state="(\w+)"\] \{[^}]*var\(--gnb-\1\)', assets.read("cluster.css")))
    assert drawn == set(STATE_COLOURS) == {state.value for state in ServiceState.states}
    for state, colour in STATE_COLOURS.items():
        assert f"--gnb-{state}: {colour};" in ClusterControl._css
