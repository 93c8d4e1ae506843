"""A local HTTP server whose requests are answered by the instances of a service."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from golem_nb.contrib.service.errors import UpstreamError
from golem_nb.contrib.service.exchange import ALTERNATIVES, REPEATABLE, Alternatives, Exchange
from golem_nb.contrib.service.local_port import listening_on, local_port
from golem_nb.contrib.service.pool import UpstreamPool
from golem_nb.exceptions import harmless
from golem_nb.log import get_logger
from golem_nb.network import NetworkState, NetworkStateError
from golem_nb.services import Service, ServiceState

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage

    from golem_nb.network import Network
    from golem_nb.services import Cluster

__all__ = ["DEFAULT_MAX_REQUEST_SIZE", "HttpProxyService", "LocalHttpProxy"]

logger = get_logger(__name__)

#: For what the server that listens here has to tell.
server_logger = logging.getLogger(f"{__name__}.server")


def _in_a_line(record: logging.LogRecord) -> bool:
    """Tell what a client has done wrong in one line: a traceback is for mistakes of ours."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        words = error.message.partition("\n")[0].rstrip(" :")
        record.msg, record.args = f"{record.getMessage()}: {harmless(words)}", ()
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
    return True


server_logger.addFilter(_in_a_line)

DEFAULT_MAX_REQUEST_SIZE: Final = 128 * 1024 * 1024

HttpServiceType = TypeVar("HttpServiceType", bound="HttpProxyService")

#: An instance that has failed is asked again after so many seconds, if it still runs.
PENALTY = 5.0

#: Answers that are under way when the proxy stops have so long to come to their end, in seconds; the server
#: waits as long again for what it has cancelled then.
LAST_ANSWERS = 0.5

#: Requests that were cancelled are waited for no longer than this, in seconds.
CANCELLED_LIMIT = 5.0


