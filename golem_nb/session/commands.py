"""Shell commands over the items of a batch."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from golem_nb.rest.activity import BatchError, CommandExecutionError
from golem_nb.script.errors import CommandNotExecutedError
from golem_nb.session.errors import ItemError
from golem_nb.session.item import Item, Outcome
from golem_nb.session.template import Template
from golem_nb.session.work import EagerDownload
from golem_nb.storage import TransferError
from golem_nb.ui.text import clean

if TYPE_CHECKING:
    from golem_nb.events import CommandExecuted
    from golem_nb.script import Script

__all__ = ["INPUT", "CommandWork"]

#: Where the files go that are items themselves.
INPUT = "/golem/input"

#: What no command and no path on a provider can have: ends of texts, and halves of characters.
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")

_EXIT_CODE = re.compile(r"\bcode\W{0,3}(-?\d{1,9})\b")


class CommandWork:
    """One shell command an item, with files to and fro.

    Parameters
    ----------
    command
        The command.
    inputs
        Files to send: from a path here to one there, both may have places; those without are sent once an
        activity.
    outputs
        Files to fetch: from a path there to one here, both may have places.

    Raises
    ------
    TypeError
        Something is not a text or a path.
    """

    kind = "run"
    #: Some exe-units have limits on the size of a script.
    most = 200

    def __init__(
        self,
        command: str,
        inputs: Mapping[str | Path, str] | None = None,
        outputs: Mapping[str, str | Path] | None = None,
    ) -> None:
        if not isinstance(command, str):
            raise TypeError(f"command must be a text, not {type(command).__name__}: {command!r:.100}")
        self._command = Template(command)
        self._inputs = [(_path(here), _text(there)) for here, there in (inputs or {}).items()]
        self._outputs = [(_text(there), _path(here)) for there, here in (outputs or {}).items()]

    def check(self, items: Sequence[Any]) -> None:
        """Look whether every item fits, before anything is spent.

        Raises
        ------
        TemplateError
            An item does not have what a place is for.
        FileNotFoundError
            A file to send does not exist.
        IsADirectoryError
            A file would be fetched to where a folder is.
        ItemError
            Two files would be in the same place, or a text cannot be sent.
        """
        targets: dict[str, int] = {}
        common: dict[str, Path] = {}
        for here, there in self._inputs:
            if here.constant:
                _existing(Path(here.text))
                _alone(common, Path(here.text), there.text, None)
        for index, item in enumerate(items):
            _sendable(self._command.fill(item, index), index)
            sent = dict(common)
            for path, place in self._to_send(item, index):
                _existing(path)
                _sendable(place, index)
                _alone(sent, path, place, index)
            for source, target in self._to_fetch(item, index):
                _sendable(source, index)
                if (other := targets.setdefault(str(target), index)) != index:
                    raise ItemError(
                        f"items {other} and {index} would both be fetched to {target}: give `outputs` a "
                        "place such as {index} in the path here",
                        index=index,
                    )
                if target.is_dir():
                    raise IsADirectoryError(
                        f"{target} is a folder: `outputs` needs the path of the file that {source} becomes"
                    )
                target.parent.mkdir(parents=True, exist_ok=True)

    def prepare(self, script: Script) -> None:
        """Send the files that all items need."""
        for here, there in self._inputs:
            if here.constant:
                script.upload_file(here.text, there.text)

    def pack(self, script: Script, items: Sequence[Item]) -> _Commands:
        """Add the commands of some items."""
        return _Commands(script, [self._steps(script, item) for item in items])

    def _steps(self, script: Script, item: Item) -> _Steps:
        before = [script.upload_file(path, there) for path, there in self._to_send(item.data, item.index)]
        run = script.run("/bin/sh", "-c", self._command.fill(item.data, item.index))
        files = []
        for there, here in self._to_fetch(item.data, item.index):
            download = EagerDownload(there, here)
            files.append((download, script.add(download)))
        return _Steps(item, before, run, files)

    def _to_send(self, item: Any, index: int) -> Iterator[tuple[Path, str]]:
        for path in _paths(item):
            yield path, f"{INPUT}/{path.name}"
        for here, there in self._inputs:
            if not here.constant:
                yield Path(_whole(here, item, index)), there.fill(item, index)

    def _to_fetch(self, item: Any, index: int) -> Iterator[tuple[str, Path]]:
        for there, here in self._outputs:
            yield there.fill(item, index), Path(here.fill(item, index))


@attrs.frozen
class _Steps:
    """The commands of one item."""

    item: Item
    uploads: list[Awaitable[CommandExecuted]]
    run: Awaitable[CommandExecuted]
    files: list[tuple[EagerDownload, Awaitable[CommandExecuted]]]


class _Commands:
    """The items of one script."""

    overhead = 0.0
    warms_up = False

    def __init__(self, script: Script, steps: list[_Steps]) -> None:
        self._script = script
        self._steps = steps

    async def outcomes(self) -> AsyncIterator[tuple[Item, Outcome | Exception]]:
        """Give each item with what has become of it."""
        for steps in self._steps:
            try:
                yield steps.item, await self._outcome(steps)
            except CommandNotExecutedError:
                return
            except (BatchError, TransferError) as error:
                yield steps.item, self._explained(steps.item, error)
                return

    async def _outcome(self, steps: _Steps) -> Outcome:
        for upload in steps.uploads:
            await upload
        event = await steps.run
        for download, outcome in steps.files:
            await download.arrived(outcome)
        stdout, stderr = _decoded(event.stdout), _decoded(event.stderr)
        return Outcome(
            value=stdout,
            stdout=stdout,
            stderr=stderr,
            exit_code=0,
            files=tuple(Path(download.dst_path) for download, _ in steps.files),
            cut=None if not _is_cut(event.message) else clean(event.message),
        )

    def _explained(self, item: Item, error: Exception) -> Exception:
        """Say what an item has failed with, and keep what its command has printed."""
        if not isinstance(error, CommandExecutionError):
            return error
        event = self._script.results[-1] if self._script.results else None
        if event is None or event.success or not error.command.startswith("Run"):
            return error
        item.stdout, item.stderr = _decoded(event.stdout), _decoded(event.stderr)
        found = _EXIT_CODE.search(event.message or "")
        item.exit_code = None if found is None else int(found[1])
        code = "failed" if item.exit_code is None else f"exited with code {item.exit_code}"
        said = (item.stderr or item.stdout or "").strip()
        failure = ItemError(f"the command {code}" + (f": {said[-500:]}" if said else ""), index=item.index)
        failure.__cause__ = error
        return failure


def _is_cut(message: str | None) -> bool:
    """Whether a provider says that a command which has succeeded has printed more than it keeps.

    Those of local networks say it. Others need not: how much an exe-unit keeps is agreed on nowhere, so that
    no size tells it either.
    """
    return message is not None and message.startswith("The output was longer")


def _decoded(output: str | bytes | None) -> str | None:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output


def _text(value: object) -> Template:
    if not isinstance(value, str):
        raise TypeError(f"a provider's path must be a text, not {type(value).__name__}: {value!r:.100}")
    return Template(value, quote=False)


def _path(value: object) -> Template:
    if not isinstance(value, str | Path):
        raise TypeError(f"a path must be a text or a Path, not {type(value).__name__}: {value!r:.100}")
    return Template(str(value), quote=False)


def _paths(item: Any) -> Iterator[Path]:
    """Give the files that an item consists of."""
    if isinstance(item, Path):
        yield item
    elif isinstance(item, Mapping):
        yield from (value for value in item.values() if isinstance(value, Path))
    elif isinstance(item, tuple | list):
        yield from (value for value in item if isinstance(value, Path))


def _whole(here: Template, item: Any, index: int) -> str:
    """Fill a path of this machine, in which a path stands for itself and not only for its name."""
    if isinstance(item, Path):
        item = str(item)
    elif isinstance(item, Mapping):
        item = {key: str(value) if isinstance(value, Path) else value for key, value in item.items()}
    elif isinstance(item, tuple | list):
        item = [str(value) if isinstance(value, Path) else value for value in item]
    return here.fill(item, index)


def _alone(places: dict[str, Path], path: Path, place: str, index: int | None) -> None:
    """Take note of a file that is sent; two in one place would be one, and nobody would be told."""
    if (other := places.setdefault(place, path)) != path:
        raise ItemError(
            f"{other} and {path} would both be sent to {place}"
            + ("" if index is None else f" for item {index}")
            + ": give them different names, or send them with `inputs` to places of their own",
            index=index,
        )


def _sendable(text: str, index: int) -> None:
    """Refuse what no provider can be told."""
    if found := _UNSENDABLE.search(text):
        raise ItemError(
            f"item {index} cannot be sent to a provider: {text!r:.200} has the character {found[0]!r}, which "
            "no command and no path can have",
            index=index,
        )


def _existing(path: Path) -> None:
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"The file {path} {what}, so it cannot be sent to a provider")
