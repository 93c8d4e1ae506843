"""The panel of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from golem_nb.frames.instances import STATE_COLOURS
from golem_nb.ui import assets
from golem_nb.ui.faces import cluster_html, cluster_text
from golem_nb.ui.instances import Instances
from golem_nb.ui.panel import Panel
from golem_nb.ui.pump import Pump
from golem_nb.ui.sources import ClusterFacts, ClusterSource, InstanceFacts
from golem_nb.ui.text import clean, lines, milliseconds

__all__ = ["ClusterControl"]

#: Rows that are shown: living instances, and then those that have ended last.
MOST_ROWS = 200

#: What is shown of an instance's output.
OUTPUT = 3000


#: The colours of states, as `cluster.css` knows them.
_COLOURS = "".join(f" --gnb-{state}: {colour};" for state, colour in STATE_COLOURS.items())


class ClusterControl(Panel):
    """The instances of a cluster, what they cost and say, and buttons for what can be done to them.

    Parameters
    ----------
    cluster
        The cluster.
    instances
        Knows their states and outputs.
    pump
        Keeps the panel up to date.
    """

    _esm = assets.script("cluster.js")
    _css = f"{assets.style('cluster.css')}\n.gnb.gnb-cluster {{{_COLOURS} }}\n"
    actions: ClassVar[Mapping[str, str]] = {
        "add": "add",
        "scale": "scale",
        "stop": "stop",
        "suspend": "suspend",
        "resume": "resume",
        "restart": "restart",
        "send_message": "send_message",
    }

    def __init__(self, cluster: ClusterSource, instances: Instances, pump: Pump) -> None:
        self._cluster = cluster
        self._instances = instances
        self._facts = cluster.facts()
        super().__init__(pump)

    @property
    def over(self) -> bool:
        """Whether the cluster has ended."""
        return self._facts.state == "ended"

    def add(self, count: int = 1) -> None:
        """Start more instances."""
        self._cluster.add(int(count))

    def scale(self, wanted: int) -> None:
        """Start or stop instances until there are as many as wanted."""
        self._cluster.scale(int(wanted))

    def stop(self, id: str) -> None:
        """Stop an instance."""
        self._cluster.stop_instance(id)

    def suspend(self, id: str) -> None:
        """Leave an instance alone; it goes on costing."""
        self._cluster.suspend_instance(id)

    def resume(self, id: str) -> None:
        """Take up a suspended instance."""
        self._cluster.resume_instance(id)

    def restart(self, id: str) -> None:
        """Stop an instance and start another one."""
        self._cluster.restart_instance(id)

    def send_message(self, id: str, text: str) -> None:
        """Send a message to an instance's handlers."""
        self._cluster.send(id, text)

    def describe(self) -> dict[str, Any]:
        """Return the state for the browser."""
        cluster = self._facts = self._cluster.facts()
        shown = self._shown(cluster)
        names = cluster.names
        return {
            "name": clean(cluster.name, 60),
            "service": clean(cluster.service, 60),
            "state": cluster.state,
            "wanted": cluster.wanted,
            "cost": round(float(cluster.cost), 9),
            "left": None if cluster.budget_left is None else float(cluster.budget_left),
            "each": None if cluster.instance_per_hour is None else float(cluster.instance_per_hour),
            "expires": milliseconds(cluster.expires),
            "total": len(cluster.instances),
            "instances": {instance.id: self._row(instance, names[instance.id]) for instance in shown},
            "timeline": {
                instance.id: [list(entry) for entry in list(self._instances.of(instance.id).states)]
                for instance in shown
            },
        }

    def face_html(self) -> str:
        """Return a snapshot."""
        cluster = self._facts
        return cluster_html(cluster, {each.id: self._output(each) for each in self._shown(cluster)})

    def face_text(self) -> str:
        """Return one line."""
        return cluster_text(self._facts)

    def _shown(self, cluster: ClusterFacts) -> list[InstanceFacts]:
        living = [instance for instance in cluster.instances if not instance.over]
        over = [instance for instance in cluster.instances if instance.over]
        room = max(MOST_ROWS - len(living), 0)
        return (living + over[len(over) - min(room, len(over)) :])[:MOST_ROWS]

    def _output(self, instance: InstanceFacts) -> str:
        known = lines(instance.output, OUTPUT) if instance.output else self._instances.of(instance.id).output
        return known[-OUTPUT:]

    def _row(self, instance: InstanceFacts, name: str) -> dict[str, Any]:
        return {
            "state": instance.state,
            "name": clean(name, 80),
            "placed": instance.provider is not None,
            "address": None if instance.address is None else clean(instance.address, 60),
            "started": milliseconds(instance.started),
            "since": milliseconds(instance.since),
            "hour": None if instance.per_hour_now is None else float(instance.per_hour_now),
            "message": None if instance.message is None else clean(instance.message, 200),
            # a page that a provider could choose must not become a link to a script
            "url": instance.url if instance.url and instance.url.startswith("http://") else None,
            "output": self._output(instance),
            "error": None if instance.error is None else clean(instance.error, 400),
        }
