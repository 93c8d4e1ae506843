"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["CONTRIBUTING.md", "CHANGELOG.md", "README.md", "docs/contract.md", "docs/departures.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_and_links_are_there(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    paths = re.findall(r"`((?:golem_nb|tests|docs|notebooks|widgets|benchmarks)/[\w./]*)`", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    missing = [path for path in paths if not (ROOT / path).exists()]
    links += re.findall(r'(?:src|srcset)="([^"]+)"', text)
    missing += [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
    assert missing == []


def test_the_guide_names_every_part_of_the_package() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Tests")[0]
    parts = {
        path.name for path in (ROOT / "golem_nb").iterdir() if not path.name.startswith(("_", "py.typed"))
    }
    assert [part for part in sorted(parts) if not re.search(rf"[/`]{re.escape(part)}[/`]", table)] == []
