"""What instances of services have gone through and said, kept from events as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from golem_nb import events
from golem_nb.script.command import Deploy
from golem_nb.ui.text import lines

__all__ = ["MARK", "Instances", "Trail"]

#: Instances that are kept; the oldest ones go first.
MOST_INSTANCES = 2000

#: States of one instance, and characters of its output, that are kept.
MOST_STATES, MOST_OUTPUT = 60, 8000

#: Separates the output of a terminal's command from what is told of it; no program prints it by chance.
MARK = "\x1e"


@attrs.define
class Trail:
    """What is known of one instance."""

    #: States and when they began, in milliseconds since 1970.
    states: deque[tuple[str, float]] = attrs.field(factory=lambda: deque(maxlen=MOST_STATES))
    #: The end of what its commands have written.
    output: str = ""


class Instances:
    """An event consumer that remembers states and output of instances of services."""

    def __init__(self) -> None:
        self._trails: dict[str, Trail] = {}
        self._by_activity: dict[str, Trail] = {}

    def take(self, event: events.Event) -> None:
        """Take note of an event."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def of(self, instance_id: str) -> Trail:
        """Return what is known of an instance; an empty trail if nothing is."""
        return self._trails.get(instance_id) or Trail()

    def _state(self, event: events.ServiceStateChanged) -> None:
        service = event.service.id
        trail = self._trails.get(service)
        if trail is None:
            trail = self._trails[service] = Trail()
            if len(self._trails) > MOST_INSTANCES:
                del self._trails[next(iter(self._trails))]
        activity = event.activity.id
        if self._by_activity.get(activity) is not trail:
            self._by_activity[activity] = trail
            if len(self._by_activity) > MOST_INSTANCES:
                del self._by_activity[next(iter(self._by_activity))]
        trail.states.append((event.new.value, event.timestamp.timestamp() * 1000))

    def _executed(self, event: events.CommandExecuted) -> None:
        trail = self._by_activity.get(event.activity.id)
        # what a deployment writes is meant for programs
        if trail is None or (event.success and isinstance(event.command, Deploy)):
            return
        for written in (event.stdout, event.stderr, None if event.success else event.message):
            if text := _before_mark(written or ""):
                if trail.output and not trail.output.endswith("\n"):
                    trail.output += "\n"
                self._append(trail, text)

    def _written(self, event: events.CommandStdOut | events.CommandStdErr) -> None:
        trail = self._by_activity.get(event.activity.id)
        if trail is not None:
            self._append(trail, event.output)

    def _append(self, trail: Trail, text: str | bytes) -> None:
        trail.output = (trail.output + lines(text, MOST_OUTPUT))[-MOST_OUTPUT:]


def _before_mark(text: str | bytes) -> str | bytes:
    return text.partition(MARK)[0] if isinstance(text, str) else text.partition(MARK.encode())[0]


_HANDLERS: dict[type[events.Event], Callable[[Instances, Any], None]] = {
    events.ServiceStateChanged: Instances._state,
    events.CommandExecuted: Instances._executed,
    events.CommandStdOut: Instances._written,
    events.CommandStdErr: Instances._written,
}
