"""Values of properties: from Python to what the daemon takes as JSON, and back into the types of a model."""

from __future__ import annotations

import math
import types
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin

from golem_nb.arguments import number
from golem_nb.props.errors import InvalidPropertiesError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

#: No counter, time or size needs more.
_LARGEST_INT = 2**128

Reader: TypeAlias = "Callable[[Any], Any]"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORBIDDEN_IN_KEY = frozenset('()=<>*"\\')


class Unreadable(Exception):
    """A value is not of the wanted type; its text says what was wanted."""


def encode(key: str, value: object) -> Any:
    """Return `value` as JSON data for the property `key`.

    A `datetime` becomes milliseconds since the epoch (a naive one is local time, as everywhere in Python), an
    `Enum` member its value, a `Decimal` a number. Lists and nested dicts are taken element by element.

    Raises
    ------
    InvalidPropertiesError
        The daemon has no type for it, or `key` cannot be a key; the error names both.
    """
    check_key(key)
    return _encode(key, value)


def finite(value: float | Decimal) -> bool:
    """Return whether a number is one: not infinite, not NaN, and not too large for the daemon."""
    if isinstance(value, int):
        return abs(value) < _LARGEST_INT
    # A signaling NaN cannot even be asked by `math`.
    return value.is_finite() and math.isfinite(value) if isinstance(value, Decimal) else math.isfinite(value)


def milliseconds(value: datetime) -> int | None:
    """Return a time (a naive one is local) as milliseconds since the epoch; None if it is too far off."""
    try:
        return round(value.timestamp() * 1000)
    except (OverflowError, ValueError, OSError):
        return None


def check_key(key: object) -> None:
    """Raise `InvalidPropertiesError` unless `key` can be the key of a property."""
    if (
        not isinstance(key, str)
        or not key
        or any(char in _FORBIDDEN_IN_KEY or char.isspace() or char < " " for char in key)
    ):
        raise InvalidPropertiesError(
            f"{shown(key)} cannot be the key of a property: it must be text without spaces, parentheses,"
            " quotes, backslashes and the characters = < > *."
        )


def _encode(key: str, value: object) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return value
    if (plain := number(value)) is not None:
        if not finite(plain):
            raise _unsendable(key, value, "only finite numbers of reasonable size can be sent")
        return float(plain) if isinstance(plain, Decimal) else plain
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _unsendable(key, value, "it is not valid Unicode text") from None
        return value
    if isinstance(value, datetime):
        when = milliseconds(value)
        if when is None:
            raise _unsendable(key, value, "the time is too far off")
        return when
    if isinstance(value, list | tuple):
        return [_encode(key, element) for element in value]
    if isinstance(value, dict):
        return {inner: _encode(f"{key}.{inner}", element) for inner, element in _checked(value)}
    raise _unsendable(
        key,
        value,
        "a property is text, a number, a bool, a datetime, an Enum member, or a list or dict of them",
    )


def _checked(value: dict[Any, Any]) -> list[tuple[str, Any]]:
    for key in value:
        check_key(key)
    return list(value.items())


def _unsendable(key: str, value: object, why: str) -> InvalidPropertiesError:
    return InvalidPropertiesError(f"The property `{key}` cannot be {shown(value)}: {why}.")


def reader(hint: Any) -> Reader:
    """Return a function that turns JSON data into the type `hint`, or raises `Unreadable`.

    Anything that it has no rule for (a type variable, an unknown class) passes unchanged.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union([None if arg is type(None) else reader(arg) for arg in args])
    if origin is Literal:
        return _literal(args)
    container = origin or hint
    if container in _SIMPLE:
        return _SIMPLE[container]
    if isinstance(container, type):
        if issubclass(container, Enum):
            return _enum(container)
        if issubclass(container, list | tuple):
            return _list(reader(args[0]) if args else _same, container)
        if issubclass(container, dict):
            return _dict
    return _same


def _same(value: Any) -> Any:
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise Unreadable("text")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unreadable("true or false")
    return value


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable("a whole number")
    if isinstance(value, float):
        if not value.is_integer():
            raise Unreadable("a whole number")
        return int(value)
    return value


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable("a number")
    try:
        number = float(value)
    except OverflowError:
        raise Unreadable("a number of reasonable size") from None
    if not math.isfinite(number):
        raise Unreadable("a finite number")
    return number


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise Unreadable("a decimal number")
    try:
        # By way of the text: 0.1 is meant as one tenth, not as the nearest binary fraction.
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise Unreadable("a decimal number") from None
    if not number.is_finite():
        raise Unreadable("a finite decimal number")
    return number


def _datetime(value: Any) -> datetime:
    milliseconds = _float(value)
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise Unreadable("a time in milliseconds since the epoch") from None


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("an object")
    return value


def _list(element: Reader, container: type) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise Unreadable("a list")
        return container([element(item) for item in value])

    return read


def _enum(members: type[Enum]) -> Reader:
    def read(value: Any) -> Enum:
        try:
            return members(value)
        except (ValueError, TypeError):
            raise Unreadable(f"one of {', '.join(repr(member.value) for member in members)}") from None

    return read


def _literal(allowed: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if value not in allowed:
            raise Unreadable(f"one of {', '.join(map(repr, allowed))}")
        return value

    return read


def _union(readers: list[Reader | None]) -> Reader:
    def read(value: Any) -> Any:
        wanted = []
        for option in readers:
            if option is None:
                if value is None:
                    return None
                continue
            try:
                return option(value)
            except Unreadable as error:
                wanted.append(str(error))
        raise Unreadable(" or ".join(wanted))

    return read


_SIMPLE: dict[Any, Reader] = {
    str: _str,
    bool: _bool,
    int: _int,
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,
}
