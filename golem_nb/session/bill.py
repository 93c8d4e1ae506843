"""What a session has come to."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from golem_nb.log import pluralize
from golem_nb.ui.text import clean

if TYPE_CHECKING:
    from golem_nb.session.core import Core

__all__ = ["Bill", "BillLine"]


@attrs.frozen
class BillLine:
    """What one provider gets.

    Attributes
    ----------
    provider, provider_id
        Who: the name is unverified text.
    agreements
        Number of agreements.
    seconds
        That its activities have lived.
    accepted
        GLM.
    unpaid
        Agreements for which no invoice was accepted.
    """

    provider: str
    provider_id: str
    agreements: int
    seconds: float
    accepted: Decimal
    unpaid: int


@attrs.frozen(repr=False)
class Bill:
    """What a session has come to; `print` it, or let a notebook show it.

    Attributes
    ----------
    session
        Its name.
    budget, accepted, released
        GLM: what it might have spent, what providers get, and what was released.
    lines
        One a provider.
    jobs, jobs_done
        How many jobs there were, and how many of them have succeeded.
    """

    session: str
    budget: Decimal
    accepted: Decimal
    lines: tuple[BillLine, ...]
    jobs: int
    jobs_done: int

    @property
    def released(self) -> Decimal:
        """What was not spent, GLM."""
        return self.budget - self.accepted

    @classmethod
    def of(cls, core: Core) -> Bill:
        """Add up what a session has come to.

        Parameters
        ----------
        core
            Of the session.
        """
        lines: dict[str, BillLine] = {}
        for account in core.meter.accounts():
            details = account.held.agreement.details
            seconds = sum(a.lifetime.total_seconds() for a in account.activities.values())
            known = lines.get(details.provider_id)
            lines[details.provider_id] = BillLine(
                provider=details.provider_node_info.name or details.provider_id,
                provider_id=details.provider_id,
                agreements=1 + (known.agreements if known else 0),
                seconds=seconds + (known.seconds if known else 0.0),
                accepted=account.accepted + (known.accepted if known else Decimal(0)),
                unpaid=int(account.owes) + (known.unpaid if known else 0),
            )
        handles = list(core.handles.values())
        return cls(
            session=core.settings.name,
            budget=core.settings.budget,
            accepted=sum((line.accepted for line in lines.values()), Decimal(0)),
            lines=tuple(sorted(lines.values(), key=lambda line: line.provider)),
            jobs=len(handles),
            jobs_done=sum(handle.state == "done" for handle in handles),
        )

    def __repr__(self) -> str:
        unpaid = sum(line.unpaid for line in self.lines)
        text = (
            f"<Bill of session {self.session!r}: {self.accepted:.6f} of {self.budget} GLM spent on "
            f"{pluralize(len(self.lines), 'provider')}, {self.released:.6f} GLM released; "
            f"{self.jobs_done} of {pluralize(self.jobs, 'job')} done"
        )
        return text + (f"; {pluralize(unpaid, 'agreement')} still unpaid>" if unpaid else ">")

    def __str__(self) -> str:
        rows = [
            f"  {clean(line.provider, 32):<32}  {pluralize(line.agreements, 'agreement'):>15}  "
            f"{line.seconds:>9.1f} s  {line.accepted:>12.6f} GLM{'  (unpaid)' if line.unpaid else ''}"
            for line in self.lines
        ]
        return "\n".join([repr(self)[1:-1], *rows])
