"""The exe-unit of an activity: answers on the bus, runs the scripts, reports state and usage.

It serves `/public/exeunit/<activity>` (`Exec`, `GetExecBatchResults`, `StreamExecBatchResults`,
`GetActivityState`, `GetActivityUsage`, `GetRunningCommand`) and reports to the daemon's `/local/activity`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

from golem_nb.exceptions import GolemError
from golem_nb.localnet.bus.client import Bus, BusCallError, BusError, Call, ErrorReply
from golem_nb.localnet.provider.batch import Batch
from golem_nb.localnet.provider.capture import MAX_KEPT, Capture
from golem_nb.localnet.provider.faults import HOSTILE_LINE, Faults
from golem_nb.localnet.provider.pricing import COUNTERS
from golem_nb.localnet.provider.sandbox.host import Limits, Sandbox, SandboxError, SandboxHost, remove_folder
from golem_nb.localnet.provider.sandbox.layout import FOLDERS, ImageError
from golem_nb.localnet.provider.transfer import Progress, TransferError, Transfers
from golem_nb.localnet.provider.vpn import VpnError
from golem_nb.localnet.spec import Image, MisbehaviourKind

__all__ = ["ExeUnit", "Networks", "Task"]

logger = logging.getLogger(__name__)

#: The daemon calls an activity unresponsive when it hears nothing for 5 s.
_REPORT_INTERVAL: Final = 2.0
_STORAGE_INTERVAL: Final = 1.0
_CALL_TIMEOUT: Final = 10.0
#: Batches whose results can still be asked for; an activity may live for days.
_MAX_BATCHES: Final = 1000


class _CommandError(GolemError):
    """A command failed; the text is what the requestor is told."""


class Networks(Protocol):
    """What connects a sandbox to the VPNs that `deploy` names."""

    async def join(self, sandbox: Sandbox, networks: list[Mapping[str, Any]], activity_id: str) -> None:
        """Give the sandbox an interface for each of the networks."""

    async def leave(self, activity_id: str) -> None:
        """Take the activity's interfaces away."""

    def cut(self, activity_id: str) -> None:
        """Take them away at once, without a word to anyone."""


@attrs.frozen(kw_only=True)
class Task:
    """What an exe-unit is to do.

    Parameters
    ----------
    activity_id
        The activity.
    node_id
        The provider.
    find_image
        Called at `deploy` for the image that stands in for the agreement's package; may raise `ImageError`.
    limits
        What the activity may use.
    seconds
        How long it may live; None: as long as its agreement.
    """

    activity_id: str
    node_id: str
    find_image: Callable[[], Any]
    limits: Limits
    seconds: float | None = None


