"""Python functions over the items of a batch."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import io
import json
import marshal
import statistics
import struct
import sys
import sysconfig
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from golem_nb.foreign_json import check_depth
from golem_nb.rest.activity import BatchError
from golem_nb.script.errors import CommandNotExecutedError
from golem_nb.session.errors import (
    ItemError,
    NotPicklableError,
    RemoteError,
    RemotePythonError,
    ResultError,
)
from golem_nb.session.item import Item, Outcome
from golem_nb.session.remote import codec
from golem_nb.session.work import EagerBytes
from golem_nb.storage import TransferError

if TYPE_CHECKING:
    from golem_nb.events import CommandExecuted
    from golem_nb.script import Script

__all__ = ["MapWork"]

#: A volume that images for Golem have.
FOLDER = "/golem/work"

BUNDLE, ITEMS, RESULTS = (f"{FOLDER}/.golem_nb_{name}" for name in ("bundle.zip", "items", "results"))

#: The results of one script, in bytes, unless said otherwise.
RESULT_LIMIT = 64 << 20

#: Headers beside the results, in bytes: an output of 64 KiB and a traceback for each of the most items.
HEADERS = 32 << 20

LONGEST_HEADER = 1 << 20


class MapWork:
    """Calls a function of each item on providers.

    Parameters
    ----------
    function
        The function, of one argument.
    trusted
        Whether results that have no safe encoding are unpickled here.
    limit
        The most bytes that results may have.

    Raises
    ------
    NotPicklableError
        The function cannot be sent.
    """

    kind = "map"
    most = 10_000

    def __init__(self, function: Callable[[Any], Any], *, trusted: bool, limit: int) -> None:
        if not callable(function):
            raise TypeError(f"the first argument must be a function, not {function!r:.100}")
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function.__name__} is a coroutine function: give a plain function, which may call "
                "asyncio.run() by itself"
            )
        self._trusted = trusted
        self._limit = limit
        self._bundle = _bundle(_pickled(function), trusted)
        self._pickles: list[bytes] = []

    def check(self, items: Sequence[Any]) -> None:
        """Pickle the items as they are now.

        Raises
        ------
        NotPicklableError
            An item cannot be sent.
        """
        for index, item in enumerate(items):
            try:
                self._pickles.append(_dumps(item, type(item)))
            except Exception as error:
                raise NotPicklableError(
                    f"Item {index} ({type(item).__name__}) cannot be sent to a provider: {error}"
                ) from error

    def prepare(self, script: Script) -> None:
        """Send the function, and what it takes to run it."""
        script.upload_bytes(self._bundle, BUNDLE)

    def pack(self, script: Script, items: Sequence[Item]) -> _Calls:
        """Have the function called for some items, by one process."""
        sources = ((item.index, self._pickles[item.index]) for item in items)
        data = b"".join(struct.pack(">IQ", index, len(source)) + source for index, source in sources)
        upload = script.upload_bytes(data, ITEMS)
        run = script.run(
            "/bin/sh",
            "-c",
            f": > {RESULTS}; P=$(command -v python3 || command -v python) || {{ echo none; exit 0; }}; "
            f'"$P" -I {BUNDLE} {ITEMS} {RESULTS} {self._limit}; echo "exit $?"',
        )
        download = EagerBytes(RESULTS, self._limit + HEADERS)
        return _Calls(self, items, upload, run, download, script.add(download))

    # -- what came back: nothing of it is to be believed --------------------------------------------------

    def outcome(self, item: Item, header: Mapping[str, Any], payload: bytes) -> Outcome | Exception:
        """Read the record of an item."""
        printed, seconds = header.get("stdout"), header.get("seconds")
        item.stdout = printed if isinstance(printed, str) else None
        if "encoding" not in header:
            return self._refusal(item, header)
        encoding = header["encoding"]
        try:
            value = self._decoded(item, encoding, payload)
        except ItemError as error:
            return error
        return Outcome(
            value=value,
            stdout=item.stdout or None,
            encoded=payload,
            encoding=encoding,
            seconds=float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else None,
        )

    def _decoded(self, item: Item, encoding: Any, payload: bytes) -> Any:
        if encoding == "pickle":
            if not self._trusted:
                raise ResultError(
                    "the provider has sent a pickle, which could run anything here: refused", index=item.index
                )
            import cloudpickle

            try:
                return cloudpickle.loads(payload)
            except Exception as error:
                raise ResultError(f"the result cannot be unpickled: {error}", index=item.index) from error
        try:
            return codec.decode(encoding, payload, bounded_loads)
        except codec.CodecError as error:
            raise ResultError(f"the result cannot be read: {error}", index=item.index) from error

    def _refusal(self, item: Item, header: Mapping[str, Any]) -> ItemError:
        kind, message = header.get("kind"), str(header.get("message"))[:4000]
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        error: ItemError
        match kind:
            case "python":
                error = RemotePythonError(
                    f"the function was made by Python {here}, and the provider's image has {message}, which "
                    "cannot run it: take an image with the same version"
                )
            case "package":
                error = RemotePythonError(
                    f"the provider's Python has no package {message!r}: take an image that has it, or, if it "
                    "is a module of yours, define the function in the notebook"
                )
            case "unpickle":
                error = RemotePythonError(f"the function could not be taken up on the provider: {message}")
            case "raised":
                error = RemoteError(
                    str(header.get("type"))[:200], message, str(header.get("traceback") or "")[:8000]
                )
            case "result":
                error = ResultError(
                    f"what the function returned cannot be sent back safely: {message}. Return JSON data, "
                    "bytes or numpy arrays, or, if you trust this job's providers with your kernel, pass "
                    "trust_results=True"
                )
            case "size":
                error = ResultError(
                    f"the result has {message} bytes, more than the limit of {self._limit}: pass a larger "
                    "`max_result`, or return less"
                )
            case _:
                error = ResultError("the provider has sent a record that makes no sense")
        error.index = item.index
        return error


class _Calls:
    """The items of one script."""

    warms_up = True

    def __init__(
        self,
        work: MapWork,
        items: Sequence[Item],
        upload: Awaitable[CommandExecuted],
        run: Awaitable[CommandExecuted],
        download: EagerBytes,
        downloaded: Awaitable[CommandExecuted],
    ) -> None:
        self._work = work
        self._items = items
        self._upload = upload
        self._run = run
        self._download = download
        self._downloaded = downloaded
        self._started = time.monotonic()
        self.overhead = 0.0

    async def outcomes(self) -> AsyncIterator[tuple[Item, Outcome | Exception]]:
        """Give each item with what has become of it."""
        try:
            await self._upload
            event = await self._run
            data = await self._download.arrived(self._downloaded)
        except CommandNotExecutedError:
            return
        except (BatchError, TransferError) as error:
            # which one it was nobody knows, but one has to count
            yield self._items[0], error
            return
        stdout = event.stdout.decode(errors="replace") if isinstance(event.stdout, bytes) else event.stdout
        waiting = {item.index: item for item in self._items}
        computed: list[float] = []
        for header, payload in _records(data):
            item = waiting.pop(header.get("index", -1), None) if _plain(header.get("index")) else None
            if item is None:
                break
            outcome = self._work.outcome(item, header, payload)
            if isinstance(outcome, Outcome):
                computed.append(outcome.seconds or 0.0)
            yield item, outcome
        # the first one may have imported packages: what it took more than others each process takes anew
        usual = statistics.median(computed[1:] or computed or [0.0])
        self.overhead = max(0.0, time.monotonic() - self._started - usual * len(computed))
        if (waiting and len(waiting) == len(self._items)) or (waiting and _exit_code(stdout) != 0):
            first = next(iter(waiting.values()))
            yield first, _died(stdout, event.stderr, first.index)


def bounded_loads(data: bytes) -> Any:
    """Parse JSON of a provider's, in which NaN may be a result."""
    text = data.decode()
    check_depth(text)
    return json.loads(text)


