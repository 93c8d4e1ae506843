"""Owns all processes of one local network: `python -m golem_nb.localnet.supervisor`.

It runs the hub, the development chain and the registry in its own event loop, and starts the two daemons
(each under its guard) and the provider agents. Its settings are the first line of its standard input; what it
has to say to its owner, that the network is ready or why not, is one line on its standard output.

How everything ends, whatever happens:

* The owner dies: the end of the pipe tells; where a fork of it still holds that, the pidfd of its process.
* Ctrl-C in a terminal: the supervisor is in a session of its own and does not notice; the owner stops it.
* The supervisor is killed: the guards of the daemons see the end of their pipes, end the daemons and remove
  the sockets; the agents' standard input ends, and the kernel signals them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs
from aiohttp import web

from golem_nb.exceptions import GolemError
from golem_nb.localnet.agent import AgentProcess
from golem_nb.localnet.chain import NETWORKS, Chain
from golem_nb.localnet.control import ControlServer
from golem_nb.localnet.driver import FILE_NAME, driver_configuration
from golem_nb.localnet.errors import LocalNetworkError
from golem_nb.localnet.folders import Descriptor, NetworkFolder, sweep
from golem_nb.localnet.gate import Gate
from golem_nb.localnet.hub import Hub
from golem_nb.localnet.registry import Registry
from golem_nb.localnet.settings import Settings
from golem_nb.node.daemon import Yagna
from golem_nb.node.errors import FolderInUseError
from golem_nb.node.lock import FolderLock
from golem_nb.node.sockets import socket_folder
from golem_nb.rest import Configuration, Market, Payment
from golem_nb.rest.ids import NodeId

__all__ = ["Supervisor", "main"]

_log = logging.getLogger("golem_nb.localnet.supervisor")

_START_TIMEOUT: Final = 90.0
_AGENT_TIMEOUT: Final = 30.0
#: How long a network that is just ending keeps its folder from the next one.
_END_TIMEOUT: Final = 15.0
_LOOK_TIMEOUT: Final = 0.5
_SETTLED_TIMEOUT: Final = 3.0
_LIVE: Final = ("Pending", "Approved")
#: tGLM that the requestor finds in its account.
_GIFT: Final = Decimal(1000)
_COMMANDS_AT_ONCE: Final = 4
#: The daemon pays what is due within this many seconds at the next batch; it refuses 5 s and less.
_EXTRA: Final = 6.0


class Supervisor:
    """One local network.

    Parameters
    ----------
    settings
        What it consists of.
    folder
        Its folder, which has been locked.
    """

    def __init__(self, settings: Settings, folder: NetworkFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._sockets = socket_folder(folder.path)
        self._hub = Hub()
        self._chain = Chain(folder.path / "chain.jsonl")
        self._registry = Registry()
        self._gates = {"requestor": Gate(hold=False), "providers": Gate(hold=True)}
        self._agent = AgentProcess() if settings.providers else None
        self._control = ControlServer(self._command)
        self._control_path = self._sockets / "control.sock"
        self._runner: web.AppRunner | None = None
        self._requestor: Yagna
        self._providers: Yagna
        self._url = ""
        self._hub_port = 0
        self._descriptor: Descriptor | None = None
        self.failed = False
        self.stopping: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._born = time.monotonic()
        self.steps: dict[str, float] = {}

    # -- start --------------------------------------------------------------------------------------------

    async def start(self) -> Descriptor:
        """Start everything; return how to reach it once all offers can be seen on the market.

        Raises
        ------
        GolemError
            Something could not be started; what was is stopped by `stop`.
        """
        async with asyncio.timeout(_START_TIMEOUT):
            await self._listen()
            # first, while this process has one thread: it runs code of ours between fork and exec
            if self._agent is not None:
                await self._agent.launch(self._folder.logs / "providers.log")
            self._requestor = await self._daemon("requestor", [self._control_path])
            self._providers = await self._daemon("providers")
            await self._requestor.launch()
            await self._providers.launch()
            self._step("launched")
            async with asyncio.TaskGroup() as group:
                provided = group.create_task(self._start_providers())
                group.create_task(self._start_requestor())
            nodes = provided.result()
            async with Configuration(self._requestor.api_config) as configuration:
                market = Market(configuration.market())
                # A node's market takes in others' offers only from its first demand on.
                async with market.subscribe({}, "(golem.node.debug.subnet=nobody)"):
                    if self._agent is not None:
                        await self._publish(self._agent, nodes)
                        self._step("published")
                        await self._see_offers(market, {node for node, _ in nodes.values()})
            self._step("offers")
            self._descriptor = self._describe({name: node for name, (node, _) in nodes.items()})
            await self._control.start(self._control_path)
            self._folder.write(self._descriptor)
        _log.info("ready after %s", self.steps)
        return self._descriptor

    def _step(self, name: str) -> None:
        self.steps[name] = round(time.monotonic() - self._born, 3)

    async def _listen(self) -> None:
        application = web.Application(client_max_size=1 << 20)
        application.add_routes([web.post("/eth/{network}", self._rpc), *self._registry.routes()])
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self._url = f"http://127.0.0.1:{port}"
        listening = four_digit_port()
        self._hub_port = listening.getsockname()[1]
        await self._hub.serve(listening)

    async def _rpc(self, request: web.Request) -> web.Response:
        network = request.match_info["network"]
        if network not in NETWORKS:
            raise web.HTTPNotFound(text="no such chain")
        try:
            body = await request.json()
        except ValueError:
            return web.json_response(
                {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not JSON"}}
            )
        return web.json_response(await self._chain.answer(network, body))

    async def _daemon(self, name: str, remove: Iterable[Path] = ()) -> Yagna:
        gate = f"http://127.0.0.1:{await self._gates[name].start()}"
        folder = self._folder.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / FILE_NAME).write_text(driver_configuration(self._url))
        temporary = () if self._sockets == self._folder.path else (self._sockets,)
        return Yagna(
            folder,
            bus=self._sockets / f"{name}.sock",
            log=self._folder.logs / f"{name}.log",
            remove=[*remove, *temporary],
            environment={
                "YA_NET_TYPE": "central",
                "CENTRAL_NET_HOST": f"127.0.0.1:{self._hub_port}",
                "HTTPS_PROXY": gate,
                "https_proxy": gate,
                "NO_PROXY": "127.0.0.1,localhost",
                "no_proxy": "127.0.0.1,localhost",
                # offers and their ends are told at once; the hub loses none, so they need hardly be repeated
                "OFFER_BROADCAST_DELAY": "20ms",
                "UNSUB_BROADCAST_DELAY": "20ms",
                "MEAN_CYCLIC_BCAST_INTERVAL": "10s",
                "MEAN_CYCLIC_UNSUBSCRIBES_INTERVAL": "10s",
            },
        )

    async def _start_requestor(self) -> None:
        daemon = self._requestor
        await daemon.ready()
        self._step("requestor")
        assert daemon.node_id is not None
        me = daemon.node_id
        for network in NETWORKS:
            if not self._chain.knows(network, me):
                self._chain.fund(network, me, _GIFT)
            await daemon.commands.payment_init(network, sender=True)
            await daemon.commands.set_payment_cycle(network, me, self._settings.payment_interval, _EXTRA)
        self._step("requestor's accounts")

    async def _start_providers(self) -> dict[str, tuple[NodeId, str]]:
        """Return node id and application key of each provider."""
        daemon = self._providers
        gate = self._gates["providers"]
        names = [spec.name for spec in self._settings.providers]
        ready = asyncio.create_task(daemon.ready())
        asked = asyncio.create_task(gate.asked.wait())
        try:
            await asyncio.wait((ready, asked), return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                await ready  # it ended; or it asks no more for newer releases
            self._step("providers' bus")
            nodes = await self._identities(names)
            self._step("identities")
            gate.open()
            await ready
        finally:
            gate.open()
            for task in (ready, asked):
                task.cancel()
            await asyncio.gather(ready, asked, return_exceptions=True)
        self._step("providers")
        if not {f"/net/{node}" for node, _ in nodes.values()} <= self._hub.addresses:
            _log.info("the providers' daemon is restarted, to take its identities in")
            await daemon.stop()
            await daemon.start()
            self._step("providers restarted")
        await _all_of(
            daemon.commands.payment_init(network, node, receiver=True)
            for node, _ in nodes.values()
            for network in NETWORKS
        )
        self._step("providers' accounts")
        return nodes

    async def _identities(self, names: list[str]) -> dict[str, tuple[NodeId, str]]:
        commands = self._providers.commands
        known = {identity.alias: identity.node_id for identity in await commands.identities()}
        keys = {key.name: key.key for key in await commands.app_keys()}

        # the alias is the place in the list: a provider's name is any text
        async def one(index: int) -> tuple[NodeId, str]:
            alias = f"provider-{index}"
            node = known.get(alias) or await commands.create_identity(alias)
            return node, keys.get(alias) or await commands.create_app_key(alias, node)

        return dict(zip(names, await _all_of(one(index) for index in range(len(names))), strict=True))

    async def _publish(self, agent: AgentProcess, nodes: dict[str, tuple[NodeId, str]]) -> None:
        daemon = self._providers
        assert daemon.api_config is not None
        work = self._folder.path / "work"
        work.mkdir(mode=0o700, exist_ok=True)
        specs = {spec.name: spec for spec in self._settings.providers}
        await agent.configure(
            {
                "folder": str(work),
                "run_folder": str(self._sockets),
                "api_url": daemon.api_config.api_url,
                "bus": str(daemon.bus),
                "hub": ["127.0.0.1", self._hub_port],
                "subnet": self._settings.subnet,
                "payment_platforms": [f"erc20-{network}-tglm" for network in NETWORKS],
                "registry_url": self._url,
                "images": [image.to_json() for image in self._registry.images],
                "providers": [
                    {"node_id": node, "app_key": key, "spec": specs[name].to_json()}
                    for name, (node, key) in nodes.items()
                ],
            },
            _AGENT_TIMEOUT,
        )

    async def _see_offers(self, market: Market, wanted: set[NodeId]) -> None:
        async with market.scan() as scan, contextlib.aclosing(scan.offers(timeout=_AGENT_TIMEOUT)) as offers:
            async for offer in offers:
                wanted.discard(offer.issuer)
                if not wanted:
                    return
        raise LocalNetworkError(f"the offers of {len(wanted)} provider(s) did not reach the requestor")

    def _describe(self, providers: dict[str, str]) -> Descriptor:
        daemon = self._requestor
        assert daemon.api_config is not None
        assert daemon.node_id is not None
        return Descriptor(
            name=self._settings.name,
            supervisor=os.getpid(),
            control=self._control_path,
            api_url=daemon.api_config.api_url,
            app_key=daemon.api_config.app_key,
            requestor=daemon.node_id,
            bus=daemon.bus,
            requestor_folder=daemon.folder,
            registry_url=self._url,
            subnet=self._settings.subnet,
            providers=providers,
            warnings=[] if self._agent is None else list(self._agent.warnings),
        )

    # -- run ----------------------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Wait until the network is to end; return whether someone asked for it.

        Raises
        ------
        LocalNetworkError
            One of its processes has ended on its own.
        """
        ends: dict[asyncio.Future[int], str] = {
            asyncio.create_task(self._requestor.wait()): "the requestor's daemon",
            asyncio.create_task(self._providers.wait()): "the providers' daemon",
        }
        if self._agent is not None:
            ends[asyncio.create_task(self._agent.ended())] = "the process of the provider agents"
        try:
            waiting: list[asyncio.Future[Any]] = [self.stopping, *ends]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self.stopping.done():
                return self.stopping.result()
            who = next(name for task, name in ends.items() if task.done())
            raise LocalNetworkError(f"{who} ended unexpectedly; see {self._folder.logs}")
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    def end(self, asked: bool) -> None:
        """Have `run` return."""
        if not self.stopping.done():
            self.stopping.set_result(asked)

    async def _command(self, command: str, arguments: dict[str, Any]) -> Any:
        if command == "status":
            return {
                "uptime": round(time.monotonic() - self._born, 1),
                "processes": {
                    "supervisor": os.getpid(),
                    "requestor": self._requestor.pid,
                    "providers": self._providers.pid,
                    "agents": None if self._agent is None else self._agent.pid,
                },
            }
        if command == "stop":
            self.end(asked=True)
            return None
        if command == "balance":
            return str(self._chain.balance(arguments["network"], arguments["address"]))
        if command == "transfers":
            return [
                {**attrs.asdict(item), "amount": str(item.amount), "timestamp": item.timestamp.isoformat()}
                for item in self._chain.transfers(arguments["network"])
            ]
        if command == "fund":
            self._chain.fund(arguments["network"], arguments["address"], Decimal(arguments["tokens"]))
            return None
        if command == "add_image":
            image = self._registry.add(arguments["tag"], Path(arguments["folder"]))
            if self._agent is not None:
                await self._agent.command("add_image", image=image.to_json())
            return image.sha3
        if self._agent is not None and command in ("misbehave", "vanish", "come_back"):
            return await self._agent.command(command, **arguments)
        raise LocalNetworkError(f"unknown command {command[:100]!r}")

    # -- end ----------------------------------------------------------------------------------------------

    async def stop(self, asked: bool) -> None:
        """End everything, in 15 s at most, 20 s after an owner that died with open business.

        The folder goes too, unless something is left to settle.
        """
        self._folder.forget()
        open_business = None if asked else await self._unsettled()
        if open_business and self._agent is not None:
            # the requestor's daemon is still there to take the last invoices, which nobody would send later
            await self._agent.stop()
        async with asyncio.TaskGroup() as group:
            if self._agent is not None:
                group.create_task(self._agent.stop())
            for daemon in (getattr(self, "_requestor", None), getattr(self, "_providers", None)):
                if daemon is not None:
                    group.create_task(daemon.stop())
            for gate in self._gates.values():
                group.create_task(gate.close())
            group.create_task(self._control.close())
        await self._hub.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._control_path.unlink(missing_ok=True)
        if self._sockets != self._folder.path:
            with contextlib.suppress(OSError):
                self._sockets.rmdir()
        if open_business:
            self._folder.keep(open_business)
        elif not self.failed:  # the logs are what is left to understand it by
            await asyncio.to_thread(self._folder.remove)

    async def _unsettled(self) -> dict[str, Any] | None:
        """What the requestor still has to end or to pay; asked when the owner died."""
        if self._descriptor is None:
            return None  # it was never ready: nothing can have been bought
        try:
            async with asyncio.timeout(_SETTLED_TIMEOUT), Configuration(self._requestor.api_config) as conf:
                market = Market(conf.market())
                agreements = [one for state in _LIVE for one in await market.agreements(state=state)]
                payment = Payment(conf.payment())
                invoices = await payment.invoices()
                notes = await payment.debit_notes()
        except (GolemError, TimeoutError) as error:
            return {"unknown": repr(error)}
        business = {
            "agreements": [item.id for item in agreements],
            "invoices": [item.invoice_id for item in invoices if item.status in ("RECEIVED", "ACCEPTED")],
            "debit_notes": [item.debit_note_id for item in notes if item.status == "ACCEPTED"],
        }
        return business if any(business.values()) else None


