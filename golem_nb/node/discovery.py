"""What a daemon that runs already has to say about itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from golem_nb.config import ApiConfig
from golem_nb.node.binary import find_yagna
from golem_nb.node.commands import Balance, Commands
from golem_nb.node.errors import NodeError
from golem_nb.rest import Configuration, Identity, Payment
from golem_nb.rest.ids import NodeId
from golem_nb.rest.payment import Account

__all__ = ["RunningDaemon", "balances", "describe_daemon"]

_DEFAULT_BUS = "/tmp/yagna.sock"  # noqa: S108 - the daemon's own default


@attrs.frozen
class RunningDaemon:
    """A daemon that was found running.

    Parameters
    ----------
    api_url
        Where its API is.
    version
        Its version.
    node_id
        The identity that the application key acts under.
    accounts
        Accounts that can pay; none until `yagna payment init --sender` was given.
    balances
        What they hold. Empty where the daemon's service bus cannot be reached from here, for its HTTP API
        does not tell.
    """

    api_url: str
    version: str
    node_id: NodeId
    accounts: tuple[Account, ...]
    balances: tuple[Balance, ...]


async def describe_daemon(api_config: ApiConfig | None = None, bus: Path | None = None) -> RunningDaemon:
    """Ask a running daemon for its version, identity, accounts and balances.

    Parameters
    ----------
    api_config
        Address and key; from `YAGNA_API_URL` and `YAGNA_APPKEY` if not given.
    bus
        The unix socket of its service bus, for the balances; that of `GSB_URL`, or `/tmp/yagna.sock`.

    Raises
    ------
    MissingConfiguration
        There is no key.
    ApiError
        The daemon cannot be reached, refuses the key, or does not answer.

    Examples
    --------
    >>> async def who():
    ...     return (await describe_daemon()).node_id
    """
    config = ApiConfig() if api_config is None else api_config
    async with Configuration(config) as configuration:
        identity = Identity(configuration.root())
        version = await identity.version()
        me = await identity.me()
        accounts = await Payment(configuration.payment()).accounts()
    mine = [account for account in accounts if account.address == me.identity]
    return RunningDaemon(
        api_url=config.api_url,
        version=version.version,
        node_id=me.identity,
        accounts=tuple(mine),
        balances=await balances(mine, bus),
    )


def _bus() -> Path:
    url = urlsplit(os.environ.get("GSB_URL", ""))
    return Path(url.path if url.scheme == "unix" and url.path else _DEFAULT_BUS)


async def balances(accounts: Sequence[Account], bus: Path | None = None) -> tuple[Balance, ...]:
    """Ask a running daemon what its accounts hold.

    Parameters
    ----------
    accounts
        Of the daemon, as its API gives them.
    bus
        The unix socket of its service bus; that of `GSB_URL`, or `/tmp/yagna.sock`, if not given.

    Returns
    -------
    tuple of Balance
        One for each account; none where the bus cannot be reached, or is that of another daemon.
    """
    bus = bus or _bus()
    if not bus.is_socket():
        return ()
    try:
        # no data folder is needed to talk to a daemon; none of the user's may be touched
        yagna = await asyncio.to_thread(find_yagna)
        commands = Commands(yagna.path, bus, bus.parent, {})
        known = {identity.node_id for identity in await commands.identities()}
        if any(account.address not in known for account in accounts):
            return ()  # the bus of another daemon
        return tuple([await commands.balance(account.network, account.address) for account in accounts])
    except NodeError:
        return ()
