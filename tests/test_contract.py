"""Guards the contract: each item is covered by a test, each marker names an item, the page is up to date.

Markers are read from the source of the tests, not from a test run: a worker of pytest-xdist, or a run of one
folder, sees only a part of them.
"""

from __future__ import annotations

import ast
import re
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CONTRACT = runpy.run_path(str(TESTS / "contract_items.py"))


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _codes(node: ast.AST, where: str) -> Iterator[tuple[str, str]]:
    """Yield (code, place) of every ``mark.contract(...)`` call inside `node`."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and _dotted(call.func).endswith("mark.contract"):
            for argument in call.args:
                if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                    raise AssertionError(
                        f"{where}:{call.lineno}: give the codes of a contract marker as literals"
                    )
                yield argument.value, f"{where}:{call.lineno}"


def contract_markers(source: str, where: str) -> list[tuple[str, str]]:
    """Return (code, place) for each marker that pytest would attach to a test of this source.

    That is: decorators of ``test_`` functions and ``Test`` classes, ``pytestmark``, and the ``marks`` of
    parameters. A marker on a helper covers nothing, and neither does a test that is always skipped.
    """
    found: list[tuple[str, str]] = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                is_class = isinstance(node, ast.ClassDef)
                if not node.name.startswith("Test" if is_class else "test_"):
                    continue
                if any(
                    _dotted(d.func if isinstance(d, ast.Call) else d).endswith("mark.skip")
                    for d in node.decorator_list
                ):
                    continue
                for decorator in node.decorator_list:
                    found.extend(_codes(decorator, where))
                if is_class:
                    visit(node.body)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = {_dotted(target) for target in targets}
                # tables of pytest.param(..., marks=...) are assigned to a name before they are used
                params = [
                    c
                    for c in ast.walk(node.value)
                    if isinstance(c, ast.Call) and _dotted(c.func).endswith("param")
                ]
                if "pytestmark" in names or params:
                    found.extend(_codes(node.value, where))

    visit(ast.parse(source).body)
    return found


@pytest.fixture(scope="module")
def markers() -> list[tuple[str, str]]:
    return [
        marker
        for path in sorted(TESTS.rglob("*.py"))
        for marker in contract_markers(path.read_text("utf-8"), str(path.relative_to(TESTS.parent)))
    ]


def test_codes_are_unique_ordered_and_of_a_section() -> None:
    codes = [item.code for item in CONTRACT["ITEMS"]]
    assert [code for code, count in Counter(codes).items() if count > 1] == []
    assert all(re.fullmatch(r"[A-Z]\d\d", code) and code[0] in CONTRACT["SECTIONS"] for code in codes)
    order = list(CONTRACT["SECTIONS"])
    assert codes == sorted(codes, key=lambda code: (order.index(code[0]), code))


def test_every_item_has_a_test(markers: list[tuple[str, str]]) -> None:
    covered = {code for code, _ in markers}
    missing = [f"{item.code} {item.title}" for item in CONTRACT["ITEMS"] if item.code not in covered]
    assert missing == [], "no test carries the code of: " + "; ".join(missing)


def test_every_marker_names_an_item(markers: list[tuple[str, str]]) -> None:
    known = {item.code for item in CONTRACT["ITEMS"]}
    assert [f"{place}: {code}" for code, place in markers if code not in known] == []


def test_the_page_is_up_to_date() -> None:
    written = CONTRACT["PAGE"].read_text("utf-8")
    assert written == CONTRACT["page"](), "run `python -m tests.contract_items`"


def test_every_departure_is_explained() -> None:
    text = (TESTS.parent / "docs" / "departures.md").read_text("utf-8")
    missing = [
        item.code for item in CONTRACT["ITEMS"] if item.departure and not re.search(rf"\b{item.code}\b", text)
    ]
    assert missing == [], f"docs/departures.md says nothing of {missing}"


class TestTheScan:
    def test_it_sees_decorators_classes_module_marks_and_parameters(self) -> None:
        source = """
pytestmark = pytest.mark.contract("A01")

CASES = [pytest.param(1, marks=pytest.mark.contract("A02"))]

@pytest.mark.contract("A03", "A04")
async def test_it(): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=[pytest.mark.contract("A05")])])
def test_table(x): ...

class TestMany:
    @mark.contract("A06")
    def test_one(self): ...
"""
        assert [code for code, _ in contract_markers(source, "x.py")] == [f"A0{n}" for n in range(1, 7)]

    def test_a_marker_on_a_helper_or_on_a_skipped_test_covers_nothing(self) -> None:
        source = """
@pytest.mark.contract("A01")
def helper(): ...

@pytest.mark.skip
@pytest.mark.contract("A02")
def test_not_run(): ...
"""
        assert contract_markers(source, "x.py") == []

    def test_codes_must_be_literals(self) -> None:
        with pytest.raises(AssertionError, match=r"x\.py:2"):
            contract_markers("\n@pytest.mark.contract(CODE)\ndef test_it(): ...", "x.py")
