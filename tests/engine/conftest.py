"""A network with one good and one unruly provider, and a batch to put on it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import pytest
import yarl
from aiohttp import web

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.config import ApiConfig
from golem_nb.contrib.strategy import ProviderFilter
from golem_nb.events import Event
from golem_nb.localnet import LocalNetwork, ProviderSpec
from golem_nb.rest import Configuration, Market, Payment

if TYPE_CHECKING:
    from golem_nb.engine import Journal
    from golem_nb.executor.executor import WorkerFunction
    from golem_nb.executor.queue import TaskSource
    from golem_nb.localnet import LocalProvider, Misbehaviour
    from golem_nb.payload import Payload

IMAGE = "golem/alpine:latest"


@pytest.fixture(scope="session")
def unruly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Two providers of equal prices: `bad` is told to misbehave by the tests, `good` never is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("unruly")))
        with LocalNetwork(providers=[ProviderSpec(name="good"), ProviderSpec(name="bad")]) as network:
            yield network


@pytest.fixture
async def bad(unruly: LocalNetwork) -> AsyncIterator[LocalProvider]:
    """The provider that may be told to misbehave; behaves again afterwards."""
    provider = unruly.provider("bad")
    yield provider
    await provider.behave()


@attrs.define
class Outcome:
    """What came of a batch."""

    results: list[Any] = attrs.field(factory=list)
    error: BaseException | None = None
    events: list[Event] = attrs.field(factory=list)
    seconds: float = 0.0
    seconds_to_stop: float = 0.0

    def of(self, *names: str) -> list[Any]:
        """The events of these classes."""
        return [event for event in self.events if type(event).__name__ in names]

    @property
    def names(self) -> list[str]:
        """The classes of all events, in order."""
        return [type(event).__name__ for event in self.events]

    @property
    def accepted(self) -> dict[str, Decimal]:
        """Accepted invoices by provider."""
        return {event.provider_id: event.invoice.amount for event in self.of("InvoiceAccepted")}


async def echo(context: WorkContext, tasks: AsyncIterator[Task[Any, Any]]) -> AsyncGenerator[Any, Any]:
    """Let the provider say the task's data."""
    async for task in tasks:
        script = context.new_script(timeout=timedelta(seconds=20))
        result = script.run("/bin/echo", "-n", str(task.data))
        yield script
        task.accept_result((await result).stdout)


Batch = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def batch(unruly: LocalNetwork) -> Batch:
    """Run tasks on the unruly network, stop, and check that nothing is left: no agreement, no money."""
    return partial(run_batch, unruly)


@pytest.fixture
def tame(network: LocalNetwork) -> Batch:
    """Do the same on the network of three well-behaved providers."""
    return partial(run_batch, network)


@attrs.frozen
class Running:
    """A started `Golem`, a payload for it, and its events so far."""

    golem: Golem
    payload: Payload
    heard: Outcome


@pytest.fixture
async def running(network: LocalNetwork) -> AsyncIterator[Running]:
    """An engine on the network of well-behaved providers; stopped by the test, or afterwards."""
    heard = Outcome()
    payload = await vm.repo(image_tag=IMAGE, repository_url=network.registry_url)
    async with Golem(budget=1, api_config=network.api_config, event_consumer=heard.events.append) as golem:
        yield Running(golem, payload, heard)
    await check_nothing_left(network)


async def run_batch(
    network: LocalNetwork,
    data: TaskSource | Iterable[Any] = range(4),
    *,
    worker: WorkerFunction = echo,
    only: str | None = None,
    timeout: float | timedelta = 120.0,
    max_workers: int | None = 2,
    budget: Any = 1,
    wait_for_payments: bool = True,
    payload: Payload | None = None,
    job_id: str | None = None,
    implicit_init: bool = True,
    journal: Journal | None = None,
    api_config: ApiConfig | None = None,
    **golem_arguments: Any,
) -> Outcome:
    """Run tasks from the start of an engine to its stop, and check that nothing is left."""
    outcome = Outcome()
    golem = Golem(
        budget=budget,
        api_config=api_config or network.api_config,
        event_consumer=outcome.events.append,
        **golem_arguments,
    )
    if only is not None:
        node_id = network.provider(only).node_id
        golem.strategy = ProviderFilter(golem.strategy, lambda provider: provider == node_id)
    if journal is not None:
        golem.journal = journal
    if payload is None:
        payload = await vm.repo(image_tag=IMAGE, repository_url=network.registry_url)
    if not isinstance(timeout, timedelta):
        timeout = timedelta(seconds=timeout)
    source = data if isinstance(data, AsyncIterable) else [as_task(item) for item in data]
    started = time.monotonic()
    await golem.start()
    try:
        async for task in golem.execute_tasks(
            worker,
            source,
            payload,
            max_workers=max_workers,
            timeout=timeout,
            job_id=job_id,
            implicit_init=implicit_init,
        ):
            outcome.results.append(task.result)
    except Exception as error:
        outcome.error = error
    stopping = time.monotonic()
    outcome.seconds = stopping - started
    await golem.stop(wait_for_payments)
    outcome.seconds_to_stop = time.monotonic() - stopping
    await check_nothing_left(network)
    return outcome


