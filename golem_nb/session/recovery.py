"""Settles what sessions of dead kernels have left, on their own networks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.exceptions import GolemError
from golem_nb.ledger import LedgerLockedError, RecoveryReport
from golem_nb.localnet import LocalNetwork, LocalNetworkError, down, state_of
from golem_nb.log import get_logger

if TYPE_CHECKING:
    from golem_nb.ledger import Ledger
    from golem_nb.session.core import Core

__all__ = ["forget_gone", "recover"]

logger = get_logger(__name__)

#: A network whose owner has died has ended after so many seconds.
ENDING = 30.0


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


async def forget_gone(ledger: Ledger) -> None:
    """Write off what idle sessions had on local networks that have ended with them: nothing is lost by it."""
    for leftover in await asyncio.to_thread(ledger.left):
        name = leftover.place.localnet
        if name is None or leftover.agreements or leftover.unpaid:
            continue
        if await asyncio.to_thread(state_of, name) == "gone":
            with suppress(LedgerLockedError):
                await ledger.write_off(leftover)


async def _recover_network(core: Core, name: str, how: Any) -> RecoveryReport:
    """Recover what was left on another local network: on the running one, or on one that is started again."""
    try:
        match await _state(name):
            case "running":
                return await core.ledger.recover(LocalNetwork.attach(name).api_config, how=how)
            case "kept":
                async with LocalNetwork.recover(name) as network:
                    report = await core.ledger.recover(network.api_config, how="end")
                await asyncio.to_thread(_remove, name)
                return report
            case "gone":
                return await _write_off(core.ledger, name)
    except (GolemError, OSError) as error:
        logger.warning("The local network %r could not be recovered: %s", name, error)
        return RecoveryReport(
            problems=[
                f"The local network {name!r} could not be recovered: {error}. It is kept; "
                f"golem_nb.localnet.down({name!r}) gives it up."
            ]
        )
    return RecoveryReport(problems=[f"The local network {name!r} is still ending: recover again in a moment"])


async def _state(name: str) -> str:
    """Return how a network is, when it has ended, if it is just doing that."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ENDING
    state: str = await asyncio.to_thread(state_of, name)
    while state == "ending" and loop.time() < until:
        await asyncio.sleep(0.2)  # another process's network tells nobody when it has ended
        state = await asyncio.to_thread(state_of, name)
    return state


async def _write_off(ledger: Ledger, name: str) -> RecoveryReport:
    report = RecoveryReport()
    for leftover in await asyncio.to_thread(ledger.left):
        if leftover.place.localnet == name:
            await ledger.write_off(leftover)
            report.sessions.append(leftover.session_id)
            if leftover.agreements or leftover.unpaid:
                report.problems.append(f"The local network {name!r} is gone, and with it {leftover}")
    return report


def _add(report: RecoveryReport, more: RecoveryReport) -> None:
    for field in attrs.fields(RecoveryReport):
        mine, theirs = getattr(report, field.name), getattr(more, field.name)
        setattr(report, field.name, mine | theirs if isinstance(mine, dict) else mine + theirs)


def _remove(name: str) -> None:
    try:
        down(name)
    except LocalNetworkError as error:
        logger.warning("The local network %r could not be removed: %s", name, error)
