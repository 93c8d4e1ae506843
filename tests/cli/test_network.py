"""`golem-nb up`, `down`, `offers` and `doctor`, in the order in which a newcomer finds them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from golem_nb import __version__
from golem_nb.localnet import LocalNetwork

pytestmark = pytest.mark.localnet


@pytest.fixture
def shared(golem_nb: Any, machine: Any) -> Any:
    """A shared network of three providers; ends with the test."""
    output, _ = golem_nb("up")
    assert "A local Golem network of 3 providers is up after " in output
    yield machine.look()
    golem_nb("down")
    assert machine.is_clean()


def on_a_terminal(*arguments: str, columns: int) -> list[str]:
    """The lines that a terminal of that width shows."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [sys.executable, "-m", "golem_nb", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    return [line.rstrip() for line in text.splitlines()]


def test_nothing_is_up(golem_nb: Any, machine: Any) -> None:
    _, errors = golem_nb("offers", status=1)
    assert errors.startswith("golem-nb: there is no network to ask: YAGNA_APPKEY is not set, and no local ")
    assert "start one with `golem-nb up`" in errors
    output, _ = golem_nb("down")
    assert output == "No local network was up.\n"
    output, _ = golem_nb("doctor")
    assert (
        "note  no shared local network is up\n      remedy: start one, if you want it: golem-nb up" in output
    )
    assert machine.is_clean()


def test_up_and_down(golem_nb: Any, machine: Any) -> None:
    output, errors = golem_nb("up", "--providers", "2")
    assert re.match(r"A local Golem network of 2 providers is up after \d+\.\d s\.\n", output)
    assert "providers   amber, birch\n" in output
    assert "golem-nb down\n" in output
    assert errors == ""
    machine.look()
    assert len(machine.processes) >= 4
    again, _ = golem_nb("up", "--providers", "3")
    assert again.startswith("A local Golem network of 2 providers is up already.\n")
    assert "It was not started with 3 providers: `golem-nb down` it first for that." in again
    network = LocalNetwork.attach()
    assert network.api_config.app_key not in output + again
    output, _ = golem_nb("down")
    assert output == "The local network has ended.\n"
    assert machine.is_clean()


