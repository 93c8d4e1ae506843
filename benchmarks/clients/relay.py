"""Bytes passed on, and nothing understood: ``python -m benchmarks.clients.relay HTTP SOCKET CONTROL``.

Listens on a local port for each of two websockets of the daemon, and connects each client to one: the least
that a proxy written in Python can do. Tells its ports to whoever listens at the local port CONTROL. Ends when
that closes the connection.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import aiohttp

from benchmarks.clients import measure


async def main(http: str, socket: str, control: int) -> None:
    """Serve until told to end."""
    headers = {"Authorization": f"Bearer {os.environ['YAGNA_APPKEY']}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def listen(url: str) -> asyncio.Server:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                async with session.ws_connect(url, max_msg_size=0) as websocket:

                    async def back() -> None:
                        async for message in websocket:
                            writer.write(message.data)
                            await writer.drain()

                    passing = asyncio.create_task(back())
                    try:
                        while data := await reader.read(60 * 1024):
                            await websocket.send_bytes(data)
                    finally:
                        passing.cancel()
                        writer.close()

            return await asyncio.start_server(serve, "127.0.0.1", 0)

        servers = [await listen(http), await listen(socket)]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        reader, writer = await asyncio.open_connection("127.0.0.1", control)
        ways = {"side": "relay", "http": ports[0], "socket": ports[1], "pid": os.getpid()}
        writer.write(json.dumps(ways).encode() + b"\n")
        await reader.read()
        writer.close()
        for server in servers:
            server.close()
    measure.report()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
