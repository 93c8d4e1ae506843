"""A session that stands where it is put, and events of objects that have just what consumers look at."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture
def stage() -> ModuleType:
    """Sources of facts, and a desk for them; made anew for each test."""
    import importlib

    from tests.browser import stage

    return importlib.reload(stage)
