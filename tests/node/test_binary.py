from __future__ import annotations

import sys
from pathlib import Path

import pytest

from golem_nb.node import NodeError, YagnaNotFoundError, YagnaTooOldError, find_yagna
from golem_nb.node.binary import MINIMUM_VERSION


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter's folder and a PATH in which there is no yagna."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_that_of_the_wheel_is_found() -> None:
    found = find_yagna()
    assert found.path.exists()
    assert tuple(map(int, found.version.split(".")))[:2] >= MINIMUM_VERSION


def test_none_at_all_names_the_places_and_the_remedy(elsewhere: Path) -> None:
    with pytest.raises(YagnaNotFoundError, match="pip install") as caught:
        find_yagna()
    assert str(elsewhere / "yagna") in str(caught.value)


def test_too_old_names_versions_and_remedy(elsewhere: Path) -> None:
    program(elsewhere / "yagna", "yagna 0.16.3 (abc 2024-01-01)")
    with pytest.raises(YagnaTooOldError, match=r"is yagna 0\.16\.3; 0\.17 or newer.*pip install"):
        find_yagna()


def test_a_newer_one_on_path_wins_over_an_older_beside_the_interpreter(elsewhere: Path) -> None:
    program(elsewhere / "yagna", "yagna 0.16.3")
    newer = program(elsewhere / "bin" / "yagna", "yagna 0.18.0-rc1")
    assert find_yagna().path == newer
    assert find_yagna().version == "0.18.0"


def test_another_program_of_that_name(elsewhere: Path) -> None:
    program(elsewhere / "yagna", "hello")
    with pytest.raises(NodeError, match=r"does not tell its version: 'hello"):
        find_yagna()
