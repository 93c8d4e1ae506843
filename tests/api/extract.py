"""Writes tests/data/api_reference.json: the documented names, kinds and signatures, with our package's name.

``python tests/api/extract.py REFERENCE PACKAGE`` reads the text of the API reference, whose names start with
PACKAGE. Only facts are kept: no sentence of the reference. Run it again only when the reference changes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "api_reference.json"
OURS = "golem_nb"

MEMBER = re.compile(r"((?:(?:abstract|async|static|classmethod) )*)([a-z_]\w*)(\(.*\))")
PROPERTY = re.compile(r"property (\w+)(?:: .*)?")
#: `name: type`, as opposed to a sentence that starts with a word and a colon
ATTRIBUTE = re.compile(r"([a-z_]\w*): (?:[a-z]+|[a-z]+\.[\w.]+|[A-Z]\w*\[.*\])")
STATE = re.compile(r"(\w+) = \(?State\(.*")


def names(lines: list[str], package: str) -> Iterator[dict[str, str]]:
    """Yield name, kind and (if it has one) signature of each documented name."""
    top = re.compile(rf"(class |exception |async )?{package}\.([\w.]+)(\(.*\))?")
    owner = ""
    for line in lines:
        if match := top.fullmatch(line):
            flag, name, signature = match.groups()
            kind = {"class ": "class", "exception ": "exception", "async ": "async function"}.get(
                flag, "function"
            )
            if not flag and not signature:
                continue  # a mention in a table, not an entry
            if kind in ("class", "exception"):
                owner = f"{package}.{name}"
            yield {"name": f"{package}.{name}", "kind": kind} | (
                {"signature": signature} if signature else {}
            )
        elif match := PROPERTY.fullmatch(line):
            yield {"name": f"{owner}.{match[1]}", "kind": "property"}
        elif match := MEMBER.fullmatch(line):
            yield {"name": f"{owner}.{match[2]}", "kind": f"{match[1]}method", "signature": match[3]}
        elif match := ATTRIBUTE.fullmatch(line) or STATE.fullmatch(line):
            yield {"name": f"{owner}.{match[1]}", "kind": "attribute"}


def mentions(text: str, package: str) -> Iterator[dict[str, str]]:
    """Yield every other dotted name: of types, of what examples import, of links in sentences."""
    for name in re.findall(rf"(?<![\w/.]){package}(?:\.\w+)+", text):
        yield {"name": name, "kind": "name"}
    for module, imported in re.findall(rf"^\s*from ({package}[\w.]*) import (.+)$", text, re.MULTILINE):
        for name in imported.split(","):
            yield {"name": f"{module}.{name.strip()}", "kind": "name"}


def tree(lines: list[str]) -> dict[str, str | None]:
    """Return the parent of each event of the inheritance tree, which stands indented below a line `Event`."""
    parents: dict[str, str | None] = {}
    above: list[str] = []
    for line in lines[lines.index("Event") :]:
        name = line.strip()
        if not name:
            break
        del above[(len(line) - len(line.lstrip())) // 4 :]
        parents[name] = above[-1] if above else None
        above.append(name)
    return parents


def main(reference: str, package: str) -> None:
    text = Path(reference).read_text("utf-8")
    found: dict[str, dict[str, str]] = {}
    for record in [*names(text.splitlines(), package), *mentions(text, package)]:
        found.setdefault(record["name"], record)
    rows = ",\n".join(json.dumps(record) for record in found.values())
    events = json.dumps(tree(text.splitlines()), indent=0)
    written = f'{{"names": [\n{rows}\n],\n"events": {events}}}\n'
    # the printed form of a one-element tuple has changed since
    DATA.write_text(written.replace(f"{package}.", f"{OURS}.").replace(", )", ",)"), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
