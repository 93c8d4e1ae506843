"""The bare client's way to the server of the proxies: ``python -m benchmarks.clients.bare_proxy CONTROL``.

Starts one instance of `server.py` in a VPN, and tells the addresses of the daemon's websockets to its ports
to whoever listens at the local port CONTROL. Ends when that closes the connection.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

from benchmarks import bare
from benchmarks.clients import measure, server
from benchmarks.clients.ports import HTTP, SOCKET

OWNER, NODE, MASK = "192.168.0.1", "192.168.0.2", "255.255.255.0"


async def main(control: int) -> None:
    """Serve until told to end."""
    async with bare.connected() as daemon:
        net = await daemon("POST", "/net-api/v1/net", {"ip": "192.168.0.0", "mask": MASK})
        path = f"/net-api/v1/net/{net['id']}"
        await daemon("POST", f"{path}/addresses", {"ip": OWNER})
        me = (await daemon("GET", "/me"))["identity"]

        async def work(activity: bare.Activity) -> None:
            await daemon("POST", f"{path}/nodes", {"id": activity.provider, "ip": NODE})
            description = {
                "id": net["id"], "ip": "192.168.0.0", "mask": MASK, "nodeIp": NODE,
                "nodes": {OWNER: me, NODE: activity.provider},
            }  # fmt: skip
            program = base64.b64encode(Path(server.__file__).read_bytes()).decode()
            serve = f"python3 server.py {HTTP} {SOCKET} >log 2>&1 &"
            wait = "touch log; until grep -q listening log; do sleep 0.1; done"
            shell = f"cd /golem/work; echo {program} | base64 -d > server.py; {serve} {wait}"
            await activity.run(
                {"deploy": {"net": [description]}}, {"start": {"args": []}}, bare.run("/bin/sh", "-c", shell)
            )
            reader, writer = await asyncio.open_connection("127.0.0.1", control)
            socket = f"{daemon.url}{path}/tcp/{NODE}"
            ways = {
                "side": "bare",
                "http": f"{socket}/{HTTP}",
                "socket": f"{socket}/{SOCKET}",
                "pid": os.getpid(),
            }
            writer.write(json.dumps(ways).encode() + b"\n")
            await reader.read()
            writer.close()

        await bare.Job(daemon, 1, work, capabilities=["vpn"]).run()
        await daemon("DELETE", path)
    measure.report()


asyncio.run(main(int(sys.argv[1])))
