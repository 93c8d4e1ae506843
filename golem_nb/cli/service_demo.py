"""The other job: web servers on providers, behind a proxy here, and what the loss of a provider does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from golem_nb import Golem, vm
from golem_nb.cli import interrupts, site
from golem_nb.cli.bill import bill, left_behind
from golem_nb.cli.tally import Tally
from golem_nb.cli.text import plain, shown
from golem_nb.contrib.service.http_proxy import HttpProxyService, LocalHttpProxy
from golem_nb.events import CommandEvent, Event, ServiceStateChanged
from golem_nb.exceptions import GolemError
from golem_nb.localnet import LocalNetwork
from golem_nb.services import ServiceState

if TYPE_CHECKING:
    from golem_nb.script import Script
    from golem_nb.services import Cluster

#: Web servers at first, and when more have been asked for.
SERVERS, MORE_SERVERS = 2, 4

#: The most that the servers may cost, GLM.
BUDGET = Decimal(1)

#: Port that a server listens on, on its provider.
PORT = 8000

#: Clients that ask for the page again and again, and how long each thinks between an answer and the next
#: request, in seconds.
CLIENTS, PAUSE = 4, 0.02

#: How long the clients ask before anything happens, and after it, in seconds.
QUIET = 2.0

#: The servers have to run by then, in seconds.
LIMIT = 60.0


class NotRunningError(GolemError):
    """The web servers of the demo do not run."""


@attrs.frozen
class Summary:
    """What came of the demo; printed by ``--json``.

    Attributes
    ----------
    seconds_to_running, seconds_to_scale
        Until all servers ran, at first and when more had been asked for.
    seconds_to_notice, seconds_to_recover
        From the death of a provider until it was noticed, and until as many servers ran as before.
    requests_after_kill, answered_after_kill, slowest_after_kill
        Requests that were sent after the death, how many of them were answered with 200, and the most seconds
        that one has taken.
    invoices_accepted
        Those of the killed provider do not come: it is dead.
    agreements_left, allocation_released
        What the daemon says at the end.
    seconds
        From the start of the network to the end of the engine's stop, when all is ended and accepted.
    """

    servers: int
    providers_used: int
    killed: str
    servers_lost: int
    requests: int
    answered: int
    requests_after_kill: int
    answered_after_kill: int
    slowest_after_kill: float
    seconds_to_running: float
    seconds_to_scale: float
    seconds_to_notice: float
    seconds_to_recover: float
    agreements: int
    agreements_ended: int
    agreements_of_killed: int
    agreements_left: int
    invoices_accepted: int
    cost: str
    budget: str
    allocation_released: bool
    seconds_network_start: float
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether everything went as it should."""
        return (
            self.answered_after_kill == self.requests_after_kill > 0
            and self.allocation_released
            and not self.agreements_left
            and self.agreements_ended == self.agreements
            and self.invoices_accepted >= self.agreements - self.agreements_of_killed
        )


class WebServer(HttpProxyService):
    """A web server of Python's standard library, started anew on another provider when its own is lost."""

    def __init__(self, answers: Counter[str]) -> None:
        super().__init__(PORT)
        self._answers = answers

    async def start(self) -> AsyncGenerator[Script, Awaitable[list[CommandEvent]]]:
        """Upload the server and start it in the background; it runs when it listens."""
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.upload_file(str(Path(site.__file__)), "/golem/work/site.py")
        serve = f'python3 site.py {PORT} "$0" >log 2>&1 & until grep -q listening log; do sleep 0.02; done'
        script.run("/bin/sh", "-c", f"cd /golem/work; touch log; {serve}", self.provider_name or "")
        yield script

    async def handle_request(self, request: Any) -> Any:
        """Count who has answered."""
        response = await super().handle_request(request)
        self._answers[self.provider_id or ""] += 1
        return response

    @property
    def restart_condition(self) -> bool:
        """Whether it has ended by an error, rather than because it was stopped."""
        return self.exc_info[0] is not None


@attrs.frozen
class Answer:
    """What became of one request; status 0: no answer."""

    sent: float
    status: int
    seconds: float


