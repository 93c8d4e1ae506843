"""The client when things go wrong, on a local server: the real daemon cannot be made to do these things."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from golem_nb.config import ApiConfig
from golem_nb.exceptions import GolemError
from golem_nb.rest import Activity, Configuration, Gsb, Identity, Market, Net, Payment, pool
from golem_nb.rest.errors import (
    ApiError,
    ConnectionDroppedError,
    DaemonUnreachableError,
    ForbiddenError,
    MalformedAnswerError,
    NotFoundError,
    RequestTimeoutError,
    ServerError,
    UnauthorizedError,
    is_intermittent,
)

KEY = "the-very-secret-key"
ME = {"identity": "0x" + "1" * 40, "name": "test", "role": "manager"}


def configured(port: int) -> Configuration:
    return Configuration(ApiConfig(app_key=KEY, api_url=f"http://127.0.0.1:{port}"))


def all_of(error: BaseException) -> str:
    """Print an error as tools do that leave nothing out: with what came before it, and its attributes."""
    seen: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue:
        one = queue.pop()
        if one is not None and one not in seen:
            seen.append(one)
            queue += [one.__cause__, one.__context__]
    parts = [f"{one!s} {one!r} {vars(one)} {one.args}" for one in seen]
    return "\n".join([*parts, *traceback.format_exception(error)])


@asynccontextmanager
async def raw_server(handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Any:
    """Serve a protocol that need not be HTTP."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with configured(port) as configuration:
        yield configuration
    for task in tasks:
        task.cancel()
    server.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    if length:
        head += await reader.readexactly(int(length[0].split(b":")[1]))
    return head


def answer(body: Any, more: bytes = b"") -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(content), more, content)


# --- requests


