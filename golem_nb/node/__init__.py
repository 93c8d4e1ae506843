"""A `yagna` daemon as a managed process: find it, start it, fund it, stop it."""

from __future__ import annotations

from golem_nb.node.binary import YagnaBinary, find_yagna
from golem_nb.node.commands import AppKey, Balance, Commands, NodeIdentity
from golem_nb.node.daemon import Yagna
from golem_nb.node.discovery import RunningDaemon, balances, describe_daemon
from golem_nb.node.errors import (
    DaemonStartError,
    FolderInUseError,
    NodeCommandError,
    NodeError,
    UnsupportedPlatformError,
    YagnaNotFoundError,
    YagnaTooOldError,
)

__all__ = [
    "AppKey",
    "Balance",
    "Commands",
    "DaemonStartError",
    "FolderInUseError",
    "NodeCommandError",
    "NodeError",
    "NodeIdentity",
    "RunningDaemon",
    "UnsupportedPlatformError",
    "Yagna",
    "YagnaBinary",
    "YagnaNotFoundError",
    "YagnaTooOldError",
    "balances",
    "describe_daemon",
    "find_yagna",
]