def _plain(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _records(data: bytes) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Give the records that are complete and make sense."""
    place = 0
    while place + 4 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        place += 4
        if length > LONGEST_HEADER or place + length > len(data):
            return
        try:
            header = bounded_loads(data[place : place + length])
        except (ValueError, RecursionError):
            return
        place += length
        size: Any = header.get("size") if isinstance(header, dict) else None
        if not _plain(size) or not 0 <= size <= len(data) - place:
            return
        yield header, data[place : place + size]
        place += size


def _exit_code(stdout: str | None) -> int | None:
    """Read the exit code that the shell has printed last."""
    last = (stdout or "").strip().rpartition("\n")[2]
    name, _, code = last.partition(" ")
    return int(code) if name == "exit" and code.lstrip("-").isdigit() and len(code) < 6 else None


def _died(stdout: str | None, stderr: str | bytes | None, index: int) -> ItemError:
    if (stdout or "").strip() == "none":
        return RemotePythonError("the provider's image has no Python: take one that has", index=index)
    code = _exit_code(stdout)
    said = stderr.decode(errors="replace") if isinstance(stderr, bytes) else stderr or ""
    ending = "ended" if code is None else f"ended with exit code {code}"
    return RemotePythonError(
        f"the provider's Python {ending} before there was a result, perhaps for want of memory"
        + (f": {said.strip()[-500:]}" if said.strip() else ""),
        index=index,
    )


# -- what is sent ------------------------------------------------------------------------------------------


def _pickled(function: Callable[[Any], Any]) -> bytes:
    try:
        return _dumps(function, function)
    except Exception as error:
        name = getattr(function, "__name__", repr(function))
        raise NotPicklableError(
            f"{name} cannot be sent to a provider: {error}. It must not refer to what lives in this process "
            "only, such as open files, locks or a session: pass what it needs as items, or make it inside."
        ) from error


def _dumps(value: Any, owner: Any) -> bytes:
    """Pickle a value; what it takes from the module of `owner` goes with its code if no provider has that."""
    import cloudpickle

    module = sys.modules.get(getattr(owner, "__module__", None) or "")
    if (
        module is None
        or not _is_own(module)
        or module.__name__ in cloudpickle.list_registry_pickle_by_value()
    ):
        return bytes(cloudpickle.dumps(value))
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(value))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _is_own(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if module.__name__ == "__main__" or file is None:
        return False
    paths = sysconfig.get_paths()
    libraries = [Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return not any(Path(file).is_relative_to(library) for library in libraries)


def _bundle(function: bytes, trusted: bool) -> bytes:
    meta = {"python": list(sys.version_info[:2]), "trusted": trusted}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _runtime():
            archive.writestr(name, data)
        archive.writestr("meta.json", json.dumps(meta))
        archive.writestr("function.pkl", function)
    return buffer.getvalue()


@functools.cache
def _runtime() -> tuple[tuple[str, bytes], ...]:
    """Files that are the same for all functions: the runner, the codec and cloudpickle, compiled too."""
    import cloudpickle

    here = Path(__file__).parent / "remote"
    files = [("__main__.py", here / "runner.py"), ("codec.py", here / "codec.py")]
    files += [
        (f"cloudpickle/{path.name}", path) for path in sorted(Path(cloudpickle.__file__).parent.glob("*.py"))
    ]
    entries = []
    for name, path in files:
        source = path.read_bytes()
        entries.append((name, source))
        # an archive has no cache of compiled code; the flag says that it is not checked against the source
        code = marshal.dumps(compile(source, name, "exec", dont_inherit=True))
        head = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + importlib.util.source_hash(source)
        entries.append((f"{name}c", head + code))
    return tuple(entries)
