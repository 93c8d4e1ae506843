"""The common base of golem_nb's own errors."""

from __future__ import annotations


class GolemError(Exception):
    """Base of every error that golem_nb raises on its own account.

    Catch it to tell a failure of the market, a provider or the daemon from a mistake in your own code. A few
    documented errors (`TimeoutError`, `ValueError`, `TypeError`) keep their built-in bases too.
    """
