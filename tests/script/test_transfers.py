from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from golem_nb.ctx import WorkContext
from golem_nb.events import CommandExecuted, DownloadFinished, DownloadStarted, Event
from golem_nb.rest.activity import BatchError, CommandExecutionError
from golem_nb.script import CommandNotExecutedError, CommandProgress, transfer
from golem_nb.storage import DownloadTooLargeError, TransferError

DATA = os.urandom(150_000)


@pytest.mark.contract("C03", "C07")
async def test_uploads(ctx: WorkContext, provider: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.bin"
    path.write_bytes(DATA)
    changing = bytearray(b"before")
    script = ctx.new_script()
    script.upload_bytes(DATA, "/bytes")
    script.upload_bytes(changing, "/changing")  # type: ignore[arg-type]
    script.upload_bytes(b"", "/empty")
    script.upload_file(str(path), "/file")
    script.upload_file(path, "/path")
    script.upload_json({"a": [1, None, "ä"]}, "/json")
    changing[:] = b"after!"
    results = await provider.run(script)
    assert all(event.success for event in results)
    assert len(results) == 6
    assert json.loads(provider.files.pop("/json")) == {"a": [1, None, "ä"]}
    assert provider.files == {
        "/bytes": DATA,
        "/changing": b"before",
        "/empty": b"",
        "/file": DATA,
        "/path": DATA,
    }
    assert [list(command["transfer"]) for command in provider.batches[0]] == [["from", "to"]] * 6
    assert all(command["transfer"]["from"].startswith("gftp://0x") for command in provider.batches[0])
    assert provider.batches[0][0]["transfer"]["to"] == "container:/bytes"


@pytest.mark.contract("C07")
async def test_downloads(
    ctx: WorkContext, provider: Any, events: list[Event], receive: Any, received: list[Any], tmp_path: Path
) -> None:
    provider.files = {"/bin": DATA, "/json": b'{"a": [1.5, "\\u00e4"]}', "/empty": b""}
    target = tmp_path / "out.bin"
    script = ctx.new_script()
    script.download_bytes("/bin", receive)
    script.download_json("/json", receive, limit=100)
    script.download_file("/bin", str(target))
    script.download_file("/empty", tmp_path / "empty")
    script.download_bytes("/empty", received.append)  # type: ignore[arg-type]
    await provider.run(script)
    assert received == [DATA, {"a": [1.5, "ä"]}, b""]
    assert target.read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "out.bin"]
    assert provider.batches[0][2]["transfer"]["from"] == "container:/bin"
    assert provider.batches[0][2]["transfer"]["to"].startswith("gftp://0x")
    # all commands first, then what becomes of each download
    assert [type(event) for event in events] == [CommandExecuted] * 5 + [
        DownloadStarted,
        DownloadFinished,
    ] * 5
    assert [
        event.path for event in events[9:11] if isinstance(event, DownloadStarted | DownloadFinished)
    ] == [
        "/bin",
        str(target),
    ]


@pytest.mark.contract("C07")
async def test_on_download_comes_after_the_event_and_is_awaited(
    ctx: WorkContext, provider: Any, events: list[Event]
) -> None:
    provider.files = {"/a": b"x"}
    log: list[str] = []

    async def on_download(data: bytes) -> None:
        log.append(type(events[-1]).__name__)
        # even the command itself can be awaited here
        assert (await asyncio.wait_for(future, 5)).success
        await asyncio.sleep(0.01)
        log.append("awaited")

    script = ctx.new_script()
    future = script.download_bytes("/a", on_download)
    await provider.run(script)
    assert log == ["DownloadFinished", "awaited"]


async def test_on_download_that_raises(ctx: WorkContext, provider: Any, receive: Any) -> None:
    provider.files = {"/a": b"x"}

    async def on_download(data: bytes) -> None:
        raise LookupError("no such column")

    script = ctx.new_script()
    first, second = script.download_bytes("/a", on_download), script.download_bytes("/a", receive)
    with pytest.raises(LookupError, match="no such column"):
        await provider.run(script)
    assert (await first).success
    with pytest.raises(CommandNotExecutedError, match="no such column"):
        await second


