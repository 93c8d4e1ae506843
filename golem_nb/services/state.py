"""The life cycle of an instance of a service."""

from __future__ import annotations

from typing import Any

from statemachine import State, StateMachine

__all__ = ["ServiceState"]


class ServiceState(StateMachine):
    """State machine describing the state and lifecycle of a `Service` instance.

    The states are attributes of the class, and can be compared with the state of an instance::

        instance.state == ServiceState.running

    Parameters
    ----------
    model
        Object that holds the current state; one of its own by default.
    state_field
        Attribute of the model that holds it.
    start_value
        Value of the state to begin with; ``"pending"`` by default.
    """

    pending = State("pending", value="pending", initial=True)
    """The service instance has not yet been assigned to a provider."""

    starting = State("starting", value="starting")
    """The service instance is starting on a provider.

    The activity within which the service is running has been created on a provider node and now the service
    instance's `Service.start` handler is active and has not yet finished.
    """

    running = State("running", value="running")
    """The service instance is running on a provider.

    The instance's `Service.start` handler has finished and the `Service.run` handler is active.
    """

    stopping = State("stopping", value="stopping")
    """The service instance is stopping on a provider.

    The instance's `Service.run` handler has finished and the `Service.shutdown` handler is active.
    """

    terminated = State("terminated", value="terminated")
    """The service instance has been terminated and is no longer bound to an activity.

    This means that either the service has been explicitly stopped by the requestor, or the activity that the
    service had been attached-to has been terminated - e.g. by a failure on the provider's end or as a result
    of termination of the agreement between the requestor and the provider.
    """

    suspended = State("suspended", value="suspended", final=True)
    """The requestor has left the instance alone; it goes on, with its activity, until it is resumed.

    A resumed service is a new instance on the same activity.
    """

    unresponsive = State("unresponsive", value="unresponsive")
    """The activity does not answer any more. The instance is about to be terminated."""

    AVAILABLE = (starting, running, stopping)
    """A helper set of states in which the service instance is bound to an activity and can be interacted
    with.
    """

    ready = starting.to(running)
    stop = running.to(stopping)
    terminate = terminated.from_(pending, starting, running, stopping, unresponsive, terminated)
    suspend = suspended.from_(starting, running, stopping)
    lose = unresponsive.from_(starting, running, stopping)
    restart = pending.from_(pending, starting, running, stopping, terminated, unresponsive)
    start = pending.to(starting)
    lifecycle = pending.to(starting) | starting.to(running) | running.to(stopping) | stopping.to(terminated)

    def __init__(self, model: Any = None, state_field: str = "state", start_value: str | None = None) -> None:
        super().__init__(model, state_field, start_value)

    @property
    def now(self) -> State:
        """The current state."""
        found: State = getattr(ServiceState, self.current_state_value)
        return found
