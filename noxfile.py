"""The other Python versions that are here: `nox` runs what is worth running on each of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
# the others take as long as the tests themselves
nox.options.sessions = ["versions"]

VERSIONS = ("3.11", "3.12", "3.13")

#: The tests that need no daemon.
FAST = ("-q", "-m", "not localnet and not slow and not browser", "-n", "2")
# where nothing that was compiled is kept, each of the many processes of a test run compiles everything anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def interpreter(version: str) -> str | None:
    """Find an interpreter of a version that really runs: on PATH, or where pyenv keeps them."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in filter(None, (shutil.which(f"python{version}"), *map(str, pyenv))):
        # a shim of pyenv is on PATH for versions that are not active, too, and then fails
        answer = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.stdout.strip() == version:
            return candidate
    return None


OTHERS = [version for version in VERSIONS if version != f"{sys.version_info.major}.{sys.version_info.minor}"]
FOUND = [path for path in map(interpreter, OTHERS) if path is not None]


@nox.session(python=FOUND or False)
def versions(session: nox.Session) -> None:
    """All tests without a daemon, and one batch on the local network."""
    if session.python is None:
        session.skip("no other Python version is here")
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *FAST, *session.posargs)
    session.run("golem-nb", "demo", "--json", "--folder", session.create_tmp())


@nox.session(python=False)
@nox.parametrize("version", ["6.29.5", "7.0.1"])
def kernels(session: nox.Session, version: str) -> None:
    """All tests in kernels, with an older ipykernel in place of the installed one."""
    folder = session.create_tmp()
    session.run(
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"),
        *("--python", sys.executable, "--target", folder, f"ipykernel=={version}"),
    )
    tests = session.posargs or ["tests/session/test_kernels.py"]
    session.run(sys.executable, "-m", "pytest", *tests, env={"PYTHONPATH": folder})


@nox.session(python=interpreter("3.11") or False)
def lowest(session: nox.Session) -> None:
    """The tests without a daemon, and one batch, with the oldest packages that are allowed."""
    if session.python is None:
        session.skip("the oldest Python that is supported is not here")
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    session.run("python", "-m", "pytest", *FAST, *session.posargs)
    session.run("golem-nb", "demo", "--json", "--folder", session.create_tmp())