class Clients:
    """Ask for a page again and again, as long as the context lasts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = asyncio.Event()
        self._asking: asyncio.Task[None]
        self.answers: list[Answer] = []

    async def __aenter__(self) -> Clients:
        self._asking = asyncio.create_task(self._ask_all(), name="clients")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        if kind is not None:
            self._asking.cancel()
        await asyncio.gather(self._asking, return_exceptions=kind is not None)

    def since(self, moment: float) -> list[Answer]:
        """The answers to what was sent after a moment."""
        return [answer for answer in self.answers if answer.sent > moment]

    async def _ask_all(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._ask(session))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        while not self._ended.is_set():
            sent, status = time.monotonic(), 0
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(self._url) as response:
                    await response.read()
                    status = response.status
            self.answers.append(Answer(sent, status, time.monotonic() - sent))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._ended.wait()


class Board:
    """Progress in the terminal: one line for the clients, one line a server."""

    def __init__(self, progress: Progress, tally: Tally) -> None:
        self._progress = progress
        self._tally = tally
        self._lines: dict[str, Any] = {}
        self._clients = progress.add_task("Looking for providers …")
        #: Set when the loss of a provider is noticed.
        self.noticed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._tally(event)
        if isinstance(event, ServiceStateChanged):
            if event.new == ServiceState.unresponsive:
                self.noticed.set()
            name = shown(event.service.provider_name)
            state = "looks for another provider" if event.new == ServiceState.pending else event.new.value
            self._line(event.service.id, f"  {name}: {state}")

    async def count(self, clients: Clients) -> None:
        """Show how many requests were answered, until cancelled."""
        while True:
            good = sum(answer.status == 200 for answer in clients.answers)
            self._progress.update(
                self._clients, description=f"{good} of {len(clients.answers)} requests answered"
            )
            await asyncio.sleep(0.1)

    def _line(self, key: str, text: str) -> None:
        if key not in self._lines:
            self._lines[key] = self._progress.add_task("")
        self._progress.update(self._lines[key], description=text)


async def _running(cluster: Cluster[WebServer], network: LocalNetwork, without: str = "") -> float:
    """Wait until all servers run, and none of them on a certain provider; return the seconds that it took."""
    began = time.monotonic()
    while any(
        server.state != ServiceState.running or server.provider_id == without for server in cluster.instances
    ):
        if time.monotonic() - began > LIMIT:
            states = ", ".join(sorted(repr(server) for server in cluster.instances))
            reasons = "; ".join(network.warnings) or "`golem-nb doctor` may tell why"
            raise NotRunningError(f"the web servers do not run after {LIMIT:g} s ({states}): {reasons}")
        await asyncio.sleep(0.01)
    return time.monotonic() - began


def availability(
    *,
    killed: str,
    requests: int,
    answered: int,
    requests_after_kill: int,
    answered_after_kill: int,
    slowest_after_kill: float,
    **_: Any,
) -> str:
    """Say how many requests were answered, and what the death of a provider has meant for them."""
    after = f"sent after {shown(killed)}'s death"
    slowest = f"the slowest of these took {slowest_after_kill:.2f} s"
    if answered == requests:
        return f"All {requests} requests were answered, also the {requests_after_kill} {after} ({slowest})."
    return (
        f"{requests - answered} of {requests} requests were not answered, "
        f"{requests_after_kill - answered_after_kill} of them among the {requests_after_kill} {after} "
        f"({slowest})."
    )


def _where(cluster: Cluster[WebServer]) -> str:
    return shown(", ".join(sorted(str(server.provider_name) for server in cluster.instances)), 200)


class Demo:
    """One run of the demo.

    Parameters
    ----------
    console
        Where it is told what happens.
    network
        The network, which runs.
    """

    def __init__(self, console: Console, network: LocalNetwork) -> None:
        self._console = console
        self._network = network
        self.tally = Tally()
        self.answers: Counter[str] = Counter()
        self.killed_id = ""
        self.measured: dict[str, Any] = {}

    async def run(self, progress: Progress) -> None:
        """Run, scale, lose a provider, stop."""
        network = self._network
        board = Board(progress, self.tally)
        payload = await vm.repo(
            image_tag="golem/alpine:latest", repository_url=network.registry_url, capabilities=["vpn"]
        )
        async with Golem(
            budget=BUDGET,
            api_config=network.api_config,
            subnet_tag=network.env["YAGNA_SUBNET"],
            payment_network=network.env["YAGNA_PAYMENT_NETWORK"],
            event_consumer=board,
        ) as golem:
            vpn = await golem.create_network("192.168.0.0/24")
            cluster = await golem.run_service(
                WebServer, payload=payload, network=vpn, instance_params=self._params(SERVERS)
            )
            proxy = LocalHttpProxy(cluster, 0)
            await proxy.run()
            try:
                self.measured["seconds_to_running"] = took = await _running(cluster, network)
                self._say(f"{SERVERS} web servers run after {took:.1f} s, on {_where(cluster)}.")
                await self._serve(cluster, proxy, board)
            finally:
                await proxy.stop()
            cluster.stop()
            # a line of the same display: rich before 14.1 shows one at a time
            progress.add_task("Ending agreements, accepting invoices …")
            await golem.stop()

    async def _serve(self, cluster: Cluster[WebServer], proxy: LocalHttpProxy, board: Board) -> None:
        async with Clients(proxy.url) as clients, _meanwhile(board.count(clients)):
            self._say(f"{CLIENTS} clients ask for {proxy.url} from now on.")
            await asyncio.sleep(QUIET)
            cluster.spawn_instances(MORE_SERVERS - SERVERS, self._params(MORE_SERVERS - SERVERS))
            self.measured["seconds_to_scale"] = took = await _running(cluster, self._network)
            self._say(f"{MORE_SERVERS} web servers run after {took:.1f} s more, on {_where(cluster)}.")
            await asyncio.sleep(QUIET)
            killed = await self._kill(cluster, board)
            await asyncio.sleep(QUIET)
        self._count(clients, killed)

    async def _kill(self, cluster: Cluster[WebServer], board: Board) -> float:
        """Take a provider away and wait until the cluster has its size again; return when it was killed."""
        first = cluster.instances[0]
        name, self.killed_id = str(first.provider_name), str(first.provider_id)
        lost = [server for server in cluster.instances if server.provider_id == self.killed_id]
        board.noticed.clear()
        killed = time.monotonic()
        await self._network.provider(name).vanish()
        self._say(f"{shown(name)} was killed, and with it {len(lost)} of {MORE_SERVERS} web servers.")
        with contextlib.suppress(TimeoutError):  # that they do not run elsewhere is told then
            async with asyncio.timeout(LIMIT):
                await board.noticed.wait()
        noticed = time.monotonic() - killed
        await _running(cluster, self._network, without=self.killed_id)
        recovered = time.monotonic() - killed
        self._say(
            f"That was noticed after {noticed:.1f} s, and {MORE_SERVERS} web servers run again after "
            f"{recovered:.1f} s, on {_where(cluster)}."
        )
        self.measured |= {
            "killed": name,
            "servers_lost": len(lost),
            "seconds_to_notice": noticed,
            "seconds_to_recover": recovered,
        }
        return killed

    def _count(self, clients: Clients, killed: float) -> None:
        after = clients.since(killed)
        self.measured |= {
            "requests": len(clients.answers),
            "answered": sum(answer.status == 200 for answer in clients.answers),
            "requests_after_kill": len(after),
            "answered_after_kill": sum(answer.status == 200 for answer in after),
            "slowest_after_kill": max(answer.seconds for answer in after),
        }
        self._say(availability(**self.measured))

    def _params(self, number: int) -> list[dict[str, Any]]:
        return [{"answers": self.answers}] * number

    def _say(self, text: str) -> None:
        self._console.print(text)


@contextlib.asynccontextmanager
async def _meanwhile(work: Any) -> AsyncGenerator[None]:
    """Do something in the background, for as long as the body takes."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Warnings(logging.Handler):
    """Keeps what is logged: a provider is lost on purpose, and the demo itself tells of that."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


async def run(*, as_json: bool, providers: int) -> Summary:
    """Run the demo.

    Parameters
    ----------
    as_json
        Print nothing but the summary, as one line of JSON.
    providers
        Number of providers of the network; one of them is killed.

    Raises
    ------
    NotRunningError
        The web servers do not run, for example because this machine has no network devices for a VPN.
    """
    console = Console(quiet=as_json, highlight=False)
    started = time.monotonic()
    network = LocalNetwork(providers=providers)
    with console.status("Starting a Golem network on this machine …"):
        await network.start()
    network_start = time.monotonic() - started
    try:
        console.print(f"A network of {providers} providers is up after {network_start:.1f} s.")
        demo = Demo(console, network)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            await demo.run(progress)
        seconds = time.monotonic() - started
        allocations, agreements = await left_behind(network)
    finally:
        with console.status("Stopping the network …"):
            await network.stop()
    tally = demo.tally
    of_killed = tally.providers[demo.killed_id].agreements
    measured: dict[str, Any] = {
        key: round(value, 3) if isinstance(value, float) else value for key, value in demo.measured.items()
    }
    summary = Summary(
        servers=MORE_SERVERS,
        providers_used=len(tally.providers),
        agreements=tally.agreements,
        agreements_ended=tally.agreements_ended,
        agreements_of_killed=of_killed,
        agreements_left=agreements,
        invoices_accepted=tally.invoices_accepted,
        cost=plain(tally.cost),
        budget=str(BUDGET),
        allocation_released=not allocations,
        seconds_network_start=round(network_start, 3),
        seconds=round(seconds, 3),
        **measured,
    )
    if as_json:
        print(json.dumps(attrs.asdict(summary)))
    else:
        _print_bill(console, summary, demo)
    return summary


def _print_bill(console: Console, summary: Summary, demo: Demo) -> None:
    console.print(bill(demo.tally, "answers", demo.answers, {demo.killed_id}, width=console.width))
    released = "released" if summary.allocation_released else "NOT released"
    console.print(
        f"{summary.agreements_ended} of {summary.agreements} agreements ended, {summary.invoices_accepted} "
        f"invoices accepted, {summary.cost} of {summary.budget} GLM in all; a provider that was killed "
        f"sends none. The rest is {released}. All accepted after {summary.seconds} s, with the start of the "
        "network."
    )
    for failure in demo.tally.failures:
        console.print(f"[yellow]{shown(failure, 500)}[/]")


def main(*, as_json: bool, providers: int) -> int:
    """Run the demo; return the exit status."""
    warnings = Warnings()
    logger = logging.getLogger("golem_nb")
    logger.addHandler(warnings)
    complete = False
    try:
        complete = interrupts.run(run(as_json=as_json, providers=providers)).complete
    finally:
        logger.removeHandler(warnings)
        if warnings.lines and not complete:
            print(*warnings.lines, sep="\n", file=sys.stderr)
    return 0 if complete else 1
