"""Transfers between a requestor, or a web server on this machine, and an activity's files.

The requestor's side of a `gftp` transfer is a service on the bus (`/net/<node>/gftp/<name>`):
`GetMetadata` and
`GetChunk` to read from it, `UploadChunk` and `UploadFinished` to write to it. Several chunks are in flight at
once; a file is never held in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import re
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from golem_nb.exceptions import GolemError
from golem_nb.localnet.bus.client import Bus, BusError
from golem_nb.localnet.spec import MisbehaviourKind

if TYPE_CHECKING:
    from golem_nb.localnet.provider.faults import Faults
    from golem_nb.localnet.provider.sandbox.host import Sandbox

__all__ = ["Progress", "TransferError", "Transfers"]

#: Bytes asked for in one message: the daemon's websocket takes no message beyond 64 KiB from a requestor.
CHUNK_IN: Final = 63 << 10
#: Bytes sent in one message.
CHUNK_OUT: Final = 512 << 10
#: Messages in flight.
WINDOW_IN: Final = 16
WINDOW_OUT: Final = 8
#: Pieces that are written to the disk together: to hand one to a thread costs as much as to receive it.
_WRITTEN_AT_ONCE: Final = 8
_CHUNK_TIMEOUT: Final = 60.0
_HTTP_REDIRECTS: Final = 5


class TransferError(GolemError):
    """A transfer failed; the text is what the requestor is told."""


class Progress:
    """Reports a transfer's progress as the command's `progress` argument asks for.

    Parameters
    ----------
    options
        `{"updateInterval": "5s"?, "updateStep": bytes?}`; None: nothing is reported.
    emit
        Called with the `progress` part of an event.
    """

    def __init__(self, options: Mapping[str, Any] | None, emit: Callable[[dict[str, Any]], None]) -> None:
        self._emit = emit if options is not None else None
        self._interval: float | None = None
        self._step: int | None = None
        if options is not None:
            self._interval = _seconds(options.get("updateInterval"))
            self._step = options.get("updateStep")
            if self._interval is None and self._step is None:
                self._interval = 1.0
        self._reported, self._at = 0, time.monotonic()

    def __call__(self, done: int, total: int | None, *, final: bool = False) -> None:
        """Report if it is time to, or if this is the end."""
        if self._emit is None:
            return
        now = time.monotonic()
        due = (self._interval is not None and now - self._at >= self._interval) or (
            self._step is not None and done - self._reported >= self._step
        )
        if due or final:
            self._reported, self._at = done, now
            self._emit({"step": [0, 1], "message": None, "progress": [done, total], "unit": "Bytes"})


_UNITS: Final = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _seconds(text: Any) -> float | None:
    """Read "5s", "1m 30s", "250ms"."""
    if not isinstance(text, str):
        return None
    parts = re.findall(r"(\d+)\s*([a-z]+)", text)
    if not parts or any(unit not in _UNITS for _, unit in parts):
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


class Transfers:
    """The transfers of one activity.

    Parameters
    ----------
    bus
        Connection to the daemon's bus.
    node_id
        The provider, in whose name the bus is used.
    faults
        Misbehaviours of the provider.
    limit
        Called for the bytes that may still be stored.
    """

    def __init__(self, bus: Bus, node_id: str, faults: Faults, limit: Callable[[], int]) -> None:
        self._bus, self._node_id, self._faults, self._limit = bus, node_id, faults, limit

    async def run(self, sandbox: Sandbox, source: str, target: str, progress: Progress) -> None:
        """Copy `source` to `target`; one of them is a path in the sandbox (`container:/path`).

        Raises
        ------
        TransferError
            Something about it is impossible, or the other side failed.
        SandboxError
            The file cannot be opened.
        """
        inward = target.startswith("container:")
        if inward == source.startswith("container:"):
            raise TransferError(f"Transfer error: unsupported pair of addresses: {source} to {target}")
        remote, path = (source, _path(target)) if inward else (target, _path(source))
        scheme = remote.partition(":")[0]
        if scheme not in ("gftp", "http", "https"):
            raise TransferError(f"Transfer error: unsupported protocol: {scheme}")
        descriptor = await sandbox.open(path, write=inward)
        try:
            if scheme == "gftp":
                address = self._address(remote)
                if inward:
                    await self._get(address, descriptor, progress)
                else:
                    await self._put(address, descriptor, progress)
            elif inward:
                await self._http_get(remote, descriptor, progress)
            else:
                await self._http_put(remote, descriptor, progress)
        except (BusError, TimeoutError, aiohttp.ClientError, OSError) as error:
            raise TransferError(f"Transfer error: {error}") from error
        finally:
            await asyncio.to_thread(os.close, descriptor)

    def _address(self, url: str) -> str:
        node, _, name = url.removeprefix("gftp://").partition("/")
        if not re.fullmatch(r"0x[0-9a-fA-F]{40}", node) or not re.fullmatch(r"[0-9a-zA-Z_-]+", name):
            raise TransferError(f"Transfer error: not an address of gftp: {url}")
        return f"/net/{node}/gftp/{name}"

    # -- from the requestor -----------------------------------------------------------------------

    async def _get(self, address: str, descriptor: int, progress: Progress) -> None:
        answer = await self._bus.call(f"{address}/GetMetadata", None)
        size = int(answer["fileSize"])
        if size > self._limit():
            raise TransferError(f"Transfer error: No space left: the file has {size} bytes")
        offsets = iter(range(0, size, CHUNK_IN))
        received: list[tuple[int, bytes]] = []
        done = 0

        def store(pieces: list[tuple[int, bytes]]) -> None:
            for offset, content in pieces:
                os.pwrite(descriptor, content, offset)

        async def fetch() -> None:
            nonlocal done, received
            for offset in offsets:
                want = min(CHUNK_IN, size - offset)
                chunk = await self._bus.call(
                    f"{address}/GetChunk", {"offset": offset, "size": want}, timeout=_CHUNK_TIMEOUT
                )
                content = bytes(chunk["content"])
                if len(content) != want:
                    raise TransferError(
                        f"Transfer error: {len(content)} bytes at {offset}, where {want} were asked for"
                    )
                received.append((offset, content))
                if len(received) >= _WRITTEN_AT_ONCE:
                    pieces, received = received, []
                    await asyncio.to_thread(store, pieces)
                done += want
                progress(done, size)

        await _together(fetch, min(WINDOW_IN, -(-size // CHUNK_IN)))
        await asyncio.to_thread(store, received)
        progress(size, size, final=True)

    # -- to the requestor -------------------------------------------------------------------------

    async def _put(self, address: str, descriptor: int, progress: Progress) -> None:
        size = os.fstat(descriptor).st_size
        digest = hashlib.sha3_256()
        reading = asyncio.Lock()
        at = done = 0
        short = self._faults.take(MisbehaviourKind.CORRUPT_SHORT)

        def read(offset: int) -> bytes:
            data = os.pread(descriptor, min(CHUNK_OUT, size - offset), offset)
            digest.update(data)
            return data

        async def push() -> None:
            nonlocal at, done
            while True:
                async with reading:  # the digest wants the chunks in order
                    offset = at
                    if offset >= size:
                        return
                    data = await asyncio.to_thread(read, offset)
                    if not data:
                        raise TransferError(
                            f"Transfer error: the file has become shorter: {offset} of {size}"
                        )
                    at += len(data)
                sent = data[:-1] if short and offset + len(data) == size else data
                await self._upload(address, offset, sent)
                done += len(data)
                progress(done, size)

        await _together(push, min(WINDOW_OUT, -(-size // CHUNK_OUT)))
        if long := self._faults.take(MisbehaviourKind.CORRUPT_LONG):
            extra = long.extra or 1
            for offset in range(0, extra, CHUNK_OUT):
                await self._upload(address, size + offset, b"\xaa" * min(CHUNK_OUT, extra - offset))
        checksum = digest.hexdigest()
        if self._faults.take(MisbehaviourKind.CORRUPT_CHECKSUM):
            checksum = "0" * len(checksum)
        await self._bus.call(f"{address}/UploadFinished", {"hash": checksum}, timeout=_CHUNK_TIMEOUT)
        progress(size, size, final=True)

    async def _upload(self, address: str, offset: int, data: bytes) -> None:
        await self._bus.drain()
        await self._bus.call(
            f"{address}/UploadChunk", {"chunk": {"offset": offset, "content": data}}, timeout=_CHUNK_TIMEOUT
        )

    # -- web servers ------------------------------------------------------------------------------

    async def _http_get(self, url: str, descriptor: int, progress: Progress) -> None:
        async with aiohttp.ClientSession(timeout=_http_timeout()) as session:
            for _ in range(_HTTP_REDIRECTS):
                await _require_loopback(url)
                async with session.get(url, allow_redirects=False) as response:
                    if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                        url = urljoin(url, response.headers["Location"])
                        continue
                    if response.status != 200:
                        raise TransferError(
                            f"Transfer error: {url}: HTTP {response.status} {response.reason}"
                        )
                    done, total = 0, response.content_length
                    async for data in response.content.iter_chunked(CHUNK_OUT):
                        done += len(data)
                        if done > self._limit():
                            raise TransferError("Transfer error: No space left")
                        await asyncio.to_thread(os.pwrite, descriptor, data, done - len(data))
                        progress(done, total)
                    progress(done, total, final=True)
                    return
        raise TransferError(f"Transfer error: {url}: too many redirects")

    async def _http_put(self, url: str, descriptor: int, progress: Progress) -> None:
        await _require_loopback(url)
        size = os.fstat(descriptor).st_size

        async def body() -> Any:
            for offset in range(0, size, CHUNK_OUT):
                yield await asyncio.to_thread(os.pread, descriptor, CHUNK_OUT, offset)
                progress(offset, size)

        async with (
            aiohttp.ClientSession(timeout=_http_timeout()) as session,
            session.put(
                url, data=body(), headers={"Content-Length": str(size)}, allow_redirects=False
            ) as response,
        ):
            if response.status >= 300:
                raise TransferError(f"Transfer error: {url}: HTTP {response.status} {response.reason}")
        progress(size, size, final=True)


def _http_timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)


async def _require_loopback(url: str) -> None:
    """Refuse all that is not on this machine: a local network sends nothing out."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError as error:
        raise TransferError(f"Transfer error: {host}: {error.strerror or error}") from error
    if not all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found):
        raise TransferError(
            f"Transfer error: {url} is not on this machine, and the providers of a local network reach "
            "nothing else; serve the file on 127.0.0.1, or upload it"
        )


async def _together(worker: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """Run `count` workers; the first failure ends them all and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(worker())
    except BaseExceptionGroup as error:
        raise error.exceptions[0] from None


def _path(url: str) -> str:
    path = url.removeprefix("container:")
    if not path.startswith("/"):
        raise TransferError(f"Transfer error: not an absolute path: {url}")
    return os.path.normpath(path)