async def test_what_is_sent(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.raw_path, dict(request.headers), await request.read()))
        return web.json_response("R-1")

    seen: list[Any] = []
    configuration = await serve(handler)
    await Activity(configuration.activity()).attach("a1").send([{"run": {"args": ["é"]}}])
    path, headers, body = seen[0]
    assert path == "/activity-api/v1/activity/a1/exec"
    host = configuration.api_config.api_url.removeprefix("http://")
    assert headers == {
        "Host": host,
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    assert json.loads(json.loads(body)["text"]) == [{"run": {"args": ["é"]}}]


async def test_identifiers_cannot_leave_their_place_in_the_path(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.raw_path)
        return web.json_response({"state": ["Ready", None]})

    seen: list[str] = []
    activities = Activity((await serve(handler)).activity())
    await activities.attach("../../me?x=1#y z").state()
    assert seen == ["/activity-api/v1/activity/..%2F..%2Fme%3Fx%3D1%23y%20z/state"]
    for nonsense in ("", ".", ".."):
        with pytest.raises(ValueError, match="not an identifier"):
            activities.attach(nonsense)


async def test_a_header_cannot_be_ended(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response([])

    payment = Payment((await serve(handler)).payment())
    with pytest.raises(ValueError, match="would end it"):
        await payment.collect_invoice_events(
            dt.datetime.now(dt.UTC), 0, requestor_events=["RECEIVED\r\nX-Evil: 1"]
        )


async def test_one_pool_of_connections(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        ports.add(request.transport.get_extra_info("peername")[1])  # type: ignore[union-attr]
        return web.json_response(ME if request.path == "/me" else [])

    ports: set[int] = set()
    configuration = await serve(handler)
    for _ in range(3):
        await Identity(configuration.root()).me()
        await Market(configuration.market()).agreements()
        await Payment(configuration.payment()).allocations()
        await Net(configuration.net()).networks()
    assert len(ports) == 1


async def test_requests_run_side_by_side_without_a_limit(serve: Any) -> None:
    waiting = 0
    all_here = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal waiting
        waiting += 1
        if waiting == 150:
            all_here.set()
        await all_here.wait()
        return web.json_response([])

    market = Market((await serve(handler)).market())
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for _ in range(150):
            group.create_task(market.agreements())


# --- the end of waiting


async def test_cancelling_a_long_poll_closes_its_connection_at_once(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(time.perf_counter())
        raise AssertionError

    began, ended = asyncio.Event(), []
    activity = Activity((await serve(handler)).activity()).attach("a1")
    task = asyncio.create_task(activity.results("b1", command_index=0, timeout=30))
    await began.wait()
    started = time.perf_counter()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.perf_counter() - started < 0.5
    for _ in range(500):
        if ended:
            break
        await asyncio.sleep(0.001)
    assert ended[0] - started < 0.5


async def test_cancelling_while_the_body_comes(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"[1,")
        began.set()
        await asyncio.sleep(60)
        return response

    began = asyncio.Event()
    task = asyncio.create_task(Market((await serve(handler)).market()).agreements())
    await began.wait()
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_daemon_that_does_not_answer(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr("golem_nb.rest.activity.LONG_POLL_MARGIN", 0.1)
    activity = Activity((await serve(handler)).activity()).attach("a1")
    started = time.perf_counter()
    with pytest.raises(
        RequestTimeoutError, match=r"no answer from http://127.0.0.1:\d+ within 0\.2 s"
    ) as caught:
        await activity.results("b1", timeout=0.1)
    assert time.perf_counter() - started < 1
    assert caught.value.status is None
    assert is_intermittent(caught.value)


async def test_a_timeout_of_the_caller_stays_the_callers(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    market = Market((await serve(handler)).market())
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await market.agreements()
    assert not isinstance(caught.value, GolemError)


# --- no connection, broken connections


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with configured(port) as configuration:
        with pytest.raises(DaemonUnreachableError) as caught:
            await Identity(configuration.root()).me()
        with pytest.raises(DaemonUnreachableError):
            await anext(Activity(configuration.activity()).attach("a").events("b"))
        with pytest.raises(DaemonUnreachableError):
            await Net(configuration.net()).connect("n", "192.168.0.2", 80)
    text = str(caught.value)
    assert text.startswith("Asking the daemon for its identity failed: no Golem daemon can be reached at ")
    assert f"http://127.0.0.1:{port} (" in text
    assert "`yagna service run`" in text
    assert "YAGNA_API_URL" in text
    assert isinstance(caught.value.__cause__, OSError)
    assert KEY not in all_of(caught.value)


async def test_a_host_that_does_not_exist() -> None:
    async with Configuration(
        ApiConfig(app_key=KEY, api_url="http://no-such-host.invalid:1")
    ) as configuration:
        with pytest.raises(DaemonUnreachableError, match="no-such-host"):
            await Identity(configuration.root()).me()


async def test_reading_survives_broken_connections() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        if len(requests) == 4:
            writer.write(answer(ME))
            await writer.drain()
        elif len(requests) == 2:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")  # and no more
            await writer.drain()

    requests: list[bytes] = []
    async with raw_server(handler) as configuration:
        assert (await Identity(configuration.root()).me()).name == "test"
    assert len(requests) == 4


async def test_what_makes_something_is_sent_once() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))

    requests: list[bytes] = []
    async with raw_server(handler) as configuration:
        with pytest.raises(ConnectionDroppedError, match="it may have done what it was asked to") as caught:
            await Payment(configuration.payment()).create_allocation(Decimal(1), "erc20-hoodi-tglm")
        assert is_intermittent(caught.value)
        assert KEY not in all_of(caught.value)
        with pytest.raises(ConnectionDroppedError):
            await Activity(configuration.activity()).attach("a").send([])
        with pytest.raises(ConnectionDroppedError):
            await Activity(configuration.activity()).new_activity("a")
    assert len(requests) == 3


async def test_a_connection_that_was_closed_while_idle() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(answer(ME))
        await writer.drain()

    requests: list[bytes] = []
    async with raw_server(handler) as configuration:
        for _ in range(5):
            await Identity(configuration.root()).me()
    assert len(requests) == 5


async def test_tries_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))

    pauses: list[float] = []

    async def no_pause(seconds: float) -> None:
        pauses.append(seconds)

    requests: list[bytes] = []
    async with raw_server(handler) as configuration:
        activity = Activity(configuration.activity()).attach("a1")
        with monkeypatch.context() as patch:
            patch.setattr("golem_nb.rest.client.asyncio.sleep", no_pause)
            with pytest.raises(ConnectionDroppedError):
                await activity.state()
    assert pauses == [0.25, 0.5]
    # each try takes a second connection, in case that the first had been idle for too long
    assert len(requests) == 6


# --- answers that make no sense


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"", "expected an object, got None"),
        (b"[]", "expected an object, got []"),
        (b"{}", "field 'identity' is missing"),
        (b'{"identity": 5}', "field 'identity': expected a string, got 5"),
        (b'{"identity": NaN}', "it is not JSON"),
        (b'{"identity": ["' + b"x" * 500 + b'"]}', "..."),
        (b"[" * 100_000, "it is not JSON"),
        (b"1" * 10_000, "it is not JSON"),
    ],
)
async def test_an_answer_that_makes_no_sense(body: bytes, said: str, serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    with pytest.raises(MalformedAnswerError) as caught:
        await Identity((await serve(handler)).root()).me()
    text = str(caught.value)
    assert text.startswith("Asking the daemon for its identity failed: the answer makes no sense: ")
    assert said in text
    assert text.endswith("(GET /me answered 200).")
    assert len(text) < 300


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_is_too_large(
    announced: bool, status: int, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Length": "200000"} if announced else {}
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        for _ in range(20):
            await response.write(b" " * 10_000)
        return response

    monkeypatch.setattr(pool, "MAX_ANSWER", 50_000)
    with pytest.raises(MalformedAnswerError, match="the answer is larger than 50000 bytes"):
        await Identity((await serve(handler)).root()).me()


@pytest.mark.parametrize(
    "reply", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 nonsense\r\n\r\n", b"\0\1\2\3" * 100]
)
async def test_what_listens_is_no_daemon(reply: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply)
        await writer.drain()

    async with raw_server(handler) as configuration:
        with pytest.raises(
            MalformedAnswerError, match="speaks no clean HTTP, and is no Golem daemon"
        ) as caught:
            await Identity(configuration.root()).me()
    assert KEY not in all_of(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, "<!DOCTYPE HTML><html>…</html>", "answers with a web page"),
        (200, "\n<!DOCTYPE HTML><html>…</html>", "answers with a web page"),
        (404, "404: Not Found", "answers as a daemon never does"),
        (404, "404 page not found\n", "answers as a daemon never does"),
    ],
)
async def test_what_listens_is_a_web_server(serve: Any, status: int, body: str, said: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    configuration = await serve(handler)
    with pytest.raises(MalformedAnswerError) as caught:
        await Identity(configuration.root()).me()
    text = str(caught.value)
    assert f"{said}, and is no Golem daemon (GET /me answered {status}). Remedy: Set YAGNA_API_URL" in text
    assert "<" not in text


@pytest.mark.parametrize("body", ["", '{"message": "Allocation 1 not found"}', '{"message": null}'])
async def test_a_daemon_s_own_404_is_not_taken_for_a_stranger_s(serve: Any, body: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=404, text=body)

    with pytest.raises(NotFoundError):
        await Identity((await serve(handler)).root()).me()


async def test_an_answer_before_the_end_of_the_request() -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        too_large = answer({"message": "too large"}).replace(b"200 OK", b"413 Payload Too Large")
        writer.write(too_large if head.startswith(b"POST") else answer(ME))
        await writer.drain()
        # what else comes on this connection is not read: the body was too large
        await asyncio.Event().wait()

    async with raw_server(handler) as configuration:
        with pytest.raises(ApiError, match="too large"):
            await Market(configuration.market()).subscribe({"x": "y" * 20_000_000}, "(&)")
        # the rest of the request is not taken for a part of the next one
        async with asyncio.timeout(5):
            await Identity(configuration.root()).me()
    assert connections == 2


async def test_an_answer_announced_by_another() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(ME))
        await writer.drain()

    async with raw_server(handler) as configuration:
        assert (await Identity(configuration.root()).me()).name == "test"


