"""Text for logs: counted, capped, and harmless to a terminal."""

from __future__ import annotations

from decimal import Decimal


def pluralize(num: int, thing: str, plural: str | None = None) -> str:
    """Return the number with the noun in its right form.

    Parameters
    ----------
    num
        The number.
    thing
        The noun, in the singular.
    plural
        Its plural, where that is not the singular with an s.

    Examples
    --------
    >>> pluralize(1, "provider"), pluralize(2, "provider"), pluralize(0, "activity", "activities")
    ('1 provider', '2 providers', '0 activities')
    """
    return f"{num} {thing if num == 1 else plural or f'{thing}s'}"


def str_capped(obj: object, max_len: int) -> str:
    """Return `str(obj)`, cut to `max_len` characters with dots at the end if it is longer.

    Examples
    --------
    >>> str_capped("0123456789", 8)
    '01234...'
    """
    text = str(obj)
    return text if len(text) <= max_len else f"{text[: max(max_len - 3, 0)]}..."[:max_len]


def printable(text: str, keep: str = "") -> str:
    r"""Return the text with each character that is not printable written as an escape.

    What a provider sends may hold terminal sequences, line breaks that fake a log line, or characters that
    turn the direction of writing.

    Parameters
    ----------
    text
        Any text.
    keep
        Characters to keep as they are.

    Examples
    --------
    >>> printable("name\x1b[2J")
    'name\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def plain_amount(amount: Decimal) -> str:
    """Return an amount without exponent and without the zeros at the end that payments collect."""
    return format(amount.normalize(), "f")
