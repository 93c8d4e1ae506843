"""Programs that tests use and no Python package brings."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["missing", "needed"]


def needed(name: str, package: str) -> str:
    """Path of a program; without it the test is skipped, and fails where CI should have installed it."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not here; on Debian and Ubuntu: `apt-get install -y {package}`")
    return path


def missing(what: str) -> NoReturn:
    """Skip the test, or let it fail in CI: what CI does not have is not tested anywhere."""
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(what)
    pytest.fail(f"{what} (skipped where CI is not set)", pytrace=False)