async def test_the_key_is_not_sent_where_an_answer_points(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        raise web.HTTPFound("http://127.0.0.1:1/elsewhere")

    paths: list[str] = []
    with pytest.raises(ApiError, match="answered 302"):
        await Identity((await serve(handler)).root()).me()
    assert paths == ["/me"]


async def test_hostile_text_in_a_refusal(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "\x1b[2J{evil}%s\r\n" + "x" * 10_000}, status=500)

    with pytest.raises(ServerError) as caught:
        await Identity((await serve(handler)).root()).me()
    assert len(str(caught.value)) < 2200
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "{evil}%s" in str(caught.value)


# --- the key


async def test_the_key_is_never_shown(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401, text="Invalid application key")

    configuration = await serve(handler)
    gsb, net = Gsb(configuration.gsb()), Net(configuration.net())
    activity = Activity(configuration.activity()).attach("a1")

    async def bind() -> None:
        async with gsb.bind("/public/x", []):
            pass

    for call in (
        Identity(configuration.root()).me(),
        Payment(configuration.payment()).allocations(),
        anext(activity.events("b1")),
        net.connect("n1", "192.168.0.2", 80),
        bind(),
    ):
        with pytest.raises(UnauthorizedError, match="YAGNA_APPKEY") as caught:
            await call
        assert KEY not in all_of(caught.value)
    shown = [configuration, configuration.api_config, configuration.market(), activity, gsb, net]
    assert KEY not in " ".join(map(repr, shown))
    assert KEY not in net.websocket_uri("n1", "192.168.0.2", 80)


