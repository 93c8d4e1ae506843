"""Other SDKs, unchanged, on the local network."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers
from golem_nb.localnet import LocalNetwork
from golem_nb.rest import Configuration, Market, Payment

PROGRAMS = Path(__file__).parent / "programs"
LIMIT = 120

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def yapapi() -> Path:
    """The interpreter of an environment with yapapi."""
    return peers.yapapi()


@pytest.fixture(scope="session")
def golem_js() -> Path:
    """A folder with golem-js in its `node_modules`."""
    return peers.golem_js()


async def run(command: list[str | Path], network: LocalNetwork, environment: Mapping[str, str]) -> Any:
    """Run a program on the network; what it prints last is its answer."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **network.env, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-3000:]
    return json.loads(output.splitlines()[-1])


async def run_yapapi(python: Path, network: LocalNetwork, program: str, *arguments: str) -> Any:
    """Run one of the programs with yapapi."""
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return await run([python, PROGRAMS / program, *arguments], network, {"PATH": path})


async def all_is_settled(network: LocalNetwork) -> bool:
    """Whether every agreement has ended, every invoice is accepted and no budget is reserved."""
    async with Configuration(network.api_config) as configuration:
        market, payment = Market(configuration.market()), Payment(configuration.payment())
        assert await market.agreements("Terminated")
        assert await market.agreements("Approved") == []
        invoices = await payment.invoices()
        assert invoices
        assert {invoice.status for invoice in invoices} <= {"ACCEPTED", "SETTLED"}
        assert await payment.allocations() == []
    return True


async def test_yapapi_runs_tasks(yapapi: Path, network: LocalNetwork) -> None:
    answer = await run_yapapi(yapapi, network, "task.py")
    assert answer["results"] == {str(n): f"one {n}\ntwo {n}\n" for n in range(4)}
    assert await all_is_settled(network)


async def test_yapapi_streams_output(yapapi: Path, network: LocalNetwork) -> None:
    answer = await run_yapapi(yapapi, network, "task.py", "stream")
    assert set(answer["results"]) == {"0", "1", "2", "3"}
    text = "".join(answer["streamed"])
    assert all(f"{word} {n}\n" in text for word in ("one", "two") for n in range(4))
    assert await all_is_settled(network)


async def test_yapapi_runs_a_service(yapapi: Path, network: LocalNetwork) -> None:
    answer = await run_yapapi(yapapi, network, "service.py")
    assert answer["states"] == ["terminated", "terminated"]
    assert len(answer["outputs"]) >= 4
    assert set(answer["outputs"]) == {"started"}
    assert await all_is_settled(network)


async def test_yapapi_transfers_files(yapapi: Path, network: LocalNetwork, tmp_path: Path) -> None:
    answer = await run_yapapi(yapapi, network, "transfer.py", str(tmp_path))
    assert answer == {str(n): [f"hello {n}", {"n": n}, True] for n in range(3)}
    assert await all_is_settled(network)


@pytest.mark.parametrize("payment_network", ["hoodi", "holesky"])
async def test_golem_js_runs_a_task(
    golem_js: Path, network: LocalNetwork, tmp_path: Path, payment_network: str
) -> None:
    answer = await run(
        ["node", PROGRAMS / "task.cjs", str(tmp_path)],
        network,
        {"NODE_PATH": str(golem_js / "node_modules"), "YAGNA_PAYMENT_NETWORK": payment_network},
    )
    assert answer == {"run": "hello from golem-js", "streamed": "one\ntwo\n", "sameFile": True}
    assert await all_is_settled(network)
