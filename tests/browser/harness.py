"""A private JupyterLab and a Chromium page, from Python: what a person does in a notebook, as a program.

Nothing leaves this machine: requests to any other address are aborted and recorded, and a test fails if there
were any.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import nbformat
from playwright.sync_api import Locator, Page, sync_playwright

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent

#: Screenshots and what else is worth keeping of a test run; git ignores it.
ARTIFACTS = ROOT / "artifacts" / "browser"

TOKEN = "test"

#: What the browser must not do by itself: ask the world for updates, share memory that containers lack.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

#: Each of these removes a reason for a test to fail by chance: news, windowed cells, autosave dialogs.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {
        "windowingMode": "none",
        "autoStartDefaultKernel": True,
    },
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}

THEME = "@jupyterlab/apputils-extension/themes.jupyterlab-settings"


def chromium() -> str:
    """Path of the browser; says how to install it where there is none."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if name and (path := shutil.which(name)):
            return path
    raise RuntimeError(
        "These tests need Chromium. On Debian and Ubuntu: `apt-get install -y chromium`; elsewhere install "
        "it and set CHROMIUM to its path."
    )


@contextlib.contextmanager
def jupyter(
    root: Path,
    state: Path,
    *,
    dark: bool = False,
    app: str = "lab",
    environment: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A private JupyterLab (or Notebook 7, with ``app="notebook"``) that serves `root`; its address."""
    settings = dict(SETTINGS)
    settings[THEME] = {"theme": "JupyterLab Dark" if dark else "JupyterLab Light"}
    for name, value in settings.items():
        path = state / "settings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    port = free_port()
    env = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(state / "config"),
        "JUPYTER_DATA_DIR": str(state / "data"),
        "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
        "IPYTHONDIR": str(state / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        **(environment or {}),
    }
    name = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}[app]
    command = [
        "jupyter",
        app,
        "--allow-root",
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={root}",
        f"--{name}.user_settings_dir={state / 'settings'}",
        f"--{name}.workspaces_dir={state / 'workspaces'}",
        f"--{name}.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        "--MappingKernelManager.default_kernel_name=python3",
    ]
    if headers:
        command.append(f"--ServerApp.tornado_settings={ {'headers': dict(headers)} }")
    url = f"http://127.0.0.1:{port}"
    with served(command, f"{url}/api/status?token={TOKEN}", state / "server.log", env):
        yield url


@contextlib.contextmanager
def served(command: Sequence[str], ready: str, log: Path, env: Mapping[str, str]) -> Iterator[None]:
    """A Python module that is a server, from when the address `ready` answers."""
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(ready, timeout=2) as answer:
                    answer.read()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-4000:]}") from None
                time.sleep(0.1)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class Browser:
    """A page, and what it has asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.received = 0

    def watch(self) -> None:
        """Record complaints; abort whatever would leave this machine."""

        def guard(route: Any) -> None:
            if urlparse(route.request.url).hostname in (None, "127.0.0.1", "localhost"):
                route.continue_()
            else:
                self.foreign.append(route.request.url)
                route.abort()

        self.page.context.route("**/*", guard)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("websocket", self._count)

    def _count(self, websocket: Any) -> None:
        def received(payload: str | bytes) -> None:
            self.received += len(payload)

        websocket.on("framereceived", received)


@contextlib.contextmanager
def browser(profile: Path, *, width: int = 1200, height: int = 1000) -> Iterator[Browser]:
    """A Chromium page with a profile of its own."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=chromium(),
            headless=True,
            args=list(CHROMIUM_FLAGS),
            viewport={"width": width, "height": height},
        )
        try:
            found = Browser(context.pages[0] if context.pages else context.new_page())
            found.watch()
            found.page.set_default_timeout(20_000)
            yield found
        finally:
            context.close()


class Notebook:
    """One notebook in JupyterLab, and the few gestures that tests need."""

    def __init__(self, browser: Browser, url: str, folder: Path, path: str = "lab/tree") -> None:
        self.browser = browser
        self.page = browser.page
        self._url = f"{url}/{path}"
        self._folder = folder
        self._name = ""

    def open(self, cells: Sequence[str], name: str = "test.ipynb") -> Notebook:
        """Write a notebook and open it, with a kernel that is ready."""
        notebook = nbformat.v4.new_notebook()
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(notebook, self._folder / name)
        self._name = name
        self.page.goto(f"{self._url}/{name}?reset&token={TOKEN}")
        self.settle()
        return self

    def reload(self) -> None:
        """Load the page again, as somebody does who wonders whether it still works."""
        self.command("docmanager:save")
        self.page.reload()
        self.settle()

    def theme(self, *, dark: bool) -> None:
        """Choose JupyterLab's theme."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name
        )
        light = "false" if dark else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

    def shut_down(self) -> None:
        """End the kernel, and leave the notebook."""
        self.page.evaluate(
            "async () => { try { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); }"
            " catch { /* it is gone already */ } }"
        )
        self.page.goto("about:blank")

    def settle(self) -> None:
        """Wait until the notebook is there and its kernel idle."""
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)
        self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell").first.wait_for(timeout=60_000)
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === 'idle'",
            timeout=60_000,
        )

    def command(self, name: str) -> None:
        """Do what a menu item does."""
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)

    def run(self) -> None:
        """Run all cells; raises what the first failing cell has raised."""
        self.command("notebook:run-all-cells")
        for cell in self.outputs():
            for output in cell:
                if output["output_type"] == "error":
                    raise AssertionError("\n".join(output["traceback"]))

    def run_cell(self, index: int) -> None:
        """Run one cell."""
        self.page.evaluate(
            """async index => {
                 const { content, sessionContext } = window.jupyterapp.shell.currentWidget;
                 content.activeCellIndex = index;
                 await window.jupyterapp.commands.execute("notebook:run-cell");
               }""",
            index,
        )

    def add(self, *cells: str) -> None:
        """Append cells, and run them."""
        self.page.evaluate(
            """async cells => {
                 const { content } = window.jupyterapp.shell.currentWidget;
                 for (const source of cells) {
                   const model = content.model.sharedModel;
                   model.insertCell(model.cells.length, { cell_type: "code", source });
                   content.activeCellIndex = content.widgets.length - 1;
                   await window.jupyterapp.commands.execute("notebook:run-cell");
                 }
               }""",
            list(cells),
        )

    def outputs(self) -> list[list[dict[str, Any]]]:
        """The outputs of all code cells, as they would be saved."""
        found: list[list[dict[str, Any]]] = self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets"
            ".filter(c => c.model.type === 'code').map(c => c.model.outputs.toJSON())"
        )
        return found

    def save(self) -> Any:
        """Save it as the menu does; returns what is on the disk."""
        self.command("docmanager:save")
        return nbformat.read(self._folder / self._name, as_version=4)

    def cell(self, index: int) -> Locator:
        """A cell, by its number from 0."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def ask(self, expression: str, code: str = "") -> str:
        """The repr of an expression in the kernel, without a cell."""
        reply = self.page.evaluate(
            """async ([code, expression]) => {
                 const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                 const future = kernel.requestExecute({code, silent: false, store_history: false,
                                                       user_expressions: {x: expression}});
                 return (await future.done).content; }""",
            [code, expression],
        )
        answer = (reply.get("user_expressions") or {}).get("x") or reply
        if answer.get("status") != "ok":
            raise AssertionError("\n".join(answer.get("traceback", [str(answer)])))
        return str(answer["data"]["text/plain"])

    def wait_for(self, expression: str, value: str = "True", timeout: float = 20) -> None:
        """Wait until an expression in the kernel has a value."""
        deadline = time.monotonic() + timeout
        while (found := self.ask(expression)) != value:
            if time.monotonic() > deadline:
                raise AssertionError(f"{expression} is {found}, not {value}, after {timeout} s")
            self.page.wait_for_timeout(100)

    def screenshot(self, name: str, locator: Locator | None = None) -> Path:
        """Keep a picture of the page, or of a part of it."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        (locator or self.page).screenshot(path=str(path))
        return path
