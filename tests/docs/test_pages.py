"""The documentation: it builds, its links lead somewhere, its code runs, its error texts are real."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

# helpers beside the tests: they are no package
sys.path.insert(0, str(Path(__file__).parent))

from public import members, modules, names, things

from golem_nb.__main__ import _parser
from golem_nb.localnet import LocalNetwork, down

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MAKEFILE = ROOT / "Makefile"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "guides").glob("*.md"))]

BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# -- the site ------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.ids: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(str(values["id"]))
        if tag == "a" and values.get("href"):
            self.links.add(str(values["href"]))
        elif values.get("href") or values.get("src"):
            self.loaded.add(str(values.get("href") or values.get("src")))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built anew, with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    # as `make docs` does it, but for the folder
    (options,) = re.findall(r"sphinx-build (.*) docs docs/_build/html$", MAKEFILE.read_text("utf-8"), re.M)
    assert "--fail-on-warning" in options
    where = ["-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *shlex.split(options), *where],
        # no way out: whatever would be fetched fails
        env={**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_links_inside_lead_somewhere(site: Path) -> None:
    # the theme leaves a template among its files
    pages = {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    assert len(pages) > 50
    broken = []
    for path, page in pages.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            known = pages.get(target)
            if not target.exists() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken, "\n".join(broken)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_names_that_pages_refer_to_are_in_the_reference(site: Path) -> None:
    # Sphinx says nothing of one that it does not find, and shows it as code; in docstrings that is right
    found = [
        (str(path.relative_to(site)), name, bool(link))
        for path in site.rglob("*.html")
        if "api" not in path.parts
        for link, name in re.findall(
            r'(<a [^>]*>)?<code class="xref py.*?>(.*?)</code>', path.read_text("utf-8")
        )
    ]
    assert len(found) > 5
    assert [(page, re.sub("<.*?>", "", name)) for page, name, link in found if not link] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_public_name_is_in_the_reference(site: Path) -> None:
    pages = list(site.glob("api/*.html"))
    anchors = {anchor for path in pages for anchor in Page(path).ids}
    described = {anchor.rpartition(".")[2] for anchor in anchors}
    # what has no docstring of its own, such as a constant, is in a table
    in_tables = {
        name.rpartition(".")[2]
        for path in pages
        for name in re.findall(r'<td>.*?<span class="pre">([\w.]+)</span>', path.read_text("utf-8"))
    }
    missing = []
    for module in map(importlib.import_module, modules()):
        for name in names(module):
            value = getattr(module, name)
            has_docstring = inspect.isclass(value) or inspect.isroutine(value)
            if name not in (
                described if has_docstring and module.__name__ != "golem_nb" else described | in_tables
            ):
                missing.append(f"{module.__name__}.{name}")
    # methods and properties, at their class or at the one that they are inherited from
    methods = {".".join(anchor.split(".")[-2:]) for anchor in anchors}
    for thing in things():
        if inspect.isclass(thing.value) and not issubclass(thing.value, enum.Enum):
            kinds = [kind.__name__ for kind in thing.value.__mro__]
            missing += [
                method.name
                for method in members(thing)
                if not any(f"{kind}.{method.name.rpartition('.')[2]}" in methods for kind in kinds)
            ]
    assert missing == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_defaults_are_values(site: Path) -> None:
    # not what autodoc finds in the `__init__` that attrs has written
    text = "".join(page.read_text("utf-8") for page in site.glob("api/*.html"))
    assert 'class="default_value"' in text
    assert re.findall(r"attr_dict|\bNOTHING\b|&lt;lambda|object at 0x", text) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    foreign = {link for path in site.rglob("*.html") for link in Page(path).loaded if urlsplit(link).netloc}
    assert foreign == set()


# -- what is printed in it -----------------------------------------------------------------------------------


def blocks(page: Path) -> list[str]:
    """The code of a page that is to be run; what is not says why, in a comment above it."""
    return [code for excuse, code in BLOCK.findall(page.read_text("utf-8")) if not excuse]


def is_program(code: str) -> bool:
    """Whether it is run as it is, by itself, and not as a cell."""
    return "asyncio.run(" in code


def named(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


WITH_CELLS = [page for page in PAGES if not all(map(is_program, blocks(page)))]
# what that of README.md prints is compared by tests/test_readme.py
WITH_PROGRAMS = [page for page in PAGES[1:] if any(map(is_program, blocks(page)))]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A kernel's environment, without a key, as on a new machine; sessions share a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        LocalNetwork.up(providers=3)
        yield {name: value for name, value in os.environ.items() if not name.startswith("YAGNA_")}
        down()


@pytest.mark.localnet
@named(WITH_CELLS)
def test_code_runs(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("one.md", "two.md"):
        (tmp_path / name).write_text("some words\n")
    cells = [new_code_cell(code) for code in blocks(page) if not is_program(code)]
    cells.append(new_code_cell("[session.stop() for session in [Session.find()] if session]"))
    cells[-1].source = "from golem_nb import Session\n" + cells[-1].source
    client = NotebookClient(
        new_notebook(cells=cells), timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=environment)
    nbformat.validate(client.nb)


@pytest.mark.localnet
@named(WITH_PROGRAMS)
def test_programs_run_by_themselves(page: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("YAGNA_")}
    for code in filter(is_program, blocks(page)):
        program = tmp_path / "program.py"
        program.write_text(code, "utf-8")
        done = subprocess.run(
            [sys.executable, str(program)],
            cwd=tmp_path,
            env={**env, "GOLEM_NB_DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


@named(PAGES)
def test_code_is_python(page: Path) -> None:
    for _, code in BLOCK.findall(page.read_text("utf-8")):
        compile(code, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)


@named(PAGES)
def test_commands_exist(page: Path) -> None:
    makefile = MAKEFILE.read_text("utf-8")
    for block in CONSOLE.findall(page.read_text("utf-8")):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["golem-nb"]:
                _parser().parse_args(words[1:])
            if words[:1] == ["make"]:
                assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:]), line


def test_error_texts_are_those_of_the_package() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "golem_nb").rglob("*.py"))
    # a text may go over several literals
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)
    texts = re.findall(r"^### `([^`]+)`", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)
    assert len(texts) > 20
    pythons_own = {"asyncio.run() cannot be called from a running event loop"}
    assert [text for text in texts if text not in joined and text not in pythons_own] == []


def test_variables_are_those_that_are_read() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "golem_nb").rglob("*.py"))
    for page in PAGES:
        for variable in re.findall(r"`((?:YAGNA|GOLEM)_[A-Z_]+)`", page.read_text("utf-8")):
            assert variable in sources, (page, variable)


def test_the_architecture_names_the_layers_in_their_order() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    order = {
        name.removeprefix("golem_nb.").strip(): rank
        for rank, layer in enumerate(contract["layers"])
        for name in layer.split(" | ")
    }
    text = (DOCS / "architecture.md").read_text("utf-8").partition("## Layers")[2].partition("## Threads")[0]
    rows = [re.findall(r"`(\w+)`", row.split("|")[2]) for row in text.splitlines() if row.startswith("| ")]
    named = [name for row in rows for name in row if name in order]
    assert set(named) == set(order)
    ranks = [[order[name] for name in row if name in order] for row in rows if row]
    for upper, lower in itertools.pairwise(ranks):
        assert max(upper) < min(lower)