def test_what_the_printed_lines_say_works(shared: Any, tmp_path: Path) -> None:
    program = """
import asyncio, golem_nb.localnet
from golem_nb import Golem, Task, vm

async def worker(context, tasks):
    async for task in tasks:
        script = context.new_script()
        result = script.run("/bin/echo", "-n", task.data)
        yield script
        task.accept_result((await result).stdout)

async def main():
    network = golem_nb.localnet.LocalNetwork.attach()
    golem = Golem(budget=1, api_config=network.api_config)
    payload = vm.repo(image_tag="golem/alpine:latest", repository_url=network.registry_url)
    async with golem:
        async for task in golem.execute_tasks(worker, [Task("hello")], payload):
            print(task.result)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello\n"


def test_offers(shared: Any, golem_nb: Any) -> None:
    offers = json.loads(golem_nb("offers", "--json", "--seconds", "1")[0])
    assert [offer["provider"] for offer in offers] == ["amber", "birch", "cobalt"]
    amber = offers[0]
    assert set(amber) == {
        "provider",
        "node_id",
        "runtime",
        "threads",
        "memory_gib",
        "storage_gib",
        "start_price",
        "per_hour",
        "per_cpu_hour",
        "subnet",
    }
    assert Decimal(amber["per_hour"]) == Decimal("0.072")
    assert (amber["threads"], amber["memory_gib"], amber["runtime"]) == (2, 2.0, "vm")
    assert json.loads(golem_nb("offers", "--json", "--seconds", "1", "--runtime", "wasmtime")[0]) == []
    output, _ = golem_nb("offers", "--seconds", "1", "--subnet", "elsewhere")
    assert output.startswith("No offers were heard in subnet elsewhere within 1 s; ")
    output, _ = golem_nb("offers", "--seconds", "1")
    assert "3 offers" in output


@pytest.mark.parametrize("columns", [80, 120])
def test_offers_on_a_terminal(shared: Any, columns: int) -> None:
    lines = on_a_terminal("offers", "--seconds", "1", columns=columns)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= columns
    for word in ("amber", "birch", "cobalt", "provider", "CPU hour", "0.29376"):
        assert word in text
    assert "prices in GLM; runtime vm; subnet public" in text
    # a narrow terminal shows the beginning of node ids, and all of everything else
    assert bool(re.search(r"0x[0-9a-f]{40}", text)) == (columns == 120)
    assert text.count("…") == (3 if columns == 80 else 0)


def test_doctor(shared: Any, golem_nb: Any) -> None:
    output, errors = golem_nb("doctor")
    assert errors == ""
    assert f"ok    golem_nb {__version__}, Python 3." in output
    assert re.search(r"ok    yagna 0\.17\.\d+ at /", output)
    assert re.search(
        r"ok    local network 'shared' of 3 providers at http://127\.0\.0\.1:\d+, up for 0:", output
    )
    assert "note  YAGNA_APPKEY is not set" in output
    assert "wrong" not in output


def test_doctor_of_a_daemon(shared: Any, golem_nb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LocalNetwork.attach().env.items():
        monkeypatch.setenv(name, value)
    output, _ = golem_nb("doctor")
    assert re.search(r"ok    daemon 0\.17\.\d+ at http://127\.0\.0\.1:\d+, node 0x[0-9a-f]{40}", output)
    assert "ok    it can pay on erc20-hoodi-tglm" in output
    monkeypatch.setenv("YAGNA_PAYMENT_NETWORK", "polygon")
    output, _ = golem_nb("doctor", status=1)
    assert "wrong it has no account on erc20-polygon-glm; it has: " in output
    assert "remedy: yagna payment init --sender --network polygon --driver erc20" in output
    monkeypatch.setenv("YAGNA_APPKEY", "a-wrong-key")
    output, _ = golem_nb("doctor", status=1)
    assert "wrong Asking the daemon" in output
    assert "a-wrong-key" not in output


def test_a_network_that_was_killed_is_found_by_the_doctor(golem_nb: Any, machine: Any) -> None:
    golem_nb("up", "--providers", "1")
    machine.look()
    for process in machine.processes:
        if "golem_nb.localnet.supervisor" in " ".join(process.cmdline()):
            process.kill()
    assert machine.is_clean(seconds=15)
    output, _ = golem_nb("doctor")
    assert "note  local network 'shared' was killed before all of it was settled" in output
    assert "golem-nb down" in output
    golem_nb("down")
    output, _ = golem_nb("doctor")
    assert "was killed" not in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--providers", "0"], "argument --providers: must be a whole number from 1 to 100, not '0'"),
        (["up", "--providers", "many"], "must be a whole number from 1 to 100, not 'many'"),
        (["up", "--providers", "1.5"], "must be a whole number from 1 to 100, not '1.5'"),
        (["dance"], "invalid choice: 'dance'"),
        ([], "COMMAND"),
        (["offers", "--seconds", "-1"], "must be a number, more than 0 and at most 3600, not '-1'"),
        (["offers", "--seconds", "abc"], "must be a number, more than 0 and at most 3600, not 'abc'"),
        (["offers", "--seconds", "nan"], "must be a number, more than 0 and at most 3600, not 'nan'"),
    ],
)
def test_wrong_arguments(golem_nb: Any, arguments: list[str], said: str) -> None:
    _, errors = golem_nb(*arguments, status=2)
    assert said in errors
    assert "_" not in errors.splitlines()[-1]  # no name of a function


@pytest.mark.parametrize("command", ["up", "demo", "doctor"])
def test_a_data_folder_that_cannot_be_used(
    golem_nb: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / "file" / "data"))
    output, errors = golem_nb(command, status=1)
    assert (
        f"the data folder {tmp_path}/file/data/localnet cannot be used (Not a directory): set "
        "GOLEM_NB_DATA_DIR to a folder that can be made and written"
    ) in (output if command == "doctor" else errors)
    assert "Errno" not in output + errors


def test_version_and_help(golem_nb: Any) -> None:
    assert golem_nb("--version")[0] == f"golem-nb {__version__}\n"
    output, _ = golem_nb("--help")
    for command in ("demo", "up", "down", "offers", "doctor"):
        assert re.search(rf"^    {command} +\w", output, re.MULTILINE)
