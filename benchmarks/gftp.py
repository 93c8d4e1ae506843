"""A stand-in for the program `gftp`, which another SDK runs to transfer files: ``gftp server``.

The original is in no package registry. This one speaks the same protocol on its standard input and output, a
line of JSON-RPC 2.0 each way, and serves and receives files at addresses of the daemon's service bus, which
GSB_URL names.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from golem_nb.localnet.bus.client import Bus, Call, ErrorReply

VERSION = "0.17.6 (stand-in)"


class Server:
    """Files that are published, and files that are to be received, until the input ends."""

    def __init__(self, bus: Bus, node_id: str) -> None:
        self._bus = bus
        self._node_id = node_id
        self._files: dict[str, int] = {}
        self._requests: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer requests, several at a time, until `shutdown` or the end of the input."""
        reader = asyncio.StreamReader(limit=64 << 20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            if not line.strip():
                continue
            message = json.loads(line)
            if message["method"] == "shutdown":
                _say({"jsonrpc": "2.0", "id": message["id"], "result": "ok"})
                break
            request = asyncio.create_task(self._answer(message))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)
        for descriptor in self._files.values():
            os.close(descriptor)

    async def _answer(self, message: dict[str, Any]) -> None:
        methods: dict[str, Callable[..., Any]] = {
            "version": self.version,
            "publish": self.publish,
            "receive": self.receive,
            "close": self.close,
        }
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message.get("id")}
        try:
            reply["result"] = await methods[message["method"]](**(message.get("params") or {}))
        except (KeyError, TypeError) as error:
            reply["error"] = {"code": -32600, "message": f"invalid request: {error}"}
        except Exception as error:
            reply["error"] = {"code": -32000, "message": str(error)}
        _say(reply)

    async def version(self) -> str:
        """Tell which version this is."""
        return VERSION

    async def publish(self, files: list[str]) -> list[dict[str, str]]:
        """Let providers fetch files."""
        return [await self._publish(file) for file in files]

    async def _publish(self, file: str) -> dict[str, str]:
        name = await asyncio.to_thread(_checksum, file)
        if name not in self._files:
            descriptor = self._files[name] = os.open(file, os.O_RDONLY)
            size = os.fstat(descriptor).st_size

            async def answer(call: Call) -> Any:
                if call.component == "GetMetadata":
                    return {"fileSize": size}
                if call.component == "GetChunk":
                    offset = call.payload["offset"]
                    content = os.pread(descriptor, call.payload["size"], offset)
                    return {"offset": offset, "content": content}
                return ErrorReply({"InternalError": f"unexpected {call.component}"})

            await self._bus.bind(f"/public/gftp/{name}", answer)
        return {"file": file, "url": f"gftp://{self._node_id}/{name}"}

    async def receive(self, output_file: str) -> dict[str, str]:
        """Let a provider send a file."""
        name = secrets.token_hex(32)
        descriptor = self._files[name] = os.open(output_file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)

        async def answer(call: Call) -> Any:
            if call.component == "UploadChunk":
                chunk = call.payload["chunk"]
                os.pwrite(descriptor, chunk["content"], chunk["offset"])
                return None
            if call.component == "UploadFinished":
                expected = call.payload.get("hash")
                if expected and await asyncio.to_thread(_checksum, output_file) != expected:
                    return ErrorReply("IntegrityError")
                return None
            return ErrorReply({"InternalError": f"unexpected {call.component}"})

        await self._bus.bind(f"/public/gftp/{name}", answer)
        return {"file": output_file, "url": f"gftp://{self._node_id}/{name}"}

    async def close(self, urls: list[str]) -> list[str]:
        """End publications."""
        return [await self._close(url.rpartition("/")[2]) for url in urls]

    async def _close(self, name: str) -> str:
        descriptor = self._files.pop(name, None)
        if descriptor is None:
            return "error"
        await self._bus.unbind(f"/public/gftp/{name}")
        os.close(descriptor)
        return "ok"


def _checksum(file: str) -> str:
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha3_256").hexdigest()


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
    sys.stdout.flush()


async def _serve() -> None:
    async with await Bus.connect(os.environ["GSB_URL"], "gftp") as bus:
        me = await bus.call("/local/identity/Get", "byDefault")
        await Server(bus, me["nodeId"]).run()


if __name__ == "__main__":
    if sys.argv[1:] == ["version"]:
        print(VERSION)
    elif sys.argv[1:] == ["server"]:
        asyncio.run(_serve())
    else:
        sys.exit("usage: gftp server | gftp version")
