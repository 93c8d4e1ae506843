"""The commands a script is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from golem_nb.script.base import Command, text
from golem_nb.script.capture import CaptureContext
from golem_nb.script.transfer import (
    DownloadBytes,
    DownloadFile,
    DownloadJson,
    UploadBytes,
    UploadFile,
    UploadJson,
)

if TYPE_CHECKING:
    from golem_nb.script.progress import ProgressArgs

__all__ = [
    "Command",
    "Deploy",
    "DownloadBytes",
    "DownloadFile",
    "DownloadFromUrl",
    "DownloadJson",
    "Run",
    "Start",
    "Terminate",
    "UploadBytes",
    "UploadFile",
    "UploadJson",
]

_STREAM = CaptureContext("stream")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SHOWN = 300
"""Characters of a command that appear in messages: a script may carry whole programs in its arguments."""


class Deploy(Command):
    """Prepare the runtime: fetch the image, join networks, make volumes.

    Parameters
    ----------
    **kwargs
        Passed on: ``net`` (what `Node.get_deploy_args` gives), ``volumes`` (a list of paths, or a mapping of
        paths to what they are kept in), ``env`` (variables for the whole container), ``hosts``, ``hostname``.
        ``progress_args`` (`ProgressArgs`) asks the provider to report its progress.
    """

    def __init__(self, *, progress_args: ProgressArgs | None = None, **kwargs: Any) -> None:
        self.kwargs = kwargs
        if progress_args is not None:
            self.kwargs["progress"] = progress_args.to_dict()

    def evaluate(self) -> dict[str, Any]:
        """The command as the exe-unit reads it."""
        return {"deploy": self.kwargs}


class Start(Command):
    """Start the deployed runtime.

    Parameters
    ----------
    *args
        Arguments of the runtime (the virtual machine needs none).
    """

    def __init__(self, *args: str) -> None:
        self.args = tuple(text(arg, "an argument of start()") for arg in args)

    def evaluate(self) -> dict[str, Any]:
        """The command as the exe-unit reads it."""
        return {"start": {"args": list(self.args)}}

    def __str__(self) -> str:
        return f"Start {self.args!r}"


class Terminate(Command):
    """End the runtime, and with it the activity."""

    def evaluate(self) -> dict[str, Any]:
        """The command as the exe-unit reads it."""
        return {"terminate": {}}


class Run(Command):
    """Run a program of the image.

    Parameters
    ----------
    cmd
        Path of the program on the provider.
    *args
        Its arguments.
    env
        Environment variables to add.
    stderr, stdout
        How the output is captured; streamed unless said otherwise.

    Raises
    ------
    TypeError
        Something is not a string.
    ValueError
        A variable's name cannot be one.
    """

    def __init__(
        self,
        cmd: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        stderr: CaptureContext | None = None,
        stdout: CaptureContext | None = None,
    ) -> None:
        self.cmd = cmd if type(cmd) is str else text(cmd, "the command of run()")
        for arg in args:
            if type(arg) is not str:
                args = tuple(text(arg, "an argument of run()") for arg in args)
                break
        self.args = args
        self.env = dict(env) if env else {}
        self.stderr = stderr or _STREAM
        self.stdout = stdout or _STREAM
        if self.env:
            self._check_env()

    def _check_env(self) -> None:
        variables: Iterable[tuple[object, object]] = self.env.items()
        for name, value in variables:
            if not isinstance(name, str) or not _ENV_NAME.match(name):
                raise ValueError(
                    f"{name!r} cannot be the name of an environment variable: use letters, digits and _"
                )
            if not isinstance(value, str):
                raise TypeError(
                    f"environment variable {name} must be a string, not {type(value).__name__}: use str(…)"
                )
            if "\0" in value:
                raise ValueError(f"environment variable {name} holds a NUL character")
        if "=" in self.cmd:
            raise ValueError(
                f"a command with '=' in its path cannot be run with env=…: {self.cmd[:_SHOWN]!r}; "
                "set the variables in a shell script instead"
            )

    def evaluate(self) -> dict[str, Any]:
        """The command as the exe-unit reads it."""
        entry_point, args = self.cmd, list(self.args)
        if self.env:
            # the exe-unit's `run` has no environment of its own
            args = [*(f"{name}={value}" for name, value in self.env.items()), entry_point, *args]
            entry_point = "/usr/bin/env"
        return {
            "run": {
                "entry_point": entry_point,
                "args": args,
                "capture": {"stdout": self.stdout.to_dict(), "stderr": self.stderr.to_dict()},
            }
        }

    def __str__(self) -> str:
        shown = f"Run {self.cmd} {self.args!r}" if self.args else f"Run {self.cmd}"
        return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


class DownloadFromUrl(Command):
    """Have the provider fetch a file from a web server; nothing passes through this machine.

    Parameters
    ----------
    src_url
        Where the provider finds the file: ``http://…`` or ``https://…``.
    dst_path
        Where to put it on the provider.
    progress_args
        Asks the provider to report its progress.

    Raises
    ------
    ValueError
        `src_url` is not a URL of a web server.
    """

    def __init__(self, src_url: str, dst_path: str, progress_args: ProgressArgs | None = None) -> None:
        self.src_url = text(src_url, "src_url of download_from_url()")
        self.dst_path = text(dst_path, "dst_path of download_from_url()")
        self.progress_args = progress_args
        parts = urlsplit(self.src_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(
                f"{self.src_url[:_SHOWN]!r} is not the URL of a web server: use http://… or https://…, "
                "or upload_file() for a file of this machine"
            )

    def evaluate(self) -> dict[str, Any]:
        """The command as the exe-unit reads it."""
        transfer: dict[str, Any] = {"from": self.src_url, "to": f"container:{self.dst_path}"}
        if self.progress_args is not None:
            transfer["progress"] = self.progress_args.to_dict()
        return {"transfer": transfer}

    def __str__(self) -> str:
        return f"DownloadFromUrl {self.src_url[:_SHOWN]} to {self.dst_path}"
