"""What an awaited command raises when it was never executed."""

from __future__ import annotations

from golem_nb.rest.activity import BatchError

__all__ = ["CommandNotExecutedError"]


class CommandNotExecutedError(BatchError):
    """There is no result of a command, because its script ended before the command did.

    The error that ended the script, e.g. of an earlier command, is the `__cause__`.
    """
