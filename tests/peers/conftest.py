"""Tests with other SDKs, which are installed from their registries: only when asked for."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-peers", action="store_true", help="install other SDKs and run them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-peers", default=False):
        return
    skip = pytest.mark.skip(reason="installs other SDKs from the net: run `make peers`, or pass --run-peers")
    for item in items:
        if item.path.parent.name == "peers":
            item.add_marker(skip)
