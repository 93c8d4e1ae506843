"""What is public: what the reference in `docs/api` shows."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]
API = ROOT / "docs" / "api"


def directives(kind: str) -> list[str]:
    """What the reference shows by a directive, in its order."""
    pages = "\n".join(page.read_text("utf-8") for page in sorted(API.glob("*.md")))
    return re.findall(rf"{kind}:: (golem_nb\S*)", pages)


def modules() -> list[str]:
    """Names of the modules in the reference."""
    return directives("automodule")


def values() -> Iterator[Any]:
    """What these have in public, and the classes that stand beside them."""
    for module in map(importlib.import_module, modules()):
        yield from (getattr(module, name) for name in names(module))
    for place, _, name in (path.rpartition(".") for path in directives("autoclass")):
        yield getattr(importlib.import_module(place), name)


def names(module: Any) -> list[str]:
    """The public names of a module."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]
    return [name for name in own if not name.startswith("_")]


@attrs.frozen
class Thing:
    """A class, a function or a method."""

    name: str
    value: Any
    owner: type | None = None

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.value.__doc__ or "")


def things() -> Iterator[Thing]:
    """Every public class and function, and what a class has of methods and properties, inherited too."""
    seen = set()
    for value in values():
        home = getattr(value, "__module__", None) or ""
        if not (inspect.isclass(value) or inspect.isroutine(value)) or not home.startswith("golem_nb"):
            continue
        thing = Thing(f"{home}.{value.__qualname__}", value)
        found = [thing]
        if inspect.isclass(value) and not issubclass(value, enum.Enum):
            found += members(thing)
        for one in found:
            if one.name not in seen:
                seen.add(one.name)
                yield one


def members(thing: Thing) -> Iterator[Thing]:
    """The methods and properties of a class."""
    kinds = thing.value.__mro__
    ours = [kind for kind in kinds if kind.__module__.startswith("golem_nb")]
    # what comes from elsewhere, and what takes its place, is described there
    foreign = {key for kind in kinds if kind not in ours for key in vars(kind)}
    for kind in ours:
        for key, value in vars(kind).items():
            if key.startswith("_") or key in foreign:
                continue
            function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if isinstance(function, property) or inspect.isfunction(function):
                yield Thing(f"{kind.__module__}.{kind.__qualname__}.{key}", function, kind)
