from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from golem_nb.localnet.gate import Gate
from golem_nb.localnet.hub import Hub
from golem_nb.localnet.supervisor import four_digit_port


@pytest.fixture
async def private() -> AsyncIterator[dict[str, str]]:
    """Environment of a daemon that reaches nobody: its networking ends at a hub of our own."""
    listening: socket.socket = four_digit_port()
    hub, gate = Hub(), Gate(hold=False)
    await hub.serve(listening)
    proxy = f"http://127.0.0.1:{await gate.start()}"
    yield {
        "YA_NET_TYPE": "central",
        "CENTRAL_NET_HOST": f"127.0.0.1:{listening.getsockname()[1]}",
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": "127.0.0.1",
    }
    await hub.close()
    await gate.close()
