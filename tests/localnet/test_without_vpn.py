"""Machines that cannot have a VPN, made of this one: their networks work, and say what they lack."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.localnet

PROGRAM = Path(__file__).with_name("without_vpn_program.py")


@pytest.mark.parametrize(
    ("taking", "warning"),
    [
        ("mount --bind /dev/null /dev/net/tun", "no TAP devices here, so no VPN is offered"),
        ("echo 0 > /proc/sys/user/max_user_namespaces", "THIS SYSTEM ALLOWS NO NAMESPACES"),
    ],
    ids=["no TAP device", "no namespaces"],
)
async def test_a_machine_without(taking: str, warning: str) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("nothing can be taken away from this machine: there is no `unshare`")
    script = f'{taking} || exit 77; exec "$0" "$1"'
    process = await asyncio.create_subprocess_exec(
        *(
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            sys.executable,
            str(PROGRAM),
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        output, errors = await process.communicate()
    if process.returncode == 77 or (process.returncode == 1 and errors.startswith(b"unshare:")):
        pytest.skip(f"nothing can be taken away from this machine: {errors.decode()}")
    assert process.returncode == 0, errors.decode()
    told = json.loads(output)
    assert [text for text in told["warnings"] if text.startswith(warning)]
    assert told["results"] == ["done\n"]
    assert "none meets (golem.runtime.capabilities=vpn)" in told["error"]
