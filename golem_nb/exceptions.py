"""The common base of golem_nb's own errors."""

from __future__ import annotations

__all__ = ["GolemError", "harmless"]

#: Controls, but tabs and ends of lines, and marks that change the direction of the text around them.
_CONTROLS = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x061C,
        0x200E,
        0x200F,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
    if code not in (0x09, 0x0A)
}


def harmless(text: str) -> str:
    """Return a text as lines that do nothing to a terminal that they are written to.

    Examples
    --------
    >>> harmless("red: " + chr(27) + "[31m")
    'red: �[31m'
    """
    return text.replace("\r\n", "\n").translate(_CONTROLS)


class GolemError(Exception):
    """Base of every error that golem_nb raises on its own account.

    Catch it to tell a failure of the market, a provider or the daemon from a mistake in your own code. A few
    documented errors (`TimeoutError`, `ValueError`, `TypeError`) keep their built-in bases too.

    What a provider says is part of many of them: as text it is harmless, in attributes it is as it came.
    """

    def __str__(self) -> str:
        return harmless(super().__str__())
