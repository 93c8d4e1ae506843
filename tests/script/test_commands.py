from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest

from golem_nb.ctx import WorkContext
from golem_nb.script import CaptureContext, ProgressArgs, Script
from golem_nb.script import command as commands
from golem_nb.script.command import Command

STREAM = {"stdout": {"stream": {}}, "stderr": {"stream": {}}}
NET = {
    "id": "NETID",
    "ip": "192.168.0.0",
    "mask": "255.255.255.0",
    "nodeIp": "192.168.0.2",
    "nodes": {"192.168.0.1": "0xowner", "192.168.0.2": "0xprov"},
}


def run(entry_point: str, *args: str, capture: dict[str, Any] = STREAM) -> dict[str, Any]:
    return {"run": {"entry_point": entry_point, "args": list(args), "capture": capture}}


@pytest.mark.contract("C03", "C05")
@pytest.mark.parametrize(
    ("add", "sent"),
    [
        (lambda s: s.deploy(), {"deploy": {}}),
        (lambda s: s.deploy(net=[NET]), {"deploy": {"net": [NET]}}),
        (
            lambda s: s.deploy(volumes=["/a"], env={"A": "1"}, hosts={"h": "10.0.0.1"}, hostname="me"),
            {"deploy": {"volumes": ["/a"], "env": {"A": "1"}, "hosts": {"h": "10.0.0.1"}, "hostname": "me"}},
        ),
        (
            lambda s: s.deploy(progress_args=ProgressArgs()),
            {"deploy": {"progress": {"updateInterval": "5s", "updateStep": None}}},
        ),
        (lambda s: s.start(), {"start": {"args": []}}),
        (lambda s: s.start("a", "b"), {"start": {"args": ["a", "b"]}}),
        (lambda s: s.terminate(), {"terminate": {}}),
        (lambda s: s.run("/bin/sh", "-c", "date"), run("/bin/sh", "-c", "date")),
        (lambda s: s.run(PurePosixPath("/a/b"), PurePosixPath("c")), run("/a/b", "c")),
        (
            lambda s: s.run(
                "/x", stdout=CaptureContext.build("stream", limit=10), stderr=CaptureContext.build()
            ),
            run("/x", capture={"stdout": {"stream": {"limit": 10}}, "stderr": {"atEnd": {}}}),
        ),
        (
            lambda s: s.download_from_url("https://example.org/a?b=c", "/golem/work/a"),
            {"transfer": {"from": "https://example.org/a?b=c", "to": "container:/golem/work/a"}},
        ),
        (
            lambda s: s.download_from_url("http://h/a", "/a", ProgressArgs(timedelta(seconds=1.5), 1 << 20)),
            {
                "transfer": {
                    "from": "http://h/a",
                    "to": "container:/a",
                    "progress": {"updateInterval": "1500ms", "updateStep": 1 << 20},
                }
            },
        ),
    ],
)
async def test_what_is_sent(ctx: WorkContext, add: Callable[[Script], Any], sent: dict[str, Any]) -> None:
    script = ctx.new_script()
    add(script)
    assert await script.prepare() == [sent]
    await script.abandon(Exception("not executed here"))


@pytest.mark.contract("C04")
async def test_environment_variables_are_set_by_env(ctx: WorkContext) -> None:
    script = ctx.new_script()
    script.run("/bin/sh", "-c", "echo $A", env={"A": "x y=$z", "_b2": ""})
    script.run("/bin/date", env={})
    assert await script.prepare() == [
        run("/usr/bin/env", "A=x y=$z", "_b2=", "/bin/sh", "-c", "echo $A"),
        run("/bin/date"),
    ]
    await script.abandon(Exception("not executed here"))


@pytest.mark.contract("C04")
@pytest.mark.parametrize("name", ["", "A B", "1A", "A=", "A-B", "-i", "ä", "A\n", 7])
def test_names_that_no_variable_can_have(ctx: WorkContext, name: Any) -> None:
    with pytest.raises(ValueError, match="cannot be the name of an environment variable"):
        ctx.new_script().run("/bin/date", env={name: "x"})


def test_values_that_no_variable_can_have(ctx: WorkContext) -> None:
    script = ctx.new_script()
    with pytest.raises(TypeError, match=r"variable A must be a string, not int: use str"):
        script.run("/bin/date", env={"A": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="A holds a NUL"):
        script.run("/bin/date", env={"A": "\0"})
    with pytest.raises(ValueError, match=r"'='.*shell script"):
        script.run("/odd=name", env={"A": "x"})
    assert not script.commands


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda s: s.run("/bin/echo", 7), r"argument of run\(\) must be a string, not int 7: use str"),
        (lambda s: s.run(None), r"command of run\(\) must be a string, not NoneType"),
        (lambda s: s.start(b"x"), r"argument of start\(\) must be a string, not bytes"),
        (lambda s: s.upload_bytes("text", "/a"), r"sends bytes, not str.*upload_json"),
        (lambda s: s.upload_bytes(b"", None), r"dst_path of an upload must be a string"),
        (lambda s: s.upload_json({1, 2}, "/a"), r"upload_json\(\) to '/a'.*set is not JSON serializable"),
        (lambda s: s.download_bytes("/a", None), r"on_download must be a function"),
        (lambda s: s.add("terminate"), r"a script is made of commands, not of str"),
        (lambda s: Script(s.context, timeout=5), r"timeout of a script must be a timedelta, not int"),
    ],
)
def test_arguments_of_the_wrong_type(ctx: WorkContext, add: Callable[[Script], Any], said: str) -> None:
    script = ctx.new_script()
    with pytest.raises(TypeError, match=said):
        add(script)
    assert not script.commands


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda s: s.download_from_url("/local/file", "/a"), r"'/local/file' is not the URL.*upload_file"),
        (lambda s: s.download_from_url("file:///etc/passwd", "/a"), r"is not the URL"),
        (
            lambda s: s.download_bytes("/a", print, limit=0),
            r"limit must be a positive number of bytes, not 0",
        ),
        (lambda s: s.download_json("/a", print, limit=1.5), r"limit must be .* not 1.5"),
        (lambda _: ProgressArgs(timedelta(0)), r"update_interval must be positive"),
    ],
)
def test_arguments_of_the_wrong_value(ctx: WorkContext, add: Callable[[Script], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        add(ctx.new_script())


def test_data_that_contains_itself(ctx: WorkContext) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match=r"upload_json\(\) to '/a'"):
        ctx.new_script().upload_json(loop, "/a")


@pytest.mark.contract("I07")
def test_a_class_for_each_command() -> None:
    names = (
        "Deploy Start Terminate Run UploadBytes UploadFile UploadJson DownloadBytes DownloadFile "
        "DownloadJson DownloadFromUrl"
    )
    assert all(issubclass(getattr(commands, name), Command) for name in names.split())


@pytest.mark.contract("C06")
def test_commands_in_words(ctx: WorkContext) -> None:
    script = ctx.new_script()
    script.run("/bin/sh", "-c", "exit 3")
    script.upload_file("in.txt", "/golem/work/in.txt")
    script.download_json("/golem/work/out", print)
    script.run("/bin/sh", "-c", "x" * 100_000)
    shown = [str(command) for command in script.commands]
    assert shown[:3] == [
        "Run /bin/sh ('-c', 'exit 3')",
        "UploadFile in.txt to /golem/work/in.txt",
        "DownloadJson /golem/work/out",
    ]
    assert len(shown[3]) < 400
