from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from golem_nb.localnet import LocalNetworkError, NetworkNotRunningError
from golem_nb.localnet.control import Control, ControlServer


async def handle(command: str, arguments: dict[str, Any]) -> Any:
    if command == "refuse":
        raise LocalNetworkError("no, not today")
    if command == "need":
        return arguments["something"]
    if command == "wait":
        await asyncio.sleep(60)
    return {"command": command, **arguments}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    server = ControlServer(handle)
    await server.start(tmp_path / "control.sock")
    yield tmp_path / "control.sock"
    await server.close()


async def test_both_ways_of_asking(path: Path) -> None:
    assert await Control(path)("echo", text="ä\n\x1b") == {"command": "echo", "text": "ä\n\x1b"}
    assert await asyncio.to_thread(Control(path).wait, "echo", n=1) == {"command": "echo", "n": 1}


async def test_the_socket_is_for_its_owner_only(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


async def test_refusals(path: Path) -> None:
    with pytest.raises(LocalNetworkError, match="no, not today"):
        await Control(path)("refuse")
    with pytest.raises(LocalNetworkError, match="something"):
        await Control(path)("need")


@pytest.mark.parametrize("rubbish", [b"\n", b"[]\n", b'{"x": 1}\n', b"\xff\xfe\n", b"{", b"7\n"])
async def test_rubbish_harms_nobody(path: Path, rubbish: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(rubbish)
        connection.shutdown(socket.SHUT_WR)
        await asyncio.to_thread(connection.recv, 1000)
    assert await Control(path)("echo") == {"command": "echo"}


async def test_nobody_there(tmp_path: Path) -> None:
    control = Control(tmp_path / "absent.sock")
    with pytest.raises(NetworkNotRunningError, match="golem-nb up"):
        await control("status")
    with pytest.raises(NetworkNotRunningError, match="golem-nb up"):
        control.wait("status")


async def test_the_end_during_a_command(tmp_path: Path) -> None:
    server = ControlServer(handle)
    await server.start(tmp_path / "control.sock")
    asking = asyncio.create_task(Control(tmp_path / "control.sock")("wait"))
    await asyncio.sleep(0.05)
    await server.close()
    with pytest.raises(NetworkNotRunningError, match="ended during 'wait'"):
        await asking
