"""Text of constraints: ``(key=value)``, ``(key>=value)``, ``(&A B)``, ``(|A B)``, ``(!A)``.

The daemon compares a value with the property's JSON text: a quote, a backslash, a new line and a tab are
written as JSON writes them, and nothing else can be escaped. A closing parenthesis ends the value whatever
stands before it, a star is a wildcard, and other control characters never match. (All of it found by scanning
for real offers with the daemon's ``POST /scan``.) So some values have no constraint that means them; for
these `clause` raises instead of asking the market for something else.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from golem_nb.arguments import number
from golem_nb.props.errors import ConstraintException, shown
from golem_nb.props.values import finite, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable

# The daemon reads `!=` as a key that ends in "!", and never matches it.
_OPERATORS = ("=", ">=", "<=", ">", "<")
_GROUPS = ("&", "|", "!")
_SEPARATOR = "\n\t"
_KEY = re.compile(r"[^\s()=<>*\"\\&|!\x00-\x1f][^\s()=<>*\"\\\x00-\x1f]*\Z")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_GROUP = re.compile(r"\(\s*([&|!])(?=\s*[()])")
_CLAUSE = re.compile(r"\(\s*(?:[^\s()=<>*&|!][^\s()=<>*]*(?<!!)(?:>=|<=|=|>|<)(?! )[^)]*)?\)")


def clause(key: str, operator: str, value: object) -> str:
    r"""Return the constraint that the property `key` stands in the relation `operator` to `value`.

    Parameters
    ----------
    key
        Key of a property, e.g. ``golem.inf.mem.gib``.
    operator
        One of ``=``, ``>=``, ``<=``, ``>``, ``<``.
    value
        Text, a number, a bool, a `datetime` (sent as milliseconds since the epoch), an `Enum` member (its
        value), or a list of these: one clause an element, all of which must hold; an empty list gives ``""``.
        In text, ``*`` alone matches any value and a later ``*`` any characters.

    Raises
    ------
    ConstraintException
        There is no constraint that means this; the error names key and value.

    Examples
    --------
    >>> clause("golem.inf.mem.gib", ">=", 2)
    '(golem.inf.mem.gib>=2)'
    >>> clause("golem.runtime.capabilities", "=", ["vpn", "inet"])
    '(&(golem.runtime.capabilities=vpn)\n\t(golem.runtime.capabilities=inet))'
    """
    check_key(key)
    check_operator(key, operator)
    if isinstance(value, list | tuple):
        clauses = [f"({key}{operator}{_text(key, operator, element)})" for element in value]
        return join_str_constraints(clauses) if clauses else ""
    return f"({key}{operator}{_text(key, operator, value)})"


def join_str_constraints(constraints: Iterable[str], operator: str = "&") -> str:
    r"""Join constraints by ``&`` (all), ``|`` (any) or ``!`` (not; of exactly one).

    A single constraint joined by ``&`` or ``|`` is returned as it is; none at all gives ``(&)``, which every
    offer meets, or ``(|)``, which none does.

    Parameters
    ----------
    constraints
        The constraints, in the demand language.
    operator
        ``&``, ``|`` or ``!``.

    Examples
    --------
    >>> join_str_constraints(["(a=1)", "(b=2)"])
    '(&(a=1)\n\t(b=2))'
    >>> join_str_constraints(["(a=1)"], "!")
    '(!(a=1))'
    """
    members = list(constraints)
    if operator not in _GROUPS:
        raise ConstraintException(
            f"Constraints are joined by one of {', '.join(_GROUPS)}, not by {shown(operator)}."
        )
    if operator == "!":
        if len(members) != 1:
            raise ConstraintException(
                f"The operator ! negates exactly one constraint, but {len(members)} are given."
            )
        return f"(!{members[0]})"
    if len(members) == 1:
        return members[0]
    return f"({operator}{_SEPARATOR.join(members)})"


def members(constraint: str) -> list[str]:
    r"""Return the constraints that all have to be met for `constraint`; itself if it is no such group.

    Examples
    --------
    >>> members("(&(a=1)\n\t(&(b=2)(|(c=3)(d=4))))")
    ['(a=1)', '(b=2)', '(|(c=3)(d=4))']
    """
    if not constraint.startswith("(&"):
        return [constraint]
    found: list[str] = []
    depth = start = 0
    for position, char in enumerate(constraint):  # a value has no parentheses
        if char == "(":
            depth += 1
            start = position if depth == 2 else start
        elif char == ")":
            if depth == 2:
                found += members(constraint[start : position + 1])
            depth -= 1
    return found


def check_key(key: object) -> None:
    """Raise `ConstraintException` unless `key` can be the key of a constraint."""
    if not isinstance(key, str) or not _KEY.match(key):
        raise ConstraintException(
            f"{shown(key)} cannot be the key of a constraint: it must be text without spaces, parentheses,"
            " quotes, backslashes and the characters = < > *, and must not begin with & | or !."
        )


def check_operator(key: str, operator: object) -> None:
    """Raise `ConstraintException` unless `operator` can stand between `key` and a value."""
    if operator not in _OPERATORS:
        raise ConstraintException(
            f"Constraint on `{key}`: there is no operator {shown(operator)}, only {', '.join(_OPERATORS)}."
            " To exclude a value, negate: join_str_constraints([...], '!')."
        )


def check_constraint(text: object) -> str:
    """Return a constraint that somebody wrote by hand, or raise `ConstraintException` where it is not one.

    The daemon takes a demand with a broken constraint without complaint, and then never finds an offer, or
    leaves out what stands behind the first parenthesis that is closed.
    """
    if not isinstance(text, str):
        raise ConstraintException(f"A constraint is text, e.g. '(golem.runtime.name=vm)', not {shown(text)}.")
    # For each group that is open, its operator and the number of its members so far.
    groups: list[list[Any]] = [["", 0]]
    position = 0
    while position < len(text):
        operator, members = groups[-1]
        if text[position].isspace():
            position += 1
        elif text[position] == ")" and len(groups) > 1 and (operator != "!" or members == 1):
            groups.pop()
            position += 1
        else:
            is_one_too_many = operator in ("", "!") and members == 1
            opening = _GROUP.match(text, position)
            found = opening or _CLAUSE.match(text, position)
            if found is None or is_one_too_many:
                raise ConstraintException(_broken(text, position))
            groups[-1][1] += 1
            if opening:
                groups.append([opening[1], 0])
            position = found.end()
    if len(groups) > 1 or groups[0][1] != 1:
        raise ConstraintException(_broken(text, position))
    return text


def _broken(text: str, position: int) -> str:
    return (
        f"{shown(text)} is not a constraint (at character {position + 1}): write (key=value), (key>=value),"
        " (&A B), (|A B) or (!A), with each parenthesis closed and no space around operators."
    )


def _text(key: str, operator: str, value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, datetime):
        when = milliseconds(value)
        if when is None:
            raise _inexpressible(key, operator, value, "the time is too far off")
        value = when
    if isinstance(value, bool):
        if operator != "=":
            raise _inexpressible(key, operator, value, "true and false have no order")
        return "true" if value else "false"
    if (plain := number(value)) is not None:
        if not finite(plain):
            raise _inexpressible(
                key, operator, value, "only finite numbers of reasonable size can be compared"
            )
        return str(plain)
    if isinstance(value, str):
        return _string(key, operator, value)
    if value is None:
        raise _inexpressible(key, operator, value, "there is no such value; an empty list leaves it out")
    raise _inexpressible(
        key, operator, value, "it must be text, a number, a bool, a datetime or a list of them"
    )


def _string(key: str, operator: str, value: str) -> str:
    def wrong(why: str) -> ConstraintException:
        return _inexpressible(key, operator, value, why)

    if "(" in value or ")" in value:
        raise wrong("parentheses cannot be escaped; a * in their place matches any text there")
    if any(char < " " and char not in _ESCAPES for char in value):
        raise wrong("control characters cannot be escaped")
    if value.startswith(" "):
        raise wrong("the daemon drops spaces at the beginning of a value")
    if value.startswith("*") and value != "*":
        raise wrong("a wildcard * may not begin a longer text")
    if operator != "=" and "*" in value:
        raise wrong("a wildcard * has no order")
    if operator in "<>" and value.startswith("="):
        raise wrong(f"it would be read as the operator {operator}=")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong("it is not valid Unicode text") from None
    return "".join(_ESCAPES.get(char, char) for char in value)


def _inexpressible(key: str, operator: str, value: Any, why: str) -> ConstraintException:
    return ConstraintException(f"The constraint {key} {operator} {shown(value)} cannot be expressed: {why}.")
