"""Mistakes in keywords get an answer that helps."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["named"]

P = ParamSpec("P")
R = TypeVar("R")


def named(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function answer an unknown keyword with the nearest one that it has.

    Examples
    --------
    >>> @named
    ... def run(command, *, max_workers=5): ...
    >>> run("ls", max_worker=2)
    Traceback (most recent call last):
    TypeError: run() has no parameter 'max_worker': did you mean 'max_workers'?
    """
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not open_ended:
            for name in kwargs:
                if name not in names:
                    owner = type(args[0]).__name__ if args and "self" in names else None
                    raise TypeError(_advice(function, owner, name, names))
        return function(*args, **kwargs)

    return call


def _advice(function: Callable[..., object], owner: str | None, name: str, names: list[str]) -> str:
    known = [other for other in names if other not in ("self", "cls")]
    # a method is known by the class that people use, whatever part of it has it
    title = function.__qualname__.removesuffix(".__new__")
    title = title if owner is None else f"{owner}.{function.__name__}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
    return f"{title}() has no parameter {name!r}: {advice}"
