"""`golem-nb doctor`: what is installed, what is running, what is wrong and how to mend it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import attrs
from rich.console import Console

from golem_nb import __version__
from golem_nb.cli import interrupts
from golem_nb.cli.text import shown
from golem_nb.engine.allocation import platform_name
from golem_nb.exceptions import GolemError
from golem_nb.localnet import kept, running_networks
from golem_nb.localnet.errors import DataFolderError
from golem_nb.localnet.folders import SHARED, make_root
from golem_nb.node import NodeError, describe_daemon, find_yagna

Level = Literal["ok", "note", "wrong"]
MARKS: dict[Level, str] = {"ok": "[green]ok[/]   ", "note": "[yellow]note[/] ", "wrong": "[red]wrong[/]"}

PACKAGES = ("aiohttp", "attrs", "golem-node", "ipywidgets", "anywidget", "pandas", "plotly")


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    level
        ``"ok"``, ``"note"`` (works, but worth knowing) or ``"wrong"`` (something will fail).
    text
        What was found.
    remedy
        How to mend it.
    """

    level: Level
    text: str
    remedy: str | None = None


def look() -> Iterator[Finding]:
    """Look at everything that golem_nb needs; yields the findings as they come."""
    yield from _python()
    yield from _yagna()
    yield from _sandbox()
    yield from _local_networks()
    yield from _daemon()


def _python() -> Iterator[Finding]:
    yield Finding(
        "ok", f"golem_nb {__version__}, Python {platform.python_version()} on {platform.platform()}"
    )
    if sys.platform != "linux":
        yield Finding("note", "the local network runs on Linux only", "use a real network's daemon here")
    for package in PACKAGES:
        try:
            yield Finding("ok", f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("wrong", f"{package} is not installed", f"pip install {package}")


def _yagna() -> Iterator[Finding]:
    try:
        binary = find_yagna()
    except NodeError as error:
        yield Finding("wrong", str(error))
    else:
        yield Finding("ok", f"yagna {binary.version} at {binary.path}")


def _sandbox() -> Iterator[Finding]:
    if sys.platform != "linux":
        return
    try:
        isolated, tap, warnings = interrupts.run(_probe())
    except GolemError as error:
        yield Finding("wrong", f"local providers cannot run commands: {error}")
        return
    if isolated:
        yield Finding("ok", "local providers run commands in Linux namespaces")
    if tap:
        yield Finding("ok", "local providers can offer a VPN")
    for warning in warnings:
        yield Finding("note", warning)


async def _probe() -> tuple[bool, bool, list[str]]:
    """Try a sandbox; return whether it is isolated, whether it has network devices, and the warnings."""
    from golem_nb.localnet.provider.sandbox.host import SandboxHost

    with tempfile.TemporaryDirectory(prefix="golem-nb-doctor-") as folder:
        host = SandboxHost(Path(folder))
        try:
            await host.start()
            return host.isolated, host.tap, host.warnings
        finally:
            await host.close()


def _local_networks() -> Iterator[Finding]:
    try:
        yield Finding("ok", f"data in {make_root().parent}")
    except DataFolderError as error:
        yield Finding("wrong", str(error))
        return
    running = running_networks()
    if not any(network.name == SHARED for network in running):
        yield Finding("note", "no shared local network is up", "start one, if you want it: golem-nb up")
    for network in running:
        what = f"local network {network.name!r} of {len(network.providers)} providers at {network.api_url}"
        if network.uptime is None:
            yield Finding("wrong", f"{what} does not answer", _end(network.name))
        else:
            yield Finding("ok", f"{what}, up for {timedelta(seconds=round(network.uptime))}")
    for name in kept():
        yield Finding(
            "note",
            f"local network {name!r} was killed before all of it was settled; its data was kept",
            f"settle: `with LocalNetwork.recover({name!r})`; forget: {_end(name)}",
        )


def _end(name: str) -> str:
    return "golem-nb down" if name == SHARED else f"golem_nb.localnet.down({name!r}) in Python"


def _daemon() -> Iterator[Finding]:
    if not os.environ.get("YAGNA_APPKEY"):
        yield Finding(
            "note",
            "YAGNA_APPKEY is not set, so no real network is used",
            "only needed for a real network: yagna app-key create golem_nb",
        )
        return
    try:
        daemon = interrupts.run(describe_daemon())
    except GolemError as error:
        yield Finding("wrong", str(error))
        return
    yield Finding("ok", f"daemon {daemon.version} at {daemon.api_url}, node {daemon.node_id}")
    driver = os.environ.get("YAGNA_PAYMENT_DRIVER", "erc20").lower()
    network = os.environ.get("YAGNA_PAYMENT_NETWORK", "hoodi").lower()
    wanted = platform_name(driver, network)
    have = sorted(account.platform for account in daemon.accounts)
    if wanted in have:
        yield Finding("ok", f"it can pay on {wanted}")
    else:
        yield Finding(
            "wrong",
            f"it has no account on {wanted}; it has: {', '.join(have) or 'none'}",
            f"yagna payment init --sender --network {network} --driver {driver}",
        )
    for balance in daemon.balances:
        yield Finding("ok" if balance.amount > 0 else "note", f"{balance.amount} GLM on {balance.platform}")


def main() -> int:
    """Print the findings; return 1 if something is wrong."""
    console = Console(highlight=False)
    wrong = 0
    for finding in look():
        wrong += finding.level == "wrong"
        console.print(f"{MARKS[finding.level]} {shown(finding.text, 2000)}", soft_wrap=True)
        if finding.remedy:
            console.print(f"      remedy: {shown(finding.remedy, 500)}", soft_wrap=True)
    return 1 if wrong else 0
