"""Where unix sockets may be."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from golem_nb.node.sockets import socket_folder

LONG = Path("/" + "long/" * 20)


def test_a_short_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert socket_folder(Path("/run/golem")) == Path("/run/golem")


@pytest.mark.parametrize("temporary", ["short", "long"])
def test_a_long_path_has_its_sockets_elsewhere(
    temporary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Path(tempfile.gettempdir()) if temporary == "short" else tmp_path / ("t" * 80)
    parent.mkdir(exist_ok=True)
    monkeypatch.setattr("tempfile.tempdir", str(parent))
    folder = socket_folder(LONG)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder.parent == parent) == (len(os.fsencode(parent)) <= 62)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / ("n" * 20)))
    (folder / ("n" * 20)).unlink()
    folder.rmdir()
