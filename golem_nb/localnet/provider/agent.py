"""The provider agent's process: all providers of one local network, controlled by lines on its input.

Each line is a JSON object. The first is the configuration, later ones are commands with an `id`, which the
answer on the standard output repeats; see `Agent`. When the input ends, or on SIGTERM, everything is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from golem_nb.exceptions import GolemError
from golem_nb.localnet.provider.images import Images
from golem_nb.localnet.provider.provider import Provider, Surroundings
from golem_nb.localnet.provider.sandbox.host import SandboxHost
from golem_nb.localnet.provider.vpn import Switch
from golem_nb.localnet.spec import Image, InvalidSpecError, Misbehaviour, ProviderSpec

__all__ = ["Agent", "main"]

logger = logging.getLogger(__name__)

_STOP_TIMEOUT: Final = 2.5
_MAX_LINE: Final = 16 << 20


class Agent:
    """Runs providers as their supervisor says.

    Configuration: ``{"folder", "api_url", "bus", "subnet", "payment_platforms", "images", "providers":
    [{"node_id", "app_key", "spec"}], …}``.

    Commands: ``misbehave`` (provider, misbehaviours), ``vanish`` (provider), ``come_back`` (provider),
    ``add_image`` (image), ``add_provider`` (provider as in the configuration), ``status``. Answers:
    ``{"id", "ok": true, "result"}`` or ``{"id", "ok": false, "error"}``.

    Events: ``offer`` (provider, node_id, subscription), ``ready``, ``warning`` (text), ``failed`` (error).
    """

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self._folder = Path(configuration["folder"])
        self._providers: dict[str, Provider] = {}
        self._configuration = configuration
        self._images = Images(Image.from_json(image) for image in configuration.get("images", ()))
        self._host = SandboxHost(self._folder / "activities", isolate=configuration.get("isolate", True))
        self._around: Surroundings | None = None
        self._switch: Switch | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Prepare the sandboxes and publish all offers."""
        with contextlib.suppress(FileNotFoundError):  # of an agent that was killed
            await asyncio.to_thread(shutil.rmtree, self._folder / "activities", ignore_errors=True)
        await self._host.start()
        for warning in self._host.warnings:
            _say({"event": "warning", "text": warning})
        configuration = self._configuration
        if self._host.tap and configuration.get("hub") is not None:
            host, port = configuration["hub"]
            self._switch = Switch((host, int(port)))
        self._around = Surroundings(
            api_url=configuration["api_url"],
            bus=configuration["bus"],
            subnet=configuration["subnet"],
            platforms=tuple(configuration["payment_platforms"]),
            host=self._host,
            images=self._images,
            networks=None if self._switch is None else self._switch.member,
            on_offer=_report_offer,
        )
        async with asyncio.TaskGroup() as group:
            for entry in configuration["providers"]:
                group.create_task(self._add(entry))
        _say({"event": "ready", "sandbox": self._sandbox()})

    def _sandbox(self) -> dict[str, Any]:
        host = self._host
        return {
            "isolation": "namespaces" if host.isolated else "process",
            "tap": host.tap,
            "uid": os.geteuid() if host.uid is None else host.uid,
            "warnings": host.warnings,
        }

    async def _add(self, entry: Mapping[str, Any]) -> Provider:
        assert self._around is not None
        spec = ProviderSpec.from_json(entry["spec"])
        if spec.name in self._providers:
            raise InvalidSpecError(f"there is a provider {spec.name!r} already")
        provider = self._providers[spec.name] = Provider(
            spec, entry["node_id"], entry["app_key"], self._around
        )
        try:
            await provider.start()
        except BaseException:
            del self._providers[spec.name]
            raise
        return provider

    async def command(self, message: Mapping[str, Any]) -> Any:
        """Do what a line says; return the result.

        Raises
        ------
        GolemError
            It cannot be done.
        """
        async with self._lock:
            match message.get("command"):
                case "misbehave":
                    faults = [Misbehaviour.from_json(m) for m in message["misbehaviours"]]
                    await self._provider(message).misbehave(faults)
                case "vanish":
                    await self._provider(message).vanish()
                case "come_back":
                    await self._provider(message).come_back()
                case "add_image":
                    self._images.add(Image.from_json(message["image"]))
                case "add_provider":
                    return (await self._add(message["provider"])).status()
                case "status":
                    return {
                        "providers": [provider.status() for provider in self._providers.values()],
                        "sandbox": self._sandbox(),
                    }
                case other:
                    raise InvalidSpecError(f"unknown command {other!r}")
        return None

    def _provider(self, message: Mapping[str, Any]) -> Provider:
        name = message["provider"]
        try:
            return self._providers[name]
        except KeyError:
            known = ", ".join(sorted(self._providers)) or "none"
            raise InvalidSpecError(f"there is no provider {name!r}; there are: {known}") from None

    async def stop(self) -> None:
        """End all agreements, offers and sandboxes, as far as that is possible in a few seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT):
                await asyncio.gather(*(p.stop() for p in self._providers.values()), return_exceptions=True)
        with contextlib.suppress(Exception):
            if self._switch is not None:
                await self._switch.close()
            await self._host.close()
        await asyncio.to_thread(shutil.rmtree, self._folder / "activities", ignore_errors=True)


def _say(message: Mapping[str, Any]) -> None:
    # one write a line: the supervisor reads lines
    os.write(1, json.dumps(message).encode() + b"\n")


def _report_offer(provider: Provider, subscription: str) -> None:
    _say(
        {
            "event": "offer",
            "provider": provider.spec.name,
            "node_id": provider.node_id,
            "subscription": subscription,
        }
    )


async def _serve() -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_MAX_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    line = await reader.readline()
    if not line:
        return 0
    try:
        agent = Agent(json.loads(line))
    except (ValueError, KeyError, TypeError, GolemError) as error:
        _say({"event": "failed", "error": f"the configuration is unusable: {type(error).__name__}: {error}"})
        return 1

    async def answer(message: dict[str, Any]) -> None:
        try:
            result = await agent.command(message)
            _say({"id": message.get("id"), "ok": True, "result": result})
        except Exception as error:  # whatever it is: the supervisor waits for an answer
            if not isinstance(error, GolemError):
                logger.exception("command %s", message.get("command"))
            _say({"id": message.get("id"), "ok": False, "error": str(error) or type(error).__name__})

    async def read() -> None:
        async with asyncio.TaskGroup() as group:
            while line := await reader.readline():
                try:
                    message = json.loads(line)
                    if not isinstance(message, dict):
                        raise ValueError("not an object")
                except ValueError as error:
                    _say({"id": None, "ok": False, "error": f"not a command: {error}"})
                    continue
                group.create_task(answer(message))
            stop.set()

    code = 0
    starting = asyncio.create_task(agent.start())
    stopping = asyncio.create_task(stop.wait())
    reading = asyncio.create_task(read())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    failure = starting.exception() if starting.done() else None
    if failure is not None:
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        logger.error("start failed", exc_info=failure)
        _say({"event": "failed", "error": str(failure) or type(failure).__name__})
        code = 1
    else:
        await stopping
    for task in (starting, stopping, reading):
        task.cancel()
    await asyncio.gather(starting, stopping, reading, return_exceptions=True)
    await agent.stop()
    return code


def main() -> None:
    """Run the agent; see the top of this module."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG: end with the supervisor
    code = 1
    try:
        code = asyncio.run(_serve())
    finally:
        # threads that hang in a system call must not keep the process
        sys.stderr.flush()
        os._exit(code)
