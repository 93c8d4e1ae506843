"""`golem-nb up` and `golem-nb down`: a local network that all programs of this user share."""

from __future__ import annotations

import os
import time

from rich.console import Console

from golem_nb.cli.text import shown
from golem_nb.config import ApiConfig
from golem_nb.exceptions import GolemError
from golem_nb.localnet import LocalNetwork, NetworkNotRunningError
from golem_nb.localnet import down as end_network


class NoNetworkError(GolemError):
    """There is neither a daemon of the real network nor a local network to work with."""


def api_config() -> ApiConfig:
    """Address and key of the daemon to work with: the environment's, else the shared local network's.

    Raises
    ------
    NoNetworkError
        There is neither.
    """
    if os.environ.get("YAGNA_APPKEY"):
        return ApiConfig()
    try:
        return LocalNetwork.attach().api_config
    except NetworkNotRunningError as error:
        raise NoNetworkError(
            "there is no network to ask: YAGNA_APPKEY is not set, and no local network is up. Remedy: start "
            "one with `golem-nb up`, or set YAGNA_APPKEY to a key of your daemon (`yagna app-key list`)."
        ) from error


def up(providers: int) -> int:
    """Start the shared network unless it is running; return the exit status."""
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        network = LocalNetwork.attach()
        since = "is up already"
    except NetworkNotRunningError:
        with console.status("Starting a Golem network on this machine …"):
            network = LocalNetwork.up(providers)
        since = f"is up after {time.monotonic() - started:.1f} s"
    names = [provider.name for provider in network.providers]
    of = "1 provider" if len(names) == 1 else f"{len(names)} providers"
    console.print(f"A local Golem network of {of} {since}.")
    console.print(f"  providers   {shown(', '.join(names), 200)}", soft_wrap=True)
    console.print(f"  daemon      {network.api_config.api_url}, subnet {network.env['YAGNA_SUBNET']}")
    console.print("  offers      golem-nb offers")
    console.print("  in Python   network = golem_nb.localnet.LocalNetwork.attach()", soft_wrap=True)
    console.print("              golem = Golem(budget=1, api_config=network.api_config)", soft_wrap=True)
    console.print("  end         golem-nb down")
    for warning in network.warnings:
        console.print(f"[yellow]{shown(warning, 1000)}[/]", soft_wrap=True)
    if len(names) != providers and since == "is up already":
        console.print(
            f"[yellow]It was not started with {providers} providers: `golem-nb down` it first for that.[/]",
            soft_wrap=True,
        )
    return 0


def down() -> int:
    """End the shared network, if there is one; return the exit status."""
    console = Console(highlight=False)
    with console.status("Stopping the local network …"):
        ended = end_network()
    console.print("The local network has ended." if ended else "No local network was up.")
    return 0
