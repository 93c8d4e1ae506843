"""The panel of a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from golem_nb.ui import assets
from golem_nb.ui.faces import session_html, session_text
from golem_nb.ui.panel import Panel
from golem_nb.ui.pump import Pump
from golem_nb.ui.sources import SessionSource
from golem_nb.ui.text import clean

__all__ = ["SessionCard"]

#: Running things, and leftovers of dead kernels, that are listed.
MOST_LISTED = 50


class SessionCard(Panel):
    """Where a session is, who it is, who pays, what is left of the budget, what runs, and how to stop it.

    Parameters
    ----------
    session
        The session.
    pump
        Keeps the panel up to date.
    """

    _esm = assets.script("card.js")
    _css = assets.style("card.css")
    actions: ClassVar[Mapping[str, str]] = {"stop": "stop", "recover": "recover"}

    def __init__(self, session: SessionSource, pump: Pump) -> None:
        self._session = session
        self._facts = session.facts()
        super().__init__(pump)

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self._facts.state == "stopped"

    def stop(self) -> None:
        """Stop the session: ends everything and pays."""
        self._session.stop()

    def recover(self) -> None:
        """Settle or end what a dead kernel has left; what could not be done is shown."""
        for problem in self._session.recover().problems:
            self._fault(f"Recover: {clean(problem, 600)}")

    def describe(self) -> dict[str, Any]:
        """Return the state for the browser."""
        session = self._facts = self._session.facts()
        return {
            "name": clean(session.name, 60),
            "state": session.state,
            "network": clean(session.network, 40),
            "subnet": clean(session.subnet, 60),
            "daemon": clean(session.daemon, 100),
            "node": None if session.node_id is None else clean(session.node_id, 64),
            "account": None if session.account is None else clean(session.account, 120),
            "balance": None if session.balance is None else float(session.balance),
            "currency": clean(session.currency, 12),
            "real": session.real_money,
            "budget": float(session.budget),
            "settled": float(session.settled),
            "accepted": float(session.accepted),
            "reserved": float(session.reserved),
            "free": float(session.free),
            "hour": None if session.per_hour is None else float(session.per_hour),
            "running": {
                f"{thing.kind} {thing.name}": {
                    "kind": thing.kind,
                    "name": clean(thing.name, 60),
                    "text": clean(thing.text, 120),
                }
                for thing in session.running[:MOST_LISTED]
            },
            "left": [clean(line, 300) for line in session.left[:MOST_LISTED]],
            "problem": None if session.problem is None else clean(session.problem, 600),
        }

    def face_html(self) -> str:
        """Return a snapshot."""
        return session_html(self._facts)

    def face_text(self) -> str:
        """Return one line."""
        return session_text(self._facts)
