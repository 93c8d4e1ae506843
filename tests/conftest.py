"""The local Golem network that the tests share: one a test process, started when the first test wants it."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from golem_nb.config import ApiConfig
    from golem_nb.localnet import LocalNetwork


# for `make test-fast`: what takes thought is left to `make test`
settings.register_profile("fast", max_examples=25)

#: Fixtures that start daemons.
DAEMONS = {"daemon", "network", "noting", "scan", "solo_network", "unruly"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses a network or a daemon is marked so."""
    for item in items:
        if DAEMONS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.localnet)


class DaemonGuard:
    """Refuses daemons to tests that are not marked: it is the mark that `make test-fast` goes by."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None

    def pytest_runtest_logstart(self) -> None:
        self.item = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.item = item

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "subprocess.Popen" or self.item is None:
            return
        command = " ".join(map(str, arguments[1]))
        # a network's supervisor, and what every daemon of ours is started with
        starts = "-m golem_nb.localnet.supervisor" in command or "--disable-metrics-push" in command
        if starts and not self.item.get_closest_marker("localnet"):
            raise AssertionError(f"{self.item.nodeid} starts a daemon: mark it with localnet")


def pytest_configure(config: pytest.Config) -> None:
    """Look at each program that a test starts; the hook ends with the process."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # a shell lets what runs in its background ignore Ctrl-C, and the programs of tests would inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)
    guard = DaemonGuard()
    config.pluginmanager.register(guard)
    sys.addaudithook(guard.audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what the network's providers have complained of."""
    report = yield
    if report.failed:
        for name in DAEMONS & set(getattr(item, "funcargs", ())):
            logs = getattr(item.funcargs[name], "logs", None)  # type: ignore[attr-defined]
            if isinstance(logs, Path) and (log := logs / "providers.log").exists():
                lines = re.findall(
                    r"^.* (?:WARNING|ERROR) .*$", log.read_text(errors="replace"), re.MULTILINE
                )
                shown = "\n".join(line[:500] for line in lines[-20:])
                report.sections.append((f"last complaints of the providers of {name!r}", shown or "none"))
    return report


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network of three well-behaved providers."""
    from golem_nb.localnet import LocalNetwork

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        with LocalNetwork(providers=3) as network:
            yield network


@pytest.fixture
def api_config(network: LocalNetwork) -> ApiConfig:
    """Address and key of the requestor's daemon."""
    return network.api_config


@pytest.fixture
def on_network(network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> LocalNetwork:
    """The environment that a program on the network has."""
    for name, value in network.env.items():
        monkeypatch.setenv(name, value)
    return network
