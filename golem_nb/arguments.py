"""What users give as arguments, read: each error names the argument, what was given and what is wanted."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from numbers import Integral, Real
from typing import TypeVar

__all__ = ["amount", "count", "duration", "future", "instance", "number"]

T = TypeVar("T")

_SHOWN = 100

#: What begins now, and takes no longer, ends on a date.
LONGEST = timedelta(days=365_000)


def number(value: object) -> int | float | Decimal | None:
    """Return any kind of number, NumPy's and fractions included, as one of Python's own; None for all else.

    Examples
    --------
    >>> from fractions import Fraction
    >>> number(Fraction(1, 2))
    0.5
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        try:
            return float(value)
        except OverflowError:
            return math.inf  # of which sign makes no difference: nothing can use it
    return None


def amount(name: str, value: object) -> Decimal:
    """Read an amount of GLM, a number or its text.

    Raises
    ------
    ValueError
        It is not a positive number.
    """
    try:
        exact = Decimal(str(value if isinstance(value, str) else number(value)))
    except InvalidOperation:
        exact = Decimal("NaN")
    if not exact.is_finite() or exact <= 0:
        raise ValueError(f"{name} must be a positive number of GLM, not {_shown(value)}")
    return exact


def duration(name: str, value: object) -> timedelta:
    """Read a time: seconds or a `timedelta`.

    Raises
    ------
    TypeError
        It is neither.
    ValueError
        It is not positive, or longer than a thousand years.
    """
    wanted = f"{name} must be a number of seconds, or a timedelta, not {_shown(value)}"
    if isinstance(value, timedelta):
        time = value
    else:
        seconds = number(value)
        if seconds is None:
            raise TypeError(wanted)
        try:
            time = timedelta(seconds=float(seconds))
        except (OverflowError, ValueError):
            raise ValueError(wanted) from None
    if time <= timedelta(0):
        raise ValueError(f"{name} must be positive, not {value}")
    if time > LONGEST:
        raise ValueError(f"{name} must be a thousand years at most, not {value}")
    return time


def count(name: str, value: object) -> int:
    """Read a number of things.

    Raises
    ------
    TypeError
        It is not a whole number.
    ValueError
        It is less than one.
    """
    whole = number(value)
    if not isinstance(whole, int):
        raise TypeError(f"{name} must be a whole number, not {_shown(value)}")
    if whole < 1:
        raise ValueError(f"{name} must be at least 1, not {_shown(value)}")
    return whole


def future(name: str, value: object) -> datetime:
    """Read a moment that is still to come; one without a time zone is local.

    Raises
    ------
    TypeError
        It is no `datetime`.
    ValueError
        It is over.
    """
    moment = instance(name, value, datetime, "a datetime").astimezone()
    if moment <= datetime.now(UTC):
        raise ValueError(f"{name} must be in the future, not {value}")
    return moment


def instance(name: str, value: object, kind: type[T], wanted: str) -> T:
    """Return `value`, which has to be of a class; `wanted` says so in words, with an example.

    Raises
    ------
    TypeError
        It is not.
    """
    if not isinstance(value, kind):
        hint = ""
        if isinstance(value, type) and issubclass(value, kind):
            hint = f": call the class, {value.__name__}(...)"
        raise TypeError(f"{name} must be {wanted}, not {_shown(value)}{hint}")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
