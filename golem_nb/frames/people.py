"""The jobs, providers, agreements and activities that events refer to, by number."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from golem_nb.engine.charges import CPU, DURATION, LinearPrice
from golem_nb.frames.columns import Names
from golem_nb.frames.text import clean

if TYPE_CHECKING:
    from golem_nb.rest.market import Agreement

__all__ = ["PARTIES", "Deal", "Register", "Work", "parties"]

#: Job, provider, agreement and activity, by number, as the log of events has them: packed once for all events
#: of an activity.
PARTIES: Final = struct.Struct("=4i")

NAME_LIMIT: Final = 100

#: Seconds in an hour.
HOUR: Final = 3600


def parties(job: int = -1, provider: int = -1, agreement: int = -1, activity: int = -1) -> bytes:
    """Pack the numbers of those whom an event is about."""
    return PARTIES.pack(job, provider, agreement, activity)


@attrs.define(eq=False)
class Work:
    """An activity.

    Attributes
    ----------
    row
        Its row among the activities.
    codes
        Its job, provider, agreement and itself, by number.
    parties
        The same, packed.
    usage
        Counters as last reported, in the order of the offer.
    due, accepted
        Totals of its debit notes, GLM.
    tasks
        Rows of the tasks that run on it.
    given_back
        Rows of the tasks that it has given back without a result.
    """

    deal: Deal
    row: int
    codes: tuple[int, int, int, int]
    created: float
    ended: float | None = None
    usage: list[float] | None = None
    due: Decimal = Decimal(0)
    accepted: Decimal = Decimal(0)
    settled: Decimal = Decimal(0)
    tasks: list[int] = attrs.field(factory=list)
    given_back: list[int] = attrs.field(factory=list)
    parties: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.parties = parties(*self.codes)

    def expected(self, now: float) -> Decimal:
        """What its price makes of the reported usage, or of its time where nothing was reported."""
        price = self.deal.price
        if price is None:
            return self.accepted
        amount = price.fixed
        for index, (counter, unit) in enumerate(price.per_unit.items()):
            if self.usage is not None and index < len(self.usage):
                amount += unit * Decimal(str(self.usage[index]))
            elif counter == DURATION:
                amount += unit * Decimal(str(self.seconds(now)))
        return amount

    def seconds(self, now: float) -> float:
        """How long it has run."""
        return max(0.0, (now if self.ended is None else self.ended) - self.created)

    def counted(self, counter: str) -> float | None:
        """What was reported of one counter."""
        price = self.deal.price
        if price is None or self.usage is None:
            return None
        for index, name in enumerate(price.per_unit):
            if name == counter and index < len(self.usage):
                return self.usage[index]
        return None


@attrs.define(eq=False)
class Deal:
    """An agreement.

    Attributes
    ----------
    row
        Its row among the agreements.
    codes
        Its job, provider and itself, by number.
    parties
        The same, packed.
    """

    row: int
    codes: tuple[int, int, int]
    price: LinearPrice | None
    works: list[Work] = attrs.field(factory=list)
    invoiced: Decimal | None = None
    paid: Decimal | None = None
    settled: Decimal = Decimal(0)
    parties: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.parties = parties(*self.codes)

    @property
    def accepted(self) -> Decimal:
        """What was accepted for it, GLM."""
        if self.paid is not None:
            return self.paid
        return sum((work.accepted for work in self.works), Decimal(0))

    @property
    def due(self) -> Decimal:
        """What debit notes ask for, GLM."""
        return sum((work.due for work in self.works), Decimal(0))

    @property
    def all_settled(self) -> Decimal:
        """What was paid for it, GLM."""
        return self.settled + sum((work.settled for work in self.works), Decimal(0))

    def expected(self, now: float) -> Decimal:
        """What its price makes of its usage, GLM; what was invoiced, once that is known to be accepted."""
        if self.paid is not None:
            return self.paid
        return sum((work.expected(now) for work in self.works), Decimal(0))

    def price_of(self, counter: str) -> float:
        """The price of an hour of a counter of seconds, GLM; NaN if unknown."""
        if self.price is None:
            return float("nan")
        return float(self.price.per_unit.get(counter, Decimal(0)) * HOUR)

    @property
    def prices(self) -> tuple[float, float, float]:
        """The fixed fee, the price of an hour, and of an hour of one thread's processor time."""
        fixed = float("nan") if self.price is None else float(self.price.fixed)
        return fixed, self.price_of(DURATION), self.price_of(CPU)


class Register:
    """Numbers for all that has an id, and names for those that have one."""

    def __init__(self) -> None:
        self.jobs = Names()
        self.providers = Names()
        self.agreements = Names()
        self.activities = Names()
        #: Names of the providers, by their numbers, as numbers of `names`.
        self.names = Names()
        self.name_of: list[int] = []
        self.deals: dict[str, Deal] = {}
        self.works: dict[str, Work] = {}

    def provider(self, provider_id: str, name: object = None) -> int:
        """Return the number of a provider, and learn its name."""
        code = self.providers.code(provider_id)
        if code == len(self.name_of):
            self.name_of.append(-1)
        if name is not None and self.name_of[code] < 0:
            self.name_of[code] = self.names.code(clean(name, NAME_LIMIT))
        return code

    def codes(self, job_id: str, agreement: Agreement) -> tuple[int, int, int]:
        """Return the numbers of an agreement's job, its provider and itself."""
        details = agreement.details
        return (
            self.jobs.code(job_id),
            self.provider(details.provider_id, details.provider_node_info.name),
            self.agreements.code(agreement.id),
        )