async def test_a_file_that_does_not_exist_stops_the_script_before_it_is_sent(
    ctx: WorkContext, provider: Any, tmp_path: Path
) -> None:
    script = ctx.new_script()
    first = script.upload_bytes(b"x", "/x")
    second = script.upload_file(tmp_path / "missing.csv", "/y")
    with pytest.raises(FileNotFoundError, match=r"does not exist: check the path.*missing\.csv"):
        await provider.run(script)
    assert not provider.batches
    for future in (first, second):
        with pytest.raises(CommandNotExecutedError, match=r"was not sent.*missing\.csv"):
            await future


async def test_things_that_cannot_be_uploaded(ctx: WorkContext, provider: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, kind, said in (
        (tmp_path, IsADirectoryError, "cannot upload a folder: pack it into an archive"),
        (pipe, OSError, "cannot upload what is not a regular file"),
        (tmp_path / ("x" * 300), OSError, "cannot upload a file: File name too long"),
    ):
        script = ctx.new_script()
        script.upload_file(path, "/y")
        with pytest.raises(kind, match=said):
            await provider.run(script)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read(ctx: WorkContext, provider: Any, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(0o000)
    script = ctx.new_script()
    script.upload_file(path, "/y")
    with pytest.raises(PermissionError, match=r"cannot upload a file: Permission denied.*secret"):
        await provider.run(script)


async def test_a_file_that_becomes_shorter_while_it_is_sent(
    ctx: WorkContext, provider: Any, tmp_path: Path
) -> None:
    path = tmp_path / "in.bin"
    path.write_bytes(DATA)
    script = ctx.new_script()
    future = script.upload_file(path, "/y")
    batch = await script.prepare()
    path.write_bytes(b"")
    with pytest.raises(Exception, match="cannot be read"):
        await provider.fetch(batch[0]["transfer"]["from"])
    error = await script.abandon(CommandExecutionError("Transfer", "some text of the provider's"))
    assert "became shorter while it was sent" in str(error)
    with pytest.raises(CommandExecutionError, match=r"in\.bin.*do not change a file"):
        await future


async def test_places_that_cannot_be_downloaded_to(ctx: WorkContext, provider: Any, tmp_path: Path) -> None:
    for path, kind, said in (
        (tmp_path, IsADirectoryError, "cannot download to a folder: give the path of a file"),
        (tmp_path / "no" / "out", FileNotFoundError, "a folder that does not exist: make it first.*no/out"),
        (Path("/dev/null"), OSError, "not a regular file"),
    ):
        script = ctx.new_script()
        script.download_file("/y", path)
        with pytest.raises(kind, match=said):
            await provider.run(script)
    assert not provider.batches


@pytest.mark.parametrize("kind", ["bytes", "json"])
async def test_a_download_that_is_too_large(
    ctx: WorkContext, provider: Any, receive: Any, received: list[Any], kind: str
) -> None:
    provider.files = {"/a": DATA}
    script = ctx.new_script()
    download = script.download_bytes if kind == "bytes" else script.download_json
    future = download("/a", receive, limit=100_000)
    after = script.run("/bin/date")
    with pytest.raises(CommandExecutionError) as raised:
        await provider.run(script)
    assert "limit of 100000 bytes: pass a larger limit=…" in str(raised.value)
    refused = raised.value.__cause__
    assert isinstance(refused, CommandExecutionError)
    assert refused.message.startswith("transfer failed: ")
    assert isinstance(refused.__cause__, DownloadTooLargeError)
    assert refused.__cause__.limit == 100_000
    with pytest.raises(CommandExecutionError, match="100000"):
        await future
    with pytest.raises(CommandNotExecutedError, match="100000"):
        await after
    assert received == []


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"{", "Expecting property name"),
        (b"\xff\xfe\xfd", "can't decode|truncated"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 10_000, "integer string conversion"),
        (b"", "Expecting value"),
    ],
)
async def test_json_that_is_none(
    ctx: WorkContext, provider: Any, receive: Any, received: list[Any], sent: bytes, said: str
) -> None:
    provider.files = {"/a.json": sent}
    script = ctx.new_script()
    future = script.download_json("/a.json", receive)
    with pytest.raises(TransferError, match=rf"DownloadJson /a\.json: .*not valid JSON \(.*({said})"):
        await provider.run(script)
    assert (await future).success
    assert received == []


