"""The strategy of those who name none."""

from __future__ import annotations

from decimal import Decimal

from golem_nb.props.com import Counter
from golem_nb.strategy.decrease_score_unconfirmed import DecreaseScoreForUnconfirmedAgreement
from golem_nb.strategy.least_expensive import LeastExpensiveLinearPayuMS


def default_strategy() -> DecreaseScoreForUnconfirmedAgreement:
    """Return a new strategy: the least expensive offer with sane prices of a provider that says yes.

    Its `on_event` has to be added as an event consumer.
    """
    base = LeastExpensiveLinearPayuMS(
        max_fixed_price=Decimal("1.0"),
        max_price_for={Counter.CPU: Decimal("0.2"), Counter.TIME: Decimal("0.1")},
    )
    return DecreaseScoreForUnconfirmedAgreement(base, 0.5)
