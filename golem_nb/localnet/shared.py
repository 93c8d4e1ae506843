"""Which local networks there are, and the end of those that nobody owns."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import Final, Literal

import attrs

from golem_nb.localnet.control import Control
from golem_nb.localnet.errors import LocalNetworkError
from golem_nb.localnet.folders import SHARED, NetworkFolder, all_folders

__all__ = ["NetworkStatus", "down", "kept", "running_networks", "state_of"]

_STOP_TIMEOUT: Final = 20.0


@attrs.frozen
class NetworkStatus:
    """A local network that is running.

    Parameters
    ----------
    name
        Its name; "shared" is what `golem-nb up` starts.
    supervisor
        Process id of its supervisor.
    answers
        Whether the supervisor answers.
    uptime
        Seconds since its start; None if it does not answer.
    api_url
        Where the requestor's daemon is.
    providers
        Names of its providers.
    folder
        Its folder.
    """

    name: str
    supervisor: int
    answers: bool
    uptime: float | None
    api_url: str
    providers: tuple[str, ...]
    folder: Path


def running_networks() -> list[NetworkStatus]:
    """Return the local networks of this user that are running."""
    found = []
    for folder in all_folders():
        descriptor = folder.read()
        if descriptor is None or not folder.is_running():
            continue
        uptime = None
        with contextlib.suppress(LocalNetworkError):
            uptime = Control(descriptor.control).wait("status")["uptime"]
        found.append(
            NetworkStatus(
                name=folder.name,
                supervisor=descriptor.supervisor,
                answers=uptime is not None,
                uptime=uptime,
                api_url=descriptor.api_url,
                providers=tuple(descriptor.providers),
                folder=folder.path,
            )
        )
    return found


def kept() -> list[str]:
    """Return the names of networks that were killed, or whose owner died with something unpaid.

    `LocalNetwork.recover` starts one again, `down` removes one for good.
    """
    return [
        folder.name
        for folder in all_folders()
        if (folder.is_kept() or folder.read() is not None) and not folder.is_running()
    ]


def state_of(name: str) -> Literal["running", "ending", "kept", "gone"]:
    """Say how a network is: what is neither running nor ending can be started again only if it was kept.

    Parameters
    ----------
    name
        Its name.
    """
    folder = NetworkFolder(name)
    if folder.is_running():
        return "ending" if folder.read() is None else "running"
    return "kept" if folder.is_kept() or folder.read() is not None else "gone"


def down(name: str = SHARED) -> bool:
    """End a network and remove its folder; return whether there was one.

    Parameters
    ----------
    name
        Its name.

    Raises
    ------
    LocalNetworkError
        It does not end.
    """
    folder = NetworkFolder(name)
    if not folder.path.is_dir():
        return False
    descriptor = folder.read()
    if folder.is_running():
        if descriptor is None:
            raise LocalNetworkError(f"the local network {name!r} is just starting or ending; try again")
        _end(folder, descriptor.supervisor, descriptor.control)
    folder.remove()
    return True


def _end(folder: NetworkFolder, supervisor: int, control: Path) -> None:
    try:
        handle = os.pidfd_open(supervisor)
    except ProcessLookupError:
        return
    try:
        try:
            Control(control).wait("stop")
        except LocalNetworkError:  # it hangs
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        if ended.poll(_STOP_TIMEOUT * 1000):
            return
        signal.pidfd_send_signal(handle, signal.SIGKILL)  # the daemons' guards end the daemons
        if not ended.poll(_STOP_TIMEOUT * 1000):
            raise LocalNetworkError(f"process {supervisor} of the network in {folder.path} cannot be ended")
    finally:
        os.close(handle)