async def test_damaged_data_is_refused(ctx: WorkContext, provider: Any, tmp_path: Path) -> None:
    provider.files = {"/a": DATA}
    target = tmp_path / "out"
    target.write_bytes(b"old")
    script = ctx.new_script()
    script.download_file("/a", target)
    with pytest.raises(CommandExecutionError, match=r"150000 bytes arrived damaged.*checksum") as raised:
        await provider.run(script, tamper=lambda data: b"?" + data[1:])
    assert isinstance(raised.value, BatchError)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


async def test_a_provider_that_only_says_that_it_has_sent(
    ctx: WorkContext, provider: Any, receive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_ARRIVAL_LIMIT", 0.05)
    script = ctx.new_script()
    future = script.download_bytes("/a", receive)
    await script.prepare()
    provider.result(script, script.commands[0])
    with pytest.raises(TransferError, match=r"DownloadBytes /a: .*says that it was sent, but only 0 bytes"):
        await script.finish()
    with pytest.raises(TransferError, match="only 0 bytes"):
        await future


async def test_a_script_that_ends_early_leaves_nothing(
    ctx: WorkContext, provider: Any, tmp_path: Path
) -> None:
    # what is still published is looked for when the test has ended
    provider.files = {"/a": DATA}
    script = ctx.new_script()
    script.upload_bytes(DATA, "/b")
    script.download_file("/a", tmp_path / "out")
    script.run("/bin/false")
    with pytest.raises(CommandExecutionError, match="exited with code 3"):
        await provider.run(script, fail=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.contract("C11")
async def test_an_old_file_is_replaced_and_keeps_its_permissions(
    ctx: WorkContext, provider: Any, tmp_path: Path
) -> None:
    provider.files = {"/a": DATA}
    old, link, new = tmp_path / "old", tmp_path / "link", tmp_path / "new"
    old.write_bytes(b"x" * 1_000_000)
    old.chmod(0o640)
    link.symlink_to(old)
    script = ctx.new_script()
    script.download_file("/a", link)
    script.download_file("/a", new)
    await provider.run(script)
    assert link.is_symlink()
    assert old.read_bytes() == new.read_bytes() == DATA
    assert old.stat().st_mode & 0o777 == 0o640
    assert new.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


async def test_progress_of_long_transfers(
    ctx: WorkContext,
    provider: Any,
    events: list[Event],
    receive: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider.files = {"/b": DATA}
    script = ctx.new_script()
    script.upload_bytes(DATA, "/a")
    script.download_bytes("/b", receive)
    monkeypatch.setattr(transfer, "_PROGRESS_INTERVAL", 0.0)
    await provider.run(script)
    progress = [event for event in events if isinstance(event, CommandProgress)]
    assert [(event.command, *event.progress, event.unit) for event in progress] == [
        *((script.commands[0], done, 150_000, "Bytes") for done in (81_920, 122_880, 150_000)),
        *((script.commands[1], done, None, "Bytes") for done in (81_920, 122_880, 150_000)),
    ]


async def test_short_transfers_report_no_progress(
    ctx: WorkContext, provider: Any, events: list[Event]
) -> None:
    script = ctx.new_script()
    script.upload_bytes(DATA, "/a")
    await provider.run(script)
    assert [type(event) for event in events] == [CommandExecuted]
