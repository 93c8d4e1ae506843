"""Task batches: the executor and its tasks."""

from __future__ import annotations

from golem_nb.executor.executor import Executor
from golem_nb.executor.task import Task

__all__ = ["Executor", "Task"]
