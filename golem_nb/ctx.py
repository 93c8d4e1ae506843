"""What a worker, or a service, knows of the activity that it uses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.props.com import ComLinear
from golem_nb.script import Script

if TYPE_CHECKING:
    from golem_nb.events import Event
    from golem_nb.rest import activity as rest
    from golem_nb.rest.ids import ActivityId, NodeId
    from golem_nb.rest.market import Agreement
    from golem_nb.storage import StorageProvider

__all__ = ["ActivityUsage", "WorkContext"]


@attrs.frozen
class ActivityUsage:
    """What an activity has used so far.

    Parameters
    ----------
    current_usage
        The usage by the name of its counter, e.g. ``{"golem.usage.duration_sec": 2.5}``; the unit is in the
        name.
    timestamp
        When the provider reported it.
    """

    current_usage: dict[str, float]
    timestamp: datetime


class WorkContext:
    """A provider's activity, as seen by the code that uses it.

    The engine makes one for each activity and passes it to the worker, or to the service.

    Parameters
    ----------
    activity
        The activity.
    agreement
        The agreement that the activity belongs to.
    storage
        What transfers files.
    emitter
        Called with an event class and the attributes that it has beyond the activity's; makes the event,
        passes it to the consumers, and returns it.
    """

    def __init__(
        self,
        activity: rest.Activity,
        agreement: Agreement,
        storage: StorageProvider,
        emitter: Callable[..., Event],
    ) -> None:
        self._activity = activity
        self._agreement = agreement
        self._emitter = emitter
        self._pricing: ComLinear | None = None
        self.storage = storage

    @property
    def id(self) -> ActivityId:
        """Id of the activity."""
        return self._activity.id

    @property
    def provider_name(self) -> str | None:
        """Name of the provider, as the provider says: unverified text."""
        return self._agreement.details.provider_node_info.name

    @property
    def provider_id(self) -> NodeId:
        """Node id of the provider."""
        return self._agreement.details.provider_id

    def new_script(self, timeout: timedelta | None = None, wait_for_results: bool = True) -> Script:
        """Make a script for this activity; the same as ``Script(ctx, …)``.

        Parameters
        ----------
        timeout
            Time after which the script is interrupted; None: never.
        wait_for_results
            Whether yielding the script waits for its results.
        """
        return Script(self, timeout=timeout, wait_for_results=wait_for_results)

    def emit(self, event_class: type[Event], **kwargs: Any) -> Event:
        """Emit an event, e.g. of a class of your own, to all event consumers.

        Parameters
        ----------
        event_class
            A class derived from one in `golem_nb.events`.
        **kwargs
            The attributes that it has beyond job, agreement and activity.

        Returns
        -------
        Event
            The event.
        """
        return self._emitter(event_class, **kwargs)

    async def get_raw_usage(self) -> rest.ActivityUsage:
        """The usage as the daemon gives it: a list in the order of the offer's counters."""
        return await self._activity.usage()

    async def get_usage(self) -> ActivityUsage:
        """The usage by counter.

        Examples
        --------
        ::

            usage = await ctx.get_usage()
            usage.current_usage["golem.usage.duration_sec"]
        """
        raw = await self._activity.usage()
        # a provider may report fewer values than it offered, e.g. none before its first measurement
        return ActivityUsage(dict(self._linear.usage_as_dict(raw.current_usage)), raw.timestamp)

    async def get_raw_state(self) -> rest.ActivityState:
        """The state of the activity as the daemon gives it."""
        return await self._activity.state()

    async def get_cost(self) -> float | None:
        """What the activity has cost so far by the usage that the provider reports, GLM.

        The start price is included. None if there is no usage yet.
        """
        raw = await self._activity.usage()
        linear = self._linear
        if len(raw.current_usage) != len(linear.usage_vector):
            return None
        return float(linear.calculate_cost([Decimal(str(used)) for used in raw.current_usage]))

    @property
    def _linear(self) -> ComLinear:
        if self._pricing is None:
            self._pricing = self._agreement.details.extract(ComLinear)
        return self._pricing

    def __repr__(self) -> str:
        return f"<WorkContext {self.id} at {self.provider_id}>"
