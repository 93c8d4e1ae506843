"""Local TCP ports that lead to ports of the instances of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from golem_nb.contrib.service.local_port import listening_on, local_port
from golem_nb.contrib.service.pacing import round_trip
from golem_nb.contrib.service.tunnel import Tunnel, TunnelClosedError
from golem_nb.log import get_logger
from golem_nb.rest.errors import ApiError
from golem_nb.services import Service

if TYPE_CHECKING:
    from golem_nb.services import Cluster

__all__ = ["DEFAULT_SOCKET_ADDRESS", "DEFAULT_SOCKET_BUFFER_SIZE", "DEFAULT_TIMEOUT", "ProxyServer"]
__all__ += ["SocketProxy", "SocketProxyService"]

logger = get_logger(__name__)

DEFAULT_SOCKET_ADDRESS: Final = "127.0.0.1"
DEFAULT_SOCKET_BUFFER_SIZE: Final = 1024 * 1024
DEFAULT_TIMEOUT: Final = 300.0

SocketServiceType = TypeVar("SocketServiceType", bound="SocketProxyService")

#: When the local client has nothing more to say, the remote end may be silent for so long, in seconds. That
#: it has closed is not told by the daemon.
LAST_WORDS = 10.0


class SocketProxyService(Service):
    """Base class for services connected to the `SocketProxy`.

    Implements the interface required by the SocketProxy.

    Examples
    --------
    ::

        class Database(SocketProxyService):
            def __init__(self):
                super().__init__()
                self.remote_ports = [5432]
    """

    remote_ports: list[int]
    """List of remote ports to open the proxies for when using `SocketProxy.run`."""


@attrs.frozen(eq=False)
class ProxyServer:
    """One local port that leads to one port of one instance."""

    service: Service
    remote_port: int
    local_address: str
    local_port: int
    _server: asyncio.Server = attrs.field(repr=False)
    _connections: set[asyncio.Task[None]] = attrs.field(repr=False)

    async def stop(self) -> None:
        """Stop listening, and end all connections."""
        self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(set(self._connections))


class SocketProxy:
    """Exposes ports of services running in VMs on providers as local ports.

    The connections can be routed to instances of services connected to a Golem VPN using
    `Golem.create_network`. Who connects to a local port reaches the provider that runs the instance at that
    moment.

    The daemon passes on neither end's close: that the remote end has closed its side is noticed when
    something is sent to it, or after `timeout`. Nor can it wait for a slow reader: what the remote end sends
    faster than the local client reads waits in a temporary file, up to 1 GiB of it; then the connection ends.

    Parameters
    ----------
    ports
        Local ports that will be assigned to consecutive servers; 0: any that is free. `stop` makes them free
        for others.
    address
        The IP address to listen on.
    buffer_size
        Bytes that wait in memory for a slow reader at most, for each connection and direction.
    timeout
        A connection on which nothing is sent or received for so many seconds is closed; also the time that
        the remote end has to accept it.

    Raises
    ------
    TypeError, ValueError
        `ports` are no ports, or name one twice.

    Examples
    --------
    ::

        proxy = SocketProxy(ports=[8484])
        await proxy.run(cluster)
        ...  # connections to local port 8484 will be routed to port 4242 within the VM
        await proxy.stop()
    """

    def __init__(
        self,
        ports: list[int],
        address: str = DEFAULT_SOCKET_ADDRESS,
        buffer_size: int = DEFAULT_SOCKET_BUFFER_SIZE,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._ports = _ports(ports)
        self._free = list(self._ports)
        self._address = address
        self._buffer_size = buffer_size
        self._timeout = timeout
        self._servers: dict[tuple[str, int], ProxyServer] = {}

    def __repr__(self) -> str:
        ports = ", ".join(str(server.local_port) for server in self._servers.values())
        return f"<SocketProxy {self._address}: {ports or 'no ports'}>"

    async def run_server(self, service: Service, remote_port: int) -> ProxyServer:
        """Run a socket proxy for a single port on a instance of a service.

        Parameters
        ----------
        service
            The service instance.
        remote_port
            The remote port on which a TCP service is listening on the remote end.

        Returns
        -------
        ProxyServer
            Has the `local_address` and the `local_port`. If there is one already for that port of that
            instance, for example because the instance was restarted, it is that one.

        Raises
        ------
        IndexError
            All local ports are in use by this proxy.
        OSError
            The local port is in use by another program.
        """
        running = self._servers.get((service.id, remote_port))
        if running is not None:
            return running
        if not self._free:
            raise IndexError(
                f"No local port is left for port {remote_port} of {service!r}: give more `ports`"
            )
        port = self._free.pop(0)
        connections: set[asyncio.Task[None]] = set()

        # no coroutine: Python 3.11 complains about one that is cancelled
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connecting = self._connect(service, remote_port, reader, writer)
            task = asyncio.create_task(connecting, name=f"connection to port {remote_port}")
            connections.add(task)
            task.add_done_callback(connections.discard)

        try:
            with listening_on(self._address, port):
                listening = await asyncio.start_server(
                    connected, self._address, port, limit=max(self._buffer_size // 2, 1024)
                )
        except OSError:
            self._free.insert(0, port)
            raise
        address, port = listening.sockets[0].getsockname()[:2]
        server = ProxyServer(service, remote_port, address, port, listening, connections)
        self._servers[service.id, remote_port] = server
        return server

    async def run(self, cluster: Cluster[SocketServiceType]) -> None:
        """Run the proxy servers for all ports on a cluster, or none of them if one cannot run.

        Parameters
        ----------
        cluster
            The cluster for which the proxy connections should be enabled.

        Raises
        ------
        IndexError
            There are fewer local ports than instances have ports.
        OSError
            A local port is in use by another program.
        AttributeError
            The service does not say which ports it has.
        """
        wanted: list[tuple[SocketServiceType, int]] = []
        for service in cluster.instances:
            if not hasattr(service, "remote_ports"):
                name = type(service).__name__
                raise AttributeError(f"{name} has no `remote_ports`: set `{name}.remote_ports = [PORT, ...]`")
            wanted += [(service, port) for port in service.remote_ports]
        before, free = set(self._servers), list(self._free)
        try:
            for service, port in wanted:
                await self.run_server(service, port)
        except BaseException:
            begun = [self._servers.pop(key) for key in set(self._servers) - before]
            await asyncio.gather(*(server.stop() for server in begun))
            self._free = free
            raise

    def get_server(self, service: Service, remote_port: int) -> ProxyServer:
        """Return the server for a port of an instance.

        Parameters
        ----------
        service
            The instance.
        remote_port
            The port on the provider's end.

        Raises
        ------
        KeyError
            There is none.
        """
        server = self._servers.get((service.id, remote_port))
        if server is None:
            raise KeyError(f"No proxy server runs for port {remote_port} of {service!r}")
        return server

    async def stop(self) -> None:
        """Stop servers for all connections."""
        servers = list(self._servers.values())
        self._servers.clear()
        await asyncio.gather(*(server.stop() for server in servers))
        self._free = list(self._ports)

    async def _connect(
        self,
        service: Service,
        remote_port: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Serve one local connection."""
        writer.transport.set_write_buffer_limits(high=max(self._buffer_size // 2, 1024))
        tunnel: Tunnel | None = None
        probing: asyncio.Task[float | None] | None = None
        try:
            node = service.network_node
            if node is None:
                logger.warning("%r is not in a network at the moment, so nobody can connect to it", service)
                return
            tunnel = await Tunnel.open(node, remote_port, self._timeout)
            # what a quiet network takes is known best at the beginning
            probing = asyncio.create_task(round_trip(node, self._timeout), name="first probe")
            await self._pass(tunnel, reader, writer)
        except (ApiError, TimeoutError) as error:
            logger.warning("No connection to port %d of %r: %s", remote_port, service, error)
        except (TunnelClosedError, ConnectionError) as error:
            logger.debug("Connection to port %d of %r: %s", remote_port, service, error)
        finally:
            if probing is not None:
                probing.cancel()
                await asyncio.gather(probing, return_exceptions=True)
            if tunnel is not None:
                await tunnel.close()
            writer.close()

    async def _pass(self, tunnel: Tunnel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until one end closes, or nothing has come for too long."""
        loop = asyncio.get_running_loop()
        patience = self._timeout
        noted = loop.time()

        def note_activity() -> None:
            nonlocal noted
            # not for every one of thousands of small messages
            if (now := loop.time()) - noted > patience / 20:
                noted = now
                scope.reschedule(now + patience)

        async def there() -> None:
            nonlocal patience
            while data := await reader.read(self._buffer_size):
                await tunnel.send(data)
                note_activity()
            patience = LAST_WORDS
            scope.reschedule(loop.time() + patience)

        async def back() -> None:
            while data := await tunnel.receive():
                writer.write(data)
                await writer.drain()
                note_activity()
            raise TunnelClosedError("The remote end has closed the connection")

        try:
            async with asyncio.timeout(patience) as scope, asyncio.TaskGroup() as group:
                group.create_task(there())
                group.create_task(back())
        except* (TunnelClosedError, ConnectionError):
            pass
        except* TimeoutError:
            logger.debug("A connection was closed after %g s without a byte: %r", patience, tunnel)


def _ports(given: Any) -> list[int]:
    """Read local ports."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"`ports` must be several ports, such as [8080], not {given!r:.100}")
    ports = [local_port("each of `ports`", port) for port in given]
    for port in ports:
        if port and ports.count(port) > 1:
            raise ValueError(f"Port {port} stands twice in `ports`: each leads to one port of one instance")
    return ports
