"""The HTTP proxy in front of real servers in sandboxes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import logging
import random
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest

from golem_nb.contrib.service.exchange import Exchange
from golem_nb.contrib.service.http_proxy import HttpProxyService, LocalHttpProxy
from golem_nb.services import Service, ServiceState
from tests.programs import needed

from .conftest import WebService, start, until

if TYPE_CHECKING:
    from golem_nb import Golem
    from golem_nb.localnet import LocalNetwork

    from .conftest import Web

MIB = 1024 * 1024


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


def requestor(network: LocalNetwork) -> psutil.Process:
    """The daemon that the websockets go through."""
    return next(
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "yagna"
        and process.environ().get("YAGNA_DATADIR") == network.env["YAGNA_DATADIR"]
    )


def digest(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


@pytest.mark.contract("X01", "X02")
async def test_requests_go_to_the_running_instances_in_turn(web: Web, client: aiohttp.ClientSession) -> None:
    seen: Counter[str] = Counter()

    async def get() -> None:
        async with client.get(f"{web.base}/name") as response:
            assert response.status == 200
            seen[await response.text()] += 1

    await get()
    await until(lambda: all(service.is_reachable for service in web.cluster.instances) or not seen)
    seen.clear()
    for _ in range(10):
        await get()
    assert set(seen) == web.addresses
    assert set(seen.values()) == {5}
    await asyncio.gather(*(get() for _ in range(40)))
    assert set(seen.values()) == {25}


@pytest.mark.contract("X01")
async def test_many_requests_at_once_share_the_connections(web: Web) -> None:
    """The daemon cannot open as many at once; all are answered all the same."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def get() -> int:
            async with client.get(f"{web.base}/name") as response:
                await response.read()
                return response.status

        assert Counter(await asyncio.gather(*(get() for _ in range(200)))) == {200: 200}


@pytest.mark.contract("X01", "X02")
async def test_what_servers_answer_with(web: Web, client: aiohttp.ClientSession) -> None:
    async def get(path: str, **options: object) -> tuple[int, str]:
        async with client.get(f"{web.base}/{path}", **options) as response:  # type: ignore[arg-type]
            return response.status, await response.text()

    assert await get("chunked") == (200, "".join(f"piece {number}\n" for number in range(5)))
    assert await get("nothing") == (404, "there is no such page")
    # a body whose end is the end of the connection, also after a pause
    assert await get("close") == (200, "first last")
    assert await get("close?pause=1.5") == (200, "first last")
    assert await get("slow?pause=1.2") == (200, "slow")
    _, headers = await get("headers?a=%20b", headers={"Cookie": "_xsrf=1; mine=2", "X-Mine": "yes"})
    assert re.search(r"^Host: 127\.0\.0\.1:\d+$", headers, re.MULTILINE)
    assert "X-Mine: yes" in headers
    assert "Cookie: mine=2\n" in headers
    async with client.head(f"{web.base}/name") as response:
        assert (response.status, response.content_length) == (200, len("192.168.0.2"))
    async with client.get(f"{web.base}/cookies") as response:
        assert response.headers.getall("Set-Cookie") == ["mine=3"]


