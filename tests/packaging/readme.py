"""Runs the first block of code of README.md as it is printed: ``python readme.py README.md``.

For an environment in which nothing but the wheel is installed; prints what the program prints.
"""

from __future__ import annotations

import re
import runpy
import sys
import tempfile
from pathlib import Path


def first_block(readme: Path) -> str:
    """Return the first block of Python."""
    found = re.search(r"^```python\n(.*?)^```$", readme.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"{readme} shows no Python")
    return found[1]


def main() -> None:
    """Run it as a program of its own."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program.py")
        program.write_text(first_block(Path(sys.argv[1])), "utf-8")
        runpy.run_path(str(program), run_name="__main__")


if __name__ == "__main__":
    main()
