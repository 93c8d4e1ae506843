"""What every command of a script is."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golem_nb.script.script import Script

__all__ = ["Command", "text"]


def text(value: object, what: str) -> str:
    """`value` as a string: itself, or the path that it stands for; anything else is a `TypeError`."""
    if type(value) is str:
        return value
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return str(path)
    raise TypeError(f"{what} must be a string, not {type(value).__name__} {value!r:.100}: use str(…)")


class Command(ABC):
    """One step of a script.

    A command of your own is a subclass with `evaluate`, and `before` and `after` where something has to be
    done on this side; it is added to a script with `Script.add`. A command belongs to one script.
    """

    # Set at class level, so that a subclass need not call `super().__init__()`.
    _script: Script | None = None

    @property
    def script(self) -> Script:
        """The script that the command belongs to.

        Raises
        ------
        RuntimeError
            The command was not added to a script yet.
        """
        if self._script is None:
            raise RuntimeError(f"{self!s} belongs to no script: add it with script.add(command)")
        return self._script

    def attach(self, script: Script) -> None:
        """Make the command part of `script`; a `RuntimeError` if it is part of one already."""
        if self._script is not None:
            raise RuntimeError(
                f"{self!s} belongs to script {self._script.id} already: make a new command for each script"
            )
        self._script = script

    @abstractmethod
    def evaluate(self) -> dict[str, Any]:
        """The command as the provider's exe-unit reads it, e.g. ``{"terminate": {}}``; called after
        `before`.
        """

    async def before(self) -> None:  # noqa: B027 - a hook, not a duty
        """What has to be done on this side before the script is sent.

        The hooks of one script's commands may run at the same time.
        """

    async def after(self) -> None:  # noqa: B027 - a hook, not a duty
        """What has to be done on this side once all commands of the script have succeeded."""

    async def release(self) -> None:  # noqa: B027 - a hook, not a duty
        """Free what `before` took; called once the script has ended, however it did."""

    def local_error(self) -> Exception | None:
        """What went wrong on this side while the provider executed the command, if anything."""
        return None

    def __str__(self) -> str:
        return type(self).__name__
