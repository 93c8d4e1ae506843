"""The bare client's transfers: ``python -m benchmarks.clients.bare_transfer SOURCE TARGET``.

A websocket of the daemon's service bus for each file, and messages in the codec of golem_nb, which is the
fastest that there is in Python: what is compared is all that lies around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import bare
from benchmarks.clients import measure
from golem_nb.rest.flexbuffers import decode, encode

clock = measure.Clock()


@contextlib.asynccontextmanager
async def served(
    daemon: bare.Daemon, components: list[str], answer: Callable[[str, Any], Any]
) -> AsyncIterator[str]:
    """Answer messages at an address of the bus; gives its name."""
    name = secrets.token_hex(32)
    body = {"listen": {"on": f"/public/gftp/{name}", "components": components}}
    service = (await daemon("POST", "/gsb-api/v1/services", body))["servicesId"]
    path = f"/gsb-api/v1/services/{service}"
    async with daemon.session.ws_connect(
        daemon.url.replace("http", "ws", 1) + path, protocols=("gsb+flexbuffers",), compress=0, max_msg_size=0
    ) as socket:

        async def serve() -> None:
            async for message in socket:
                request = decode(message.data)
                payload = answer(request["component"], request["payload"])
                await socket.send_bytes(encode({"id": request["id"], "payload": payload}))

        serving = asyncio.create_task(serve())
        yield name
        serving.cancel()
        await asyncio.wait([serving])
    await daemon("DELETE", path)


def sender(descriptor: int) -> Callable[[str, Any], Any]:
    """Answers that give a file."""
    size = os.fstat(descriptor).st_size

    def answer(component: str, payload: Any) -> Any:
        if component == "GetMetadata":
            return {"fileSize": size}
        offset = payload["offset"]
        return {"offset": offset, "content": os.pread(descriptor, payload["size"], offset)}

    return answer


class Receiver:
    """Answers that take a file: written, and its checksum computed, by one thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._hash = hashlib.sha3_256()
        self._at = 0
        self._ahead: dict[int, bytes] = {}
        self._thread = ThreadPoolExecutor(1)
        self._jobs: list[Future[None]] = []
        self.complete = False

    def __call__(self, component: str, payload: Any) -> Any:
        if component == "UploadChunk":
            chunk = payload["chunk"]
            self._jobs.append(self._thread.submit(self._store, chunk["offset"], chunk["content"]))
            if len(self._jobs) > 64:
                self._jobs.pop(0).result()
        else:
            self._thread.shutdown()
            self.complete = self._hash.hexdigest() == payload["hash"]
        return None

    def _store(self, offset: int, content: bytes) -> None:
        os.pwrite(self._descriptor, content, offset)
        self._ahead[offset] = content
        while (piece := self._ahead.pop(self._at, None)) is not None:
            self._hash.update(piece)
            self._at += len(piece)


async def main(source: Path, target: Path) -> None:
    """Send a file to a provider, and get it back."""
    incoming = os.open(source, os.O_RDONLY)
    outgoing = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    receiver = Receiver(outgoing)

    async def work(activity: bare.Activity) -> None:
        await activity.run({"deploy": {}}, {"start": {"args": []}}, bare.run("/bin/true"))
        clock.mark("start")
        async with served(daemon, ["GetMetadata", "GetChunk"], sender(incoming)) as name:
            await activity.run(
                {"transfer": {"from": f"gftp://{node}/{name}", "to": "container:/golem/input/file"}}
            )
        clock.mark("up")
        async with served(daemon, ["UploadChunk", "UploadFinished"], receiver) as name:
            await activity.run(
                {"transfer": {"from": "container:/golem/input/file", "to": f"gftp://{node}/{name}"}}
            )
        clock.mark("down")

    async with bare.connected() as daemon:
        node = (await daemon("GET", "/me"))["identity"]
        await bare.Job(daemon, 1, work).run()
    assert receiver.complete, "the checksum is wrong"
    size = source.stat().st_size / (1 << 20)
    measure.report(
        up_mib_s=size / clock.seconds("start", "up"),
        down_mib_s=size / clock.seconds("up", "down"),
        up_cpu_s=clock.cpu("start", "up"),
        down_cpu_s=clock.cpu("up", "down"),
    )


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
