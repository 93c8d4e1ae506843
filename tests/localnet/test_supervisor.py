from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from golem_nb.localnet.fleet import default_specs
from golem_nb.localnet.folders import NetworkFolder
from golem_nb.localnet.settings import Settings
from golem_nb.localnet.supervisor import Supervisor, four_digit_port

pytestmark = pytest.mark.localnet


async def test_a_daemon_that_asks_for_no_release_is_restarted_to_know_its_identities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    folder = NetworkFolder("test")
    lock = folder.lock()
    folder.logs.mkdir()
    supervisor = Supervisor(Settings("test", tuple(default_specs(2)), 5.0, "public", None), folder)
    # what a daemon without that question looks like from outside
    gate = supervisor._gates["providers"]
    gate.open()
    gate.asked = asyncio.Event()
    monkeypatch.setattr(gate.asked, "set", lambda: None)
    try:
        descriptor = await supervisor.start()
        assert len(descriptor.providers) == 2
        assert "providers restarted" in supervisor.steps
    finally:
        await supervisor.stop(asked=True)
        lock.release()
    assert not folder.path.exists()


def test_a_port_of_four_digits_each() -> None:
    sockets = [four_digit_port() for _ in range(50)]
    ports = {one.getsockname()[1] for one in sockets}
    for one in sockets:
        one.close()
    assert len(ports) == 50
    assert all(1024 <= port <= 9999 for port in ports)