@pytest.mark.contract("X01")
async def test_events_come_while_they_are_sent(web: Web, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{web.base}/events?pause=0.5") as response:
        times = [time.monotonic() async for line in response.content if line.startswith(b"data")]
    assert len(times) == 3
    assert all(later - earlier > 0.3 for earlier, later in itertools.pairwise(times))


@pytest.mark.contract("X01")
async def test_websockets(single: Web, client: aiohttp.ClientSession) -> None:
    async with client.ws_connect(f"{single.base}/socket") as connection:
        for size in (1, 125, 126, 60_000):
            await connection.send_bytes(random.randbytes(size))
            assert len((await connection.receive()).data) == size
        await connection.send_str("text")
        assert (await connection.receive()).data == "text"
    # the server learns that the client has left, however it has left
    connection = await client.ws_connect(f"{single.base}/socket")
    connection._response.connection.transport.abort()

    async def closed() -> int:
        async with client.get(f"{single.base}/count?of=closed%20websockets") as response:
            return int(await response.text())

    async with asyncio.timeout(10):
        while await closed() < 2:
            await asyncio.sleep(0.05)


@pytest.mark.contract("X01")
async def test_a_websocket_ends_with_its_instance(single: Web) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", single.proxy.port)
    lines = "GET /socket HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"
    writer.write("\r\n".join((*lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "")).encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    single.cluster.stop_instance(single.cluster.instances[0])
    async with asyncio.timeout(15):
        # "going away", and the end of the connection, though the client says nothing
        assert await reader.read() == b"\x88\x02\x03\xe9"
    writer.close()


@pytest.mark.contract("X01", "X02")
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_in_both_directions(
    web: Web, client: aiohttp.ClientSession, chunked: bool, network: LocalNetwork
) -> None:
    data = random.randbytes(3 * MIB)

    async def pieces() -> AsyncIterator[bytes]:
        for first in range(0, len(data), 50_000):
            yield data[first : first + 50_000]

    daemon = requestor(network)
    before = daemon.memory_info().rss
    async with client.post(f"{web.base}/up", data=pieces() if chunked else data) as response:
        # what the daemon is given too fast it mixes up
        assert await response.text() == digest(data)
    assert daemon.memory_info().rss - before < 32 * MIB
    async with client.get(f"{web.base}/bytes?size={3 * MIB}") as response:
        assert digest(await response.read()) == digest(bytes(range(256)) * (3 * MIB // 256))
    # small ones
    for size in (0, 1, 1000, 70_000):
        async with client.put(f"{web.base}/up", data=data[:size]) as response:
            assert await response.text() == digest(data[:size])


@pytest.mark.contract("X01", "X02")
async def test_large_requests_at_once_follow_each_other(
    web: Web, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Together they would keep the daemon from opening connections."""

    async def up() -> None:
        data = random.randbytes(60_000)
        async with client.post(f"{web.base}/up", data=data) as response:
            assert await response.text() == digest(data)

    await asyncio.gather(*(up() for _ in range(100)))
    proxy = [record for record in caplog.records if record.name.startswith("golem_nb.contrib")]
    assert [record.getMessage() for record in proxy if record.levelno >= logging.WARNING] == []


@pytest.mark.contract("X01", "X02")
@pytest.mark.timeout(600)
async def test_large_bodies_are_held_nowhere(
    web: Web, client: aiohttp.ClientSession, network: LocalNetwork
) -> None:
    """20 MiB each way, made and taken piece by piece: neither the proxy nor the daemon keeps them."""
    size = 20 * MIB
    block = random.randbytes(64 * 1024)
    expected = hashlib.sha256()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // len(block)):
            expected.update(block)
            yield block

    processes = {"proxy": psutil.Process(), "daemon": requestor(network)}
    before = {name: process.memory_info().rss for name, process in processes.items()}
    grown = dict.fromkeys(processes, 0)

    async def watch() -> None:
        while True:
            for name, process in processes.items():
                grown[name] = max(grown[name], process.memory_info().rss - before[name])
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    timeout = aiohttp.ClientTimeout(total=500)
    headers = {"Content-Length": str(size)}
    async with client.post(f"{web.base}/up", data=pieces(), headers=headers, timeout=timeout) as response:
        assert await response.text() == f"{size} {expected.hexdigest()}"
    assert grown["daemon"] < 64 * MIB
    received, got = hashlib.sha256(), 0
    async with client.get(f"{web.base}/bytes?size={size}", timeout=timeout) as response:
        async for piece in response.content.iter_any():
            received.update(piece)
            got += len(piece)
    watching.cancel()
    assert got == size
    assert received.digest() == hashlib.sha256(bytes(range(256)) * (size // 256)).digest()
    assert grown["proxy"] < 16 * MIB


@pytest.mark.contract("X01")
async def test_a_download_that_pauses_stalls_nobody_else(single: Web, client: aiohttp.ClientSession) -> None:
    size = 24 * MIB
    loop = asyncio.get_running_loop()
    async with client.get(f"{single.base}/bytes?size={size}") as paused:
        await paused.content.readexactly(100_000)
        # longer than the daemon waits for a client that does not read
        end = loop.time() + 14
        while loop.time() < end:
            async with client.get(f"{single.base}/name") as response:
                assert response.status == 200, await response.text()
            await asyncio.sleep(0.1)
        rest = await paused.read()
    assert (
        hashlib.sha256(rest).digest()
        == hashlib.sha256((bytes(range(256)) * (size // 256))[100_000:]).digest()
    )


@pytest.mark.contract("X01")
async def test_an_instance_leaves_the_turn_when_it_has_failed(
    web: Web, client: aiohttp.ClientSession
) -> None:
    async def name() -> str:
        async with client.get(f"{web.base}/name") as response:
            return await response.text()

    await name()
    await until(lambda: all(service.is_reachable for service in web.cluster.instances))
    assert {await name() for _ in range(4)} == web.addresses
    async with client.post(f"{web.base}/hang-up") as response:
        assert response.status == 502
        text = await response.text()
    (failed,) = (address for address in web.addresses if address in text)
    assert {await name() for _ in range(10)} == web.addresses - {failed}


@pytest.mark.contract("X01")
async def test_that_an_instance_leaves_the_turn_is_told_once(
    single: Web, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> int:
        async with client.post(f"{single.base}/hang-up") as response:
            return response.status

    assert await asyncio.gather(*(fail() for _ in range(10))) == [502] * 10
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage().count("without an answer") for record in told] == [1]


@pytest.mark.contract("S16", "N03", "X01")
async def test_a_provider_stays_in_the_network_while_one_of_its_instances_does(
    golem: Golem, client: aiohttp.ClientSession
) -> None:
    web = await start(golem, 4)
    (crowded, number), *_ = Counter(service.provider_id for service in web.cluster.instances).most_common()
    assert number > 1
    first, *others = [service for service in web.cluster.instances if service.provider_id == crowded]
    for service in web.cluster.instances:
        if service not in others:
            web.cluster.stop_instance(service)
    await until(lambda: sum(service.is_available for service in web.cluster.instances) == len(others))
    await until(lambda: first.network_node is None)
    assert web.addresses == {service.network_node.ip for service in others if service.network_node}
    seen = set()
    for _ in range(6):
        async with client.get(f"{web.base}/name") as response:
            assert response.status == 200
            seen.add(await response.text())
    assert seen == web.addresses
    await web.proxy.stop()


@pytest.mark.contract("X01")
async def test_curl(web: Web, tmp_path: Path) -> None:
    needed("curl", "curl")
    data = random.randbytes(2 * MIB)
    (tmp_path / "data").write_bytes(data)

    async def curl(*arguments: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", "--fail-with-body", *arguments, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        return out

    assert (await curl(f"{web.base}/name")).decode() in web.addresses
    assert (await curl("--data-binary", f"@{tmp_path}/data", f"{web.base}/up")).decode() == digest(data)
    chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", f"@{tmp_path}/data", f"{web.base}/up"]
    assert (await curl(*chunked)).decode() == digest(data)
    assert (await curl("-0", f"{web.base}/chunked")).startswith(b"piece 0")


@pytest.mark.contract("X01")
async def test_who_may_ask(web: Web, client: aiohttp.ClientSession) -> None:
    """Pages elsewhere cannot have a browser ask here under a name of their own (DNS rebinding)."""
    async with client.get(f"{web.base}/name", headers={"Host": "evil.example"}) as response:
        assert response.status == 421
        assert "does not answer for 'evil.example'" in await response.text()
    for host in ("localhost", f"LocalHost:{web.proxy.port}", "127.0.0.1"):
        async with client.get(f"{web.base}/name", headers={"Host": host}) as response:
            assert response.status == 200
    assert re.fullmatch(r"http://127\.77\.\d+\.\d+:\d+/", web.proxy.url)
    async with client.get(f"{web.proxy.url}name") as response:
        assert response.status == 200
    web.proxy.hosts.add("my.example")
    async with client.get(f"{web.base}/name", headers={"Host": "my.example"}) as response:
        assert response.status == 200


@pytest.mark.contract("X01", "X02")
async def test_servers_that_fail(
    web: Web,
    client: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("golem_nb.contrib.service.http_proxy.PENALTY", 0.0)

    async def ask(method: str, path: str) -> tuple[int, str]:
        async with client.request(method, f"{web.base}/{path}") as response:
            return response.status, await response.text()

    async def count(of: str) -> int:
        """Over all instances: each is asked for its own."""
        total = 0
        for service in web.cluster.instances:
            async with client.get(f"{web.base}/count?of={of}") as response:
                total += int(await response.text())
            assert service.state == ServiceState.running
        return total

    await ask("GET", "name")
    await until(lambda: all(service.is_reachable for service in web.cluster.instances))
    status, text = await ask("GET", "garbage")
    assert status == 502
    assert "does not speak HTTP" in text
    assert caplog.text.count("does not speak HTTP") == 2
    began = time.monotonic()
    status, text = await ask("GET", "hang-up")
    assert status == 502
    assert "closed the connection without an answer" in text
    assert time.monotonic() - began < 3
    # tried twice each, on different instances
    assert await count("/garbage") == 2
    assert await count("/hang-up") == 2
    status, text = await ask("POST", "hang-up")
    assert status == 502
    # a POST is never sent twice
    assert await count("/hang-up") == 3


@pytest.mark.contract("X02")
async def test_a_server_that_never_answers(single: Web, client: aiohttp.ClientSession) -> None:
    began = time.monotonic()
    async with client.get(f"{single.base}/slow?pause=30") as response:
        assert response.status == 504
        assert "No answer from the instance at 192.168.0.2 in 2 s" in await response.text()
    assert 1.9 < time.monotonic() - began < 4
    async with client.get(f"{single.base}/name") as response:
        assert response.status == 200


@pytest.mark.contract("X01", "X02")
async def test_an_answer_may_begin_before_the_request_has_ended(
    single: Web, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golem_nb.contrib.service.exchange.LIVENESS_INTERVAL", 0.3)
    heard = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one,"
        await heard.wait()
        await asyncio.sleep(1.0)  # nothing may get between the pieces meanwhile
        yield b"two"

    async with asyncio.timeout(20), client.post(f"{single.base}/back", data=pieces()) as response:
        assert await response.content.readany() == b"one,"
        heard.set()
        assert await response.read() == b"two"


@pytest.mark.contract("X01", "X02")
async def test_an_answer_is_never_that_to_another_request(single: Web, client: aiohttp.ClientSession) -> None:
    for _ in range(3):
        async with client.get(f"{single.base}/too-much") as response:
            assert await response.text() == "asked"
        async with client.get(f"{single.base}/name") as response:
            assert await response.text() in single.addresses


@pytest.mark.contract("X01")
async def test_an_answer_that_ends_too_early_ends_for_the_client(
    single: Web, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golem_nb.contrib.service.exchange.LIVENESS_INTERVAL", 0.5)
    # one that only pauses for longer than that goes on
    async with client.get(f"{single.base}/events?pause=1.2") as response:
        assert (await response.text()).count("data") == 3
    async with asyncio.timeout(10), client.get(f"{single.base}/cut") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.contract("X01")
async def test_a_stop_does_not_wait_for_streams(single: Web, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{single.base}/stream") as stream:
        assert await stream.content.readany() == b"first"
        socket = await client.ws_connect(f"{single.base}/socket")
        before = asyncio.all_tasks()
        async with asyncio.timeout(10):
            await single.proxy.stop()
        with pytest.raises(aiohttp.ClientError):
            await stream.read()
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    started = asyncio.all_tasks() - before
    assert not [task for task in started if task.get_name() in ("close upstream", "probe")]


@pytest.mark.contract("X01")
async def test_a_client_that_leaves_while_something_is_written(
    single: Web,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is no error of the server's, and not told as one.

    Real clients do this within one turn of the loop, now and then; here the connection is always lost between
    a piece that has come and its being written.
    """
    caplog.set_level(logging.DEBUG, "golem_nb")
    more = Exchange._while_present

    async def lose(self: Exchange, *options: Any) -> Any:
        piece = await more(self, *options)
        assert self._request.transport is not None
        self._request.transport.abort()
        return piece

    monkeypatch.setattr(Exchange, "_while_present", lose)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.get(f"{single.base}/events?pause=0.1") as response:
            await response.read()
    await until(lambda: "has left before the end of the answer" in caplog.text)
    connection = await client.ws_connect(f"{single.base}/socket")
    await connection.send_str("text")
    assert (await connection.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    monkeypatch.undo()
    async with client.get(f"{single.base}/name") as response:
        assert response.status == 200
    assert "Traceback" not in caplog.text


async def raw(web: Web, *lines: bytes) -> bytes:
    """Send a request as it is written here; give all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.proxy.port)
    writer.write(b"\r\n".join((*lines, b"", b"")))
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.contract("X01")
async def test_headers_that_are_not_ascii(single: Web) -> None:
    answer = await raw(single, b"GET /file HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close")
    assert "X-Utf: é€\r\nX-Latin: é\r\n".encode() in answer


@pytest.mark.contract("X01")
async def test_a_client_that_names_no_host(single: Web) -> None:
    """HTTP/1.0 knows no Host header; the server of the service is told its own address."""
    answer = await raw(single, b"GET /headers HTTP/1.0")
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert b"192.168.0." in answer.partition(b"Host")[2]


@pytest.mark.contract("X01")
async def test_requests_that_are_none(single: Web, caplog: pytest.LogCaptureFixture) -> None:
    for lines in ([b"GET /name HTTP/1.1", b"Host: 127.0.0.1", b"X: \x1b[31m\x00"], [b"\x16\x03\x01\x02"]):
        caplog.clear()
        assert (await raw(single, *lines)).startswith(b"HTTP/1.0 400 ")
        for record in caplog.records:
            assert (record.levelname, record.exc_info) in (("WARNING", None), ("DEBUG", record.exc_info))
            assert record.getMessage().isprintable()
    # the server would take what follows the switch for this body, and the next request for a part of it
    lines = [
        b"GET /socket HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Connection: upgrade, close",
        b"Upgrade: websocket",
    ]
    answer = await raw(single, *lines, b"Content-Length: 9", b"", b"GET /x HT")
    assert b" 400 " in answer
    assert b"A request for a websocket has no body" in answer
    answer = await raw(
        single, b"POST /digest HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close, content-length",
        b"Content-Length: 18", b"", b"GET /name HTTP/1.1",
    )  # fmt: skip
    assert answer.endswith(digest(b"GET /name HTTP/1.1").encode())


@pytest.mark.contract("X01")
async def test_nobody_is_there(golem: Golem, client: aiohttp.ClientSession) -> None:
    cluster = await golem.run_service(WebService, 0, network=await golem.create_network("192.168.0.0/24"))
    proxy = LocalHttpProxy(cluster, 0)
    await proxy.run()
    async with client.get(f"http://127.0.0.1:{proxy.port}/") as response:
        assert response.status == 503
        assert await response.text() == "No service instances available. (there are none)"
    await proxy.stop()
    await proxy.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(f"http://127.0.0.1:{proxy.port}/")


@pytest.mark.contract("X01")
async def test_nobody_can_be_reached_without_a_network(golem: Golem, client: aiohttp.ClientSession) -> None:
    cluster = await golem.run_service(WebService, 0)
    proxy = LocalHttpProxy(cluster, 0)
    await proxy.run()
    async with client.get(proxy.url) as response:
        assert response.status == 503
        assert "give `network=` to `run_service`" in await response.text()
    await proxy.stop()
    for port in (-1, 65536):
        with pytest.raises(ValueError, match=f"{port} is no port: give one from 1 to 65535, or 0"):
            LocalHttpProxy(cluster, port)
    for none in ("80", None, True, 80.0):
        with pytest.raises(TypeError, match="port must be a whole number, not"):
            LocalHttpProxy(cluster, none)  # type: ignore[arg-type]


@pytest.mark.contract("X01")
async def test_a_network_that_is_removed_under_the_proxy(
    web: Web, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with client.get(f"{web.base}/name") as response:
        assert response.status == 200
    assert web.cluster.network is not None
    await web.cluster.network.remove()
    for send in (client.get, client.post):
        async with send(f"{web.base}/name") as response:
            assert response.status == 503
            assert await response.text() == (
                "No service instances available. (network 192.168.0.0 is removed)"
            )
    assert "Traceback" not in caplog.text


@pytest.mark.contract("X01")
async def test_only_services_for_http_have_a_proxy(golem: Golem) -> None:
    class Plain(Service):
        """Cannot answer requests."""

        get_payload = WebService.get_payload

    cluster = await golem.run_service(Plain, 0)
    with pytest.raises(TypeError, match="Plain cannot answer HTTP requests: derive it from HttpProxyService"):
        LocalHttpProxy(cluster, 0)  # type: ignore[type-var]


@pytest.mark.contract("X01")
async def test_requests_that_are_too_large(web: Web, client: aiohttp.ClientSession) -> None:
    small = LocalHttpProxy(web.cluster, 0, max_request_size=1000)
    await small.run()
    base = f"http://127.0.0.1:{small.port}"

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    for data in (b"x" * 1001, pieces()):
        async with client.post(f"{base}/up", data=data) as response:
            assert response.status == 413
    async with client.post(f"{base}/up", data=b"x" * 1000) as response:
        assert response.status == 200
    await small.stop()


@pytest.mark.contract("X01")
async def test_a_port_that_is_in_use(web: Web) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        proxy = LocalHttpProxy(web.cluster, port)
        with pytest.raises(OSError, match=f"Port {port} of 127.0.0.1 is in use") as caught:
            await proxy.run()
        assert caught.value.errno == errno.EADDRINUSE
    await proxy.run()
    with pytest.raises(RuntimeError, match="running already"):
        await proxy.run()
    await proxy.stop()


@pytest.mark.contract("X01", "S10")
async def test_a_provider_that_vanishes_under_load(
    golem: Golem, client: aiohttp.ClientSession, on_network: LocalNetwork
) -> None:
    # more instances than providers: several go at once, and none of those is to be asked after another
    web = await start(golem, 4)
    services = web.cluster.instances
    async with client.get(f"{web.base}/name") as response:
        assert response.status == 200
    await until(lambda: all(service.is_reachable for service in services))
    (crowded, number), *_ = Counter(service.provider_id for service in services).most_common()
    assert number > 1
    gone = [service for service in services if service.provider_id == crowded]
    results: list[tuple[float, int, float]] = []
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            sent = time.monotonic()
            async with client.get(f"{web.base}/name") as response:
                await response.read()
            results.append((sent, response.status, time.monotonic() - sent))

    loads = [asyncio.create_task(load()) for _ in range(4)]
    # the load that the limits are measured against, before anything is lost
    await asyncio.sleep(2)
    lost = on_network.provider(gone[0].provider_name)
    vanished = time.monotonic()
    await lost.vanish()
    try:
        # one of them may be back before the loss of another is noticed
        await until(
            lambda: all(
                service.state == ServiceState.running and service.provider_id != crowded
                for service in services
            )
        )
        assert time.monotonic() - vanished < 20
        await asyncio.sleep(0.5)
    finally:
        stop.set()
        await asyncio.gather(*loads)
        await lost.come_back()
        await web.proxy.stop()
    before = [took for sent, _, took in results if sent + took < vanished]
    after = [(status, took) for sent, status, took in results if sent > vanished]
    assert {status for status, _ in after} == {200}
    # one second, and what this machine does to a request when nothing has happened
    assert max(took for _, took in after) < 1.0 + max(before)
    assert len(after) > 100


@pytest.mark.contract("X02")
async def test_the_host_header_can_be_replaced(golem: Golem, client: aiohttp.ClientSession) -> None:
    web = await start(golem, 1, remote_host="inside.example")
    async with client.get(f"{web.base}/headers") as response:
        assert "Host: inside.example\n" in await response.text()
    await web.proxy.stop()


@pytest.mark.contract("X02")
def test_the_documented_defaults(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service = HttpProxyService()
    assert (service._remote_port, service._remote_host, service._response_timeout) == (80, None, 30.0)
