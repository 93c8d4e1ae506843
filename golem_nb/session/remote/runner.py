"""Runs on the provider: computes a function of some items and writes down what it gives.

``python3 bundle.zip ITEMS RESULTS LIMIT``. The bundle holds this file as ``__main__``, the codec,
cloudpickle, the function, and ``meta.json``, which is read before anything is unpickled.

A record is the length of its header in four bytes, the header as JSON, and as many bytes as that says.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import sys
import time
import traceback
import zipfile
from typing import Any, BinaryIO

#: Characters of printed text, and of a traceback, that are sent back.
PRINTED = 65536
SAID = 4000


class Printed(io.StringIO):
    """Keeps what is printed, up to a limit."""

    def write(self, text: str) -> int:
        """Take a piece of text."""
        left = PRINTED - self.tell()
        if left > 0:
            super().write(text[:left])
        return len(text)


def main(bundle: str, items: str, results: str, limit: int) -> None:
    """Compute all items, each on its own."""
    with zipfile.ZipFile(bundle) as archive:
        meta = json.loads(archive.read("meta.json"))
        function = archive.read("function.pkl")
    with open(items, "rb") as file:  # noqa: PTH123 - pathlib would have to be loaded
        sources = read_items(file)
    with open(results, "wb") as file:  # noqa: PTH123
        writer = Writer(file, limit)
        mine = list(sys.version_info[:2])
        if mine != meta["python"]:
            # code of one version means something else, or nothing, to another
            writer.refuse(sources, "python", "{}.{}".format(*mine))
            return
        work(function, sources, writer, meta["trusted"])


def read_items(file: BinaryIO) -> list[tuple[int, bytes]]:
    """Return pairs of index and pickled item."""
    sources = []
    while header := file.read(12):
        index, size = struct.unpack(">IQ", header)
        sources.append((index, file.read(size)))
    return sources


def work(function: bytes, sources: list[tuple[int, bytes]], writer: Writer, trusted: bool) -> None:
    """Call the function for each item."""
    import cloudpickle
    import codec  # type: ignore[import-not-found] # it lies beside this file in the bundle

    try:
        call = cloudpickle.loads(function)
    except ModuleNotFoundError as error:
        writer.refuse(sources, "package", str(error.name))
        return
    except BaseException as error:
        writer.refuse(sources, "unpickle", f"{type(error).__name__}: {error}")
        return
    for index, source in sources:
        printed = Printed()
        started = time.perf_counter()
        header: dict[str, Any] = {"index": index}
        payload = b""
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                value = call(cloudpickle.loads(source))
                try:
                    header["encoding"], payload = codec.encode(value, trusted)
                except codec.CodecError as error:
                    header.update(kind="result", message=str(error)[:SAID])
            except ModuleNotFoundError as error:
                header.update(kind="package", message=str(error.name), traceback=said())
            except BaseException as error:
                header.update(
                    kind="raised", type=type(error).__name__, message=str(error)[:SAID], traceback=said()
                )
        header["seconds"] = time.perf_counter() - started
        header["stdout"] = printed.getvalue()
        if not writer.write(header, payload):
            return


def said() -> str:
    """Return the traceback of what is being handled, without the frames of this file."""
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(kind, error, trace))[-SAID:]


class Writer:
    """Writes records, so that what is complete can be read whatever happens next."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._written = 0

    def refuse(self, sources: list[tuple[int, bytes]], kind: str, message: str) -> None:
        """Say of all items why they cannot be computed."""
        for index, _ in sources:
            self.write({"index": index, "kind": kind, "message": message[:SAID], "seconds": 0.0}, b"")

    def write(self, header: dict[str, Any], payload: bytes) -> bool:
        """Write a record; return False if it must wait for another run, because there is no room left."""
        if len(payload) > self._limit:
            header.pop("encoding")
            header.update(kind="size", message=str(len(payload)))
            payload = b""
        if self._written and self._written + len(payload) > self._limit:
            return False
        header["size"] = len(payload)
        head = json.dumps(header).encode()
        self._file.write(struct.pack(">I", len(head)) + head + payload)
        self._file.flush()
        self._written += len(payload)
        return True


if __name__ == "__main__":
    main(sys.argv[0], sys.argv[1], sys.argv[2], int(sys.argv[3]))
