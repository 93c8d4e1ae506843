"""The other Python versions: `nox` runs what is worth running on each of them."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.12", "3.13"])
def versions(session: nox.Session) -> None:
    """All tests without a daemon, and one batch on the local network."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-q", "-m", "not localnet", "-n", "2", *session.posargs)
    session.run("golem-nb", "demo", "--json")
