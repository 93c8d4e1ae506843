"""JSON that comes from outside: parsed without trust in its depth.

Python's parser recurses, and relies on the interpreter's recursion limit to stop in time. Programs, and
notebooks in particular, raise that limit; a few hundred kilobytes of opening brackets then overflow the stack
and end the process without a traceback.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

__all__ = ["MAX_DEPTH", "check_depth", "loads"]

#: Deeper nesting is refused. What the daemon and the registry say is some ten levels deep.
MAX_DEPTH = 200

_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


# made once: json.loads would build one for each call that has an option
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def loads(text: str) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        It is not JSON, holds NaN or infinity, or is nested deeper than `MAX_DEPTH`.

    Examples
    --------
    >>> loads('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    check_depth(text)
    return _decode(text)


def check_depth(text: str) -> None:
    """Refuse JSON that is nested deeper than `MAX_DEPTH`.

    Raises
    ------
    ValueError
        It is.
    """
    # counting is quick, and most texts have fewer brackets than may be nested
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(text):
        raise ValueError(f"it is nested too deeply, more than {MAX_DEPTH} levels")


def _is_deep(text: str) -> bool:
    # steps in C only: a character at a time would take longer than the parsing
    without_escapes = text.replace("\\\\", "").replace('\\"', "")
    outside_strings = "".join(without_escapes.split('"')[::2])
    brackets = outside_strings.encode("ascii", "ignore").translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        # each round takes the innermost level away
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not shorter:
            return False
        if len(shorter) == len(brackets):
            # they do not match: not JSON, and the parser stops at the first that it cannot close
            return len(shorter) > MAX_DEPTH
        brackets = shorter
    return True
