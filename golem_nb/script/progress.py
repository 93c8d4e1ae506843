"""How far a long command has got."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from golem_nb.events import CommandEvent

__all__ = ["CommandProgress", "ProgressArgs"]


@attrs.frozen
class ProgressArgs:
    """How often a provider reports the progress of a command.

    Parameters
    ----------
    update_interval
        Time between two reports.
    update_step
        Amount of data between two reports, bytes; None: only the time counts.

    Raises
    ------
    ValueError
        The interval is not positive.
    """

    update_interval: timedelta = timedelta(seconds=5)
    update_step: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.update_interval <= timedelta(0):
            raise ValueError(f"update_interval must be positive, not {self.update_interval}")

    def to_dict(self) -> dict[str, Any]:
        """The arguments as the provider's exe-unit reads them."""
        seconds, rest = divmod(self.update_interval, timedelta(seconds=1))
        milliseconds = max(1, self.update_interval // timedelta(milliseconds=1))
        interval = f"{milliseconds}ms" if rest else f"{seconds}s"
        return {"updateInterval": interval, "updateStep": self.update_step}


@attrs.frozen(eq=False, repr=False, slots=False)
class CommandProgress(CommandEvent):
    """A command that takes long got further.

    Transfers between this machine and a provider report as they are served from here, at most twice a second;
    other commands report if they were asked to (`ProgressArgs`) and the provider can.
    """

    #: Steps done and steps in all.
    step: tuple[int, int]
    #: What the provider says of it: unverified text.
    message: str | None
    #: Amount done and amount in all (None: unknown).
    progress: tuple[int, int | None]
    #: Unit of `progress`, e.g. ``"Bytes"``.
    unit: str | None
