"""Run as a program of its own, as this or another user: `python isolation_program.py FOLDER PROBES_JSON`.

Makes a sandbox in FOLDER, runs each of the shell probes in it, and prints what they said as JSON:
`{"isolated", "warnings", "results": {name: [exit code, output]}}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from golem_nb.localnet.provider.sandbox.host import Limits, SandboxHost
from golem_nb.localnet.spec import Image


async def main(folder: Path, probes: dict[str, str]) -> None:
    host = SandboxHost(folder)
    await host.start()
    results = {}
    try:
        sandbox = await host.create("activity", Image(sha3="0"), Limits(memory=1 << 30))
        for name, script in probes.items():
            output = bytearray()
            process = await sandbox.run(["/bin/sh", "-c", script], {}, output.extend, output.extend)
            results[name] = [await process.exited, output.decode(errors="replace")]
        await sandbox.close()
    finally:
        await host.close()
    print(
        json.dumps(
            {"isolated": host.isolated, "warnings": host.warnings, "uid": host.uid, "results": results}
        )
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
