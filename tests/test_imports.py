"""The shape of the package: what an import costs, what can be imported, what a wheel holds."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import golem_nb

ROOT = Path(__file__).parent.parent

#: loaded when first used: they would make the import of the package several times as slow
HEAVY = ("IPython", "anywidget", "ipywidgets", "nest_asyncio", "numpy", "pandas", "plotly")

MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(golem_nb.__path__, "golem_nb.")
    # running is what these are for
    if not name.endswith(".__main__")
)
PUBLIC = ["golem_nb", *(name for name in MODULES if "._" not in name)]


def python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_loads_nothing_heavy() -> None:
    code = "import sys, golem_nb; print(*(name for name in sys.argv[1:] if name in sys.modules))"
    assert python(code, *HEAVY) == ""


def test_using_the_engine_loads_nothing_heavy() -> None:
    code = (
        "import sys, golem_nb\n"
        "golem_nb.Golem, golem_nb.Task, golem_nb.vm.repo, golem_nb.events.Event, golem_nb.log.log_summary\n"
        "print(*(name for name in sys.argv[1:] if name in sys.modules))"
    )
    assert python(code, *HEAVY) == ""


@pytest.mark.slow
def test_every_module_can_be_imported_first() -> None:
    """No module needs another of its part to have been imported before it: circles would show here.

    There are none between parts: the linter of imports sees to their order.
    """
    code = """
import importlib, sys
for name in sys.argv[1:]:
    part = ".".join(name.split(".")[:2])
    for loaded in [m for m in sys.modules if m == part or m.startswith(part + ".")]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
"""
    assert python(code, *MODULES) == ""


def _order(name: str) -> tuple[int, str]:
    """Sort as ruff does: constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_and_true(name: str) -> None:
    module = importlib.import_module(name)
    names = list(getattr(module, "__all__", ()))
    assert names == sorted(set(names), key=_order)
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    undocumented = []
    for public in getattr(module, "__all__", ()):
        found = getattr(module, public)
        if hasattr(found, "DESCRIPTOR"):  # a class made by protobuf has no place for a text
            continue
        if (inspect.isclass(found) or inspect.isfunction(found)) and not found.__doc__:
            undocumented.append(public)
    assert undocumented == []


def test_the_top_module_has_a_list_of_its_names() -> None:
    assert "Golem" in golem_nb.__all__


def test_a_wheel_holds_the_package_alone(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"golem_nb"}
    assert "golem_nb/py.typed" in names
    assert not [name for name in names if name.endswith((".pyc", ".orig", ".log"))]
