"""Panels where there is no JupyterLab: Notebook 7, pages made by nbconvert, Voila, marimo."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.harness import Browser, Notebook, browser, free_port, jupyter, served

pytestmark = pytest.mark.timeout(400)

HERE = Path(__file__).parent

#: A batch that does end when its button is pressed.
CELLS = [
    "from stage import *; lanes()\n"
    "job.cancel = lambda: job.change(state='cancelled', running=0, outcome='cancelled by hand <b>')",
    "desk.card()",
    "desk.progress(job)",
    "from golem_nb.frames import Recorder; desk._recorder = Recorder(); board = desk.dashboard(); board",
]


@pytest.fixture
def page(chromium_path: str, tmp_path: Path) -> Iterator[Browser]:
    """A page of a browser of its own."""
    with browser(tmp_path / "chromium") as found:
        yield found


def needs(module: str) -> pytest.MarkDecorator:
    """Skip where something is not installed that we do not depend on."""
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed: pip install {module}")


def environment(folder: Path) -> dict[str, str]:
    """What a server has that must not touch the settings of whoever runs the tests."""
    folder.mkdir()
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "XDG_CONFIG_HOME")
    private = {name: str(folder / name.lower()) for name in (*names, "XDG_STATE_HOME", "XDG_CACHE_HOME")}
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, **private, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": path}


def cancel(page: Browser) -> None:
    """See the batch, and cancel it."""
    progress = page.page.locator(".gnb-progress")
    # a server that has just begun, on a machine that has other things to do
    expect(progress).to_contain_text("32 of 50 items done", timeout=150_000)
    progress.get_by_role("button", name="Cancel").click()
    progress.get_by_role("button", name="Cancel job-3").click()
    expect(page.page.locator("body")).to_contain_text("cancelled by hand <b>")


@needs("notebook")
def test_notebook_7(page: Browser, tmp_path: Path) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    with jupyter(root, tmp_path / "jupyter", app="notebook") as url:
        book = Notebook(page, url, root, "notebooks").open(CELLS)
        book.run()
        cancel(page)
        expect(page.page.locator("[data-gnb-figure]")).to_contain_text("No tasks yet")
        book.screenshot("notebook-7")
        book.shut_down()
    assert page.foreign == []


def test_a_page_made_by_nbconvert(page: Browser, tmp_path: Path) -> None:
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    env = environment(tmp_path / "state")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        NotebookClient(book, timeout=120, store_widget_state=False).execute()
    html, _ = HTMLExporter().from_notebook_node(book)
    path = tmp_path / "page.html"
    path.write_text(html)
    page.page.goto(path.as_uri())
    body = page.page.locator("body")
    # the snapshots, with their time, and nothing that a provider says has become more than text
    expect(body).to_contain_text("Golem session default · ready")
    expect(body).to_contain_text(re.compile(r"32 of 50.*As of \d{4}-\d\d-\d\d", re.DOTALL))
    expect(body).to_contain_text("<img src=x onerror='window.hacked=1'>")
    assert page.page.evaluate("() => window.hacked ?? null") is None
    page.page.screenshot(path=str(tmp_path / "page.png"), full_page=True)


@needs("voila")
def test_voila(page: Browser, tmp_path: Path) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, root / "page.ipynb")
    port = free_port()
    command = ["voila", str(root / "page.ipynb"), "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    url = f"http://127.0.0.1:{port}"
    with served(command, f"{url}/voila/static/voila.js", tmp_path / "voila.log", environment(tmp_path / "s")):
        # the page comes when all its cells have run
        page.page.goto(url, wait_until="commit", timeout=120_000)
        cancel(page)
        expect(page.page.locator("[data-gnb-figure]")).to_contain_text("No tasks yet")
        page.page.screenshot(path=str(tmp_path / "voila.png"), full_page=True)


MARIMO = """
import marimo

app = marimo.App()


@app.cell
def _():
    import stage

    stage.lanes()
    stage.job.cancel = lambda: stage.job.change(
        state="cancelled", running=0, outcome="cancelled by hand <b>"
    )
    return (stage,)


@app.cell
def _(stage):
    stage.desk.card()
    return


@app.cell
def _(stage):
    stage.desk.progress(stage.job)
    return


@app.cell
def _(stage):
    board = stage.desk.dashboard()
    board
    return (board,)


@app.cell
def _(board):
    board.live
    return


if __name__ == "__main__":
    app.run()
"""


@needs("marimo")
def test_marimo(page: Browser, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text(MARIMO)
    port = free_port()
    command = ["marimo", "-y", "run", str(program), "--headless", "--no-token", "--host=127.0.0.1"]
    url = f"http://127.0.0.1:{port}"
    env = environment(tmp_path / "state")
    with served([*command, f"--port={port}"], f"{url}/health", tmp_path / "marimo.log", env):
        page.page.goto(url, wait_until="domcontentloaded", timeout=60_000)
        cancel(page)
        expect(page.page.locator(".gnb-card")).to_contain_text("local network on this machine")
        expect(page.page.locator(".gnb-dashboard")).to_be_visible()
        expect(page.page.locator(".main-svg", has_text="No tasks yet").first).to_be_visible()
        page.page.screenshot(path=str(tmp_path / "marimo.png"), full_page=True)
