"""What README.md shows works as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.localnet
def test_the_first_block_of_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code, *_) = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    for name in ("YAGNA_APPKEY", "YAGNA_API_URL", "YAGNA_SUBNET", "YAGNA_PAYMENT_NETWORK"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "program.py"
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = set(done.stdout.splitlines())
    assert lines == {f"{19 * n} characters, {6 * n} words" for n in range(1, 11)}
    assert "Traceback" not in done.stderr


def test_commands_that_it_names_exist() -> None:
    from golem_nb.__main__ import _parser

    known = _parser().format_help()
    for command in re.findall(r"`golem-nb (\w+)", README.read_text("utf-8")):
        assert re.search(rf"^    {command} ", known, re.MULTILINE), command
