"""Keeps what the library logs, for a look back; in notebooks it takes the place of lines on stderr."""

from __future__ import annotations

import logging
from collections import deque

__all__ = ["LogTail", "log_tail"]

#: Messages that are kept.
KEPT = 500


class LogTail(logging.Handler):
    """Keeps the last warnings and errors.

    A logger without any handler writes its warnings to stderr, in a notebook below whatever cell was first.
    With this one they are kept; `golem_nb.log.enable_default_logger` shows them as they come.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        try:
            self.lines.append(self.format(record))
        except Exception:
            self.handleError(record)


_tail = LogTail()


def log_tail(*, attach: bool) -> LogTail:
    """Return what keeps the messages of this process.

    Parameters
    ----------
    attach
        Have it keep messages from now on.
    """
    logger = logging.getLogger("golem_nb")
    if attach and _tail not in logger.handlers:
        logger.addHandler(_tail)
    return _tail
