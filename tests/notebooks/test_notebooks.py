"""Runs each notebook with nbval, comparing every output, and looks at what was saved in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

notebooks = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)

#: what must not be saved: paths of a machine, addresses of objects, ids and keys
PRIVATE = re.compile(r"(/home/|/root/|/Users/|/tmp/|[A-Z]:\\\\)\S+|0x[0-9a-f]{6,}|\b[0-9a-f]{32,}\b")


def load(notebook: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(notebook.read_text("utf-8"))
    return loaded


def outputs(notebook: Path) -> list[dict[str, Any]]:
    cells = load(notebook)["cells"]
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.localnet
@pytest.mark.timeout(300)
@notebooks
def test_every_output_is_the_saved_one(notebook: Path) -> None:
    # in a process of its own: nbval's cells depend on each other, and xdist would deal them out
    options = ["--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(notebook)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@notebooks
def test_nothing_private_is_saved(notebook: Path) -> None:
    assert PRIVATE.findall(json.dumps(outputs(notebook))) == []


@notebooks
def test_no_widget_and_no_error_is_saved(notebook: Path) -> None:
    assert "widgets" not in load(notebook)["metadata"]
    for output in outputs(notebook):
        assert output["output_type"] != "error"
        assert not [kind for kind in output.get("data", {}) if "widget" in kind]


@notebooks
def test_cells_were_run_in_order_and_carry_no_times(notebook: Path) -> None:
    cells = [cell for cell in load(notebook)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell["metadata"] for cell in cells if "execution" in cell["metadata"]] == []