class ExeUnit:
    """One activity.

    Parameters
    ----------
    bus
        The provider's connection to the daemon's bus.
    host
        Makes its sandbox.
    task
        What it is to do.
    faults
        The provider's misbehaviours.
    networks
        VPNs; None: `deploy` with a network fails.
    on_death
        Called when it ends by itself: killed, or over a limit.
    """

    def __init__(
        self,
        bus: Bus,
        host: SandboxHost,
        task: Task,
        faults: Faults,
        networks: Networks | None,
        on_death: Callable[[ExeUnit], None],
    ) -> None:
        self.bus, self.host, self.task, self.faults = bus, host, task, faults
        self.networks, self._on_death = networks, on_death
        self.id = task.activity_id
        self._service = f"/public/exeunit/{self.id}"
        self._state: list[str | None] = ["New", None]
        self._batches: dict[str, Batch] = {}
        self._queue: asyncio.Queue[Batch] = asyncio.Queue()
        self._sandbox: Sandbox | None = None
        self._environment: dict[str, str] = {}
        self._transfers = Transfers(bus, task.node_id, faults, self._storage_left)
        self._stored = 0
        self._started = time.monotonic()
        self._ended: float | None = None
        self._spent_cpu = 0.0
        self._runs = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._closed = asyncio.Event()
        #: Usage as last reported, in the order of `COUNTERS`; the basis of debit notes.
        self.usage: list[float] = [0.0] * len(COUNTERS)

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Appear on the bus and report that the activity is initialized."""
        await self.bus.bind(self._service, self._handle)
        await self.measure()
        await self._report_usage()
        await self._set_state("Initialized")
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._report_loop(), name=f"usage of {self.id[:8]}"),
            loop.create_task(self._work(), name=f"scripts of {self.id[:8]}"),
        ]
        if self.task.seconds is not None:
            self._tasks.append(loop.create_task(self._time_limit(self.task.seconds)))

    async def stop(self, reason: str | None = None, message: str | None = None) -> None:
        """End everything: the commands, the sandbox, the service; report the last usage.

        Who comes second waits until the first has done it.
        """
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        try:
            await self._stop(reason, message)
        finally:
            self._closed.set()

    async def _stop(self, reason: str | None, message: str | None) -> None:
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.networks is not None:
            await self.networks.leave(self.id)
        folder = await self._close_sandbox()
        self._ended = time.monotonic()
        await self.measure()
        with contextlib.suppress(BusError, TimeoutError):
            await self._report_usage()
            await self._set_state("Terminated", reason=reason, message=message)
            await self.bus.unbind(self._service)
        for batch in self._batches.values():
            batch.close()
        if folder is not None:  # last: the requestor waits for the state, and a folder may be large
            await asyncio.to_thread(remove_folder, folder)

    def cut(self) -> None:
        """End at once without a word, as if the machine had lost its power."""
        self._closing = True
        self._closed.set()
        for task in self._tasks:
            task.cancel()
        if self.networks is not None:
            self.networks.cut(self.id)
        if self._sandbox is not None:
            self._sandbox.abort()
        for batch in self._batches.values():
            batch.close()

    async def _die(self, message: str) -> None:
        """End by oneself."""
        logger.warning("activity %s: %s", self.id[:8], message)
        await self.stop(reason="ExeUnit terminated", message=message)
        self._on_death(self)

    async def _close_sandbox(self) -> Path | None:
        """End the sandbox; return its folder, which is still there."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is None:
            return None
        sandbox.on_exceeded = None
        await sandbox.close()
        self._spent_cpu += await sandbox.cpu()
        return sandbox.folder

    async def _time_limit(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._die(f"Activity ended by its provider: it has lived for the allowed {seconds:g} s")

    def _exceeded(self, used: int) -> None:
        message = (
            f"Activity ended by its provider: its processes used {used / 2**30:.2f} GiB of memory, "
            f"{self.task.limits.memory / 2**30:.2f} GiB are offered"
        )
        self._tasks.append(asyncio.get_running_loop().create_task(self._die(message)))

    # -- reports ----------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The current state."""
        return self._state[0] or "New"

    def _silent(self) -> bool:
        fault = self.faults.has(MisbehaviourKind.GO_SILENT)
        return fault is not None and time.monotonic() - self._started >= (fault.after or 0)

    async def _set_state(self, state: str, reason: str | None = None, message: str | None = None) -> None:
        self._state = [state, None]
        if self._silent():
            return
        report: dict[str, Any] = {"state": self._state}
        if reason is not None:
            report["reason"] = reason
        if message is not None:
            report["errorMessage"] = message
        payload = {"activityId": self.id, "state": report, "timeout": None, "credentials": None}
        await self.bus.call("/local/activity/SetActivityState", payload, timeout=_CALL_TIMEOUT)

    async def measure(self) -> list[float]:
        """Look at the usage now."""
        cpu = self._spent_cpu
        if self._sandbox is not None:
            cpu += await self._sandbox.cpu()
        duration = (self._ended or time.monotonic()) - self._started
        # totals never fall, and microseconds are as exact as a float's text stays short
        self.usage = [max(old, round(new, 6)) for old, new in zip(self.usage, (duration, cpu), strict=True)]
        return self.usage

    def _usage_report(self) -> dict[str, Any]:
        return {"currentUsage": self.usage, "timestamp": int(time.time())}

    async def _report_usage(self) -> None:
        if self._silent():
            return
        payload = {"activityId": self.id, "timeout": None, "usage": self._usage_report()}
        await self.bus.call("/local/activity/SetActivityUsage", payload, timeout=_CALL_TIMEOUT)

    async def _report_loop(self) -> None:
        looked = 0.0
        cost = 0.0
        while True:
            await asyncio.sleep(_REPORT_INTERVAL)
            await self.measure()
            with contextlib.suppress(BusError, TimeoutError):
                await self._report_usage()
            sandbox = self._sandbox
            if (
                sandbox is None
                or sandbox.idle
                or time.monotonic() - looked < max(_STORAGE_INTERVAL, 20 * cost)
            ):
                continue
            began = time.monotonic()
            self._stored = await asyncio.to_thread(_size_of, sandbox.folder)
            looked = time.monotonic()
            cost = looked - began
            if self._stored > self.task.limits.storage:
                await self._die(
                    f"Activity ended by its provider: its files take {self._stored / 2**30:.2f} GiB, "
                    f"{self.task.limits.storage / 2**30:.2f} GiB are offered"
                )

    def _storage_left(self) -> int:
        free = shutil.disk_usage(self.host.folder).free
        return max(0, min(self.task.limits.storage - self._stored, free))

    # -- the service ------------------------------------------------------------------------------

    async def _handle(self, call: Call) -> Any:
        component, message = call.component, call.payload
        if component == "GetExecBatchResults":
            return await self._results(message)
        if component == "Exec":
            return self._exec(message)
        if component == "StreamExecBatchResults":
            batch = self._batches.get(message["batch_id"])
            if batch is None:
                raise BusCallError("", 400, f"Unknown batch: {message['batch_id']}")
            return batch.stream()
        if component == "GetActivityState":
            return {"state": self._state}
        if component == "GetActivityUsage":
            await self.measure()
            return self._usage_report()
        if component == "GetRunningCommand":
            running = [batch.running for batch in self._batches.values() if batch.running]
            return running or ErrorReply({"notFound": f"No running command within activity: {self.id}"})
        raise BusCallError("", 400, f"no such method of an exe-unit: {component}")

    def _exec(self, message: Mapping[str, Any]) -> Any:
        batch_id = message["batchId"]
        if batch_id in self._batches:
            return ErrorReply({"badRequest": f"Batch {batch_id} already exists"})
        batch = self._batches[batch_id] = Batch(batch_id, message["exeScript"])
        if len(self._batches) > _MAX_BATCHES:
            oldest = next(iter(self._batches))
            if self._batches[oldest].finished:
                del self._batches[oldest]
        if not batch.finished:
            self._queue.put_nowait(batch)
        return batch_id

    async def _results(self, message: Mapping[str, Any]) -> Any:
        batch = self._batches.get(message["batchId"])
        if batch is None:
            return ErrorReply({"notFound": f"batch_id = {message['batchId']}"})
        if not batch.script:
            return []
        index = message.get("commandIndex")
        last = len(batch.script) - 1 if index is None else index
        came = await batch.wait(last + 1, message.get("timeout") or 0)
        if index is None:
            return batch.results
        if not came:
            return ErrorReply("timeout")
        # with an index, outputs of that command only, and "finished" means that it is the last one asked for
        results = []
        for result in batch.results[: last + 1]:
            result = dict(result)
            if result["index"] != index:
                result["stdout"] = result["stderr"] = None
            result["isBatchFinished"] = result["index"] == last or result["result"] == "Error"
            results.append(result)
        return results

    # -- scripts ----------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            batch = await self._queue.get()
            for index, command in enumerate(batch.script):
                if await self._execute(batch, index, command):
                    break

    async def _execute(self, batch: Batch, index: int, command: dict[str, Any]) -> bool:
        """Run one command; return whether the batch ends with it."""
        name, arguments = next(iter(command.items()))
        arguments = arguments or {}
        parameters = [arguments.get("entry_point"), *arguments.get("args", [])] if name == "run" else None
        batch.running = {"command": name.capitalize(), "progress": None, "params": parameters}
        batch.event(index, {"started": {"command": command}})
        outputs: tuple[Any, Any] = (None, None)
        message: str | None = None
        code = 0
        try:
            method = getattr(self, f"_do_{name}", None)
            if method is None:
                raise _CommandError(f"Unsupported command: {name}")
            outputs, code, message = await method(batch, index, arguments)
        except (_CommandError, SandboxError, TransferError, ImageError, VpnError) as error:
            message, code = str(error), 1
        except (BusError, TimeoutError, OSError) as error:
            message, code = f"{name.capitalize()} failed: {error}", 1
        except (KeyError, TypeError, ValueError) as error:
            message, code = f"Malformed {name} command: {type(error).__name__}: {error}", 1
        if code and self.faults.has(MisbehaviourKind.HOSTILE_TEXT):
            message = f"{HOSTILE_LINE}{message}"
        last = bool(code) or index == len(batch.script) - 1
        batch.running = None
        batch.event(index, {"finished": {"return_code": code, "message": message}})
        batch.add(
            {
                "index": index,
                "result": "Error" if code else "Ok",
                "stdout": outputs[0],
                "stderr": outputs[1],
                "message": message,
                "isBatchFinished": last,
                "eventDate": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z",
            }
        )
        return last

    def _require(self, *states: str) -> None:
        state = self.state
        if state in states:
            return
        if state == "Initialized":
            raise _CommandError("Activity is initialized - deploy() command is expected now")
        if state == "Deployed" and "Initialized" not in states:
            raise _CommandError("Activity is deployed - start() command is expected now")
        raise _CommandError(f"This command is not allowed when activity is in the {state} state")

    async def _do_deploy(self, _batch: Batch, _index: int, arguments: Mapping[str, Any]) -> Any:
        self._require("Initialized")
        if self.faults.take(MisbehaviourKind.FAIL_DEPLOY):
            raise _CommandError("Local service error: Deployment failed: the image cannot be downloaded")
        networks = arguments.get("net") or []
        if networks and self.networks is None:
            raise _CommandError(
                "Local service error: this provider carries no VPN (no TAP devices or no namespaces here); "
                "its offer has no `vpn` among golem.runtime.capabilities"
            )
        self._state[1] = "Deployed"
        volumes = _volumes(arguments.get("volumes"))
        self._environment = {str(k): str(v) for k, v in (arguments.get("env") or {}).items()}
        image: Image = await self.task.find_image()
        sandbox = await self.host.create(
            self.id,
            image,
            self.task.limits,
            taps=len(networks),
            folders=volumes,
            hosts=arguments.get("hosts"),
            hostname=arguments.get("hostname"),
        )
        sandbox.on_exceeded = self._exceeded
        self._sandbox = sandbox
        if networks and self.networks is not None:
            await self.networks.join(sandbox, networks, self.id)
        await self._set_state("Deployed")
        places = [*(f"/golem/{name}" for name in FOLDERS), *volumes]
        mounted = [{"name": f"vol-{i}", "path": path} for i, path in enumerate(places)]
        answer = {"valid": {"Ok": ""}, "vols": mounted, "startMode": "blocking"}
        return (json.dumps(answer), None), 0, None

    async def _do_start(self, _batch: Batch, _index: int, _arguments: Mapping[str, Any]) -> Any:
        self._require("Deployed")
        await self._set_state("Ready")
        return (None, None), 0, None

    async def _do_terminate(self, _batch: Batch, _index: int, _arguments: Mapping[str, Any]) -> Any:
        if self.networks is not None:
            await self.networks.leave(self.id)
        folder = await self._close_sandbox()
        if folder is not None:
            await asyncio.to_thread(remove_folder, folder)
        await self._set_state("Initialized")
        return (None, None), 0, None

    async def _do_sign(self, _batch: Batch, _index: int, _arguments: Mapping[str, Any]) -> Any:
        return ("", None), 0, None

    async def _do_transfer(self, batch: Batch, index: int, arguments: Mapping[str, Any]) -> Any:
        self._require("Deployed", "Ready")
        progress = Progress(arguments.get("progress"), lambda part: batch.event(index, {"progress": part}))
        await self._transfers.run(self._in_sandbox(), arguments["from"], arguments["to"], progress)
        return (None, None), 0, None

    async def _do_run(self, batch: Batch, index: int, arguments: Mapping[str, Any]) -> Any:
        self._require("Ready")
        sandbox = self._in_sandbox()
        self._runs += 1
        stall = self.faults.has(MisbehaviourKind.STALL)
        if stall is not None and self._runs > (stall.after or 0):
            self.faults.take(MisbehaviourKind.STALL)
            await asyncio.get_running_loop().create_future()
        if (death := self.faults.take(MisbehaviourKind.DIE_IN_TASK)) is not None:
            self._tasks.append(asyncio.get_running_loop().create_task(self._be_killed(death.after or 0)))
        modes = arguments.get("capture") or {}
        captures = [
            Capture(modes.get(name), lambda text, name=name: batch.event(index, {name: text}, len(text)))  # type: ignore[misc]
            for name in ("stdout", "stderr")
        ]
        if self.faults.has(MisbehaviourKind.HOSTILE_TEXT):
            captures[0].feed(HOSTILE_LINE.encode())
        argv = [str(arguments["entry_point"]), *map(str, arguments.get("args") or ())]
        try:
            process = await sandbox.run(argv, self._environment, captures[0].feed, captures[1].feed)
        except SandboxError as error:
            raise _CommandError(f"Runtime error: {error}") from error
        code = await process.exited
        message = None
        if code:
            message = f"ExeScript command exited with code {code}"
        elif any(capture.cut for capture in captures):
            message = f"The output was longer than the {MAX_KEPT} bytes that are kept"
        return tuple(capture.result() for capture in captures), code, message

    async def _be_killed(self, after: float) -> None:
        await asyncio.sleep(after)
        await self._die("ExeUnit process exited with signal 9 (SIGKILL)")

    def _in_sandbox(self) -> Sandbox:
        if self._sandbox is None or self._sandbox.closed.done():
            raise _CommandError("Runtime error: the sandbox of the activity has ended")
        return self._sandbox


def _volumes(value: Any) -> list[str]:
    """Read the paths of `deploy`'s volumes: a list, or a map whose values say what is mounted there."""
    paths = [os.path.normpath(re.sub("^/+", "/", str(path))) for path in value or ()]
    for path in paths:
        if (
            not path.startswith("/")
            or path == "/"
            or path.split("/")[1] in ("dev", "etc", "proc", "sys", "usr")
        ):
            raise _CommandError(f"Local service error: {path} cannot be a volume")
    return paths


def _size_of(folder: Path) -> int:
    """Bytes on disk of all files in a folder; links are not followed."""
    total = 0
    waiting = [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total
