"""Strategies beyond the basic ones."""

from __future__ import annotations

from golem_nb.contrib.strategy.provider_filter import ProviderFilter

__all__ = ["ProviderFilter"]