async def _all_of(coroutines: Iterable[Any]) -> list[Any]:
    """Run coroutines, a few at once; return their results in order."""
    places = asyncio.Semaphore(_COMMANDS_AT_ONCE)

    async def one(coroutine: Any) -> Any:
        async with places:
            return await coroutine

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(coroutine)) for coroutine in coroutines]
    return [task.result() for task in tasks]


def four_digit_port() -> socket.socket:
    """Return a socket that listens on a port of four digits: the daemon takes no more for the central net."""
    ports = list(range(1024, 10_000))
    random.shuffle(ports)
    for port in ports:
        listening = socket.socket()
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", port))
            listening.listen(64)
        except OSError:
            listening.close()
        else:
            return listening
    raise LocalNetworkError("all ports from 1024 to 9999 are in use on 127.0.0.1")


def _watch_owner(supervisor: Supervisor, owner: int) -> None:
    loop = asyncio.get_running_loop()

    def spoken() -> None:
        said = os.read(0, 4096)
        loop.remove_reader(0)
        supervisor.end(asked=said.startswith(b"stop"))

    loop.add_reader(0, spoken)
    # a forked child of the owner may hold the pipe open after its death
    with contextlib.suppress(AttributeError, OSError):
        handle = os.pidfd_open(owner)  # type: ignore[attr-defined,unused-ignore]

        def died() -> None:
            loop.remove_reader(handle)
            supervisor.end(asked=False)

        loop.add_reader(handle, died)
    if os.getppid() != owner:
        supervisor.end(asked=False)


