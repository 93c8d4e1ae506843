from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from golem_nb.node import FolderInUseError
from golem_nb.node.lock import FolderLock


def test_never_two_on_one_folder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "data")
    with pytest.raises(FolderInUseError) as caught:
        FolderLock(tmp_path / "data")
    assert caught.value.folder == tmp_path / "data"
    assert caught.value.pid == os.getpid()
    assert str(os.getpid()) in str(caught.value)
    assert str(tmp_path / "data") in str(caught.value)
    lock.release()
    lock.release()
    FolderLock(tmp_path / "data").release()


def test_the_folder_is_private(tmp_path: Path) -> None:
    FolderLock(tmp_path / "data").release()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_child_that_inherits_it_keeps_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]
    )
    lock.note(child.pid)
    lock.release()
    with pytest.raises(FolderInUseError) as caught:
        FolderLock(tmp_path)
    assert caught.value.pid == child.pid
    child.communicate(b"\n")
    FolderLock(tmp_path).release()
