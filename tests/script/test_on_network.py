"""Scripts on the local network: real daemons, a real exe-unit."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from golem_nb import Golem, Task, WorkContext, vm
from golem_nb.events import CommandStdErr, CommandStdOut, Event, ScriptFinished, ScriptSent
from golem_nb.rest.activity import BatchTimeoutError, CommandExecutionError
from golem_nb.script import CaptureContext, CommandNotExecutedError, CommandProgress, ProgressArgs, Script
from golem_nb.storage import DownloadTooLargeError

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

Scripts = AsyncGenerator[Script, Any]
Work = Callable[..., Awaitable[list[Event]]]


@pytest.fixture
def work(on_network: LocalNetwork) -> Work:
    """Let one provider execute the scripts of a generator; gives the events."""

    async def run(scripts: Callable[[WorkContext], Scripts], **settings: Any) -> list[Event]:
        events: list[Event] = []

        async def worker(ctx: WorkContext, tasks: AsyncIterator[Task[None, bool]]) -> Scripts:
            async for task in tasks:
                generator = scripts(ctx)
                answer, send = None, generator.asend
                try:
                    while True:
                        script = await send(answer)
                        try:
                            answer, send = (yield script), generator.asend
                        except Exception as error:
                            answer, send = error, generator.athrow
                except StopAsyncIteration:
                    task.accept_result(True)

        payload = await vm.repo(image_tag="golem/alpine:latest")
        async with Golem(budget=1, event_consumer=events.append, **settings) as golem:
            tasks = golem.execute_tasks(worker, [Task(None)], payload, max_workers=1)
            assert [task.result async for task in tasks] == [True]
        return events

    return run


@pytest.mark.contract("C03", "C04", "C06", "C07", "C09")
async def test_commands(work: Work, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("from a file")
    received: list[Any] = []

    async def receive(data: Any) -> None:
        received.append(data)

    async def scripts(ctx: WorkContext) -> Scripts:
        script = ctx.new_script(timeout=timedelta(seconds=30))
        script.upload_bytes(b"from bytes", "/golem/work/bytes")
        script.upload_file(source, "/golem/work/file")
        script.upload_json({"from": ["json"]}, "/golem/work/json")
        out = script.run("/bin/sh", "-c", "cd /golem/work; cat bytes file json; cp json copy")
        env = script.run("/bin/sh", "-c", 'echo "$ONE|$TWO" >&2', env={"ONE": "1 'x'", "TWO": "$HOME"})
        head = script.run("/bin/echo", "0123456789", stdout=CaptureContext.build("head", limit=4))
        script.download_bytes("/golem/work/bytes", receive)
        script.download_json("/golem/work/copy", receive)
        script.download_file("/golem/work/file", target)
        yield script
        assert (await out).stdout == 'from bytesfrom a file{"from": ["json"]}'
        assert (await env).stderr == "1 'x'|$HOME\n"
        assert (await head).stdout == "0123"
        assert len(script.results) == 9
        # a command that fails, and the same activity goes on
        script = ctx.new_script()
        good = script.run("/bin/true")
        bad, never = script.run("/bin/sh", "-c", "echo oh >&2; exit 3"), script.run("/bin/true")
        with pytest.raises(
            CommandExecutionError, match=r"Run /bin/sh.*failed on provider.*3.*stderr: 'oh\n'"
        ):
            yield script
        assert (await good).success
        with pytest.raises(CommandExecutionError, match="Run /bin/sh"):
            await bad
        with pytest.raises(CommandNotExecutedError, match="Run /bin/true"):
            await never

    await work(scripts)
    assert received == [b"from bytes", {"from": ["json"]}]
    assert target.read_text() == "from a file"


@pytest.mark.contract("C05", "C09")
async def test_streamed_output(work: Work) -> None:
    async def scripts(ctx: WorkContext) -> Scripts:
        script = ctx.new_script()
        result = script.run("/bin/sh", "-c", "echo out; echo err >&2")
        yield script
        assert (await result).stdout is None

    events = await work(scripts, stream_output=True)
    assert "".join(event.output for event in events if isinstance(event, CommandStdOut)) == "out\n"
    assert "".join(event.output for event in events if isinstance(event, CommandStdErr)) == "err\n"


@pytest.mark.contract("C06", "C08")
async def test_limits(work: Work, tmp_path: Path) -> None:
    received: list[bytes] = []

    async def receive(data: bytes) -> None:
        received.append(data)

    async def scripts(ctx: WorkContext) -> Scripts:
        script = ctx.new_script()
        script.run("/bin/sh", "-c", "head -c 3000000 /dev/zero > /golem/work/big")
        big = script.download_bytes("/golem/work/big", receive)
        with pytest.raises(
            CommandExecutionError, match="limit of 1048576 bytes: pass a larger limit"
        ) as error:
            yield script
        causes: list[Any] = [error.value]
        while causes[-1].__cause__ is not None:
            causes.append(causes[-1].__cause__)
        assert any(isinstance(cause, DownloadTooLargeError) for cause in causes)
        with pytest.raises(CommandExecutionError, match="1048576"):
            await big
        script = ctx.new_script()
        script.download_bytes("/golem/work/big", receive, limit=3_000_000)
        yield script
        # a missing file is found before anything is sent
        script = ctx.new_script()
        script.upload_file(tmp_path / "missing", "/golem/work/x")
        with pytest.raises(FileNotFoundError, match=r"check the path.*missing"):
            yield script
        # scripts that wait for nothing
        first, second = ctx.new_script(wait_for_results=False), ctx.new_script(wait_for_results=False)
        slow, quick = first.run("/bin/sleep", "0.5"), second.run("/bin/true")
        begin = time.monotonic()
        task = yield first
        assert isinstance(task, asyncio.Task)
        yield second
        assert time.monotonic() - begin < 0.4
        assert [event.success for event in await task] == [True]
        assert (await asyncio.gather(slow, quick))[1].success
        # the time of a script runs out
        script = ctx.new_script(timeout=timedelta(seconds=1))
        asleep, never = script.run("/bin/sleep", "60"), script.run("/bin/true")
        with pytest.raises(BatchTimeoutError):
            yield script
        with pytest.raises(BatchTimeoutError):
            await asleep
        with pytest.raises(CommandNotExecutedError):
            await never

    events = await work(scripts)
    assert received == [bytes(3_000_000)]
    sent = [event.script_id for event in events if isinstance(event, ScriptSent)]
    done = [event.script_id for event in events if isinstance(event, ScriptFinished)]
    assert len(sent) == len(done) + 2


@pytest.mark.contract("C10")
async def test_large_files_in_little_memory(work: Work, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    checksum = hashlib.sha3_256()
    with source.open("wb") as file:
        for _ in range(64):
            block = os.urandom(1 << 20)
            checksum.update(block)
            file.write(block)
    grown = 0

    async def scripts(ctx: WorkContext) -> Scripts:
        nonlocal grown
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        script = ctx.new_script(timeout=timedelta(minutes=2))
        script.upload_file(source, "/golem/work/big")
        script.run("/bin/sh", "-c", "cp /golem/work/big /golem/work/copy")
        script.download_file("/golem/work/copy", target)
        yield script
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    events = await work(scripts)
    with target.open("rb") as file:
        assert hashlib.file_digest(file, "sha3_256").digest() == checksum.digest()
    # KiB
    assert grown < 40 << 10
    progress = [event for event in events if isinstance(event, CommandProgress)]
    assert progress
    assert all(0 < event.progress[0] <= 64 << 20 for event in progress)
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


async def test_a_file_from_a_web_server(work: Work, tmp_path: Path) -> None:
    content = os.urandom(300_000)

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=content)

    app = web.Application()
    app.router.add_get("/file", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def scripts(ctx: WorkContext) -> Scripts:
        script = ctx.new_script()
        script.download_from_url(f"{url}/file", "/golem/work/x", ProgressArgs(update_step=100_000))
        script.download_file("/golem/work/x", tmp_path / "x")
        yield script
        script = ctx.new_script()
        script.download_from_url(f"{url}/other", "/golem/work/y")
        with pytest.raises(CommandExecutionError, match=r"DownloadFromUrl http://127.*/other.*404"):
            yield script

    events = await work(scripts, stream_output=True)
    await runner.cleanup()
    assert (tmp_path / "x").read_bytes() == content
    assert [event.progress for event in events if isinstance(event, CommandProgress)][-1] == (
        300_000,
        300_000,
    )
