"""A login by ssh on a provider, through the socket proxy: the unchanged client, and a real server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import vm
from golem_nb.contrib.service.socket_proxy import SocketProxy, SocketProxyService
from golem_nb.localnet.provider.sandbox.layout import sandbox_user
from golem_nb.services import ServiceState
from tests.programs import needed

from .conftest import until

if TYPE_CHECKING:
    from golem_nb import Golem

CONFIG = """
Port 22
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
StrictModes no
UsePAM no
PidFile none
"""


class ShellService(SocketProxyService):
    """An ssh server that lets the owner of one key in."""

    def __init__(self, public_key: bytes) -> None:
        super().__init__()
        self.remote_ports = [22]
        self.public_key = public_key
        self.host_key = ""

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])

    async def start(self) -> AsyncGenerator[Any, Any]:
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.run("/bin/mkdir", "-p", "/etc/ssh", "/run/sshd")
        script.upload_bytes(CONFIG.encode(), "/golem/work/sshd_config")
        script.upload_bytes(self.public_key, "/golem/work/authorized_keys")
        script.run(
            "/bin/sh", "-c", "cp /golem/work/authorized_keys /etc/ssh; chmod 600 /etc/ssh/authorized_keys"
        )
        script.run(
            "/bin/sh", "-c", "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/host_key; chmod 755 /run/sshd"
        )
        script.run("/bin/sh", "-c", "/usr/sbin/sshd -f /golem/work/sshd_config -E /golem/work/log")
        key = script.run("/bin/cat", "/etc/ssh/host_key.pub")
        yield script
        self.host_key = (await key).stdout


@pytest.mark.contract("X03")
async def test_a_login_on_a_provider(golem: Golem, tmp_path: Path) -> None:
    if sandbox_user()[1] == 1:
        pytest.skip(
            "the sandboxes of this user have one user id, and sshd needs several: it works as root, "
            "who may map more than one"
        )
    needed("ssh", "openssh-client")
    needed("sshd", "openssh-server")
    key = tmp_path / "key"
    keygen = await asyncio.create_subprocess_exec(
        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)
    )
    assert await keygen.wait() == 0
    network = await golem.create_network("192.168.0.0/24")
    public = key.with_suffix(".pub").read_bytes()
    cluster = await golem.run_service(ShellService, network=network, instance_params=[{"public_key": public}])
    (service,) = cluster.instances
    await until(lambda: service.state == ServiceState.running)
    proxy = SocketProxy(ports=[0])
    await proxy.run(cluster)
    port = proxy.get_server(service, 22).local_port
    # who answers is who has told its key over the agreement's own channel
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {service.host_key}")

    async def ssh(command: str, stdin: bytes = b"") -> bytes:
        known = f"UserKnownHostsFile={tmp_path}/known"
        options = ["-F", "none", "-o", known, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
        where = ["-p", str(port), "-i", str(key), "root@127.0.0.1"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "ssh", *options, *where, command, stdin=pipe, stdout=pipe, stderr=pipe
        )
        async with asyncio.timeout(60):
            out, errors = await process.communicate(stdin)
        assert process.returncode == 0, errors.decode()
        return out

    assert await ssh("id -u; hostname; ls -d /golem/work") == b"0\ngolem\n/golem/work\n"
    data = random.randbytes(200_000)
    assert await ssh("cat > /golem/work/copy; cat /golem/work/copy", data) == data
    await proxy.stop()
