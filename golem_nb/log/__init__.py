"""Logging: the default logger, and event consumers that log."""

from __future__ import annotations

from golem_nb.log.events import log_event, log_event_repr
from golem_nb.log.logger import enable_default_logger, get_logger
from golem_nb.log.summary import SummaryLogger, log_summary
from golem_nb.log.text import pluralize, str_capped

__all__ = [
    "SummaryLogger",
    "enable_default_logger",
    "get_logger",
    "log_event",
    "log_event_repr",
    "log_summary",
    "pluralize",
    "str_capped",
]
