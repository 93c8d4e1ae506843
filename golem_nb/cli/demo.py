"""The main job: a complete Golem network on this machine, and a batch of real work on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.cli import frame, interrupts
from golem_nb.cli.bill import bill, left_behind
from golem_nb.cli.tally import Tally
from golem_nb.cli.text import plain, shown
from golem_nb.events import CommandExecuted, Event, TaskAccepted, TaskStarted
from golem_nb.exceptions import GolemError
from golem_nb.localnet import LocalNetwork
from golem_nb.script import Script

#: Frames of the flight, and their size in pixels.
FRAMES, WIDTH, HEIGHT = 12, 240, 160

#: The most that the batch may cost, GLM.
BUDGET = Decimal(1)

#: Where the flight goes.
CENTRE = (-0.743643887037151, 0.131825904205330)


@attrs.frozen
class Summary:
    """What came of the demo; printed by ``--json``.

    Attributes
    ----------
    seconds_to_first_result
        From the start of the engine.
    seconds_network_start
        Until the network was up.
    seconds
        From the start of the network to the end of the engine's stop, when all is ended and accepted.
    """

    tasks: int
    tasks_done: int
    providers_used: int
    agreements: int
    agreements_ended: int
    invoices_accepted: int
    cost: str
    budget: str
    allocation_released: bool
    seconds_to_first_result: float | None
    seconds_network_start: float
    seconds: float
    files: list[str]


class ResultsFolderError(GolemError):
    """The folder for the results cannot be made."""

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"the results cannot go to {folder} ({error.strerror}): "
            "name a folder that can be made, --folder DIR"
        )


def frame_parameters(number: int, frames: int) -> dict[str, float]:
    """Return what frame `number` shows: each one a little deeper."""
    depth = 2.8 * 0.52**number
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "x": CENTRE[0],
        "y": CENTRE[1],
        "span": depth,
        "limit": 60 + 160 * number // max(frames - 1, 1),
    }


def renderer(folder: Path) -> Callable[..., AsyncGenerator[Script, Awaitable[list[CommandExecuted]]]]:
    """Return a worker that renders frames into `folder`."""

    async def worker(
        context: WorkContext, tasks: AsyncIterator[Task[dict[str, Any], Path]]
    ) -> AsyncGenerator[Script, Awaitable[list[CommandExecuted]]]:
        script = context.new_script(timeout=timedelta(minutes=1))
        script.upload_file(str(Path(frame.__file__)), "/golem/input/frame.py")
        yield script
        async for task in tasks:
            target = folder / f"frame-{task.data['number']:02d}.png"
            script = context.new_script(timeout=timedelta(minutes=2))
            script.upload_json(task.data["parameters"], "/golem/input/parameters.json")
            script.run(
                "/usr/bin/env",
                "python3",
                "/golem/input/frame.py",
                "/golem/input/parameters.json",
                "/golem/output/frame.png",
            )
            script.download_file("/golem/output/frame.png", str(target))
            yield script
            if target.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n":
                task.accept_result(target)
            else:
                task.reject_result("not a PNG file", retry=True)

    return worker


class Lanes:
    """Progress in the terminal: one bar for the batch, one line a provider."""

    def __init__(self, progress: Progress, total: int, tally: Tally) -> None:
        self._progress = progress
        self._tally = tally
        self._all = progress.add_task("batch", total=total)
        self._lanes: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._tally(event)
        if isinstance(event, TaskStarted):
            self._lane(event.provider_id, f"frame {event.task.data['number']}")
        elif isinstance(event, TaskAccepted):
            self._progress.advance(self._all)
            if not self._progress.console.is_terminal:
                name = shown(self._tally.providers[event.provider_id].name)
                self._progress.console.print(f"  frame {event.task.data['number']:2d} by {name}")

    def _lane(self, provider: str, text: str) -> None:
        name = shown(self._tally.providers[provider].name)
        if provider not in self._lanes:
            self._lanes[provider] = self._progress.add_task("", total=None)
        self._progress.update(self._lanes[provider], description=f"  {name}: {text}")


async def run(*, as_json: bool, folder: Path, providers: int) -> Summary:
    """Run the demo.

    Parameters
    ----------
    as_json
        Print nothing but the summary, as one line of JSON.
    folder
        Where the frames go; it exists.
    providers
        Number of providers of the network.
    """
    console = Console(quiet=as_json, highlight=False)
    started = time.monotonic()
    tally = Tally()
    first: float | None = None
    done: list[Path] = []
    with console.status("Starting a Golem network on this machine …"):
        network = LocalNetwork(providers=providers)
        await network.__aenter__()
    network_start = time.monotonic() - started
    try:
        console.print(f"A network of {providers} providers is up after {network_start:.1f} s.")
        payload = await vm.repo(image_tag="golem_nb/python", repository_url=network.registry_url)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            golem = Golem(
                budget=BUDGET,
                api_config=network.api_config,
                subnet_tag=network.env["YAGNA_SUBNET"],
                payment_network=network.env["YAGNA_PAYMENT_NETWORK"],
                event_consumer=Lanes(progress, FRAMES, tally),
            )
            begun = time.monotonic()
            async with golem:
                tasks: list[Task[dict[str, Any], Path]] = [
                    Task(data={"number": number, "parameters": frame_parameters(number, FRAMES)})
                    for number in range(FRAMES)
                ]
                async for task in golem.execute_tasks(
                    renderer(folder), tasks, payload, max_workers=providers, timeout=timedelta(minutes=10)
                ):
                    if first is None:
                        first = time.monotonic() - begun
                    assert task.result is not None  # the worker accepts paths
                    done.append(task.result)
                # a line of the same display: rich before 14.1 shows one at a time
                progress.add_task("Ending agreements, accepting invoices …", total=None)
                await golem.stop()
        seconds = time.monotonic() - started
        allocations, _ = await left_behind(network)
    finally:
        with console.status("Stopping the network …"):
            await network.__aexit__(None, None, None)
    summary = Summary(
        tasks=FRAMES,
        tasks_done=len(done),
        providers_used=len(tally.used),
        agreements=tally.agreements,
        agreements_ended=tally.agreements_ended,
        invoices_accepted=tally.invoices_accepted,
        cost=plain(tally.cost),
        budget=str(BUDGET),
        allocation_released=not allocations,
        seconds_to_first_result=None if first is None else round(first, 3),
        seconds_network_start=round(network_start, 3),
        seconds=round(seconds, 3),
        files=[str(path) for path in sorted(done)],
    )
    if as_json:
        print(json.dumps(attrs.asdict(summary)))
    else:
        _print_bill(console, summary, tally, folder)
    return summary


def _print_bill(console: Console, summary: Summary, tally: Tally, folder: Path) -> None:
    console.print(
        bill(
            tally,
            "tasks",
            {key: provider.tasks for key, provider in tally.providers.items()},
            width=console.width,
        )
    )
    released = "released" if summary.allocation_released else "NOT released"
    console.print(
        f"{summary.tasks_done} of {summary.tasks} frames are in {shown(folder, 500)}. "
        f"{summary.agreements_ended} of {summary.agreements} agreements ended, "
        f"{summary.invoices_accepted} invoices accepted, {summary.cost} of {summary.budget} GLM in all, "
        f"the rest {released}. First result after {summary.seconds_to_first_result} s, "
        f"all accepted after {summary.seconds} s, with the start of the network."
    )
    for failure in tally.failures:
        console.print(f"[yellow]{shown(failure, 500)}[/]")


def main(*, as_json: bool, folder: Path, providers: int) -> int:
    """Run the demo; return the exit status."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsFolderError(folder, error) from error
    with contextlib.suppress(asyncio.CancelledError):
        summary = interrupts.run(run(as_json=as_json, folder=folder, providers=providers))
        complete = summary.tasks_done == summary.tasks and summary.allocation_released
        return (
            0
            if complete and summary.agreements == summary.agreements_ended == summary.invoices_accepted
            else 1
        )
    return 1
