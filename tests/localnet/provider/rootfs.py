"""A folder that is an image: as little as a program in it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path


def make_rootfs(folder: Path) -> Path:
    """Make an image's folder with a shell and what it needs, and a program in its own /golem."""
    needed = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    for path in ("/bin/sh", *re.findall(r"/\S+", needed)):
        target = folder / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    program = folder / "golem/run/service_ctl"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho service $1\n")
    program.chmod(0o755)
    return folder
