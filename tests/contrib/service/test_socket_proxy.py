"""The socket proxy in front of real servers in sandboxes."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import vm
from golem_nb.contrib.service.socket_proxy import SocketProxy, SocketProxyService
from golem_nb.services import Cluster, ServiceState
from tests.ports import free_port
from tests.programs import needed

from .conftest import until

if TYPE_CHECKING:
    from golem_nb import Golem

ECHO = """
import socket, threading
def serve(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
        if data.endswith(b"bye"):
            break
    connection.close()
server = socket.create_server(("0.0.0.0", 7000))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"""


class EchoService(SocketProxyService):
    command = "python3 echo.py"

    def __init__(self, proxy: SocketProxy | None = None, ports: tuple[int, ...] = (7000,)) -> None:
        super().__init__()
        self.remote_ports = list(ports)
        self.proxy = proxy
        self.server: Any = None

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])

    async def start(self) -> AsyncGenerator[Any, Any]:
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.upload_bytes(ECHO.encode(), "/golem/work/echo.py")
        wait = "until grep -qi 'listening\\|ready' log; do sleep 0.02; done"
        script.run("/bin/sh", "-c", f"cd /golem/work; {self.command} >log 2>&1 & cd /golem/work; {wait}")
        yield script
        if self.proxy is not None:
            self.server = await self.proxy.run_server(self, self.remote_ports[0])


async def start(golem: Golem, cls: type[EchoService] = EchoService, **options: Any) -> Cluster[EchoService]:
    network = await golem.create_network("192.168.0.0/24")
    cluster = await golem.run_service(cls, network=network, **options)
    await until(lambda: all(service.state == ServiceState.running for service in cluster.instances))
    return cluster


async def exchange(port: int, data: bytes, address: str = "127.0.0.1") -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(data)
    async with asyncio.timeout(30):
        answer = await reader.readexactly(len(data))
    writer.close()
    return answer


@pytest.mark.contract("X03")
async def test_each_port_of_each_instance_has_a_local_port(golem: Golem) -> None:
    cluster = await start(golem, num_instances=2)
    proxy = SocketProxy(ports=[0, 0])
    await proxy.run(cluster)
    first, second = (proxy.get_server(service, 7000) for service in cluster.instances)
    assert (first.local_address, first.remote_port) == ("127.0.0.1", 7000)
    assert first.local_port != second.local_port
    data = random.randbytes(300_000)
    assert await asyncio.gather(*(exchange(s.local_port, data) for s in (first, second))) == [data] * 2
    # many small messages stay in order, however fast they come
    reader, writer = await asyncio.open_connection("127.0.0.1", first.local_port)
    for number in range(200):
        writer.write(b"%05d" % number)
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        assert await reader.readexactly(1000) == b"".join(b"%05d" % number for number in range(200))
    writer.close()
    # again for the same instances: nothing changes
    await proxy.run(cluster)
    assert proxy.get_server(cluster.instances[0], 7000) is first
    with pytest.raises(KeyError, match="No proxy server runs for port 7001"):
        proxy.get_server(cluster.instances[0], 7001)
    with pytest.raises(IndexError, match="No local port is left"):
        await proxy.run_server(cluster.instances[0], 7001)
    await proxy.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", first.local_port)
    # the local ports are free again, and are not if there are too few of them
    await proxy.run(cluster)
    await proxy.stop()
    port = free_port()
    few = SocketProxy(ports=[port])
    with pytest.raises(IndexError, match="No local port is left for port 7000"):
        await few.run(cluster)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = SocketProxy(ports=[port, other.getsockname()[1]])
        with pytest.raises(OSError, match="is in use: choose another one"):
            await taken.run(cluster)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await taken.run(cluster)
    assert taken.get_server(cluster.instances[0], 7000).local_port == port
    await taken.stop()


@pytest.mark.parametrize(
    ("ports", "error", "words"),
    [
        ("80", TypeError, "must be several ports, such as"),
        (None, TypeError, "must be several ports, such as"),
        (["x"], TypeError, "each of `ports` must be a whole number, not 'x'"),
        ([70000], ValueError, "70000 is no port: give one from 1 to 65535, or 0"),
        ([8080, 8080], ValueError, "Port 8080 stands twice"),
    ],
)
def test_ports_that_are_none(ports: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SocketProxy(ports=ports)


@pytest.mark.contract("X03")
async def test_ports_are_used_in_order(golem: Golem) -> None:
    cluster = await golem.run_service(EchoService, 2, network=await golem.create_network("192.168.0.0/24"))
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [one.getsockname()[1], two.getsockname()[1]]
        with pytest.raises(OSError, match=f"Port {ports[0]} of 127.0.0.1 is in use") as caught:
            await SocketProxy(ports).run(cluster)
        assert caught.value.errno == errno.EADDRINUSE
    del cluster.instances[1].remote_ports
    with pytest.raises(AttributeError, match=r"EchoService has no `remote_ports`: set"):
        await SocketProxy([0, 0]).run(cluster)
    cluster.instances[1].remote_ports = [7000]
    proxy = SocketProxy(ports)
    await proxy.run(cluster)
    assert [proxy.get_server(service, 7000).local_port for service in cluster.instances] == ports
    await proxy.stop()


@pytest.mark.contract("X03")
async def test_a_handler_runs_its_own_server(golem: Golem) -> None:
    proxy = SocketProxy(ports=[0])
    cluster = await start(golem, instance_params=[{"proxy": proxy}])
    (service,) = cluster.instances
    assert service.server is proxy.get_server(service, 7000)
    assert await exchange(service.server.local_port, b"hello") == b"hello"
    await proxy.stop()


@pytest.mark.contract("X03")
async def test_ends(golem: Golem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("golem_nb.contrib.service.socket_proxy.LAST_WORDS", 0.5)
    cluster = await start(golem)
    proxy = SocketProxy(ports=[0, 0], timeout=2.0)
    await proxy.run(cluster)
    (service,) = cluster.instances
    port = proxy.get_server(service, 7000).local_port
    # the client has nothing more to say: the answer still comes
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"question")
    writer.write_eof()
    assert await reader.read() == b"question"
    # the remote end has closed: seen when something is sent
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"bye")
    assert await reader.readexactly(3) == b"bye"
    await asyncio.sleep(0.2)
    writer.write(b"more")
    async with asyncio.timeout(1):
        assert await reader.read() == b""
    # nothing happens for too long
    start_time = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    assert 1.5 < time.monotonic() - start_time < 4
    # nobody listens there
    closed = await proxy.run_server(service, 7001)
    reader, writer = await asyncio.open_connection("127.0.0.1", closed.local_port)
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    await proxy.stop()


@pytest.mark.contract("X03")
async def test_a_stop_ends_the_connections_there_are(golem: Golem) -> None:
    cluster = await start(golem)
    proxy = SocketProxy(ports=[0])
    await proxy.run(cluster)
    troubles: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", proxy.get_server(cluster.instances[0], 7000).local_port
    )
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    async with asyncio.timeout(5):
        await proxy.stop()
        assert await reader.read() == b""
    writer.close()
    assert troubles == []


@pytest.mark.contract("X03")
async def test_a_real_database_session(golem: Golem) -> None:
    needed("redis-server", "redis-server")
    needed("redis-cli", "redis-tools")

    class Redis(EchoService):
        command = "redis-server --port 7000 --bind 0.0.0.0 --protected-mode no --save ''"

    cluster = await start(golem, Redis)
    proxy = SocketProxy(ports=[0])
    await proxy.run(cluster)
    port = proxy.get_server(cluster.instances[0], 7000).local_port

    async def cli(*arguments: str, stdin: bytes = b"") -> str:
        process = await asyncio.create_subprocess_exec(
            "redis-cli", "-p", str(port), *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate(stdin)
        assert process.returncode == 0
        return out.decode()

    assert await cli("PING") == "PONG\n"
    value = "x" * 100_000
    assert await cli("-x", "SET", "key", stdin=value.encode()) == "OK\n"
    assert await cli("GET", "key") == value + "\n"
    commands = b"".join(b"INCR counter\n" for _ in range(100))
    assert (await cli(stdin=commands)).split() == [str(number) for number in range(1, 101)]
    await proxy.stop()
