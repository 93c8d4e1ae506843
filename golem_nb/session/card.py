"""What a session's card says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from golem_nb.engine.allocation import MAINNETS
from golem_nb.session.clusters import ClusterHandle
from golem_nb.session.handle import Handle
from golem_nb.ui.sources import RunningFact, SessionFacts

if TYPE_CHECKING:
    from golem_nb.session.core import Core
    from golem_nb.session.limits import Limits

__all__ = ["session_facts"]


def session_facts(core: Core) -> SessionFacts:
    """Return where a session stands; from any thread, and without asking anybody.

    Parameters
    ----------
    core
        Of the session.
    """
    settings, daemon = core.settings, getattr(core, "daemon", None)
    money, totals = core.money(), core.recorder.totals()
    running = [handle for handle in list(core.handles.values()) if not handle.ended]
    network = "local" if settings.place.is_local else str(settings.network).lower()
    mainnet = network in MAINNETS
    return SessionFacts(
        name=settings.name,
        state=core.state,
        network=network,
        subnet="" if daemon is None else daemon.subnet,
        daemon="" if daemon is None else daemon.api_config.api_url,
        budget=settings.budget,
        settled=totals.settled,
        accepted=max(money.accepted - totals.settled, type(money.accepted)(0)),
        reserved=money.reserved,
        per_hour=money.per_hour,
        currency="GLM" if mainnet else "tGLM",
        real_money=mainnet,
        node_id=core.node_id or None,
        account=core.account or None,
        balance=core.balance,
        running=tuple(map(_fact, running)),
        left=tuple(core.leftovers),
        problem=_problem(core),
    )


def _fact(handle: Handle[object, object]) -> RunningFact:
    return RunningFact(
        kind="cluster" if isinstance(handle, ClusterHandle) else "job",
        name=f"{handle.kind} {handle.id}",
        text=handle.so_far,
    )


def _problem(core: Core) -> str | None:
    """Say what the user should know first."""
    book = getattr(core, "book", None)
    if book is not None and book.problem:
        return f"The ledger cannot be written, so a crash would lose its end: {book.problem}"
    if core.failure is not None:
        return f"It could not be started: {core.failure}"
    limits: Limits | None = getattr(core, "limits", None)
    # a limit that was near and is not any more is no matter of the present
    if limits is not None and limits.standing:
        return limits.standing[0]
    if core.watchdog.findings:
        return core.watchdog.findings[-1]
    if core.settings.place.is_local and os.environ.get("YAGNA_APPKEY"):
        return (
            "YAGNA_APPKEY is set, but this session does not use it: it works on this machine, where nothing "
            'costs anything. Session(network="hoodi", name="hoodi") would use that daemon.'
        )
    return None
