"""How the output of a command is captured on the provider."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["CaptureContext"]

_FORMATS = (None, "str", "bin")
_WHOLE = (None, "all")
_PARTS = ("head", "tail", "headTail")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


@attrs.frozen
class CaptureContext:
    """What happens to the standard output or standard error of a command.

    Make one with `CaptureContext.build`, which checks its arguments.

    Parameters
    ----------
    mode
        ``"stream"``: sent while the command runs (the default of `Script.run`). The others are collected and
        sent when it has ended: ``"all"`` or None everything, ``"head"`` the beginning, ``"tail"`` the end,
        ``"headTail"`` both.
    limit
        Size of the captured part, bytes.
    fmt
        ``"str"`` for text, ``"bin"`` for bytes, None for what the provider chooses (text).
    """

    mode: str | None = None
    limit: int | None = None
    fmt: str | None = None

    @classmethod
    def build(
        cls, mode: str | None = None, limit: int | None = None, fmt: str | None = None
    ) -> CaptureContext:
        """Make a capture context out of checked arguments.

        Parameters
        ----------
        mode
            None or ``"all"``, ``"head"``, ``"tail"``, ``"headTail"``, ``"stream"``.
        limit
            Size of the captured part, bytes: needed by ``"head"``, ``"tail"`` and ``"headTail"``, possible
            with ``"stream"``, without meaning otherwise.
        fmt
            ``"str"``, ``"bin"`` or None.

        Raises
        ------
        RuntimeError
            The arguments do not go together.

        Examples
        --------
        >>> CaptureContext.build("head", limit=10).to_dict()
        {'atEnd': {'head': 10}}
        """
        if mode not in (*_WHOLE, *_PARTS, "stream"):
            raise RuntimeError(
                f"invalid capture mode {mode!r}: use None, 'all', 'head', 'tail', 'headTail' or 'stream'"
            )
        if fmt not in _FORMATS:
            raise RuntimeError(f"invalid capture format {fmt!r}: use 'str', 'bin' or None")
        if limit is not None and not _is_size(limit):
            raise RuntimeError(f"invalid capture limit {limit!r}: give a number of bytes, or None")
        if mode in _PARTS and limit is None:
            raise RuntimeError(f"capture mode {mode!r} needs a limit: the number of bytes to keep")
        if mode in _WHOLE and limit is not None:
            raise RuntimeError(
                f"capture mode {mode!r} takes everything, so limit={limit} has no meaning: "
                "use 'head', 'tail' or 'headTail' to keep a part"
            )
        return cls(mode, limit, fmt)

    def to_dict(self) -> dict[str, Any]:
        """The capture as the provider's exe-unit reads it."""
        inner: dict[str, Any] = {}
        if self.limit is not None:
            # the field is named after the mode, but for streams it is `limit`: any other name is ignored
            # there
            inner["limit" if self.mode == "stream" else str(self.mode)] = self.limit
        if self.fmt is not None:
            inner["format"] = self.fmt
        return {"stream" if self.mode == "stream" else "atEnd": inner}

    def is_streaming(self) -> bool:
        """Whether the output is sent while the command runs."""
        return self.mode == "stream"
