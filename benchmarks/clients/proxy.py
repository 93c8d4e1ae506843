"""Both proxies of an SDK: ``python -m benchmarks.clients.proxy golem_nb|yapapi CONTROL``.

Starts one instance of `server.py`, an HTTP proxy and a socket proxy to it, and tells their ports to whoever
listens at the local port CONTROL. Ends when that closes the connection.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks.clients import measure, server
from benchmarks.clients.ports import HTTP, SOCKET

IMAGE = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"


name = sys.argv[1]
sdk = importlib.import_module(name)
vm = importlib.import_module(f"{name}.payload.vm")
services = importlib.import_module(f"{name}.services")
http_proxy = importlib.import_module(f"{name}.contrib.service.http_proxy")
socket_proxy = importlib.import_module(f"{name}.contrib.service.socket_proxy")


class Server(http_proxy.HttpProxyService, socket_proxy.SocketProxyService):
    """The server of the benchmark."""

    remote_ports = [SOCKET]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(remote_port=HTTP, response_timeout=600.0)

    @staticmethod
    async def get_payload() -> Any:
        """The image that every case uses."""
        registry = os.environ["GOLEM_REGISTRY_URL"]
        return await vm.repo(image_hash=IMAGE, capabilities=["vpn"], repository_url=registry)

    async def start(self) -> AsyncIterator[Any]:
        """Upload the server, and wait until it listens."""
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.upload_bytes(Path(server.__file__).read_bytes(), "/golem/work/server.py")
        serve = (
            f"python3 server.py {HTTP} {SOCKET} >log 2>&1 & until grep -q listening log; do sleep 0.1; done"
        )
        script.run("/bin/sh", "-c", f"cd /golem/work; touch log; {serve}")
        yield script


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def main(control: int) -> None:
    """Serve until told to end."""
    async with sdk.Golem(budget=10) as golem:
        network = await golem.create_network("192.168.0.1/24")
        cluster = await golem.run_service(Server, num_instances=1, network=network)
        (instance,) = cluster.instances
        async with asyncio.timeout(60):
            while instance.state != services.ServiceState.running:
                await asyncio.sleep(0.05)
        http = http_proxy.LocalHttpProxy(cluster, port := free_port())
        await http.run()
        sockets = socket_proxy.SocketProxy(ports=[free_port()])
        await sockets.run(cluster)
        reader, writer = await asyncio.open_connection("127.0.0.1", control)
        ports = {
            "side": name,
            "http": port,
            "socket": sockets.get_server(instance, SOCKET).local_port,
            "pid": os.getpid(),
        }
        writer.write(json.dumps(ports).encode() + b"\n")
        await reader.read()
        writer.close()
        await sockets.stop()
        await http.stop()
        cluster.stop()
    measure.report()


asyncio.run(main(int(sys.argv[2])))
