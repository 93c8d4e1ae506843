"""What providers and daemons say, made fit for a terminal."""

from __future__ import annotations

from decimal import Decimal

from rich.markup import escape


def shown(value: object, limit: int = 60) -> str:
    """Return `value` as one line of harmless text: no control characters, no markup, not too long."""
    text = "".join(char if char.isprintable() else "�" for char in str(value))
    return escape(text if len(text) <= limit else text[: limit - 1] + "…")


def plain(number: Decimal) -> str:
    """Return a number without exponent and without zeros that say nothing."""
    return f"{number.normalize():f}"
