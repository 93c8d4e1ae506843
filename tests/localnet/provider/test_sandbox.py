"""Sandboxes: commands, files, limits, and that nothing outlives them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golem_nb.localnet.provider.sandbox.host import Limits, Sandbox, SandboxError, SandboxHost, remove_folder
from golem_nb.localnet.provider.sandbox.layout import ImageError
from golem_nb.localnet.spec import Image, ImageKind


def ignore(_: bytes) -> None:
    pass


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes need Linux")


def _host_processes(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def _until(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return bool(condition())


async def test_output_exit_code_and_environment(sandbox: Sandbox, shell) -> None:
    assert await shell(sandbox, "echo $WHO; pwd; exit 7", WHO="me") == (7, "me\n/golem/work\n")


async def test_signals_are_negative_exit_codes(sandbox: Sandbox, shell) -> None:
    assert (await shell(sandbox, "kill -TERM $$"))[0] == -signal.SIGTERM


async def test_env_program_sets_variables(sandbox: Sandbox) -> None:
    output = bytearray()
    process = await sandbox.run(
        ["/usr/bin/env", "A=1", "/bin/sh", "-c", "echo $A"], {}, output.extend, output.extend
    )
    assert await process.exited == 0
    assert bytes(output) == b"1\n"


async def test_a_missing_program_is_named(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="No such file or directory: /bin/nothing"):
        await sandbox.run(["/bin/nothing"], {}, ignore, ignore)
    with pytest.raises(SandboxError, match="Is a directory"):
        await sandbox.run(["/usr/bin/"], {}, ignore, ignore)


async def test_output_comes_as_it_is_written(sandbox: Sandbox) -> None:
    came: list[tuple[float, bytes]] = []
    started = time.monotonic()
    take = lambda data: came.append((time.monotonic(), data))  # noqa: E731
    process = await sandbox.run(["/bin/sh", "-c", "echo a; sleep 0.5; echo b"], {}, take, ignore)
    await process.exited
    assert [data for _, data in came] == [b"a\n", b"b\n"]
    assert came[0][0] - started < 0.3
    assert came[1][0] - came[0][0] >= 0.4


async def test_arguments_longer_than_a_packet(sandbox: Sandbox) -> None:
    output = bytearray()
    words = ["x" * 100_000, "y" * 100_000, "é" * 20_000]
    process = await sandbox.run(["/bin/echo", *words], {}, output.extend, output.extend)
    assert await process.exited == 0
    assert output.decode() == " ".join(words) + "\n"


async def test_many_commands_at_once(sandbox: Sandbox, shell) -> None:
    results = await asyncio.gather(*(shell(sandbox, f"echo {i}") for i in range(100)))
    assert results == [(0, f"{i}\n") for i in range(100)]


async def test_a_large_output_is_complete(sandbox: Sandbox) -> None:
    size = 0

    def count(data: bytes) -> None:
        nonlocal size
        size += len(data)

    process = await sandbox.run(["/bin/sh", "-c", "head -c 20000000 /dev/zero"], {}, count, count)
    assert await process.exited == 0
    assert size == 20_000_000


async def test_a_background_process_goes_on_after_its_command(sandbox: Sandbox, shell) -> None:
    script = "(for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done; echo end > /golem/work/end) & echo started"
    code, text = await shell(sandbox, script)
    assert code == 0
    assert "started" in text
    await asyncio.sleep(0.9)
    # writing to an output that nobody takes any more has not killed it
    assert await shell(sandbox, "cat end") == (0, "end\n")


async def test_cpu_time_counts_grandchildren_and_the_living(sandbox: Sandbox, shell) -> None:
    burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
    await shell(sandbox, f"sh -c '{burn}' & wait")
    spent = await sandbox.cpu()
    assert spent > 0.05
    process = await sandbox.run(["/bin/sh", "-c", "while :; do :; done"], {}, ignore, ignore)
    async with asyncio.timeout(10):  # on a busy machine it gets little of each second
        while await sandbox.cpu() <= spent + 0.1:
            await asyncio.sleep(0.05)
    await sandbox.kill()
    assert await process.exited == -signal.SIGKILL


async def test_files_are_opened_with_the_sandbox_s_eyes(sandbox: Sandbox, shell) -> None:
    if not sandbox.isolated:
        pytest.skip("no namespaces here")
    await shell(
        sandbox,
        "cd /golem/output; ln -s /etc/shadow link; mkfifo fifo; echo ok > file",
    )
    with pytest.raises(SandboxError, match="No such file"):
        await sandbox.open("/golem/output/link")
    for path in ("/golem/output/fifo", "/dev/zero", "/golem/output"):
        with pytest.raises(SandboxError, match=r"Not a regular file|Is a directory"):
            await sandbox.open(path)
    descriptor = await sandbox.open("/golem/output/file")
    assert os.read(descriptor, 10) == b"ok\n"
    os.close(descriptor)


async def test_writing_makes_a_new_file_and_its_folders(sandbox: Sandbox, shell) -> None:
    if not sandbox.isolated:
        pytest.skip("no namespaces here")
    await shell(sandbox, "echo old > /golem/work/target; ln -s /golem/work/target /golem/input/name")
    descriptor = await sandbox.open("/golem/input/name", write=True)
    os.write(descriptor, b"new")
    os.close(descriptor)
    descriptor = await sandbox.open("/deep/er/file", write=True)
    os.close(descriptor)
    assert await shell(
        sandbox, "cat /golem/work/target /golem/input/name; ls -l /deep/er/file | cut -d' ' -f3"
    ) == (
        0,
        "old\nnewroot\n",
    )


async def test_volumes_hosts_and_hostname(host: SandboxHost, shell) -> None:
    if not host.isolated:
        pytest.skip("no namespaces here")
    sandbox = await host.create(
        "volumes",
        Image(sha3="0"),
        Limits(),
        folders=["/data/deep"],
        hosts={"db": "192.168.0.2"},
        hostname="node-1",
    )
    script = "echo x > /data/deep/x; cat /data/deep/x; hostname; grep db /etc/hosts"
    assert await shell(sandbox, script) == (0, "x\nnode-1\n192.168.0.2 db\n")
    await sandbox.close()


async def test_too_much_memory_ends_everything(sandbox: Sandbox) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no python3 in /usr/bin")
    exceeded: list[int] = []
    sandbox.on_exceeded = exceeded.append
    # each of the four stays below the limit, together they pass it
    hungry = "import time; x = bytearray(90 << 20); time.sleep(30)"
    processes = [await sandbox.run(["/usr/bin/python3", "-c", hungry], {}, ignore, ignore) for _ in range(4)]
    codes = await asyncio.wait_for(asyncio.gather(*(p.exited for p in processes)), 10)
    assert codes == [-signal.SIGKILL] * 4
    assert exceeded
    assert exceeded[0] > 256 << 20


async def test_one_allocation_beyond_all_bounds_fails_at_once(sandbox: Sandbox, shell) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no python3 in /usr/bin")
    code, text = await shell(sandbox, "/usr/bin/python3 -c 'x = bytearray(2 << 30)'")
    assert code == 1
    assert "MemoryError" in text


async def test_a_file_cannot_grow_beyond_the_storage(sandbox: Sandbox, shell) -> None:
    _, text = await shell(sandbox, "head -c 100000000 /dev/zero > big; stat -c %s big")
    assert int(text.split()[-1]) <= 64 << 20


async def test_closing_kills_all_processes(host: SandboxHost, shell) -> None:
    sandbox = await host.create("closing", Image(sha3="0"), Limits())
    mark = f"9{os.getpid()}{time.monotonic_ns() % 100000}"
    await shell(
        sandbox, f"setsid sleep {mark} & nohup sleep {mark} >/dev/null 2>&1 & (sleep {mark} &) ; echo"
    )
    assert await _until(lambda: len(_host_processes(mark)) == 3)
    await sandbox.close()
    assert await _until(lambda: not _host_processes(mark))


async def test_the_sandbox_s_end_is_told_to_those_who_wait(host: SandboxHost) -> None:
    sandbox = await host.create("ended", Image(sha3="0"), Limits())
    process = await sandbox.run(["/bin/sleep", "60"], {}, ignore, ignore)
    sandbox.abort()
    assert await asyncio.wait_for(process.exited, 5) == -9
    with pytest.raises(SandboxError, match="has ended"):
        await sandbox.run(["/bin/true"], {}, ignore, ignore)


async def test_a_killed_agent_leaves_nothing(tmp_path: Path) -> None:
    mark = f"8{os.getpid()}{time.monotonic_ns() % 100000}"
    program = f"""
