from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from golem_nb.localnet import LocalNetworkError
from golem_nb.localnet.fleet import default_specs
from golem_nb.localnet.folders import Descriptor, NetworkFolder, all_folders, data_root, fresh_name, sweep


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    return tmp_path


DESCRIPTOR = Descriptor(
    name="one",
    supervisor=1,
    control=Path("/run/control.sock"),
    api_url="http://127.0.0.1:1",
    app_key="secret",
    requestor="0xa",
    bus=Path("/run/bus.sock"),
    requestor_folder=Path("/data/requestor"),
    registry_url="http://127.0.0.1:2",
    subnet="public",
    providers={"amber": "0xb"},
)


def test_where_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_root() == root / "localnet"
    monkeypatch.delenv("GOLEM_NB_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(root / "xdg"))
    assert data_root() == root / "xdg" / "golem_nb" / "localnet"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a b", ".hidden", "x" * 65, "a\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(LocalNetworkError, match="cannot name a network"):
        NetworkFolder(name)


def test_a_descriptor_is_private_and_hides_its_key() -> None:
    folder = NetworkFolder("one")
    lock = folder.lock()
    assert folder.is_running()
    assert folder.read() is None
    folder.write(DESCRIPTOR)
    assert folder.read() == DESCRIPTOR
    assert "secret" not in repr(DESCRIPTOR)
    assert (folder.path / "network.json").stat().st_mode & 0o777 == 0o600
    folder.forget()
    assert folder.read() is None
    lock.release()
    assert not folder.is_running()
    (folder.path / "network.json").write_text('{"name": 1}')
    assert folder.read() is None


def test_only_failed_starts_of_long_ago_are_swept(root: Path) -> None:
    for name in ("old", "kept", "dead", "fresh", "running"):
        NetworkFolder(name).lock().release()
    NetworkFolder("kept").keep({"agreements": ["1"]})
    NetworkFolder("dead").write(DESCRIPTOR)
    lock = NetworkFolder("running").lock()
    for name in ("old", "kept", "dead", "running"):
        os.utime(NetworkFolder(name).path, (0, time.time() - 2 * 24 * 3600))
    sweep()
    lock.release()
    assert [folder.name for folder in all_folders()] == ["dead", "fresh", "kept", "running"]


def test_fresh_names_are() -> None:
    assert fresh_name() != fresh_name()


def test_default_providers_differ() -> None:
    specs = default_specs(25)
    assert len({spec.name for spec in specs}) == 25
    assert len({(spec.start_price, spec.price_per_second, spec.price_per_cpu_second) for spec in specs}) == 25
    assert len({(spec.cpu_threads, spec.mem_gib) for spec in specs}) > 2
