"""Terminals on instances of the local network, without a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from golem_nb import Session, vm
from golem_nb.services import Service
from golem_nb.session import ClusterHandle


class Python(Service):
    """Has a Python, and so a pseudo-terminal."""

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_tag="golem_nb/python:latest", capabilities=["vpn"])

    async def run(self) -> Any:
        while True:
            await self._listen()
            yield self._ctx.new_script()


@pytest.fixture
def cluster(session: Session) -> Iterator[ClusterHandle]:
    """One instance, in a network."""
    network = session.create_network("192.168.9.0/24")
    cluster = session.cluster(Python, network=network)
    assert cluster.wait(60)
    yield cluster
    cluster.stop()


def test_keys_reach_the_shell_in_the_order_in_which_they_come(cluster: ClusterHandle) -> None:
    terminal = cluster.terminal()

    def shown(text: str) -> bool:
        deadline = time.monotonic() + 30
        while text not in terminal.output.replace("\n", "") and time.monotonic() < deadline:
            time.sleep(0.05)
        return text in terminal.output.replace("\n", "")

    assert shown("# ") or shown("$ "), terminal.output
    # any two of these that change their places are seen
    numbers = "".join(f"{number:03}" for number in range(120))
    for key in f"echo '<'{numbers}'>'\r":
        terminal._on_message(terminal, {"kind": "keys", "text": key, "page": "a page"}, [])
    assert shown(f"<{numbers}>"), terminal.output
