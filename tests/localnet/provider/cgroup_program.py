"""Run as a program of its own, in a private mount namespace: `python cgroup_program.py GROUPS FOLDER`.

Makes sandboxes with groups in GROUPS, a group at a mount of such. Prints as JSON the groups
while the sandbox runs and what a process of it says of its own, and the groups at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from golem_nb.localnet.provider.sandbox.cgroup import Groups
from golem_nb.localnet.provider.sandbox.host import Limits, SandboxHost
from golem_nb.localnet.spec import Image


def groups(place: Path) -> list[str]:
    return sorted(folder.name for folder in place.iterdir() if folder.is_dir())


async def main(place: Path, folder: Path) -> None:
    # `open` takes no place without the controller of memory
    Groups.open = classmethod(lambda cls: cls(place, ()))  # type: ignore[method-assign, assignment]
    host = SandboxHost(folder)
    await host.start()
    sandbox = await host.create("activity", Image(sha3="0"), Limits(memory=1 << 30))
    output = bytearray()
    process = await sandbox.run(["/bin/grep", "^0:", "/proc/self/cgroup"], {}, output.extend, output.extend)
    await process.exited
    during = groups(place)
    await sandbox.run(["/bin/sleep", "60"], {}, output.extend, output.extend)
    # the group goes when the last process has ended
    await sandbox.close()
    async with asyncio.timeout(5):
        while groups(place):
            await asyncio.sleep(0.01)
    second = await host.create("second", Image(sha3="0"), Limits(memory=1 << 30))
    await second.run(["/bin/sleep", "60"], {}, output.extend, output.extend)
    await host.close()
    print(
        json.dumps(
            {"pid": os.getpid(), "during": during, "own": output.decode().strip(), "after": groups(place)}
        )
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