class HttpProxyService(Service):
    """Base class for services connected to the `LocalHttpProxy`.

    Parameters
    ----------
    remote_port
        The port on which the service on the provider's end listens.
    remote_host
        Host to be used in the headers passed to the remote HTTP server. If not provided, the Host header of
        the incoming requests will be passed.
    response_timeout
        Seconds until an answer has to begin. It may then take as long as it takes. A GET or HEAD that is not
        answered is sent to one other instance, so that its client may wait twice as long.

    Examples
    --------
    ::

        class WebService(HttpProxyService):
            async def start(self):
                async for script in super().start():
                    yield script
                script = self._ctx.new_script()
                script.run("/bin/sh", "-c", "/usr/sbin/httpd -p 80 &")
                yield script
    """

    def __init__(
        self, remote_port: int = 80, remote_host: str | None = None, response_timeout: float = 30.0
    ) -> None:
        super().__init__()
        self._remote_port = remote_port
        self._remote_host = remote_host
        self._response_timeout = response_timeout
        self._pool: UpstreamPool | None = None

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """Handle a single request coming from a `LocalHttpProxy` server by passing it to the HTTP service on
        the provider's end through the VPN.

        Bodies are passed on in both directions while they come, and connections are kept for later requests.

        Parameters
        ----------
        request
            An `aiohttp.web.Request`.

        Returns
        -------
        aiohttp.web.StreamResponse
            Has been sent.

        Raises
        ------
        UpstreamError
            There is no answer. The client has got nothing yet.
        """
        pool = await self._connections()
        return await Exchange(
            request,
            pool,
            self._remote_host,
            self._response_timeout,
            lambda: self.is_available and self.network_node is pool.node,
        ).run()

    @property
    def is_reachable(self) -> bool:
        """Whether there was a connection to this instance where it runs now."""
        return self._pool is not None and self._pool.node is self.network_node and self._pool.ready

    async def reach(self) -> None:
        """Connect for the first time, so that no request has to wait for it.

        Raises
        ------
        UpstreamError
            That is not possible.
        """
        pool = await self._connections()
        pool.release(await pool.acquire(repeatable=True, timeout=self._response_timeout))

    async def _connections(self) -> UpstreamPool:
        node = self.network_node
        if node is None:
            raise UpstreamError(502, f"{type(self).__name__} is not in a network", sent=False)
        if self._pool is None or self._pool.node is not node:
            old, self._pool = self._pool, UpstreamPool(node, self._remote_port)
            if old is not None:
                await old.close()
        return self._pool

    async def close_connections(self) -> None:
        """Close the connections that are kept for later requests."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()


class LocalHttpProxy:
    """Runs a local aiohttp server and processes requests through instances of `HttpProxyService`.

    Requests go to the running instances in turn. One that fails is left out for some seconds. A request that
    it may have seen is sent to another one only if it is a GET or a HEAD, and only once.

    Large bodies of many requests at once follow each other, so that each request has its answer.

    A client that reads an answer slowly, or pauses, hinders nobody: what comes meanwhile waits in a temporary
    file, since the daemon cannot wait with one connection without all others. An answer of which 1 GiB waits
    ends there, with a warning.

    It listens on 127.0.0.1, and on Linux also on a loopback address of its own, `url`: cookies know no ports,
    so pages under 127.0.0.1 and localhost share theirs with a Jupyter server there. Jupyter's own cookies are
    not passed on, in either direction.

    Parameters
    ----------
    cluster
        A cluster of one or more VPN-connected `HttpProxyService` instances.
    port
        A local port on the requestor's machine to listen on; 0: any that is free.
    max_request_size
        Maximum client request size in bytes, 128 MiB by default.

    Raises
    ------
    ValueError
        The port is none.
    TypeError
        The port is no number, or the cluster's service is no `HttpProxyService`.

    Attributes
    ----------
    address
        What to listen on. Set it before `run`, to ``"0.0.0.0"`` for example, where everybody who can reach
        this machine shall use the service.
    hosts
        Other names by which requests may call this proxy; those for another one are refused, unless it
        listens beyond this machine.

    Examples
    --------
    ::

        proxy = LocalHttpProxy(cluster, 8080)
        await proxy.run()
        ...  # requests made to http://localhost:8080 are routed to port 80 within the VM
        await proxy.stop()
    """

    def __init__(
        self,
        cluster: Cluster[HttpServiceType],
        port: int,
        max_request_size: int = DEFAULT_MAX_REQUEST_SIZE,
    ) -> None:
        if not issubclass(cluster.service_class, HttpProxyService):
            name = cluster.service_class.__name__
            raise TypeError(f"{name} cannot answer HTTP requests: derive it from HttpProxyService")
        self.address = "127.0.0.1"
        self.hosts: set[str] = set()
        self._cluster: Cluster[Any] = cluster
        self._port = local_port("port", port)
        self._max_request_size = max_request_size
        self._runner: web.ServerRunner | None = None
        self._page_host: str | None = None
        self._allowed: set[str] | None = None
        self._turn = 0
        self._failed: dict[str, float] = {}
        self._reaching: dict[str, asyncio.Task[None]] = {}
        self._handling: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<LocalHttpProxy {self.url} to {self._cluster!r}>"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Where its pages are to be opened, on this machine if it listens on one address."""
        host = self._page_host or self.address
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/"

    async def run(self) -> None:
        """Run a local HTTP server.

        Will be listening on the specified port and passing subsequent requests to
        `HttpProxyService.handle_request` of the cluster's instances in a round-robin fashion.

        Raises
        ------
        OSError
            The port is in use.
        RuntimeError
            It is running.
        """
        if self._runner is not None:
            raise RuntimeError(f"{self!r} is running already")
        # bodies go through as they are; who hangs up is not answered any more
        server = web.Server(
            self._handle,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            logger=server_logger,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=LAST_ANSWERS)
        await self._runner.setup()
        try:
            with listening_on(self.address, self._port):
                await web.TCPSite(self._runner, self.address, self._port).start()
            self._port = self._runner.addresses[0][1]
            await self._listen_on_own_host(self._runner)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server; requests under way are ended. Does nothing if it is not running."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if self._handling:
            # what was cancelled gives its connections back; a handler of the user's may not hear of it
            await asyncio.wait(set(self._handling), timeout=CANCELLED_LIMIT)
        reaching = list(self._reaching.values())
        for task in reaching:
            task.cancel()
        await asyncio.gather(*reaching, return_exceptions=True)
        for instance in self._cluster.instances:
            await instance.close_connections()

    async def _listen_on_own_host(self, runner: web.ServerRunner) -> None:
        if not _is_loopback(self.address):
            return
        self._allowed = {self.address, "localhost"}
        # elsewhere 127.0.0.1 is the only address of the loopback interface unless others are configured
        if self.address == "127.0.0.1" and sys.platform == "linux":
            host = f"127.77.{self._port >> 8}.{self._port & 255}"
            try:
                await web.TCPSite(runner, host, self._port).start()
            except OSError as error:
                logger.debug("No pages on %s: %s", host, error)
            else:
                self._page_host = host
                self._allowed.add(host)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.Request:
        loop = asyncio.get_running_loop()
        return web.Request(
            message, payload, protocol, writer, task, loop, client_max_size=self._max_request_size
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        assert isinstance(request, web.Request)
        self._handling.add(task)
        try:
            return await self._answer(request)
        finally:
            self._handling.discard(task)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self._allowed is not None:
            # browsers always name the host; clients that speak HTTP/1.0 may not
            host = _host_name(request.headers.get("Host", self.address))
            if host not in self._allowed and host not in self.hosts:
                return _refusal(421, f"This proxy does not answer for {host!r}; open {self.url}")
        length = request.content_length
        if length is not None and length > self._max_request_size:
            raise web.HTTPRequestEntityTooLarge(max_size=self._max_request_size, actual_size=length)
        tried: list[HttpProxyService] = []
        repeatable = request.method in REPEATABLE and not request.body_exists
        refusal: web.Response | None = None
        while True:
            instance, others = self._choose(tried)
            if instance is None:
                return refusal or self._nobody()
            # for an answer one other instance is asked, for a connection all are
            ALTERNATIVES.set(Alternatives(others, others and repeatable))
            try:
                response = await instance.handle_request(request)
            except NetworkStateError:
                # it was removed at this very moment, and is that of the others, too
                return self._nobody()
            except UpstreamError as error:
                self._leave_out(instance, error)
                tried.append(instance)
                refusal = _refusal(error.status, f"Error retrieving the remote response. {error.reason}")
                if error.sent:
                    if not repeatable:
                        return refusal
                    repeatable = False
            else:
                self._failed.pop(instance.id, None)
                return response

    def _nobody(self) -> web.Response:
        network = self._cluster.network
        if network is None:
            why = "their cluster has no network: give `network=` to `run_service`"
        elif not _is_ready(network):
            why = f"network {network.network_address} is {network.state.current_state_value}"
        else:
            why = ", ".join(sorted({i.state.value for i in self._cluster.instances})) or "there are none"
        return _refusal(503, f"No service instances available. ({why})")

    def _leave_out(self, instance: HttpProxyService, error: UpstreamError) -> None:
        """Take an instance out of the turn for some time, and those that have probably been lost with it."""
        now = asyncio.get_running_loop().time()
        # all requests that are under way may fail now, which is told once
        logger.log(
            logging.DEBUG if self._is_out(instance, now) else logging.WARNING, "%r: %s", instance, error
        )
        self._failed[instance.id] = now
        if error.lost:
            for other in self._cluster.instances:
                if other.provider_id == instance.provider_id:
                    self._failed[other.id] = now

    def _is_out(self, instance: HttpProxyService, now: float) -> bool:
        return now - self._failed.get(instance.id, -PENALTY) < PENALTY

    def _choose(self, tried: list[HttpProxyService]) -> tuple[HttpProxyService | None, bool]:
        """Return the instance whose turn it is, and whether there are others."""
        running = [
            instance
            for instance in self._cluster.instances
            if instance.state == ServiceState.running
            and instance.network_node is not None
            and _is_ready(instance.network_node.network)
            and instance not in tried
        ]
        if not running:
            return None, False
        now = asyncio.get_running_loop().time()
        # all have failed, or are new: better one of them than none
        good = [i for i in running if not self._is_out(i, now)] or running
        good = [i for i in good if i.is_reachable or not self._reach(i)] or good
        self._turn += 1
        return good[self._turn % len(good)], len(running) > 1

    def _reach(self, instance: HttpProxyService) -> bool:
        """Connect to a new instance in the background; return whether that is still under way."""
        task = self._reaching.get(instance.id)
        if task is None:
            task = asyncio.create_task(_reach(instance), name=f"reach {instance.id}")
            self._reaching[instance.id] = task
            task.add_done_callback(lambda _: self._reaching.pop(instance.id, None))
        return not task.done()


async def _reach(instance: HttpProxyService) -> None:
    try:
        await instance.reach()
    except (UpstreamError, NetworkStateError) as error:
        logger.debug("%r cannot be reached yet: %s", instance, error)


def _is_ready(network: Network) -> bool:
    return bool(network.state.current_state_value == NetworkState.ready.value)


def _refusal(status: int, reason: str) -> web.Response:
    return web.Response(status=status, text=reason)


def _host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
