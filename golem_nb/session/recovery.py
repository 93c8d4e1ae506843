"""Settles what sessions of dead kernels have left, on their own networks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.exceptions import GolemError
from golem_nb.ledger import RecoveryReport
from golem_nb.localnet import LocalNetwork, LocalNetworkError, NetworkNotRunningError, down, kept
from golem_nb.log import get_logger

if TYPE_CHECKING:
    from golem_nb.session.core import Core

__all__ = ["recover"]

logger = get_logger(__name__)


async def recover(core: Core, how: Any) -> RecoveryReport:
    """Recover what was left at the session's daemon, and on local networks that died with their kernels.

    Parameters
    ----------
    core
        Of the session that does it.
    how
        As `golem_nb.ledger.Ledger.recover` has it.
    """
    report = await core.ledger.recover(core.daemon.api_config, how=how)
    names = {
        leftover.place.localnet
        for leftover in core.ledger.left()
        if leftover.place.localnet is not None and leftover.place.localnet != core.daemon.localnet
    }
    for name in sorted(names):
        _add(report, await _recover_network(core, name, how))
    core.look_for_leftovers()
    return report


async def _recover_network(core: Core, name: str, how: Any) -> RecoveryReport:
    """Recover what was left on another local network: on the running one, or on one that is started again."""
    try:
        return await core.ledger.recover(LocalNetwork.attach(name).api_config, how=how)
    except NetworkNotRunningError:
        pass
    if name not in await asyncio.to_thread(kept):
        return RecoveryReport(
            problems=[f"The local network {name!r} is gone, and what was open on it with it"]
        )
    try:
        async with LocalNetwork.recover(name) as network:
            return await core.ledger.recover(network.api_config, how="end")
    except (GolemError, OSError) as error:
        logger.warning("The local network %r could not be recovered: %s", name, error)
        return RecoveryReport(problems=[f"The local network {name!r} could not be started again: {error}"])
    finally:
        await asyncio.to_thread(_remove, name)


def _add(report: RecoveryReport, more: RecoveryReport) -> None:
    for field in attrs.fields(RecoveryReport):
        mine, theirs = getattr(report, field.name), getattr(more, field.name)
        setattr(report, field.name, mine | theirs if isinstance(mine, dict) else mine + theirs)


def _remove(name: str) -> None:
    try:
        down(name)
    except LocalNetworkError as error:
        logger.warning("The local network %r could not be removed: %s", name, error)
