"""Event consumers that log each event by itself."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from golem_nb.log.text import printable, str_capped

if TYPE_CHECKING:
    from golem_nb.events import Event

_logger = logging.getLogger("golem_nb.events")

_SHOWN = 200
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DETAILS = (
    "job_id",
    "prop_id",
    "agr_id",
    "provider_id",
    "task_id",
    "script_id",
    "command",
    "old",
    "new",
    "success",
    "amount",
    "timeout",
    "reason",
    "message",
    "output",
    "exception",
)


def log_event(event: Event) -> None:
    """Log a readable line about an event, at level DEBUG."""
    if not _logger.isEnabledFor(logging.DEBUG):
        return
    words = _WORD.split(type(event).__name__)
    name = " ".join([words[0], *(word.lower() for word in words[1:])])
    details = [
        f"{detail} = {printable(str_capped(value, _SHOWN))}"
        for detail in _DETAILS
        if (value := getattr(event, detail, None)) is not None
    ]
    _logger.debug("%s", "; ".join([name, ", ".join(details)] if details else [name]))


def log_event_repr(event: Event) -> None:
    """Log the `repr` of an event, at level DEBUG."""
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug("%r", event)
