"""Errors of the demand language."""

from __future__ import annotations

from golem_nb.exceptions import GolemError

# Long enough to recognise a value in an error, short enough for what a provider may have made of it.
_SHOWN = 80


class InvalidPropertiesError(GolemError, ValueError):
    """Properties cannot be read as a model, or a value cannot be sent as a property.

    It names the key and the value. It is a `ValueError` too: a strategy that meets unreadable terms of a
    provider thereby tells the engine to refuse them.
    """


class ConstraintException(GolemError, ValueError):
    """A constraint cannot be expressed in the daemon's constraint language, or is not a constraint at all."""


def shown(value: object) -> str:
    """Return a short `repr` of a value for an error message: control characters are escaped by `repr`."""
    try:
        text = repr(value[:_SHOWN] if isinstance(value, str | bytes | list | tuple) else value)
    except (ValueError, RecursionError):
        # E.g. an integer of thousands of digits, which Python refuses to write out.
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
