"""Where local networks keep what they need, and which of them there are."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any, Final

import attrs
import platformdirs

from golem_nb.localnet.errors import DataFolderError, LocalNetworkError
from golem_nb.node.errors import FolderInUseError
from golem_nb.node.lock import FolderLock

__all__ = [
    "SHARED",
    "Descriptor",
    "NetworkFolder",
    "all_folders",
    "data_root",
    "fresh_name",
    "make_root",
    "sweep",
]

#: The name of the network that `golem-nb up` starts.
SHARED: Final = "shared"

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")
_DESCRIPTOR: Final = "network.json"
_SETTINGS: Final = "settings.json"
_KEPT: Final = "unsettled.json"
_FAILED_FOR: Final = 24 * 3600.0


def data_root() -> Path:
    """Folder of all local networks: below `GOLEM_NB_DATA_DIR`, or the user's data folder."""
    base = os.environ.get("GOLEM_NB_DATA_DIR")
    return (Path(base) if base else platformdirs.user_data_path("golem_nb")).absolute() / "localnet"


def make_root() -> Path:
    """Make the folder of all local networks, if need be, and return it.

    Raises
    ------
    DataFolderError
        It cannot be made, or not be written.
    """
    root = data_root()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataFolderError(root, error.strerror or type(error).__name__) from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise DataFolderError(root, os.strerror(errno.EACCES))
    return root


def fresh_name() -> str:
    """Return a name that no network has."""
    return f"net-{secrets.token_hex(4)}"


@attrs.frozen
class Descriptor:
    """How to reach a running network; kept in its folder, readable for its owner only."""

    name: str
    supervisor: int
    control: Path
    api_url: str
    app_key: str = attrs.field(repr=False)
    requestor: str
    bus: Path
    requestor_folder: Path
    registry_url: str
    subnet: str
    providers: dict[str, str]
    warnings: list[str] = attrs.field(factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        return attrs.asdict(
            self, value_serializer=lambda _, __, value: str(value) if isinstance(value, Path) else value
        )

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Descriptor:
        """Read what `to_json` wrote."""
        paths = {key: Path(data[key]) for key in ("control", "bus", "requestor_folder")}
        return cls(**{**data, **paths})


class NetworkFolder:
    """The folder of one network.

    Parameters
    ----------
    name
        The network's name: letters, digits, dots, dashes and underscores.

    Raises
    ------
    LocalNetworkError
        The name cannot be a folder's.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise LocalNetworkError(
                f"{name!r} cannot name a network: use up to 64 letters, digits, dots, dashes and underscores"
            )
        self.name = name
        self.path = data_root() / name
        self.logs = self.path / "logs"

    def lock(self) -> FolderLock:
        """Take the folder, making it if needed.

        Raises
        ------
        FolderInUseError
            The network is running.
        DataFolderError
            It cannot be made.
        """
        make_root()
        return FolderLock(self.path)

    def is_running(self) -> bool:
        """Whether a supervisor has the folder."""
        if not self.path.is_dir():
            return False
        try:
            self.lock().release()
        except FolderInUseError:
            return True
        except FileNotFoundError:  # its supervisor has removed it at this moment
            return False
        return False

    def write(self, descriptor: Descriptor) -> None:
        """Leave the descriptor for others to find."""
        _write_private(self.path / _DESCRIPTOR, descriptor.to_json())

    def read(self) -> Descriptor | None:
        """Return the descriptor of the network if it is there; it may be a dead network's."""
        try:
            return Descriptor.from_json(json.loads((self.path / _DESCRIPTOR).read_text()))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def forget(self) -> None:
        """Take the descriptor away."""
        (self.path / _DESCRIPTOR).unlink(missing_ok=True)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Leave what the network consists of, to start it again."""
        _write_private(self.path / _SETTINGS, settings)

    def settings(self) -> dict[str, Any] | None:
        """Return what `write_settings` left."""
        try:
            settings: dict[str, Any] = json.loads((self.path / _SETTINGS).read_text())
        except (OSError, ValueError):
            return None
        return settings

    def keep(self, reason: dict[str, Any]) -> None:
        """Mark the folder as holding what is not settled yet."""
        _write_private(self.path / _KEPT, reason)

    def is_kept(self) -> bool:
        """Whether the folder holds what is not settled yet."""
        return (self.path / _KEPT).exists()

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def all_folders() -> list[NetworkFolder]:
    """Return the folders of all networks, running or not."""
    root = data_root()
    if not root.is_dir():
        return []
    return [NetworkFolder(path.name) for path in sorted(root.iterdir()) if _NAME.fullmatch(path.name)]


def sweep() -> None:
    """Remove what networks left that failed to start a day ago or earlier: only their logs are of use."""
    for folder in all_folders():
        with contextlib.suppress(OSError):
            old = time.time() - folder.path.stat().st_mtime > _FAILED_FOR
            if old and not folder.is_kept() and folder.read() is None and not folder.is_running():
                folder.remove()


def _write_private(path: Path, data: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(data, file, indent=1)
    temporary.replace(path)
