"""Other SDKs from their registries, installed once into a folder that is not part of the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Ignored by git, and removed by `make clean`.
HOME = ROOT / ".nox" / "peers"

YAPAPI = "0.13.1"
GOLEM_JS = "3.6.0"
_INSTALL_TIMEOUT = 600


class PeerError(Exception):
    """Another SDK cannot be installed; the text says why."""


def yapapi() -> Path:
    """Install yapapi, with a stand-in for the program `gftp` that it needs, and return the Python to run it.

    Raises
    ------
    PeerError
        pip could not install it.
    """
    folder = HOME / f"yapapi-{YAPAPI}-py{sys.version_info.major}{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if _is_complete(folder):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=True)
    _run([python, "-m", "pip", "install", "--quiet", f"yapapi=={YAPAPI}"], folder)
    gftp = folder / "bin" / "gftp"
    gftp.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m benchmarks.gftp "$@"\n')
    gftp.chmod(0o755)
    _complete(folder)
    return python


def golem_js() -> Path:
    """Install golem-js and return the folder with its `node_modules`.

    Raises
    ------
    PeerError
        There is no `npm`, or it could not install the package.
    """
    folder = HOME / f"golem-js-{GOLEM_JS}"
    if _is_complete(folder):
        return folder
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise PeerError("golem-js needs Node.js: install `node` and `npm`")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"private": true}\n')
    _run([npm, "install", "--no-audit", "--no-fund", "--silent", f"@golem-sdk/golem-js@{GOLEM_JS}"], folder)
    _complete(folder)
    return folder


def _is_complete(folder: Path) -> bool:
    return (folder / ".complete").exists()


def _complete(folder: Path) -> None:
    (folder / ".complete").touch()


def _run(command: list[str | Path], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"{command[0]} has not ended after {_INSTALL_TIMEOUT} s") from error
    if done.returncode:
        output = (done.stderr or done.stdout).strip()
        raise PeerError(f"{' '.join(map(str, command))} failed:\n{output[-2000:]}")
