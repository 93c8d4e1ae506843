"""A sandbox host for the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from golem_nb.localnet.provider.sandbox.host import Limits, Sandbox, SandboxHost
from golem_nb.localnet.spec import Image

Shell = Callable[..., Awaitable[tuple[int, str]]]


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[SandboxHost]:
    if sys.platform != "linux":
        pytest.skip("sandboxes need Linux")
    host = SandboxHost(tmp_path / "sandboxes")
    await host.start()
    yield host
    await host.close()


@pytest_asyncio.fixture
async def sandbox(host: SandboxHost) -> AsyncIterator[Sandbox]:
    sandbox = await host.create("activity", Image(sha3="0"), Limits(memory=256 << 20, storage=64 << 20))
    yield sandbox
    await sandbox.close()


@pytest.fixture
def shell() -> Shell:
    async def run(sandbox: Sandbox, script: str, **environment: str) -> tuple[int, str]:
        output = bytearray()
        process = await sandbox.run(["/bin/sh", "-c", script], environment, output.extend, output.extend)
        return await process.exited, output.decode(errors="replace")

    return run