import asyncio, sys
from pathlib import Path
from golem_nb.localnet.provider.sandbox.host import Limits, SandboxHost
from golem_nb.localnet.spec import Image
async def main():
    host = SandboxHost(Path({str(tmp_path)!r}))
    await host.start()
    sandbox = await host.create("a", Image(sha3="0"), Limits())
    await sandbox.run(["/bin/sh", "-c", "setsid sleep {mark} & sleep {mark}"], {{}}, print, print)
    print("up", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert agent.stdout is not None
    assert await asyncio.wait_for(agent.stdout.readline(), 20) == b"up\n"
    assert await _until(lambda: len(_host_processes(f"sleep\0{mark}")) == 2)
    agent.kill()
    await agent.wait()
    assert await _until(lambda: not _host_processes(mark))


async def test_a_folder_is_removed_whatever_is_in_it(host: SandboxHost, shell) -> None:
    sandbox = await host.create("mess", Image(sha3="0"), Limits())
    await shell(sandbox, "mkdir -p a/b; echo x > a/b/c; chmod 000 a/b a; ln -s / link")
    await sandbox.close()
    await asyncio.to_thread(remove_folder, sandbox.folder)
    assert not sandbox.folder.exists()


async def test_python_image_has_this_interpreter_and_its_packages(host: SandboxHost) -> None:
    if not host.isolated:
        pytest.skip("no namespaces here")
    sandbox = await host.create("python", Image(sha3="1", kind=ImageKind.PYTHON), Limits())
    output = bytearray()
    script = "import sys, attrs, golem_nb; print(sys.version_info[:3], sys.prefix)"
    process = await sandbox.run(["python", "-c", script], {}, output.extend, output.extend)
    assert await process.exited == 0, output.decode()
    assert output.decode() == f"{sys.version_info[:3]} {sys.prefix}\n"
    output.clear()
    process = await sandbox.run(
        ["/bin/sh", "-c", f"touch {sys.prefix}/x; ls -A ~root/.ssh $HOME/.bashrc"],
        {},
        output.extend,
        output.extend,
    )
    assert await process.exited != 0
    assert "Read-only file system" in output.decode()
    await sandbox.close()


async def test_python_image_with_a_broken_interpreter(host: SandboxHost) -> None:
    with pytest.raises(ImageError, match="/nowhere/python does not run"):
        await host.create("x", Image(sha3="1", kind=ImageKind.PYTHON, python="/nowhere/python"), Limits())


async def test_rootfs_image(host: SandboxHost, tmp_path: Path, shell) -> None:
    if not host.isolated:
        pytest.skip("no namespaces here")
    folder = tmp_path / "image"
    for name in ("usr", "bin", "lib", "lib64"):
        place = Path("/", name)
        if place.is_symlink():
            folder.mkdir(exist_ok=True)
            (folder / name).symlink_to(os.readlink(place))
    if not (folder / "bin").is_symlink():
        pytest.skip("only where /bin is a link into /usr")
    # a real image is a folder of its own; this one shares /usr/bin and the libraries
    (folder / "usr").mkdir()
    for name in ("bin", "lib", "lib64"):
        if Path("/usr", name).is_dir():
            (folder / "usr" / name).mkdir()
    (folder / "data").mkdir()
    (folder / "data/hello").write_text("from the image\n")
    (folder / "etc").mkdir()
    sandbox = await host.create("rootfs", Image(sha3="2", kind=ImageKind.ROOTFS, rootfs=folder), Limits())
    descriptor = await sandbox.open("/data/hello")
    assert os.read(descriptor, 100) == b"from the image\n"
    os.close(descriptor)
    with pytest.raises(SandboxError, match="Read-only"):
        await sandbox.open("/data/new", write=True)
    with pytest.raises(SandboxError, match="No such file"):
        await sandbox.run(["/bin/sh"], {}, ignore, ignore)
    await sandbox.close()


async def test_an_image_s_own_golem_folder_is_seen_beside_the_activity_s(
    host: SandboxHost, rootfs: Path, shell
) -> None:
    if not host.isolated:
        pytest.skip("no namespaces here")
    (rootfs / "golem/readme").write_text("about\n")
    (rootfs / "golem/current").symlink_to("run")
    (rootfs / "golem/work").mkdir()
    (rootfs / "golem/work/hidden").touch()
    sandbox = await host.create("golem", Image(sha3="3", kind=ImageKind.ROOTFS, rootfs=rootfs), Limits())
    script = (
        "/golem/run/service_ctl a; /golem/current/service_ctl b; read x < /golem/readme; echo $x /golem/*"
    )
    assert await shell(sandbox, script) == (
        0,
        "service a\nservice b\nabout "
        "/golem/current /golem/input /golem/output /golem/readme /golem/resource /golem/run /golem/work\n",
    )
    assert await shell(
        sandbox, "echo /golem/work/*; echo x > /golem/work/x; echo x > /golem/new && echo ok"
    ) == (
        0,
        "/golem/work/*\nok\n",
    )
    code, text = await shell(sandbox, "echo x > /golem/run/x")
    assert code != 0
    assert "Read-only" in text
    await sandbox.close()


@pytest.mark.parametrize(
    ("volumes", "seen"),
    [
        (["/golem/run"], "/golem/run/* /data/deep /data/file"),
        (["/golem/run/state", "/data/deep"], "/golem/run/service_ctl /golem/run/state /data/deep /data/file"),
        (["/data/deep/er", "/data"], "/golem/run/service_ctl /data/deep"),
    ],
)
async def test_volumes_in_folders_of_an_image(
    host: SandboxHost, rootfs: Path, shell, volumes: list[str], seen: str
) -> None:
    if not host.isolated:
        pytest.skip("no namespaces here")
    (rootfs / "data/deep").mkdir(parents=True)
    (rootfs / "data/file").touch()
    (rootfs / "data/deep/file").touch()
    image = Image(sha3="4", kind=ImageKind.ROOTFS, rootfs=rootfs)
    sandbox = await host.create("volumes", image, Limits(), folders=volumes)
    assert await shell(sandbox, "echo /golem/run/* /data/*") == (0, f"{seen}\n")
    for volume in volumes:
        assert await shell(sandbox, f"echo x > {volume}/x && echo ok") == (0, "ok\n")
    await sandbox.close()
    # the next sandbox of the image has what the volumes have hidden
    other = await host.create("none", image, Limits())
    assert (await shell(other, "echo /data/deep/*")) == (0, "/data/deep/file\n")
    await other.close()


async def test_without_namespaces_there_is_a_clear_warning(tmp_path: Path, shell) -> None:
    host = SandboxHost(tmp_path / "plain", isolate=False)
    await host.start()
    try:
        assert "see this machine's files" in host.warnings[0]
        assert not host.tap
        sandbox = await host.create("a", Image(sha3="0"), Limits())
        assert await shell(sandbox, "echo hi > /golem/output/x; cat /golem/output/x; id -u") == (
            0,
            f"hi\n{os.geteuid() if host.uid is None else host.uid}\n",
        )
        descriptor = await sandbox.open("/golem/output/x")
        assert os.read(descriptor, 10) == b"hi\n"
        os.close(descriptor)
        mark = f"7{os.getpid()}{time.monotonic_ns() % 100000}"
        await shell(sandbox, f"setsid sleep {mark} & (sleep {mark} &); echo")
        assert await _until(lambda: len(_host_processes(mark)) == 2)
        await sandbox.close()
        assert await _until(lambda: not _host_processes(mark))
    finally:
        await host.close()