# --- websockets


async def test_a_tcp_connection_into_a_network(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.path == "/net-api/v1/net/n1/tcp/192.168.0.2/80"
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        echo = web.WebSocketResponse()
        await echo.prepare(request)
        async for message in echo:
            await echo.send_bytes(message.data.upper())
        return echo

    net = Net((await serve(handler)).net())
    assert net.websocket_uri("n1", "192.168.0.2", 80).startswith("ws://127.0.0.1:")
    connection = await net.connect("n1", "192.168.0.2", 80)
    await connection.send_bytes(b"get / http")
    assert await connection.receive_bytes() == b"GET / HTTP"
    await connection.close()


@pytest.mark.parametrize(
    ("status", "kind"), [(403, ForbiddenError), (404, NotFoundError), (504, RequestTimeoutError)]
)
async def test_a_refused_websocket(status: int, kind: type[ApiError], serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    with pytest.raises(kind, match=r"Connecting to 192\.168\.0\.2:80 in network n1 failed") as caught:
        await Net((await serve(handler)).net()).connect("n1", "192.168.0.2", 80)
    assert caught.value.status == status
    assert KEY not in all_of(caught.value)


# --- streams


def runtime(index: int, kind: Any) -> bytes:
    event = {"batch_id": "b1", "index": index, "timestamp": "2026-11-23T18:26:18.660038", "kind": kind}
    return b"event: runtime\ndata: %s\nid: %d\n\n" % (json.dumps(event).encode(), index)


async def test_a_stream_in_any_pieces(serve: Any) -> None:
    text = (
        b":ping\n"
        + runtime(0, {"started": {"command": {"run": {}}}})
        + runtime(0, {"stdout": "naïve\n"})
        + b":ping\n"
        + runtime(0, {"something-new": {}})
        + b"event: other\ndata: {}\n\n"
        + runtime(0, {"progress": {"step": [0, 4], "message": None, "progress": [1, None], "unit": "Bytes"}})
        + runtime(0, {"stderr": [255, 0]})
        + runtime(0, {"finished": {"return_code": 3, "message": "no"}})
    )

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept"] == "text/event-stream"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for start in range(0, len(text), 7):
            await response.write(text[start : start + 7])
            await asyncio.sleep(0)
        await asyncio.sleep(60)
        return response

    activity = Activity((await serve(handler)).activity()).attach("a1")
    async with aclosing(activity.events("b1")) as stream:
        events = [await anext(stream) for _ in range(5)]
    assert [event.kind for event in events] == ["started", "stdout", "progress", "stderr", "finished"]
    assert events[1].output == "naïve\n"
    assert events[2].progress == {"step": [0, 4], "message": None, "progress": [1, None], "unit": "Bytes"}
    assert events[3].output == b"\xff\0"
    assert (events[4].return_code, events[4].message) == (3, "no")


async def test_closing_a_stream_closes_its_connection(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(runtime(0, {"stdout": "x"}))
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return response

    ended = asyncio.Event()
    stream = Activity((await serve(handler)).activity()).attach("a1").events("b1")
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(ended.wait(), 1)


@pytest.mark.parametrize(
    ("sent", "kind", "said"),
    [
        (b"", ConnectionDroppedError, "the daemon ended the stream of events"),
        (b"event: runtime\ndata: {\n\n", MalformedAnswerError, "it is not JSON"),
        (b"event: runtime\ndata: []\n\n", MalformedAnswerError, "expected an object"),
        (runtime(0, {"finished": {"return_code": "0"}}), MalformedAnswerError, "expected a whole number"),
        (runtime(0, {"stdout": [256]}), MalformedAnswerError, "expected text or a list of bytes"),
    ],
)
async def test_a_stream_that_makes_no_sense(sent: bytes, kind: type[ApiError], said: str, serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(sent)
        return response

    activity = Activity((await serve(handler)).activity()).attach("a1")
    with pytest.raises(kind, match=said) as caught:
        await anext(activity.events("b1"))
    assert "Following a script of activity a1" in str(caught.value)


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux has the option")
async def test_a_stream_is_not_held_up_by_delayed_acknowledgements() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # as the daemon does: small writes, each of which waits for the last one's acknowledgement
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        while b"/state" in await read_request(reader):
            writer.write(answer({"state": ["Ready", None]}))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for index in range(6):
            event = runtime(index, {"stdout": "x"})
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await asyncio.sleep(0.001)
        await asyncio.sleep(60)

    times = []
    async with raw_server(handler) as configuration:
        activity = Activity(configuration.activity()).attach("a1")
        for _ in range(5):
            for _ in range(20):  # the kernel delays acknowledgements on a connection that goes to and fro
                await activity.state()
            started = time.perf_counter()
            async with aclosing(activity.events("b1")) as stream:
                for _ in range(6):
                    await anext(stream)
            times.append(time.perf_counter() - started)
    assert min(times) < 0.03


async def test_a_stream_that_falls_silent(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(3):
            await asyncio.sleep(0.1)
            await response.write(b":ping\n")
        await asyncio.sleep(60)
        return response

    monkeypatch.setattr("golem_nb.rest.client._STREAM_SILENCE", 0.3)
    activity = Activity((await serve(handler)).activity()).attach("a1")
    started = time.perf_counter()
    with pytest.raises(RequestTimeoutError):
        await anext(activity.events("b1"))
    assert time.perf_counter() - started > 0.5


# --- the life of the pool


async def test_the_pool_closes_with_its_last_user(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response([])

    configuration = await serve(handler)
    async with configuration.market() as market, configuration.payment() as payment:
        await Market(market).agreements()
        session = configuration._pool.session()
        async with configuration.net():
            pass
        await Payment(payment).allocations()
        assert not session.closed
    assert session.closed
    with pytest.raises(RuntimeError, match="are closed"):
        await Market(configuration.market()).agreements()
    async with configuration:
        await Market(configuration.market()).agreements()


def test_an_event_loop_after_another() -> None:
    async def ask(keep: bool) -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer(ME))
            await writer.drain()

        server = await asyncio.start_server(handler, "127.0.0.1", port)
        ports.append(server.sockets[0].getsockname()[1])
        if configurations:
            await Identity(configurations[0].root()).me()
            if not keep:
                await configurations[0].close()
        server.close()

    port, ports, configurations = 0, [], []
    asyncio.run(ask(False))
    port = ports[0]
    configurations.append(configured(port))
    # each cell of a notebook may run in a loop of its own: what the first has left does not harm the second
    asyncio.run(ask(True))
    asyncio.run(ask(False))


async def test_another_event_loop_at_the_same_time(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(ME)

    identity = Identity((await serve(handler)).root())
    await identity.me()

    def elsewhere() -> str:
        with pytest.raises(RuntimeError) as caught:
            asyncio.run(identity.me())
        return str(caught.value)

    assert "another event loop" in await asyncio.to_thread(elsewhere)
