"""Loggers of this library: who gets their messages, and how they look."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from golem_nb.log.text import printable

ROOT = "golem_nb"

_STDERR, _FILE = f"{ROOT}.default.stderr", f"{ROOT}.default.file"


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose methods take a `job_id`, too: the message then begins with ``[Job <id>]``."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})

    def log(self, level: int, msg: object, *args: object, job_id: object = None, **kwargs: Any) -> None:
        """Log a message; all other methods call this one."""
        if job_id is not None:
            prefix = f"[Job {printable(str(job_id))}] "
            # The id is the user's text, but the message is a format as soon as there is something to format.
            msg = f"{prefix.replace('%', '%%') if args else prefix}{msg}"
        # One frame more stands between the caller and the logger.
        self.logger.log(level, msg, *args, **{**kwargs, "stacklevel": kwargs.get("stacklevel", 1) + 1})


def get_logger(name: str) -> JobLogger:
    """Return a logger by its name, whose methods also take ``job_id=``.

    Examples
    --------
    >>> get_logger("golem_nb.engine").info("%s found", "Offer", job_id="1")
    """
    return JobLogger(logging.getLogger(name))


def enable_default_logger(
    format_: str = "[%(asctime)s %(levelname)s %(name)s] %(message)s",
    log_file: str | None = None,
    debug_activity_api: bool = False,
    debug_market_api: bool = False,
    debug_payment_api: bool = False,
    debug_net_api: bool = False,
) -> None:
    """Write the messages of this library to stderr, from level INFO on.

    It may be called again: the new settings take the place of the former ones, no line is doubled, and a log
    file that is named again is continued.

    Parameters
    ----------
    format_
        Format of the lines, as in `logging.Formatter`.
    log_file
        A file that gets all messages, from level DEBUG on. It is overwritten.
    debug_activity_api, debug_market_api, debug_payment_api, debug_net_api
        Write the requests to this part of the daemon's API to the log file, too.

    Raises
    ------
    OSError
        The log file cannot be written.
    """
    formatter = _Formatter(format_)
    logger = logging.getLogger(ROOT)
    file_handler = _file_handler(logger, log_file)
    stderr_handler = logging.StreamHandler(sys.stderr)
    stderr_handler.set_name(_STDERR)
    stderr_handler.setLevel(logging.INFO)
    for former in [handler for handler in logger.handlers if handler.name in (_STDERR, _FILE)]:
        if former is not file_handler:
            logger.removeHandler(former)
            former.close()
    # A handler that is there already is not added twice.
    for handler in (stderr_handler, file_handler):
        if handler is not None:
            handler.setFormatter(formatter)
            logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)

    flags = {
        "activity": debug_activity_api,
        "market": debug_market_api,
        "payment": debug_payment_api,
        "net": debug_net_api,
    }
    for api, debug in flags.items():
        level = logging.DEBUG if debug and log_file is not None else logging.INFO
        logging.getLogger(f"{ROOT}.rest.{api}").setLevel(level)
    if log_file is not None:
        logger.info("Using log file `%s`; in case of errors look for additional information there", log_file)


def _file_handler(logger: logging.Logger, log_file: str | None) -> logging.Handler | None:
    if log_file is None:
        return None
    path = Path(log_file).absolute()
    for handler in logger.handlers:
        if (
            handler.name == _FILE
            and isinstance(handler, logging.FileHandler)
            and Path(handler.baseFilename) == path
            and path.exists()
        ):
            # A cell that is run twice must not wipe out what a running job has written.
            return handler
    handler = logging.FileHandler(path, mode="w", encoding="utf-8", errors="backslashreplace")
    handler.set_name(_FILE)
    handler.setLevel(logging.DEBUG)
    return handler


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        when = datetime.fromtimestamp(record.created).astimezone()
        if datefmt:
            return when.strftime(datefmt)
        return f"{when:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}{when:%z}"

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n\t")
