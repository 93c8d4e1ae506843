"""Runs each notebook with nbval, comparing its outputs, and looks at what was saved in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# a helper beside the tests: they are no package
sys.path.insert(0, str(Path(__file__).parent))

from save import CELL_TIMEOUT, environment

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

notebooks = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)

#: what must not be saved: paths of a machine, addresses of objects, ids and keys
PRIVATE = re.compile(r"(/(home|root|Users|tmp)/|[A-Z]:\\\\)\S+|0x[0-9a-f]{6,}|\b[0-9a-f]{32,}\b")


def load(notebook: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(notebook.read_text("utf-8"))
    return loaded


def outputs(notebook: Path) -> list[dict[str, Any]]:
    cells = load(notebook)["cells"]
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def test_they_are_numbered_without_a_gap() -> None:
    numbers = [int(path.stem.partition("_")[0]) for path in NOTEBOOKS]
    assert numbers == list(range(1, len(NOTEBOOKS) + 1))


def test_the_list_of_tutorials_has_them_in_order() -> None:
    text = (ROOT / "docs" / "tutorials" / "index.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| \[[^\]]+\]\((\w+\.ipynb)\) \|", text, re.MULTILINE)
    assert rows == [(str(number), path.name) for number, path in enumerate(NOTEBOOKS, 1)]


@pytest.mark.localnet
@pytest.mark.timeout(420)
@notebooks
def test_outputs_are_the_saved_ones(notebook: Path) -> None:
    """All of them, but those of the cells whose tag says that they have a time or an amount in them."""
    # in a process of its own: nbval's cells depend on each other, and xdist would deal them out
    options = [
        *("--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}"),
        *("-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
    ]
    with environment(notebook) as env:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, str(notebook)],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr


@notebooks
def test_what_is_not_compared_says_why_by_its_tag(notebook: Path) -> None:
    cells = [cell for cell in load(notebook)["cells"] if cell["cell_type"] == "code"]
    tags = [tag for cell in cells for tag in cell["metadata"].get("tags", ())]
    assert set(tags) <= {"nbval-ignore-output", "nbval-raises-exception", "nbval-skip"}
    # a tutorial of times and amounts alone would be compared with nothing
    assert tags.count("nbval-ignore-output") <= len(cells) * 0.6
    for cell in cells:
        skipped = "nbval-skip" in cell["metadata"].get("tags", ())
        assert skipped == "".join(cell["source"]).startswith("# not run in CI: ")
        assert not (skipped and cell["outputs"])


@notebooks
def test_nothing_private_is_saved(notebook: Path) -> None:
    assert PRIVATE.findall(json.dumps(outputs(notebook))) == []


@notebooks
def test_no_widget_and_no_unexpected_error_is_saved(notebook: Path) -> None:
    assert "widgets" not in load(notebook)["metadata"]
    for cell in load(notebook)["cells"]:
        expected = "nbval-raises-exception" in cell["metadata"].get("tags", ())
        errors = [output for output in cell.get("outputs", ()) if output["output_type"] == "error"]
        assert bool(errors) == expected
    for output in outputs(notebook):
        assert not [kind for kind in output.get("data", {}) if "widget" in kind]


@notebooks
def test_a_figure_has_a_picture_for_pages_that_cannot_draw_it(notebook: Path) -> None:
    for output in outputs(notebook):
        data = output.get("data", {})
        if "application/vnd.plotly.v1+json" in data:
            assert set(data) == {"application/vnd.plotly.v1+json", "image/png"}


@notebooks
def test_links_lead_somewhere(notebook: Path) -> None:
    for cell in load(notebook)["cells"]:
        if cell["cell_type"] == "markdown":
            for link in re.findall(r"\]\(([^)#]+)", "".join(cell["source"])):
                assert "://" in link or (notebook.parent / link).exists(), link


@notebooks
def test_it_is_small_enough_to_be_looked_at(notebook: Path) -> None:
    assert notebook.stat().st_size < 1_000_000


@notebooks
def test_cells_were_run_in_order_and_carry_no_times(notebook: Path) -> None:
    cells = [cell for cell in load(notebook)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell["metadata"] for cell in cells if "execution" in cell["metadata"]] == []
