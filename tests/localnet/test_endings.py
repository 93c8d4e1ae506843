"""However a network ends, nothing of it is left: no process, no socket, no port."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from golem_nb.localnet import LocalNetwork, LocalNetworkError, down, kept, running_networks
from golem_nb.rest import Configuration, Identity
from golem_nb.rest.errors import DaemonUnreachableError

pytestmark = pytest.mark.localnet

OWNER = Path(__file__).with_name("owner_program.py")


class Traces:
    """All that a running network has on the machine."""

    def __init__(self, supervisor: int, folder: Path) -> None:
        self.folder = folder
        head = psutil.Process(supervisor)
        self.processes = [head, *head.children(recursive=True)]
        self.ports = set()
        self.sockets = set()
        for process in self.processes:
            for connection in process.net_connections("all"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip == "127.0.0.1"
                    self.ports.add(connection.laddr.port)
                elif connection.family == socket.AF_UNIX and connection.laddr:
                    self.sockets.add(Path(connection.laddr))

    def names(self) -> list[str]:
        return sorted(process.name() for process in self.processes)

    def left(self) -> list[str]:
        processes = [repr(one) for one in self.processes if lives(one)]
        ports = [f"port {port}" for port in self.ports if listens(port)]
        sockets = [str(path) for path in self.sockets if path.exists()]
        return processes + ports + sockets

    def gone(self, seconds: float = 15) -> bool:
        wait_until(lambda: not self.left(), seconds, self.left)
        return True


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended between the two questions
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], seconds: float, report: Callable[[], Any] = str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, report()
        time.sleep(0.02)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    return tmp_path / "localnet"


@pytest.fixture
def own(data: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]]:
    owners: list[subprocess.Popen[str]] = []

    def start(name: str, *ways: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        owner = subprocess.Popen(
            [sys.executable, str(OWNER), name, *ways],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        owners.append(owner)
        return owner, json.loads(owner.stdout.readline())

    yield start
    for owner in owners:
        owner.kill()
        owner.wait()
        owner.stdout.close()


def test_stop(data: Path) -> None:
    with LocalNetwork(providers=2) as network:
        traces = Traces(network._process.pid, network.folder)
        assert traces.names().count("yagna") == 2
        assert len(traces.sockets) >= 3
        assert len(traces.ports) >= 4
        urls = [network.api_config.api_url, network.registry_url]
        assert {urlsplit(url).port for url in urls} <= traces.ports
    assert traces.left() == []
    assert not network.folder.exists()
    assert kept() == []
    assert running_networks() == []


def test_a_daemon_of_the_network_dies(data: Path) -> None:
    async def who() -> Any:
        async with Configuration(network.api_config) as configuration:
            return await Identity(configuration.root()).me()

    with LocalNetwork(providers=1) as network:
        assert asyncio.run(who()).identity == network.requestor
        os.kill(asyncio.run(network.status())["processes"]["providers"], signal.SIGKILL)
        network._process.wait(20)
        with pytest.raises(DaemonUnreachableError) as caught:
            asyncio.run(who())
        text = str(caught.value)
        assert f"The local Golem network {network.name!r} has ended: start it again. " in text
        assert f"If it ended by itself, its logs in {network.logs} say why." in text
        assert "yagna service run" not in text
        said = (network.logs / "supervisor.log").read_text()
        assert "the providers' daemon ended unexpectedly" in said


def test_control_c_in_a_terminal(own: Any, data: Path) -> None:
    owner, said = own("interrupted")
    traces = Traces(said["supervisor"], data / "interrupted")
    os.killpg(owner.pid, signal.SIGINT)
    assert owner.wait(20) != 0
    assert traces.left() == []
    assert not traces.folder.exists()


def test_the_owner_is_killed(own: Any, data: Path) -> None:
    owner, said = own("orphaned")
    traces = Traces(said["supervisor"], data / "orphaned")
    owner.kill()
    assert traces.gone()
    wait_until(lambda: not traces.folder.exists(), 5)  # nothing was bought: nothing to keep


def test_the_owner_is_killed_while_a_fork_of_it_lives(own: Any, data: Path) -> None:
    owner, said = own("forked", "fork")
    traces = Traces(said["supervisor"], data / "forked")
    owner.kill()
    try:
        assert traces.gone()
    finally:
        os.kill(said["fork"], signal.SIGKILL)


def test_the_owner_is_killed_during_the_start(own: Any, data: Path) -> None:
    owner, said = own("early", "early")
    supervisor = psutil.Process(said["supervisor"])
    wait_until(lambda: len(supervisor.children(recursive=True)) >= 4, 10)
    traces = Traces(said["supervisor"], data / "early")
    owner.kill()
    assert traces.gone()
    wait_until(lambda: not traces.folder.exists(), 5)


def test_the_supervisor_is_killed(data: Path) -> None:
    with LocalNetwork(providers=1, name="beheaded") as network:
        traces = Traces(network._process.pid, network.folder)
        os.kill(network._process.pid, signal.SIGKILL)
        assert traces.gone()
    # it could not tidy up, and nobody knows whether all is paid
    assert kept() == ["beheaded"]
    assert down("beheaded")
    assert not network.folder.exists()


def test_the_owner_and_the_supervisor_are_killed(own: Any, data: Path) -> None:
    owner, said = own("both")
    traces = Traces(said["supervisor"], data / "both")
    owner.kill()
    os.kill(said["supervisor"], signal.SIGKILL)
    assert traces.gone()


@pytest.mark.parametrize(
    "which",
    ["guard.py [0-9]", "yagna service run", "-m golem_nb.localnet.provider$"],
    ids=["guard", "daemon", "agents"],
)
def test_another_process_of_it_is_killed(data: Path, which: str) -> None:
    with LocalNetwork(providers=1) as network:
        traces = Traces(network._process.pid, network.folder)
        # a guard's own command line ends with its daemon's
        victims = [one for one in traces.processes if re.search(which, " ".join(one.cmdline()))]
        victims[-1].kill()
        assert traces.gone()
        with pytest.raises(LocalNetworkError, match="does not answer"):
            network._control.wait("status")
    assert "ended unexpectedly" in (network.logs / "supervisor.log").read_text()


def test_what_is_not_settled_is_kept_and_found_again(own: Any, data: Path) -> None:
    owner, said = own("owing", "agreement")
    traces = Traces(said["supervisor"], data / "owing")
    owner.kill()
    assert traces.gone()
    wait_until(lambda: kept() == ["owing"], 5, kept)
    business = json.loads((data / "owing" / "unsettled.json").read_text())
    assert business["agreements"] == [said["agreement"]]

    with LocalNetwork.recover("owing") as network:
        assert [provider.name for provider in network.providers] == ["amber"]
        status = network._control.wait("status")
        assert status["uptime"] > 0
    assert not network.folder.exists()
    with pytest.raises(LocalNetworkError, match="no local network named 'owing' was kept"):
        LocalNetwork.recover("owing")


def test_no_temporary_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / ("long" * 25)))
    # pytest's own folder may be too long for sockets
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr("tempfile.tempdir", None)
        with LocalNetwork(providers=1) as network:
            traces = Traces(network._process.pid, network.folder)
            assert traces.sockets
            assert all(len(os.fsencode(path)) < 100 for path in traces.sockets)
            assert os.listdir(folder)
        assert traces.left() == []
        assert os.listdir(folder) == []
