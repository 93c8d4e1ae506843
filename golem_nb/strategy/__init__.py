"""Market strategies: which offers to take, on what terms, and which amounts to accept."""

from __future__ import annotations

from golem_nb.strategy.base import (
    DEBIT_NOTE_INTERVAL_GRACE_PERIOD,
    PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT,
    PROP_DEBIT_NOTE_INTERVAL_SEC,
    PROP_PAYMENT_TIMEOUT_SEC,
    SCORE_NEUTRAL,
    SCORE_REJECTED,
    SCORE_TRUSTED,
    BaseMarketStrategy,
    MarketStrategy,
    PropValueRange,
)
from golem_nb.strategy.decrease_score_unconfirmed import DecreaseScoreForUnconfirmedAgreement
from golem_nb.strategy.default import default_strategy
from golem_nb.strategy.dummy import DummyMS
from golem_nb.strategy.least_expensive import LeastExpensiveLinearPayuMS
from golem_nb.strategy.wrapping import WrappingMarketStrategy

__all__ = [
    "DEBIT_NOTE_INTERVAL_GRACE_PERIOD",
    "PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT",
    "PROP_DEBIT_NOTE_INTERVAL_SEC",
    "PROP_PAYMENT_TIMEOUT_SEC",
    "SCORE_NEUTRAL",
    "SCORE_REJECTED",
    "SCORE_TRUSTED",
    "BaseMarketStrategy",
    "DecreaseScoreForUnconfirmedAgreement",
    "DummyMS",
    "LeastExpensiveLinearPayuMS",
    "MarketStrategy",
    "PropValueRange",
    "WrappingMarketStrategy",
    "default_strategy",
]
