"""What came of a recovery."""

from __future__ import annotations

from decimal import Decimal

import attrs

from golem_nb.log import pluralize

__all__ = ["RecoveryReport"]


@attrs.define
class RecoveryReport:
    """What was ended, paid and released.

    Attributes
    ----------
    sessions
        Ids of the sessions that nothing is left of.
    ended
        Ids of agreements that were terminated.
    destroyed
        Ids of activities that were destroyed.
    accepted
        What was accepted, GLM, beyond what had been before.
    paid
        Ids of agreements whose invoices were accepted.
    refused
        Ids of agreements whose invoices were refused, with the reason.
    unbilled
        Ids of agreements whose invoice has not come; it is accepted by a later recovery if it comes.
    released
        Ids of reservations that were released.
    removed
        Ids of VPNs that were removed.
    running
        Ids of agreements that were left running.
    problems
        What could not be done, in words; the next recovery tries again.
    """

    sessions: list[str] = attrs.field(factory=list)
    ended: list[str] = attrs.field(factory=list)
    destroyed: list[str] = attrs.field(factory=list)
    accepted: Decimal = Decimal(0)
    paid: list[str] = attrs.field(factory=list)
    refused: dict[str, str] = attrs.field(factory=dict)
    unbilled: list[str] = attrs.field(factory=list)
    released: list[str] = attrs.field(factory=list)
    removed: list[str] = attrs.field(factory=list)
    running: list[str] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)

    @property
    def lines(self) -> list[str]:
        """What was done, a line each."""
        lines = [
            f"{pluralize(len(self.sessions), 'session')} settled",
            f"{pluralize(len(self.ended), 'agreement')} ended",
            f"{pluralize(len(self.destroyed), 'activity', 'activities')} ended",
            f"{pluralize(len(self.paid), 'invoice')} accepted, {self.accepted:f} GLM",
            *(f"refused: {reason}" for reason in self.refused.values()),
            f"{pluralize(len(self.unbilled), 'invoice')} still to come",
            f"{pluralize(len(self.released), 'reservation')} released",
            f"{pluralize(len(self.removed), 'VPN')} removed",
            f"{pluralize(len(self.running), 'agreement')} left running",
            *(f"not done: {problem}" for problem in self.problems),
        ]
        return [line for line in lines if not line.startswith("0 ")]

    def __str__(self) -> str:
        return "; ".join(self.lines) or "nothing was left"
