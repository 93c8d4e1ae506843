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

from tests.browser.harness import ARTIFACTS, Browser, Notebook, browser, jupyter, served
from tests.browser.looks import CONTRAST, NAMELESS
from tests.ports import free_port

pytestmark = pytest.mark.timeout(400)

HERE = Path(__file__).parent

THEMES = pytest.mark.parametrize("theme", ["light", "dark"])

#: Of `whole`, each in a cell of its own.
PANELS = ("card", "progress", "market", "control", "board", "shell")

#: A batch that does end when its button is pressed, as in `whole`.
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


def use_the_others(page: Browser, theme: str, name: str) -> None:
    """Use market, cluster, dashboard and terminal; see that all can be read; keep a picture."""
    panel = page.page.locator
    market, cluster = panel(".gnb-market"), panel(".gnb-cluster")
    market.get_by_label("Least threads").fill("4")
    expect(market.locator(".gnb-line")).to_contain_text("16 of 20 offers shown")
    cluster.get_by_role("button", name="Resume kiełbasa").click()
    expect(panel("body")).to_contain_text("resumed: 20000000-aaaa")
    area = panel(".gnb-terminal").get_by_role("textbox", name="Terminal.")
    area.click()
    page.page.keyboard.type("ls")
    expect(area).to_contain_text("heard: ls")
    plot = panel(".js-plotly-plot")
    expect(plot.locator(".bartext", has_text="3").first).to_be_visible()
    panel(".gnb-dashboard").get_by_label("Throughput").uncheck()
    expect(plot).not_to_contain_text("Throughput")
    page.page.set_viewport_size({"width": 1200, "height": 3600})
    for each in ("card", "progress", "market", "cluster", "dashboard", "terminal"):
        found = panel(f".gnb-{each}").first
        expect(found).to_have_attribute("data-theme", theme)
        worst = found.evaluate(CONTRAST)
        assert worst[0] >= 4.5, f"{each}: {worst}"
        assert found.evaluate(NAMELESS) == [], each
    worst = plot.evaluate(CONTRAST)
    assert worst[0] >= 4.5, worst
    assert page.page.evaluate("() => window.hacked ?? null") is None
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.page.screenshot(path=str(ARTIFACTS / f"{name}-{theme}.png"), full_page=True)


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
@THEMES
def test_voila(page: Browser, tmp_path: Path, theme: str) -> None:
    root = tmp_path / "notebooks"
    root.mkdir()
    cells = ["import whole", *(f"whole.{name}" for name in PANELS)]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, root / "page.ipynb")
    port = free_port()
    command = ["voila", str(root / "page.ipynb"), "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    command.append(f"--theme={theme}")
    url = f"http://127.0.0.1:{port}"
    with served(command, f"{url}/voila/static/voila.js", tmp_path / "voila.log", environment(tmp_path / "s")):
        # the page comes when all its cells have run
        page.page.goto(url, wait_until="commit", timeout=120_000)
        cancel(page)
        use_the_others(page, theme, "voila")


MARIMO = """
import marimo

app = marimo.App()


@app.cell
def _():
    import whole
    return (whole,)
"""

MARIMO_CELL = """

@app.cell
def _(whole):
    whole.{}
    return
"""


@needs("marimo")
@THEMES
def test_marimo(page: Browser, tmp_path: Path, theme: str) -> None:
    program = tmp_path / "page.py"
    # the figure is a widget of its own there
    cells = "".join(MARIMO_CELL.format(name) for name in (*PANELS, "board.live"))
    program.write_text(f'{MARIMO}{cells}\n\nif __name__ == "__main__":\n    app.run()\n')
    env = environment(tmp_path / "state")
    settings = Path(env["XDG_CONFIG_HOME"]) / "marimo" / "marimo.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[display]\ntheme = "{theme}"\n')
    port = free_port()
    command = ["marimo", "-y", "run", str(program), "--headless", "--no-token", "--host=127.0.0.1"]
    url = f"http://127.0.0.1:{port}"
    with served([*command, f"--port={port}"], f"{url}/health", tmp_path / "marimo.log", env):
        page.page.goto(url, wait_until="domcontentloaded", timeout=60_000)
        cancel(page)
        use_the_others(page, theme, "marimo")
    assert page.foreign == []
