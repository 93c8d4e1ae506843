"""What a session has come to."""

from __future__ import annotations

from datetime import datetime
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
    budget, accepted
        GLM: what it might have spent, and what providers get.
    lines
        One a provider.
    jobs, jobs_done
        How many jobs there were, and how many of them have succeeded.
    reserved_until
        None, unless what was not spent stays reserved until that time: for services that were suspended, or
        because it could not be released, as when the daemon was not there.
    suspended
        Whether it stays reserved for what was suspended.
    """

    session: str
    budget: Decimal
    accepted: Decimal
    lines: tuple[BillLine, ...]
    jobs: int
    jobs_done: int
    reserved_until: datetime | None = None
    suspended: bool = False

    @property
    def reserved(self) -> Decimal:
        """What stays reserved, GLM."""
        return Decimal(0) if self.reserved_until is None else self.budget - self.accepted

    @property
    def released(self) -> Decimal:
        """What was not spent and is free again, GLM."""
        return self.budget - self.accepted - self.reserved

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
            reserved_until=core.reserved_until,
            suspended=core.reserved_on_purpose,
        )

    def __repr__(self) -> str:
        unpaid = sum(line.unpaid for line in self.lines)
        rest = f"{self.released:.6f} GLM released"
        if self.reserved_until is not None:
            why = (
                "for what was suspended"
                if self.suspended
                else "as it could not be released: recover() of the next session ends what is left"
            )
            rest = f"{self.reserved:.6f} GLM reserved until {self.reserved_until:%Y-%m-%d %H:%M} UTC {why}"
        text = (
            f"<Bill of session {self.session!r}: {self.accepted:.6f} of {self.budget} GLM spent on "
            f"{pluralize(len(self.lines), 'provider')}, {rest}; "
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
