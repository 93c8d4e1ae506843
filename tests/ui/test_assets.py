from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from golem_nb.ui import assets

WIDGETS = Path(__file__).parent.parent.parent / "widgets"
PANELS = ("card", "progress", "market", "cluster", "dashboard", "terminal", "figure")


@pytest.mark.parametrize("name", PANELS)
def test_the_parts_make_one_module(name: str) -> None:
    source = assets.script(f"{name}.js")
    assert source.count("export default") == 1
    assert "\nimport " not in source
    assert "\nexport {" not in source
    node = shutil.which("node")
    if node is None:
        pytest.skip("node.js is not here: the module cannot be parsed")
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
    node = shutil.which("node")
    if node is None:
        pytest.skip("node.js is not here")
    done = subprocess.run(
        [node, "--test", *map(str, sorted(WIDGETS.glob("*.test.js")))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
