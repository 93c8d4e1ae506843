"""What others say, made harmless, and amounts and times as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

__all__ = ["amount", "clean", "clock", "lines", "milliseconds", "seconds"]

#: Stands for a character that must not be shown: controls, and those that change the direction of the text.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# escape sequences of terminals: CSI …, OSC … BEL or ST, and the two-character ones
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[@-Z\\-_])")

# joins the parts of an emoji, harmless and common in names
_JOINER = "\N{ZERO WIDTH JOINER}"


def clean(value: object, limit: int = 200) -> str:
    """Return `value` as one line of harmless text.

    Parameters
    ----------
    value
        Anything; usually what a provider calls itself or says.
    limit
        Most characters.

    Examples
    --------
    >>> clean("a" + chr(27) + "[31mb" + chr(10) + "c")
    'ab c'
    """
    # whatever is cut off is not looked at: the text may be megabytes
    text = _ESCAPES.sub("", str(value)[: 4 * limit + 16])
    shown = "".join(
        char if char.isprintable() or char == _JOINER else " " if char.isspace() else REPLACEMENT
        for char in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def lines(value: str | bytes, limit: int = 4096, width: int = 500) -> str:
    """Return the end of an output as harmless lines; an ellipsis stands for what is left out.

    Parameters
    ----------
    value
        Output of a program.
    limit
        Most characters; the end is kept.
    width
        Most characters of a line; of a longer one its two ends are kept.

    Examples
    --------
    >>> lines("one line of many words", width=11)
    'one l…words'
    """
    tail = value[-4 * limit :]
    text = tail.decode("utf-8", "replace") if isinstance(tail, bytes) else tail
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").expandtabs(4)
    shown = "\n".join(_ends(line.rpartition("\r")[2], width) for line in text.split("\n"))
    if len(shown) > limit or len(tail) < len(value):
        return "…" + shown[max(len(shown) - limit + 1, 0) :]
    return shown


def _ends(line: str, width: int) -> str:
    if len(line) <= width:
        return clean(line, width)
    first = width // 2
    return f"{clean(line[:first], first)}…{clean(line[first + 1 - width :], width)}"


def amount(value: Decimal | float | None, digits: int = 4) -> str:
    """Return an amount with at least `digits` decimals, and more where it is small.

    Examples
    --------
    >>> amount(Decimal("1.25")), amount(Decimal("0.0000123")), amount(0)
    ('1.2500', '0.000012', '0')
    """
    if value is None:
        return "–"
    number = Decimal(str(value))
    if not number.is_finite():
        return "–"
    if number == 0:
        return "0"
    places = max(digits, 1 - number.adjusted())
    return f"{number.quantize(Decimal(1).scaleb(-min(places, 18)), ROUND_HALF_EVEN):f}"


def seconds(value: float | None) -> str:
    """Return a duration in its two largest units.

    Examples
    --------
    >>> seconds(0.42), seconds(75), seconds(7262)
    ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return "–"
    if value < 9.95:
        return f"{max(value, 0):.1f} s"
    whole = round(value)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next(index for index, (number, _) in enumerate(parts) if number or index == 3)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number)


def clock(value: datetime) -> str:
    """Return a moment as the reader's clock shows it, with the date and the zone's offset."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def milliseconds(value: datetime | None) -> float | None:
    """Return a moment as browsers count it: milliseconds since 1970."""
    if value is None:
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000
