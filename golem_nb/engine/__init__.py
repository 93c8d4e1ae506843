"""The engine: market, agreements, activities and payments of a `Golem`."""

from __future__ import annotations

from golem_nb.engine.allocation import platform_name
from golem_nb.engine.engine import Engine
from golem_nb.engine.errors import (
    BudgetExceededError,
    DaemonTooOldError,
    EngineStoppedError,
    InsufficientFundsError,
    JobTimeoutError,
    NoPaymentAccountError,
    OverchargeError,
    StrategyError,
    TaskFailedError,
    TasksFailedError,
    WorkerFunctionError,
    WorkersFailedError,
)
from golem_nb.engine.job import Job
from golem_nb.engine.journal import Journal, JournalEntry, NullJournal

__all__ = [
    "BudgetExceededError",
    "DaemonTooOldError",
    "Engine",
    "EngineStoppedError",
    "InsufficientFundsError",
    "Job",
    "JobTimeoutError",
    "Journal",
    "JournalEntry",
    "NoPaymentAccountError",
    "NullJournal",
    "OverchargeError",
    "StrategyError",
    "TaskFailedError",
    "TasksFailedError",
    "WorkerFunctionError",
    "WorkersFailedError",
    "platform_name",
]
