from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from golem_nb.ui import assets
from tests.programs import missing, needed

WIDGETS = Path(__file__).parent.parent.parent / "widgets"
PANELS = ("card", "progress", "market", "cluster", "dashboard", "terminal", "figure")


@pytest.mark.parametrize("name", PANELS)
def test_the_parts_make_one_module(name: str) -> None:
    source = assets.script(f"{name}.js")
    assert source.count("export default") == 1
    assert "\nimport " not in source
    assert "\nexport {" not in source
    node = needed("node", "nodejs")
    done = subprocess.run(
        [node, "--check", "--input-type=module"],
        input=source,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PANELS[:-1])
def test_the_style_has_what_all_share(name: str) -> None:
    style = assets.style(f"{name}.css")
    assert "--gnb-bg" in style
    assert f".gnb-{name}" in style
    assert "url(" not in style
    assert "@import" not in style


def test_a_damaged_installation_is_told() -> None:
    with pytest.raises(FileNotFoundError, match="Install it again"):
        assets.read("nothing.js")


def test_the_tests_of_the_browser_half_pass() -> None:
    node = needed("node", "nodejs")
    done = subprocess.run(
        [node, "--test", *map(str, sorted(WIDGETS.glob("*.test.js")))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.slow
def test_the_types_of_the_browser_half_are_right() -> None:
    npx = needed("npx", "npm")
    # a version of its own, from the registry or from npm's cache
    command = [
        npx,
        "--yes",
        "--prefer-offline",
        "--package",
        "typescript@5.9",
        "tsc",
        "--project",
        str(WIDGETS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    if done.returncode and "error TS" not in done.stdout:
        missing(f"The checker of types could not be had: {(done.stderr or done.stdout)[-400:]}")
    assert done.returncode == 0, done.stdout[-4000:]
