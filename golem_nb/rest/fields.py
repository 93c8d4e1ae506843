"""Reading typed values out of parsed JSON, and writing them.

Each reader raises `MalformedField` when the value is not what it should be; the client turns that into an
error that names the request.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

__all__ = [
    "MalformedField",
    "as_list",
    "as_mapping",
    "as_money",
    "as_text",
    "boolean",
    "identifier",
    "integer",
    "mapping",
    "moment",
    "moment_text",
    "money",
    "money_text",
    "numbers",
    "optional_mapping",
    "optional_moment",
    "optional_moment_text",
    "optional_text",
    "query",
    "segment",
    "text",
    "texts",
]

T = TypeVar("T")

UTC = dt.UTC

# 10^60 is far above any supply of tokens and 10^-60 far below the smallest unit (10^-18): a number beyond
# them is an attack on whoever prints it (Decimal("1e999999999") is a gigabyte of digits when written out)
_MAX_MAGNITUDE = 60
_MAX_DIGITS = 120


class MalformedField(ValueError):
    """A value in the daemon's answer is not what it should be."""


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Take a JSON object."""
    if not isinstance(value, dict):
        raise MalformedField(f"expected an object, got {_shown(value)}")
    return value


def as_list(parse: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """Make the reader of a JSON array from the reader of its elements."""

    def read(value: Any) -> list[T]:
        """Read a JSON list, each item in the same way."""
        if not isinstance(value, list):
            raise MalformedField(f"expected a list, got {_shown(value)}")
        return [parse(item) for item in value]

    return read


def as_text(value: Any) -> str:
    """Take a JSON string."""
    if not isinstance(value, str):
        raise MalformedField(f"expected a string, got {_shown(value)}")
    return value


def as_money(value: Any) -> Decimal:
    """Take an amount, which the daemon writes as a string and accepts as a number too."""
    # bool is an int to Python, and no amount
    if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > _MAX_DIGITS:
        raise MalformedField(f"expected an amount, got {_shown(value)}")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise MalformedField(f"expected an amount, got {_shown(value)}") from None
    if not amount.is_finite() or (amount and abs(amount.adjusted()) > _MAX_MAGNITUDE):
        raise MalformedField(f"expected an amount, got {_shown(value)}")
    return amount


def as_moment(value: Any) -> dt.datetime:
    """Take a date and time; what carries no zone is UTC (the daemon's registry and streams write it so)."""
    if not isinstance(value, str) or len(value) > 64:
        raise MalformedField(f"expected a date, got {_shown(value)}")
    try:
        moment = dt.datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedField(f"expected a date, got {_shown(value)}") from None


def _field(source: Mapping[str, Any], key: str, parse: Callable[[Any], T]) -> T:
    try:
        return parse(source[key])
    except KeyError:
        raise MalformedField(f"field {key!r} is missing") from None
    except MalformedField as error:
        raise MalformedField(f"field {key!r}: {error}") from None


def text(source: Mapping[str, Any], key: str) -> str:
    """Read a string."""
    value = source.get(key)
    if type(value) is str:
        return value
    return _field(source, key, as_text)


def optional_text(source: Mapping[str, Any], key: str) -> str | None:
    """Read a string that may be null or absent."""
    return None if source.get(key) is None else text(source, key)


def texts(source: Mapping[str, Any], key: str) -> list[str]:
    """Read a list of strings."""
    return _field(source, key, as_list(as_text))


def money(source: Mapping[str, Any], key: str) -> Decimal:
    """Read an amount."""
    return _field(source, key, as_money)


def moment(source: Mapping[str, Any], key: str) -> dt.datetime:
    """Read a date and time, in UTC."""
    return _field(source, key, as_moment)


def optional_moment(source: Mapping[str, Any], key: str) -> dt.datetime | None:
    """Read a date and time that may be null or absent."""
    return None if source.get(key) is None else moment(source, key)


def mapping(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Read an object."""
    return _field(source, key, as_mapping)


def optional_mapping(source: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """Read an object that may be null or absent."""
    return None if source.get(key) is None else mapping(source, key)


def boolean(source: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """Read true or false."""
    value = source.get(key, default)
    if not isinstance(value, bool):
        raise MalformedField(f"field {key!r}: expected true or false, got {_shown(value)}")
    return value


def integer(source: Mapping[str, Any], key: str) -> int:
    """Read a whole number."""
    value = source.get(key)
    if type(value) is not int:
        raise MalformedField(f"field {key!r}: expected a whole number, got {_shown(value)}")
    return value


def numbers(source: Mapping[str, Any], key: str) -> list[float]:
    """Read a list of numbers."""

    def number(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MalformedField(f"expected a number, got {_shown(value)}")
        try:
            return float(value)
        except OverflowError:
            raise MalformedField(f"expected a number, got {_shown(value)}") from None

    return _field(source, key, as_list(number))


def money_text(amount: Decimal | int, what: str = "amount") -> str:
    """Write an amount for the daemon, without an exponent.

    Raises
    ------
    TypeError
        It is not a `Decimal` (or a whole number): a float does not say how much is meant.
    ValueError
        It is not finite, or out of all proportion.
    """
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
        raise TypeError(f"{what} must be a Decimal, not {type(amount).__name__}")
    try:
        return format(as_money(str(amount)), "f")
    except MalformedField:
        raise ValueError(f"{what} must be a number of reasonable size, not {amount}") from None


def moment_text(moment: dt.datetime, what: str = "time") -> str:
    """Write a date and time for the daemon, which refuses those without a zone.

    Raises
    ------
    ValueError
        It has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{what} must have a time zone, such as datetime.now(timezone.utc)")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def optional_moment_text(moment: dt.datetime | None, what: str = "time") -> str | None:
    """Write a date and time for the daemon, if there is one."""
    return None if moment is None else moment_text(moment, what)


_is_plain = re.compile(r"[0-9A-Za-z_-]+").fullmatch


def segment(value: str) -> str:
    """Make an identifier safe to stand between two slashes of a path."""
    if _is_plain(value):
        return value
    quoted = quote(value, safe="")
    if quoted in ("", ".", ".."):
        raise ValueError(f"not an identifier: {value!r}")
    return quoted


def identifier(value: Any) -> str:
    """Take an identifier out of an answer: a string that can stand in a path."""
    found = as_text(value)
    if not found or len(found) > 200 or not found.isprintable():
        raise MalformedField(f"expected an identifier, got {_shown(value)}")
    return found


def query(**parameters: str | int | float | None) -> str:
    """Write the query part of an address, question mark included; what is None is left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return "?" + urlencode(given) if given else ""
