"""A complete Golem network on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from golem_nb.arguments import number
from golem_nb.config import ApiConfig
from golem_nb.localnet.chain import Transfer
from golem_nb.localnet.control import Control
from golem_nb.localnet.errors import LocalNetworkError, NetworkNotRunningError, NetworkStartError
from golem_nb.localnet.fleet import default_specs
from golem_nb.localnet.folders import SHARED, Descriptor, NetworkFolder, fresh_name
from golem_nb.localnet.settings import Settings
from golem_nb.localnet.spec import Misbehaviour, MisbehaviourKind, ProviderSpec
from golem_nb.node.daemon import process_end, readable
from golem_nb.node.errors import UnsupportedPlatformError

__all__ = ["ChainView", "LocalNetwork", "LocalProvider"]

_PARTS: Final = ("market", "payment", "net", "activity")
_START_TIMEOUT: Final = 100.0
#: The supervisor ends everything in 15 s at most.
_STOP_TIMEOUT: Final = 20.0
# Another daemon's settings in the user's environment must not reach the private ones.
_FOREIGN: Final = ("YAGNA_", "YA_", "GSB_", "CENTRAL_NET_", "OFFER_", "UNSUB_", "MEAN_CYCLIC_")


class ChainView:
    """The network's development chain, for who wants to see that money has moved.

    Parameters
    ----------
    control
        The network's supervisor.
    """

    def __init__(self, control: Control) -> None:
        self._control = control

    async def balance(self, address: str, network: str = "hoodi") -> Decimal:
        """TGLM that an account holds.

        Parameters
        ----------
        address
            The account.
        network
            The payment network.
        """
        return Decimal(await self._control("balance", network=network, address=address))

    async def transfers(self, network: str = "hoodi") -> list[Transfer]:
        """All transfers of tokens between accounts, in order, exactly as carried out.

        Parameters
        ----------
        network
            The payment network.

        Examples
        --------
        >>> async def settled(network):
        ...     return sum(transfer.amount for transfer in await network.chain.transfers())
        """
        rows = await self._control("transfers", network=network)
        return [
            Transfer(
                **{
                    **row,
                    "amount": Decimal(row["amount"]),
                    "timestamp": datetime.fromisoformat(row["timestamp"]),
                }
            )
            for row in rows
        ]

    async def fund(self, address: str, tokens: Decimal | int = 1000, network: str = "hoodi") -> None:
        """Give an account tGLM, out of nothing.

        Parameters
        ----------
        address
            The account.
        tokens
            How many.
        network
            The payment network.
        """
        await self._control("fund", network=network, address=address, tokens=str(tokens))


class LocalProvider:
    """A provider of a local network.

    Attributes
    ----------
    name : str
        Its name.
    node_id : str
        Its address on the network.
    """

    def __init__(self, control: Control, name: str, node_id: str) -> None:
        self._control = control
        self.name = name
        self.node_id = node_id

    def __repr__(self) -> str:
        return f"LocalProvider(name={self.name!r}, node_id={self.node_id!r})"

    async def misbehave(self, *misbehaviours: Misbehaviour | MisbehaviourKind | str) -> None:
        """Have it misbehave from now on, in these ways and no others; in none, if none is named.

        Parameters
        ----------
        *misbehaviours
            Kinds, their names, or kinds with parameters.

        Examples
        --------
        >>> async def spoil(network):
        ...     await network.provider("amber").misbehave("refuse-agreement")
        """
        ways = [
            way if isinstance(way, Misbehaviour) else Misbehaviour(kind=MisbehaviourKind(way))
            for way in misbehaviours
        ]
        await self._control("misbehave", provider=self.name, misbehaviours=[way.to_json() for way in ways])

    async def behave(self) -> None:
        """End all misbehaviour."""
        await self.misbehave()

    async def vanish(self) -> None:
        """Cut it off at once, as when a machine loses its power; nobody is told."""
        await self._control("vanish", provider=self.name)

    async def come_back(self) -> None:
        """Have it offer itself again after `vanish`."""
        await self._control("come_back", provider=self.name)


class LocalNetwork:
    """A complete Golem network on this machine: real daemons, providers of ours, no money.

    It is a context manager, with and without ``async``; what it starts ends with it, or with this process, in
    whatever way that ends. It belongs to no event loop.

    Parameters
    ----------
    providers
        How many providers of different size and price there are, or which.
    name
        A name for it. A network whose owner died with something unpaid keeps its folder; see `recover`.
    payment_interval
        Seconds between two batches of payments, at least 5; accepted invoices are paid in the next one.

    Examples
    --------
    >>> with LocalNetwork(providers=2) as network:
    ...     print(len(network.providers))
    2
    """

    def __init__(
        self,
        providers: int | Iterable[ProviderSpec] = 3,
        *,
        name: str | None = None,
        payment_interval: float = 5.0,
    ) -> None:
        if sys.platform != "linux":
            raise UnsupportedPlatformError(
                "the local Golem network needs Linux (its providers use namespaces); "
                "connect to a daemon of the public network instead: YAGNA_API_URL, YAGNA_APPKEY"
            )
        specs = _specs(providers)
        names = [spec.name for spec in specs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise LocalNetworkError(f"several providers are named {', '.join(map(repr, sorted(twice)))}")
        interval = number(payment_interval)
        if interval is None:
            raise TypeError(f"payment_interval must be a number of seconds, not {payment_interval!r}")
        if not 5 <= interval <= 3600:  # the daemon takes no shorter one
            raise LocalNetworkError(f"payment_interval must be 5 to 3600 seconds, not {payment_interval}")
        self._specs = tuple(specs)
        self._interval = float(interval)
        self._folder = NetworkFolder(name or fresh_name())
        self._process: subprocess.Popen[bytes] | None = None
        self._descriptor: Descriptor | None = None
        self.seconds: Mapping[str, float] = {}

    def __repr__(self) -> str:
        state = "not running" if self._descriptor is None else f"requestor at {self._descriptor.api_url}"
        return f"<LocalNetwork {self.name!r}, {state}>"

    # -- what it is ---------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return self._folder.name

    @property
    def folder(self) -> Path:
        """The folder of its data; removed at its end."""
        return self._folder.path

    @property
    def logs(self) -> Path:
        """The folder of its log files."""
        return self._folder.logs

    @property
    def is_shared(self) -> bool:
        """Whether it goes on when this process has ended."""
        return self._descriptor is not None and self._process is None

    def _running(self) -> Descriptor:
        if self._descriptor is None:
            raise NetworkNotRunningError(
                f"the local network {self.name!r} is not running: use `with` or `async with`, or `start()`"
            )
        return self._descriptor

    @property
    def api_config(self) -> ApiConfig:
        """Address and key of the requestor's daemon."""
        running = self._running()
        return ApiConfig(
            app_key=running.app_key,
            api_url=running.api_url,
            remedy=f"The local Golem network {self.name!r} has ended: start it again. "
            f"If it ended by itself, its logs in {self.logs} say why.",
            # given all, so that no variable of the user's environment leads a part of it elsewhere
            **{f"{part}_url": f"{running.api_url}/{part}-api/v1" for part in _PARTS},
        )

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that lead other programs, such as other SDKs and `yagna`, to this network."""
        running = self._running()
        return {
            "YAGNA_API_URL": running.api_url,
            "YAGNA_APPKEY": running.app_key,
            "YAGNA_SUBNET": running.subnet,
            "YAGNA_PAYMENT_DRIVER": "erc20",
            "YAGNA_PAYMENT_NETWORK": "hoodi",
            "YAGNA_DATADIR": str(running.requestor_folder),
            "GSB_URL": f"unix:{running.bus}",
            "GOLEM_REGISTRY_URL": running.registry_url,
        }

    @property
    def requestor(self) -> str:
        """Node id of the requestor."""
        return self._running().requestor

    @property
    def registry_url(self) -> str:
        """Where its image registry is."""
        return self._running().registry_url

    @property
    def warnings(self) -> Sequence[str]:
        """What to know about it, such as that commands run without a sandbox on this machine."""
        return tuple(self._running().warnings)

    @property
    def chain(self) -> ChainView:
        """Its development chain."""
        return ChainView(self._control)

    @property
    def providers(self) -> list[LocalProvider]:
        """Its providers."""
        return [LocalProvider(self._control, *item) for item in self._running().providers.items()]

    def provider(self, name: str) -> LocalProvider:
        """One of its providers.

        Parameters
        ----------
        name
            Its name.

        Raises
        ------
        LocalNetworkError
            There is none of that name.
        """
        for provider in self.providers:
            if provider.name == name:
                return provider
        known = ", ".join(provider.name for provider in self.providers)
        raise LocalNetworkError(f"no provider is named {name!r}; there are: {known}")

    @property
    def _control(self) -> Control:
        return Control(self._running().control)

    async def add_image(self, tag: str, rootfs: Path | str) -> str:
        """Register a directory tree as an image; return its hash.

        Parameters
        ----------
        tag
            The name under which the registry knows it from now on.
        rootfs
            The folder that a provider's commands find as their `/`, read-only. What is in its `golem` is
            seen beside the activity's own `/golem/input`, `output`, `work` and `resource`.
        """
        folder = Path(rootfs).absolute()  # noqa: ASYNC240 - looks at the working directory only
        return str(await self._control("add_image", tag=tag, folder=str(folder)))

    async def status(self) -> dict[str, Any]:
        """How long it has been running, and in which processes."""
        status: dict[str, Any] = await self._control("status")
        return status

    # -- start and stop -----------------------------------------------------------------------------------

    def __enter__(self) -> LocalNetwork:
        if not self.is_shared:
            process = self._launch(owned=True)
            with self._or_abandon(process):
                self._take(_first_line(process, self.logs))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._say_stop()
        if process is not None:
            with self._or_abandon(process, signal.SIGKILL):
                process.wait(_STOP_TIMEOUT)

    async def __aenter__(self) -> LocalNetwork:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it; returns when its offers can be seen on the market.

        Raises
        ------
        NetworkStartError
            Something could not be started; the text says what, and where the logs are.
        """
        if self.is_shared:
            return
        process = self._launch(owned=True)
        assert process.stdout is not None
        with self._or_abandon(process):
            try:
                async with asyncio.timeout(_START_TIMEOUT):
                    await readable(process.stdout.fileno())
            except TimeoutError as error:
                raise _silent(self.logs) from error
            self._take(process.stdout.readline())

    async def stop(self) -> None:
        """End it and all its processes, in 20 s at most; idempotent. A network that is shared goes on."""
        process = self._say_stop()
        if process is not None:
            with self._or_abandon(process, signal.SIGKILL):
                async with asyncio.timeout(_STOP_TIMEOUT):
                    await process_end(process)

    @classmethod
    def up(
        cls,
        providers: int | Iterable[ProviderSpec] = 3,
        *,
        name: str = SHARED,
        payment_interval: float = 5.0,
    ) -> LocalNetwork:
        """Start a network that goes on when this process has ended, for all that `attach`; `down` ends it.

        If it is running already, it is left as it is and attached to.

        Parameters
        ----------
        providers
            How many providers of different size and price there are, or which.
        name
            Its name, for `attach`.
        payment_interval
            Seconds between two batches of payments, at least 5.

        Raises
        ------
        NetworkStartError
            Something could not be started.
        """
        with contextlib.suppress(NetworkNotRunningError):
            return cls.attach(name)
        network = cls(providers, name=name, payment_interval=payment_interval)
        process = network._launch(owned=False)
        try:
            with network._or_abandon(process):
                network._take(_first_line(process, network.logs))
        except NetworkStartError:
            # somebody else may have been a moment faster
            deadline = time.monotonic() + _START_TIMEOUT
            while network._folder.is_running() and time.monotonic() < deadline:
                with contextlib.suppress(NetworkNotRunningError):
                    return cls.attach(name)
                time.sleep(0.1)
            raise
        network._process = None
        _reap(process)
        return network

    @classmethod
    def attach(cls, name: str = SHARED) -> LocalNetwork:
        """Use a network that `up` started. Leaving it, or `stop`, does not end it.

        Parameters
        ----------
        name
            The name that it was started under.

        Raises
        ------
        NetworkNotRunningError
            There is none.
        """
        network = cls(0, name=name)
        descriptor = network._folder.read()
        if descriptor is None or not network._folder.is_running():
            raise NetworkNotRunningError(
                f"no local Golem network named {name!r} is running: start one with `golem-nb up`"
            )
        network._descriptor = descriptor
        return network

    @classmethod
    def recover(cls, name: str) -> LocalNetwork:
        """Return a network whose owner died, to be started again with what it had; see `kept`.

        Parameters
        ----------
        name
            Its name, as `kept` lists it.

        Raises
        ------
        LocalNetworkError
            No such network was kept.
        """
        settings = NetworkFolder(name).settings()
        if settings is None:
            raise LocalNetworkError(f"no local network named {name!r} was kept")
        known = Settings.from_json(settings)
        return cls(known.providers, name=name, payment_interval=known.payment_interval)

    def _launch(self, *, owned: bool) -> subprocess.Popen[bytes]:
        if self._process is not None or self._descriptor is not None:
            raise LocalNetworkError(f"the local network {self.name!r} is running already")
        settings = Settings(
            name=self.name,
            providers=self._specs,
            payment_interval=self._interval,
            subnet="public",
            owner=os.getpid() if owned else None,
        )
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        process = subprocess.Popen(
            [sys.executable, "-m", "golem_nb.localnet.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone already: that it says nothing will tell
            process.stdin.write(json.dumps(settings.to_json()).encode() + b"\n")
            process.stdin.flush()
        self._process = process
        return process

    def _take(self, line: bytes) -> None:
        if not line:
            raise NetworkStartError("its supervisor ended at once", self.logs)
        message = json.loads(line)
        if message["event"] != "ready":
            raise NetworkStartError(message["error"], self.logs if message.get("logs") else None)
        self._descriptor = Descriptor.from_json(message["descriptor"])
        self.seconds = message["seconds"]

    def _say_stop(self) -> subprocess.Popen[bytes] | None:
        process, self._process = self._process, None
        self._descriptor = None
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.write(b"stop\n")
                process.stdin.close()
        return process

    @contextlib.contextmanager
    def _or_abandon(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> Iterator[None]:
        """Leave the supervisor to its end when the body fails.

        Told by a signal or by the end of the pipe, it ends all its processes in 15 s at most. Killed, it is
        survived by the guards of the daemons, who see to that.
        """
        try:
            yield
        except BaseException:
            self._process = None
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.send_signal(number)
            _reap(process)
            raise
        else:
            if process.returncode is not None and process.stdout is not None:
                process.stdout.close()


def _specs(providers: object) -> list[ProviderSpec]:
    """Read the argument `providers`: how many, or which."""
    how_many = number(providers)
    if isinstance(how_many, int):
        return default_specs(how_many)
    if isinstance(providers, Iterable):
        specs = list(providers)
        if all(isinstance(spec, ProviderSpec) for spec in specs):
            return specs
    raise TypeError(f"providers must be a number, or some ProviderSpec(...), not {providers!r}")


def _first_line(process: subprocess.Popen[bytes], logs: Path) -> bytes:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(_START_TIMEOUT):
            raise _silent(logs)
    return process.stdout.readline()


def _silent(logs: Path) -> NetworkStartError:
    return NetworkStartError(f"nothing was heard of it for {_START_TIMEOUT:g} s", logs)


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Have a process that is not waited for leave no zombie behind."""

    def wait() -> None:
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    threading.Thread(target=wait, name="golem-nb-reaper", daemon=True).start()
