"""Since when a job waits for an agreement that it can pay for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from golem_nb.session.errors import LimitReachedError

__all__ = ["Hunger", "budget_hunger", "job_hunger"]

#: Providers get so many seconds to send offers, before work that waits for one which fits is ended.
MARKET_TIME = 30.0


class Hunger:
    """Knows what does not fit into one limit, and since when nothing else is there.

    Parameters
    ----------
    limit
        What the limit is called: "the budget".
    first
        What has to fit: "its fixed fee and a first minute".
    remedy
        What can be done about it; a sentence.
    """

    def __init__(self, limit: str, first: str, remedy: str) -> None:
        self._limit = limit
        self._first = first
        self._remedy = remedy
        #: What the cheapest offer that did not fit needs, GLM.
        self._needed: Decimal | None = None
        self._since: float | None = None

    def refuse(self, needed: Decimal) -> bool:
        """Take note of an offer that does not fit; return whether it is the cheapest so far."""
        cheapest = self._needed is None or needed < self._needed
        if cheapest:
            self._needed = needed
        return cheapest

    def feed(self) -> None:
        """Take note of an offer that fits."""
        self._since = None

    def look(
        self,
        now: float,
        left: Decimal,
        whole: Decimal,
        in_force: bool,
        waiting: Iterable[tuple[str, float, Callable[[LimitReachedError], object]]],
        warn: Callable[[str, str], None],
    ) -> list[float]:
        """End what has waited long enough; return the seconds until something else may have.

        Parameters
        ----------
        now
            The loop's time.
        left, whole
            Of the limit, GLM.
        in_force
            Whether there are agreements whose end may leave enough for another one.
        waiting
            What waits for an agreement: its name, when it began, and what ends it.
        warn
            Called once for each that waits, with a key and a text.
        """
        waiting = list(waiting)
        if self._needed is not None and self._needed <= left:
            self._needed = None
        if self._needed is None or in_force or not waiting:
            self._since = None
            return []
        if self._since is None:
            self._since = now
        what = (
            f"what is left of {self._limit}: {max(Decimal(0), left):.6f} of {whole} GLM. The cheapest one "
            f"needs {self._needed:.6f} GLM for {self._first}"
        )
        delays = []
        for name, began, end in waiting:
            patience = max(began, self._since) + MARKET_TIME - now
            if patience > 0:
                delays.append(patience)
                warn(
                    f"offers for {name}",
                    f"No offer for {name} so far fits into {what}. Others may come: it waits for "
                    f"{MARKET_TIME:.0f} s.",
                )
            else:
                end(
                    LimitReachedError(
                        f"No provider fits into {what}; in {MARKET_TIME:.0f} s no other offer has come. "
                        f"{self._remedy}"
                    )
                )
        return delays


def budget_hunger() -> Hunger:
    """Return that of a job for the session's budget."""
    return Hunger(
        "the budget",
        "its fixed fee and a first minute",
        "Stop the session and begin one with a larger `budget`.",
    )


def job_hunger(name: str) -> Hunger:
    """Return that of a job for its own limit."""
    return Hunger(
        f"`max_cost` of {name}",
        "its fixed fee and a first moment",
        "Begin it again with a larger `max_cost`.",
    )