def as_task(item: Any) -> Task[Any, Any]:
    """Wrap what is not a task."""
    return item if isinstance(item, Task) else Task(item)


@attrs.define
class Fault:
    """What happens to requests that match, so many times."""

    method: str
    path: re.Pattern[str]
    status: int | None
    body: str
    times: int


class Meddler:
    """Stands between the engine and the real daemon, and spoils some answers.

    The daemon itself cannot be brought to fail in the middle of its work, and must not be restarted under the
    other tests.
    """

    def __init__(self, network: LocalNetwork) -> None:
        self._real = network.api_config
        self._faults: list[Fault] = []
        self._open: set[asyncio.Task[Any]] = set()
        self._offline = False
        self.hangs = False
        #: Method and path of every request that has come.
        self.requests: list[tuple[str, str]] = []
        self.spoilt = 0
        self.url = ""

    def spoil(
        self, method: str, path: str, *, status: int | None = 500, body: str = "", times: int = 1
    ) -> None:
        """Answer the next requests that match with an error; status None: close the connection."""
        self._faults.append(Fault(method, re.compile(path), status, body, times))

    def cut(self) -> None:
        """Close every connection, and all that come, until `mend`."""
        self._offline = True
        for task in self._open:
            task.cancel()

    def hang(self) -> None:
        """Take every request, and answer none."""
        self.hangs = True

    def mend(self) -> None:
        """Let connections pass again."""
        self._offline = False

    @property
    def api_config(self) -> ApiConfig:
        """Address and key for the engine."""
        parts = {
            f"{part}_url": f"{self.url}/{part}-api/v1" for part in ("market", "payment", "net", "activity")
        }
        return ApiConfig(app_key=self._real.app_key, api_url=self.url, **parts)

    async def __aenter__(self) -> Meddler:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if self._offline:
                return self._hang_up(request)
            if self.hangs:
                await asyncio.Event().wait()
            for fault in self._faults:
                if fault.times and fault.method == request.method and fault.path.search(request.path_qs):
                    fault.times -= 1
                    self.spoilt += 1
                    if fault.status is None:
                        return self._hang_up(request)
                    return web.Response(status=fault.status, text=fault.body, content_type="application/json")
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._websocket(request)
            return await self._forward(request)
        finally:
            self._open.discard(task)

    @staticmethod
    def _hang_up(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _headers(self, request: web.Request) -> dict[str, str]:
        return {
            name: value
            for name, value in request.headers.items()
            if name.lower() in {"authorization", "content-type", "accept"}
        }

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        url = yarl.URL(self._real.api_url + request.raw_path, encoded=True)
        data = await request.read()
        async with self._session.request(
            request.method, url, data=data or None, headers=self._headers(request)
        ) as answer:
            head = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            response = web.StreamResponse(status=answer.status, headers=head)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        protocols = request.headers.get("Sec-WebSocket-Protocol", "").split(", ")
        ours = web.WebSocketResponse(protocols=protocols, max_msg_size=0)
        await ours.prepare(request)
        url = yarl.URL(self._real.api_url + request.raw_path, encoded=True)
        async with (
            self._session.ws_connect(
                url, protocols=protocols, headers=self._headers(request), max_msg_size=0
            ) as theirs,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._pump(ours, theirs))
            group.create_task(self._pump(theirs, ours))
        return ours

    @staticmethod
    async def _pump(source: Any, target: Any) -> None:
        async for message in source:
            if message.type is aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)
        await target.close()


@pytest.fixture
async def meddler(network: LocalNetwork) -> AsyncIterator[Meddler]:
    """A gate to the real daemon that can be told to fail."""
    async with Meddler(network) as meddler:
        yield meddler


async def check_nothing_left(network: LocalNetwork) -> None:
    """No agreement in force, no demand on the market, no money reserved."""
    async with Configuration(network.api_config) as configuration:
        market = Market(configuration.market())
        assert await Payment(configuration.payment()).allocations() == []
        assert await market.subscriptions() == []
        # the provider may be the one that ends it, a moment later
        async with asyncio.timeout(5):
            while await market.agreements(state="Approved"):
                await asyncio.sleep(0.1)
    others = {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert not {name for name in others if "golem_nb" in name or "job" in name or "worker" in name}


async def told(provider: LocalProvider, *misbehaviours: Misbehaviour | str) -> None:
    """Have a provider misbehave."""
    await provider.misbehave(*misbehaviours)
