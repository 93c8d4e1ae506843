"""The browser's half of the panels: found in the wheel or in a checkout, and put together without a build.

A panel's module imports from other modules of the same folder. What a widget sends to the browser must be
one module, without any address to load another one from, so the parts are put one after the other here. That
needs no parser, because the modules keep to a few rules that their tests check: imports and exports stand at
the beginning of a line, each import on one, exports are declarations, and no two modules of a panel have a
name at the top level in common.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

__all__ = ["read", "script", "style"]

_IMPORT = re.compile(r'^import \{[^}\n]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class)\b)", re.MULTILINE)


def _folders() -> tuple[Path, ...]:
    here = Path(__file__).resolve().parent
    # in a wheel they lie in the package, in a checkout beside it
    return here / "static", here.parent.parent / "widgets"


@functools.cache
def read(name: str) -> str:
    """Return a file of the browser's half.

    Raises
    ------
    FileNotFoundError
        There is no such file, which means that the installation is damaged.
    """
    for folder in _folders():
        path = folder / name
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(
        f"golem_nb is not installed completely: {name} of its widgets is missing. Install it again, "
        "for example with `pip install --force-reinstall golem-nb`."
    )


@functools.cache
def script(name: str) -> str:
    """Return the module `name` together with the modules that it imports, as one module."""
    parts: dict[str, str] = {}

    def take(module: str) -> None:
        if module in parts:
            return
        source = read(module)
        for needed in _IMPORT.findall(source):
            take(needed)
        source = _IMPORT.sub("", source)
        # only the panel's own module says what the widget is
        parts[module] = source if module == name else _EXPORT.sub("", source)

    take(name)
    return "\n".join(parts.values())


@functools.cache
def style(name: str) -> str:
    """Return the style sheet of all panels, and the one of this panel."""
    return read("base.css") + read(name)
