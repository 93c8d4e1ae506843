"""Runs notebooks and saves them with their outputs, as the tests want to find them.

``python -m tests.notebooks.save [NAME ...]``: those whose names begin so, or all. Outputs are cleaned of what
belongs to this machine or to this moment: live widgets (their snapshots stay), ids of nodes, times of
execution. Plotly figures get a picture beside their data, for pages that cannot draw them.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
FIGURE = "application/vnd.plotly.v1+json"
#: Seconds that a cell may take.
CELL_TIMEOUT = 120

NODE_ID = re.compile(r"0x[0-9a-f]{40}")


class Client(NotebookClient):
    """Leaves out the cells that need the internet, and goes on after those that are to fail."""

    async def async_execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
        tags = cell.metadata.get("tags", ())
        if "nbval-skip" in tags:
            return cell
        self.allow_errors = "nbval-raises-exception" in tags
        return await super().async_execute_cell(cell, cell_index, **options)


@contextmanager
def environment(notebook: Path) -> Iterator[dict[str, str]]:
    """What a notebook is run in: a data folder of its own, no daemon, the network that it finds running."""
    with tempfile.TemporaryDirectory(prefix="golem-nb-") as folder:
        env = {name: value for name, value in os.environ.items() if not name.startswith("YAGNA_")}
        env |= {"GOLEM_NB_DATA_DIR": folder, "PYTHONHASHSEED": "0"}
        if not notebook.stem.startswith("10"):
            yield env
            return
        # the notebook about real networks finds a daemon that it has not started
        from golem_nb.localnet import LocalNetwork, down

        before = os.environ.get("GOLEM_NB_DATA_DIR")
        os.environ["GOLEM_NB_DATA_DIR"] = folder
        try:
            LocalNetwork.up(providers=3)
            try:
                yield env
            finally:
                down()
        finally:
            os.environ.pop("GOLEM_NB_DATA_DIR")
            if before is not None:
                os.environ["GOLEM_NB_DATA_DIR"] = before


def clean(output: Any) -> Any:
    """Take out of an output what is not for others."""
    data = output.get("data", {})
    if FIGURE in data:
        # a figure that draws itself would bring all of plotly.js along
        data.pop("text/html", None)
        data.pop("text/plain", None)
        data["image/png"] = base64.b64encode(pictures().draw(data[FIGURE])).decode()
    for kind in [kind for kind in data if "widget" in kind]:
        del data[kind]
    for kind, content in data.items():
        if kind.startswith("text/"):
            data[kind] = NODE_ID.sub("0x…", content)
    if "text" in output:
        output["text"] = NODE_ID.sub("0x…", output["text"])
    if output["output_type"] == "error":
        # the frames are files of this machine
        output["traceback"] = [f"{output['ename']}: {output['evalue']}"]
    return output


class Pictures:
    """Draws figures in a browser, with the plotly.js that is installed."""

    def __init__(self) -> None:
        from playwright.sync_api import sync_playwright

        spec = importlib.util.find_spec("plotly")
        assert spec is not None
        assert spec.origin is not None
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        self._page = self._browser.new_page()
        self._page.set_content("<div id='figure'></div>")
        self._page.add_script_tag(path=Path(spec.origin).parent / "package_data" / "plotly.min.js")

    def draw(self, figure: dict[str, Any]) -> bytes:
        """Return a figure as PNG."""
        uri = self._page.evaluate(
            "async ([figure, height]) => { const node = document.getElementById('figure');"
            "await Plotly.newPlot(node, figure.data, figure.layout);"
            "return await Plotly.toImage(node, {format: 'png', width: 840, height, scale: 1.5}) }",
            [json.loads(json.dumps(figure)), figure.get("layout", {}).get("height", 420)],
        )
        return base64.b64decode(uri.partition(",")[2])

    def close(self) -> None:
        """End the browser."""
        self._browser.close()
        self._playwright.stop()


_pictures: list[Pictures] = []


def pictures() -> Pictures:
    """Return the browser that draws, started when it is first wanted."""
    if not _pictures:
        _pictures.append(Pictures())
    return _pictures[0]


def save(path: Path) -> None:
    """Run a notebook and write it back."""
    notebook = nbformat.read(path, 4)
    with environment(path) as env:
        client = Client(notebook, timeout=CELL_TIMEOUT, resources={"metadata": {"path": str(FOLDER)}})
        client.execute(env=env)
    number = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        number += 1
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        cell.outputs = [clean(output) for output in cell.outputs]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main(names: list[str]) -> None:
    """Save those whose names begin so, or all."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or any(path.stem.startswith(name) for name in names):
            print(path.name, flush=True)
            save(path)
    for browser in _pictures:
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
