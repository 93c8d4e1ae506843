"""Properties of nodes and activities."""

# ruff: noqa: RUF009 - `prop` declares a field, as `dataclasses.field` does

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from golem_nb.props.base import Model, prop

NODE_NAME = "golem.node.id.name"
SUBNET = "golem.node.debug.subnet"
EXPIRATION = "golem.srv.comp.expiration"
MULTI_ACTIVITY = "golem.srv.caps.multi-activity"


@dataclass
class NodeInfo(Model):
    """What a node says of itself. Of a provider it is unverified text: never show it as HTML or markup."""

    name: str | None = prop(NODE_NAME, default=None)
    subnet_tag: str | None = prop(SUBNET, default=None)


@dataclass
class Activity(Model):
    """Terms of the activities of an agreement.

    Parameters
    ----------
    cost_cap
        The most that an activity may cost, GLM.
    cost_warning
        The cost at which the provider warns, GLM.
    timeout_secs
        The most seconds that an activity may live.
    expiration
        When the demand expires.
    multi_activity
        Whether an agreement may have several activities.
    """

    cost_cap: float | None = prop("golem.activity.cost_cap", default=None)
    cost_warning: float | None = prop("golem.activity.cost_warning", default=None)
    timeout_secs: float | None = prop("golem.activity.timeout_secs", default=None)
    #: When the agreement ends; sent as milliseconds since the epoch.
    expiration: datetime | None = prop(EXPIRATION, default=None)
    #: Whether several activities, one after the other, may be created in the agreement.
    multi_activity: bool | None = prop(MULTI_ACTIVITY, default=None)
