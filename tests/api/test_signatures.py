"""Compares every documented name with ours: kind, signature, defaults, and the tree of events.

What differs on purpose is a row of the table "Signatures that differ" in docs/departures.md. A difference
without a row fails, and so does a row without that difference.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent.parent
REFERENCE = json.loads((TESTS / "data" / "api_reference.json").read_text("utf-8"))
DEPARTURES = TESTS.parent / "docs" / "departures.md"
HEADING = "## Signatures that differ"


def params(records: list[dict[str, str]]) -> list[Any]:
    """Make one test parameter for each record."""
    return [pytest.param(record, id=record["name"]) for record in records]


def find(name: str) -> tuple[Any, Any]:
    """Return (owner, object) of a dotted name; raises AttributeError if there is none."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            owner, found = None, importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise  # the module is there, something that it imports is not
            continue
        for part in parts[length:]:
            owner, found = found, _member(found, part)
        return owner, found
    raise AttributeError(name)


def _member(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        # an attribute that instances get in their constructor is announced by an annotation of the class
        for base in getattr(owner, "__mro__", ()):
            if name in inspect.get_annotations(base):
                return _Announced
        raise


class _Announced:
    """Stands for an attribute that only instances have."""


def signature(function: Any) -> str:
    """Return the signature as the reference prints it: without self and without types."""
    try:
        found = inspect.signature(function)
    except ValueError:  # some classes of C and some metaclasses tell none
        return "(unknown)"
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def describe(name: str) -> tuple[str, str]:
    """Return (kind, signature) of our object of that name, in the words of the reference."""
    try:
        owner, found = find(name)
    except AttributeError:
        return "missing", ""
    if inspect.isclass(owner):
        raw = inspect.getattr_static(owner, name.rpartition(".")[2], None)
        if isinstance(raw, property | functools.cached_property):
            return "property", ""
        function = getattr(raw, "__func__", raw)
        if not inspect.isfunction(function):
            return "attribute", ""
        kind = "async " if _is_async(function) else ""
        kind = "abstract " + kind if getattr(function, "__isabstractmethod__", False) else kind
        kind += "static " if isinstance(raw, staticmethod) else ""
        kind += "classmethod " if isinstance(raw, classmethod) else ""
        text = signature(found)
        if not isinstance(raw, staticmethod | classmethod):
            text = re.sub(r"^\(self(, )?", "(", text)
        return kind + "method", text
    if inspect.isclass(found):
        return "exception" if issubclass(found, BaseException) else "class", signature(found)
    if callable(found):
        return "async function" if _is_async(found) else "function", signature(found)
    return "name", ""


def differs(record: dict[str, str]) -> tuple[str, str] | None:
    """Return (documented, here), as the table of departures has them, or None."""
    kind, text = describe(record["name"])
    documented = record["kind"]
    if documented == "name":
        return ("name", "missing") if kind == "missing" else None
    if documented == "class" and kind == "exception":
        kind = "class"  # the reference calls an exception a class once, and an exception is one
    if "signature" not in record or kind == "missing" or text == record["signature"]:
        return None if kind == documented else (documented, kind)
    return f"{documented} {record['signature']}", f"{kind} {text}"


def listed() -> dict[str, tuple[str, str]]:
    """Return {name: (documented, here)} of the table in docs/departures.md."""
    _, _, section = DEPARTURES.read_text("utf-8").partition(HEADING)
    rows = re.findall(r"^\| `(golem_nb[\w.]*)` \| `(.+?)` \| `(.+?)` \| \S.* \|$", section, re.MULTILINE)
    return {name: (documented, here) for name, documented, here in rows}


EVENTS = [record for record in REFERENCE["names"] if record["name"].startswith("golem_nb.events.")]
OTHERS = [record for record in REFERENCE["names"] if record not in EVENTS]


def check(record: dict[str, str]) -> None:
    found, expected = differs(record), listed().get(record["name"])
    assert found == expected, (
        f"{record['name']}: documented and here are {found}, docs/departures.md says {expected}. "
        f"Mend the code, or give the table under '{HEADING}' a row | name | documented | here | why |."
    )


@pytest.mark.parametrize("record", params(OTHERS))
def test_name(record: dict[str, str]) -> None:
    check(record)


@pytest.mark.contract("V01")
@pytest.mark.parametrize("record", params(EVENTS))
def test_event(record: dict[str, str]) -> None:
    check(record)


@pytest.mark.contract("V01")
@pytest.mark.parametrize(("name", "parent"), REFERENCE["events"].items())
def test_event_tree(name: str, parent: str | None) -> None:
    events = importlib.import_module("golem_nb.events")
    above = [
        base.__name__ for base in getattr(events, name).__mro__[1:] if base.__name__ in REFERENCE["events"]
    ]
    assert (above[0] if above else None) == parent


def test_every_row_of_the_table_is_of_a_documented_name() -> None:
    known = {record["name"] for record in REFERENCE["names"]}
    assert set(listed()) <= known


class TestTheComparison:
    """The comparison itself must see what it is there for."""

    @pytest.fixture
    def module(self, monkeypatch: pytest.MonkeyPatch) -> str:
        source = """
import abc, decimal, types
class Thing:
    announced: int
    def __init__(self, a, *, b=decimal.Decimal("Infinity"), **rest): ...
    async def wait(self, seconds: float = 1.0) -> None: ...
    async def items(self, *args): yield 1
    @staticmethod
    async def make(): ...
    @classmethod
    async def create(cls, x=types.MappingProxyType({})): ...
    @property
    def size(self): ...
    @abc.abstractmethod
    async def score(self, offer): ...
"""
        found = types.ModuleType("golem_nb_sample")
        exec(source, found.__dict__)
        monkeypatch.setitem(sys.modules, "golem_nb_sample", found)
        return "golem_nb_sample.Thing"

    @pytest.mark.parametrize(
        ("member", "expected"),
        [
            ("", ("class", "(a, *, b=Decimal('Infinity'), **rest)")),
            (".wait", ("async method", "(seconds=1.0)")),
            (".items", ("async method", "(*args)")),
            (".make", ("async static method", "()")),
            (".create", ("async classmethod method", "(x=mappingproxy({}))")),
            (".size", ("property", "")),
            (".announced", ("attribute", "")),
            (".score", ("abstract async method", "(offer)")),
            (".absent", ("missing", "")),
        ],
    )
    def test_it_describes(self, module: str, member: str, expected: tuple[str, str]) -> None:
        assert describe(module + member) == expected

    @pytest.mark.parametrize(
        "record",
        [
            {"kind": "method", "signature": "(seconds=1.0)"},
            {"kind": "async method", "signature": "(seconds=2.0)"},
            {"kind": "async method", "signature": "(secs=1.0)"},
            {"kind": "async method", "signature": "(*, seconds=1.0)"},
            {"kind": "property"},
        ],
    )
    def test_it_sees_a_difference(self, module: str, record: dict[str, str]) -> None:
        assert differs({"name": f"{module}.wait", **record}) is not None
        assert (
            differs({"name": f"{module}.wait", "kind": "async method", "signature": "(seconds=1.0)"}) is None
        )
