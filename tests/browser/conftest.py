"""JupyterLab and Chromium, one of each for the tests of a module; a notebook for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.harness import Browser, Notebook, browser, chromium, jupyter
from tests.programs import missing

# a machine that builds something else at the same time is slow
expect.set_options(timeout=20_000)

#: What JupyterLab complains about when a kernel goes, and widgets that it has known with it; and what
#: anywidget says on a machine so busy that a module takes two seconds, which panels get over.
HARMLESS = (
    "Canceled",
    "kernel",
    "Kernel",
    "widget model not found",
    "[anywidget] Failed to initialize model.",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They share a browser, so they run one after the other, and on one worker."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where Chromium is; who has none skips these tests."""
    try:
        return chromium()
    except RuntimeError as error:
        missing(str(error))


@pytest.fixture(scope="module")
def lab_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the notebooks."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def lab_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what kernels keep: ledgers, and networks that are shared."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def lab(
    chromium_path: str, lab_root: Path, lab_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Address of a JupyterLab."""
    environment = {"GOLEM_NB_DATA_DIR": str(lab_data)}
    with jupyter(lab_root, tmp_path_factory.mktemp("jupyter"), environment=environment) as url:
        yield url


@pytest.fixture(scope="module")
def page(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A page of a browser."""
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def notebook(
    lab: str, lab_root: Path, page: Browser, request: pytest.FixtureRequest
) -> Iterator[Callable[[Sequence[str]], Notebook]]:
    """Open a notebook, run its cells, and see at the end that nothing has left this machine or broken."""
    page.foreign.clear()
    page.errors.clear()
    opened: list[Notebook] = []

    def open(cells: Sequence[str], *, dark: bool = False) -> Notebook:
        name = f"{request.node.name.replace('[', '-').replace(']', '')}.ipynb"
        found = Notebook(page, lab, lab_root).open(cells, name)
        opened.append(found)
        found.theme(dark=dark)
        found.run()
        return found

    yield open
    for found in opened:
        found.shut_down()
    assert page.foreign == []
    assert [text for text in page.errors if not any(word in text for word in HARMLESS)] == []