def _tell(message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")
    # nobody reads it any more
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


async def _lock(folder: NetworkFolder) -> FolderLock:
    """Take the folder; wait for a network that is just ending there."""
    began = time.monotonic()
    while True:
        try:
            return folder.lock()
        except FolderInUseError:
            # one that runs has left its descriptor; who looks whether it does, holds the lock for a moment
            patience = _END_TIMEOUT if folder.read() is None else _LOOK_TIMEOUT
            if time.monotonic() - began > patience:
                raise
        await asyncio.sleep(0.05)


async def _run(supervisor: Supervisor, settings: Settings) -> bool:
    """Start the network, run it until its end; return whether someone asked for that."""
    if settings.owner is not None:
        _watch_owner(supervisor, settings.owner)
    starting = asyncio.create_task(supervisor.start())
    await asyncio.wait((starting, supervisor.stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return supervisor.stopping.result()
    descriptor = starting.result()
    _tell({"event": "ready", "descriptor": descriptor.to_json(), "seconds": supervisor.steps})
    return await supervisor.run()


async def _main(settings: Settings) -> int:
    folder = NetworkFolder(settings.name)
    try:
        lock = await _lock(folder)
    except (GolemError, OSError) as error:
        _tell({"event": "failed", "error": str(error)})
        return 1
    sweep()
    folder.logs.mkdir(mode=0o700, exist_ok=True)
    handler = logging.FileHandler(folder.logs / "supervisor.log")
    logging.basicConfig(
        level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(message)s"
    )
    folder.write_settings(settings.to_json())
    supervisor = Supervisor(settings, folder)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.end, False)
    asked = False
    try:
        asked = await _run(supervisor, settings)
    except Exception as error:
        _log.exception("the network ends")
        _tell({"event": "failed", "error": _reason(error), "logs": str(folder.logs)})
        supervisor.failed = True
        return 1
    finally:
        await supervisor.stop(asked)
        lock.release()
    return 0


def _reason(error: BaseException) -> str:
    """What to tell the owner: the first cause, out of its groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, GolemError) else f"{type(error).__name__}: {error}"


def main() -> NoReturn:
    """Read the settings from the first line of standard input and run the network."""
    settings = Settings.from_json(json.loads(sys.stdin.buffer.readline()))
    # the chain imports and computes in a thread; the hub's loop must get its turn in less than the usual 5 ms
    sys.setswitchinterval(0.0005)
    sys.exit(asyncio.run(_main(settings)))


if __name__ == "__main__":
    main()
