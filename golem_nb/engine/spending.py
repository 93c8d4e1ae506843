"""How much of the budget is spoken for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

from golem_nb.rest.errors import ApiError, is_intermittent

if TYPE_CHECKING:
    from golem_nb.rest.ids import AgreementId

__all__ = ["NotCoveredError", "Spending"]


class NotCoveredError(Exception):
    """The budget does not cover something; carries what is spoken for already, GLM."""

    def __init__(self, spoken_for: Decimal, more: Decimal) -> None:
        self.spoken_for = spoken_for
        self.more = more
        super().__init__(spoken_for, more)


class Spending:
    """What was accepted, and what is being accepted at the moment, for each agreement.

    Bills of several providers are worked on at the same time: each is reserved here before the daemon is
    asked to accept it, lest all of them find the same money.

    Parameters
    ----------
    budget
        The most that is spent, GLM.
    """

    def __init__(self, budget: Decimal) -> None:
        self.budget = budget
        self._totals: dict[AgreementId, Decimal] = {}

    @property
    def total(self) -> Decimal:
        """What is spoken for, GLM."""
        return sum(self._totals.values(), Decimal(0))

    def take_up(self, agreement_id: AgreementId, accepted: Decimal) -> None:
        """Count what another engine has accepted for an agreement, on top of what is known of it."""
        self._totals[agreement_id] = self._totals.get(agreement_id, Decimal(0)) + accepted

    @contextmanager
    def reserved(self, agreement_id: AgreementId, total: Decimal) -> Iterator[None]:
        """Reserve what an agreement comes to, while that is being accepted and, unless it fails, for good.

        Parameters
        ----------
        agreement_id
            The agreement.
        total
            What is accepted for it in all, with what was accepted before, GLM.

        Raises
        ------
        NotCoveredError
            The budget does not cover it; nothing was reserved.
        """
        spoken_for, before = self.total, self._totals.get(agreement_id, Decimal(0))
        if spoken_for - before + total > self.budget:
            raise NotCoveredError(spoken_for, total - before)
        self._totals[agreement_id] = total
        try:
            yield
        except ApiError as error:
            # where the answer was lost, the daemon may have accepted it
            if not is_intermittent(error):
                self._totals[agreement_id] = before
            raise
