"""One typed client of the daemon's HTTP API, the requestor's side of it."""

from __future__ import annotations

from golem_nb.rest import errors
from golem_nb.rest.activity import ActivityService as Activity
from golem_nb.rest.configuration import Configuration
from golem_nb.rest.gsb import Gsb
from golem_nb.rest.identity import Identity
from golem_nb.rest.market import Market
from golem_nb.rest.net import Net
from golem_nb.rest.payment import Payment

__all__ = ["Activity", "Configuration", "Gsb", "Identity", "Market", "Net", "Payment", "errors"]
