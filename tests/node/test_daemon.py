from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from golem_nb.config import ApiConfig
from golem_nb.node import (
    DaemonStartError,
    FolderInUseError,
    NodeCommandError,
    NodeError,
    Yagna,
    describe_daemon,
)
from golem_nb.rest.errors import DaemonUnreachableError, UnauthorizedError

pytestmark = pytest.mark.localnet

Private = dict[str, str]


def family(daemon: Yagna) -> list[psutil.Process]:
    guard = psutil.Process(daemon.pid)
    return [guard, *guard.children(recursive=True)]


async def gone(processes: list[psutil.Process]) -> None:
    async with asyncio.timeout(15):
        while any(one.is_running() and one.status() != "zombie" for one in processes):
            await asyncio.sleep(0.02)


async def test_start_use_and_stop(tmp_path: Path, private: Private) -> None:
    async with Yagna(tmp_path / "node", environment=private) as daemon:
        processes = family(daemon)
        assert len(processes) == 2
        assert [key.name for key in await daemon.commands.app_keys()] == ["autoconfigured"]
        (identity,) = await daemon.commands.identities()
        assert identity.node_id == daemon.node_id
        assert identity.is_default
        second = await daemon.commands.create_identity("second")
        key = await daemon.commands.create_app_key("second", second)

        report = await describe_daemon(daemon.api_config, daemon.bus)
        assert report.node_id == daemon.node_id
        assert report.version.startswith("0.17")
        assert report.accounts == ()
        other = await describe_daemon(ApiConfig(app_key=key, api_url=daemon.api_config.api_url))
        assert other.node_id == second

        with pytest.raises(UnauthorizedError):
            await describe_daemon(ApiConfig(app_key="wrong", api_url=daemon.api_config.api_url))
        with pytest.raises(NodeCommandError, match="`yagna id create second"):
            await daemon.commands.create_identity("second")
        secret = daemon.api_config.app_key
        url = daemon.api_config.api_url
        bus = daemon.bus
    await gone(processes)
    assert not bus.exists()
    assert secret not in daemon.log.read_text()
    with pytest.raises(DaemonUnreachableError):
        await describe_daemon(ApiConfig(app_key=secret, api_url=url))
    await daemon.stop()

    # a second life on the same folder: the same identity and key
    async with Yagna(tmp_path / "node", environment=private) as again:
        assert again.node_id == identity.node_id
        assert again.api_config.app_key == secret
        assert {one.alias for one in await again.commands.identities()} == {None, "second"}


async def test_no_secret_in_anybody_s_arguments(tmp_path: Path, private: Private) -> None:
    async with Yagna(tmp_path / "node", environment=private) as daemon:
        for process in family(daemon):
            assert daemon.api_config.app_key not in " ".join(process.cmdline())
        assert daemon.api_config.app_key not in repr(daemon)
        assert (tmp_path / "node").stat().st_mode & 0o777 == 0o700
        assert daemon.log.stat().st_mode & 0o777 == 0o600


async def test_nothing_is_told_to_the_makers_of_the_daemon(
    tmp_path: Path, private: Private, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YA_CONSENT_STATS", "allow")
    async with Yagna(tmp_path / "node", environment=private) as daemon:
        _, program = family(daemon)
        assert "--disable-metrics-push" in program.cmdline()
        assert program.environ()["YA_CONSENT_STATS"] == "deny"
        # the daemon's own word for it
        answer = await daemon.commands("consent", "show")
        assert {one["type"]: one["consent"] for one in answer["consents"]} == {"Stats": "deny"}


async def test_never_two_on_one_folder(tmp_path: Path, private: Private) -> None:
    async with Yagna(tmp_path / "node", environment=private) as daemon:
        with pytest.raises(FolderInUseError, match=str(tmp_path / "node")) as caught:
            await Yagna(tmp_path / "node", environment=private).start()
        assert caught.value.pid == daemon.pid
        with pytest.raises(NodeError, match="running already"):
            await daemon.start()
        assert await daemon.commands.identities()  # the first one has not suffered


async def test_a_port_in_use(tmp_path: Path, private: Private) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DaemonStartError, match=f"port {port} is in use"):
            await Yagna(tmp_path / "node", api_port=port, environment=private).start()
    async with Yagna(tmp_path / "node", api_port=port, environment=private) as daemon:
        assert daemon.api_config.api_url == f"http://127.0.0.1:{port}"


async def test_a_daemon_that_cannot_start_says_why(tmp_path: Path, private: Private) -> None:
    wrong = {**private, "YAGNA_AUTOCONF_ID_SECRET": "this is no key"}
    with pytest.raises(DaemonStartError, match="ended at once: ") as caught:
        await Yagna(tmp_path / "node", environment=wrong).start()
    assert str(tmp_path / "node" / "yagna.log") in str(caught.value)
    async with Yagna(tmp_path / "node", environment=private) as daemon:  # the folder is free again
        assert daemon.node_id


async def test_a_daemon_that_does_not_come_up_in_time(tmp_path: Path, private: Private) -> None:
    # nobody listens there, and the daemon does not go on without its networking
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        lost = {**private, "CENTRAL_NET_HOST": "127.0.0.1:1023"}
        daemon = Yagna(tmp_path / "node", environment=lost, start_timeout=1)
        with pytest.raises(DaemonStartError, match="did not answer within 1 s"):
            await daemon.start()
    assert daemon.pid is None


async def test_a_long_path_gets_its_socket_elsewhere(tmp_path: Path, private: Private) -> None:
    folder = tmp_path / ("long" * 30)
    async with Yagna(folder, environment=private) as daemon:
        assert len(os.fsencode(daemon.bus)) < 100
        assert await daemon.commands.identities()
        bus = daemon.bus
    assert not bus.exists()
    assert not bus.parent.exists()


async def test_the_death_of_the_daemon_can_be_waited_for(tmp_path: Path, private: Private) -> None:
    async with Yagna(tmp_path / "node", environment=private) as daemon:
        _, program = family(daemon)
        waiting = asyncio.create_task(daemon.wait())
        await asyncio.sleep(0)
        program.kill()
        assert await waiting == 128 + signal.SIGKILL


async def test_a_cancelled_stop_leaves_nothing(tmp_path: Path, private: Private) -> None:
    daemon = Yagna(tmp_path / "node", environment=private)
    await daemon.start()
    processes = family(daemon)
    stopping = asyncio.create_task(daemon.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await gone(processes)
    assert not daemon.bus.exists()


async def test_before_the_start(tmp_path: Path) -> None:
    daemon = Yagna(tmp_path)
    with pytest.raises(NodeError, match="has not been started"):
        _ = daemon.commands
    with pytest.raises(NodeError, match="not running"):
        await daemon.wait()
    await daemon.stop()
