"""What is built: the two archives, what is in them, and what they do in an environment of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from golem_nb import __version__

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def run(*command: str | Path, cwd: Path, timeout: float = 300, **env: str) -> str:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("YAGNA_", "GOLEM_", "PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, made from the source archive, and that one."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "source", filter="data")
    (unpacked,) = (folder / "source").iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=unpacked)
    (wheel,) = folder.glob("*.whl")
    return wheel, source


def test_the_wheel_has_the_package_and_nothing_else(archives: tuple[Path, Path]) -> None:
    wheel, _ = archives
    assert wheel.name == f"golem_nb-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f"golem_nb-{__version__}.dist-info/METADATA").decode()
        entries = archive.read(f"golem_nb-{__version__}.dist-info/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {"golem_nb", f"golem_nb-{__version__}.dist-info"}
    # all modules, the marker of types, and the browser's half without its tests
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "golem_nb").rglob("*.py")}
    assert here <= set(names)
    assert "golem_nb/py.typed" in names
    static = {Path(name).name for name in names if name.startswith("golem_nb/ui/static/")}
    browser = {path.name for path in (ROOT / "widgets").iterdir() if path.suffix in (".js", ".css")}
    assert static == {name for name in browser if not name.endswith(".test.js")}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    # nobody who installs it gets the tools of the tests
    needed = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert len([line for line in needed if "extra ==" not in line]) == len(project["dependencies"])
    assert set(re.findall(r"^Provides-Extra: (.*)$", metadata, re.MULTILINE)) == {"dev", "docs", "test"}
    assert "golem-nb = golem_nb.__main__:main" in entries
    # an index has none of the files that README.md leads to
    described = metadata.partition("\n\n")[2]
    assert described.startswith("# golem_nb")
    assert len(described) > 0.7 * len(README.read_text("utf-8"))
    assert re.findall(r"\]\((?!https?:)|<(?:img|picture|source)", described) == []


def test_the_source_archive_has_what_it_takes_to_go_on(archives: tuple[Path, Path]) -> None:
    _, source = archives
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = run("git", "ls-files", cwd=ROOT).splitlines() if (ROOT / ".git").exists() else []
    # what a code host and a CI service want is of no use in an archive
    wanted = {name for name in tracked if not name.startswith(".")}
    assert wanted <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("docs/_build")]


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "golem_nb/_version.py"


@pytest.fixture(scope="module")
def installed(archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with only the wheel, and what that asks for."""
    wheel, _ = archives
    folder = tmp_path_factory.mktemp("fresh")
    uv = Path(sys.executable).parent / "uv"
    run(uv, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, wheel, cwd=folder)
    return python


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_only_golem_nb_is_there_to_import(installed: Path, tmp_path: Path) -> None:
    said = run(
        installed,
        "-c",
        "import importlib.metadata as m, json;"
        "print(json.dumps(sorted({str(f).split('/')[0] for f in m.files('golem-nb')})))",
        cwd=tmp_path,
    )
    places = [name for name in json.loads(said) if not name.endswith(".dist-info") and name != ".."]
    assert places == ["golem_nb"]
    code = (
        "import golem_nb, golem_nb.ui.assets as assets;"
        "print(golem_nb.__version__, len(assets.script('card.js')) > 999)"
    )
    assert run(installed, "-c", code, cwd=tmp_path).split() == [__version__, "True"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_entry_points_work(installed: Path, tmp_path: Path) -> None:
    program = installed.parent / "golem-nb"
    assert run(program, "--version", cwd=tmp_path).strip() == f"golem-nb {__version__}"
    assert run(installed, "-m", "golem_nb", "--version", cwd=tmp_path).strip() == f"golem-nb {__version__}"
    assert "demo" in run(program, "--help", cwd=tmp_path)


@pytest.mark.localnet
@pytest.mark.timeout(400)
def test_the_first_code_of_the_readme_works_with_only_the_wheel(installed: Path, tmp_path: Path) -> None:
    script = Path(__file__).with_name("readme.py")
    said = run(installed, script, README, cwd=tmp_path, GOLEM_NB_DATA_DIR=str(tmp_path / "data"))
    assert set(said.splitlines()) == {f"{19 * n} characters, {6 * n} words" for n in range(1, 11)}
