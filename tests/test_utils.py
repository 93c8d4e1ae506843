from __future__ import annotations

import asyncio
import sys

import pytest

from golem_nb import _version
from golem_nb.utils import get_version, windows_event_loop_fix


@pytest.mark.contract("L05")
def test_version_is_the_packages() -> None:
    assert get_version() == _version.__version__


@pytest.mark.contract("L05")
@pytest.mark.skipif(sys.platform == "win32", reason="there it may change the policy")
def test_event_loop_fix_changes_nothing_elsewhere() -> None:
    before = asyncio.get_event_loop_policy()
    windows_event_loop_fix()
    assert asyncio.get_event_loop_policy() is before
