"""Control groups of sandboxes.

Which controllers version 2 offers is the machine's setting, and where version 1 has the one of memory no test
can bring it over. So most of this works on a folder that stands in for the mount: the files are the kernel's
interface, written and read as there. What a folder cannot show (a process is moved in before it runs
anything, a group goes with its last process, whose end is noticed) is tested as root at a real mount, with
groups that no controller limits.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from golem_nb.localnet.provider.sandbox import cgroup, linux
from golem_nb.localnet.provider.sandbox.cgroup import Groups
from golem_nb.localnet.provider.sandbox.host import Limits, SandboxHost
from golem_nb.localnet.spec import Image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups need Linux")

Machine = Callable[..., Path]


def make_group(
    folder: Path, *, processes: str = "", given: str = "", offered: str = "cpu memory pids"
) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in (
        ("cgroup.type", "domain"),
        ("cgroup.controllers", offered),
        ("cgroup.subtree_control", given),
        ("cgroup.procs", processes),
    ):
        (folder / name).write_text(f"{text}\n")
    return folder


def made_groups(place: Path) -> list[str]:
    return sorted(folder.name for folder in place.iterdir() if folder.name.startswith("golem-nb-"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Stand in for a machine whose groups are in a folder; return the folder."""

    def be(own: str, root: str = "/") -> Path:
        top = tmp_path / "groups"
        top.mkdir()
        proc = tmp_path / "proc"
        proc.mkdir()
        (proc / "cgroup").write_text(f"4:memory:/old\n0::{own}\n")
        (proc / "mountinfo").write_text(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
            "30 22 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
            f"31 22 0:27 {root} {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
        )
        monkeypatch.setattr(cgroup, "PROC", proc)
        return top

    return be


async def closed(groups: Groups | None) -> Groups:
    assert groups is not None
    await groups.close()
    return groups


async def test_groups_are_made_where_a_group_above_gives_its_memory(machine: Machine) -> None:
    top = make_group(machine("/init"), given="memory pids cpu")
    make_group(top / "init", processes=f"1 {os.getpid()}")
    groups = await closed(Groups.open())
    assert (groups.place, groups.controllers) == (top, {"memory", "pids"})
    assert (top / "cgroup.subtree_control").read_text() == "memory pids cpu\n"


async def test_a_mount_may_show_a_part_of_the_groups(machine: Machine) -> None:
    top = make_group(machine("/box/one", root="/box"), given="memory")
    make_group(top / "one", processes=f"{os.getpid()} 7")
    assert (await closed(Groups.open())).place == top


async def test_the_own_group_is_used_when_nobody_else_is_in_it(machine: Machine) -> None:
    top = make_group(machine("/"), processes=str(os.getpid()))
    groups = Groups.open()
    assert groups is not None
    (leaf,) = top.glob("golem-nb-*-agent")
    assert (leaf / "cgroup.procs").read_text() == str(os.getpid())
    assert (top / "cgroup.subtree_control").read_text() == "+memory +pids"
    (leaf / "cgroup.procs").unlink()  # as the kernel's files go with their group
    await groups.close()
    assert (top / "cgroup.subtree_control").read_text() == "-memory -pids"
    assert (top / "cgroup.procs").read_text() == str(os.getpid())
    assert not leaf.exists()


@pytest.mark.parametrize(
    ("processes", "offered"),
    [("{me} 1", "cpu memory pids"), ("{me}", "hugetlb"), ("0", "memory")],
    ids=["others are in it", "no controller of memory", "not ours"],
)
async def test_a_group_that_cannot_be_divided_is_left_alone(
    machine: Machine, processes: str, offered: str
) -> None:
    top = make_group(machine("/"), processes=processes.format(me=os.getpid()), offered=offered)
    before = {path.name: path.read_text() for path in top.iterdir()}
    assert Groups.open() is None
    assert {path.name: path.read_text() for path in top.iterdir()} == before


async def test_a_refused_controller_takes_the_move_back(machine: Machine) -> None:
    top = make_group(machine("/"), processes=str(os.getpid()))
    (top / "cgroup.subtree_control").unlink()
    (top / "cgroup.subtree_control").mkdir()  # neither read nor written
    assert Groups.open() is None
    assert (top / "cgroup.procs").read_text().strip() == str(os.getpid())


@pytest.mark.parametrize("own", ["/gone", "/../outside"])
async def test_a_group_out_of_sight_is_none(machine: Machine, own: str) -> None:
    make_group(machine(own), given="memory")
    assert Groups.open() is None


async def test_without_version_2_there_are_no_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "PROC", tmp_path)
    assert Groups.open() is None
    (tmp_path / "cgroup").write_text("4:memory:/\n0::/\n")
    (tmp_path / "mountinfo").write_text("30 22 0:26 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n")
    assert Groups.open() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has what he was given")
async def test_root_takes_no_group_that_was_not_handed_over(machine: Machine) -> None:
    top = make_group(machine("/slice/scope"), given="memory pids")
    (top / "cgroup.type").unlink()  # the machine's real uppermost group
    make_group(top / "slice", given="memory pids")
    make_group(top / "slice/scope", processes=f"1 {os.getpid()}")
    assert Groups.open() is None


async def test_what_dead_agents_left_is_swept(machine: Machine) -> None:
    top = make_group(machine("/init"), given="memory")
    make_group(top / "init", processes="1")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = cgroup._name("activity")
    for name in (f"golem-nb-{dead.pid}-123-activity", f"golem-nb-{os.getpid()}-1-a-b", living, "golem-nb-x"):
        (top / name).mkdir()
    # the kernel keeps a group with processes in it, as a folder with a file is kept
    (top / f"golem-nb-{dead.pid}-124-kept").mkdir()
    (top / f"golem-nb-{dead.pid}-124-kept/cgroup.procs").touch()
    await closed(Groups.open())
    assert made_groups(top) == sorted((f"golem-nb-{dead.pid}-124-kept", living, "golem-nb-x"))


@pytest.fixture
def divided(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A group in which others can be made."""
    watch = linux.watch

    def made(descriptor: int, path: str) -> int:
        Path(path).touch()  # the kernel makes a group's files with its folder
        return watch(descriptor, path)

    monkeypatch.setattr(linux, "watch", made)
    top = make_group(machine("/init"), given="memory pids")
    make_group(top / "init", processes="1")
    return top


async def test_limits_of_a_sandbox_and_its_end_at_them(divided: Path, tmp_path: Path) -> None:
    host = SandboxHost(tmp_path / "sandboxes")
    await host.start()
    try:
        sandbox = await host.create("activity", Image(sha3="0"), Limits(memory=64 << 20))
        (folder,) = divided.glob("golem-nb-*-activity")
        limits = {path.name: path.read_text() for path in folder.iterdir()}
        assert limits.pop("cgroup.procs").isdigit()
        assert limits.pop("memory.events") == ""
        assert limits == {"memory.max": str(64 << 20), "memory.swap.max": "0", "pids.max": "2048"}
        exceeded: list[int] = []
        sandbox.on_exceeded = exceeded.append
        processes = [
            await sandbox.run(["/bin/sleep", "60"], {}, lambda _: None, lambda _: None) for _ in range(2)
        ]
        # the whole machine's lack of memory is not the activity's fault
        (folder / "memory.events").write_text("low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\noom_group_kill 0\n")
        await asyncio.sleep(0.05)
        assert exceeded == []
        (folder / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 0\n")
        codes = await asyncio.wait_for(asyncio.gather(*(p.exited for p in processes)), 5)
        assert codes == [-9, -9]
        assert exceeded == [64 << 20]
        for path in folder.iterdir():  # as the kernel's files go with their group
            path.unlink()
        await sandbox.close()
        await asyncio.sleep(0)
        assert not folder.exists()
    finally:
        await host.close()


async def test_the_limit_is_told_before_the_killed_command(
    divided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = linux.watch
    # the kernel's notice is late: here it never comes
    monkeypatch.setattr(linux, "watch", lambda number, _: watch(number, str(tmp_path / "other")))
    host = SandboxHost(tmp_path / "sandboxes")
    await host.start()
    try:
        sandbox = await host.create("activity", Image(sha3="0"), Limits(memory=64 << 20))
        (folder,) = divided.glob("golem-nb-*-activity")
        told: list[object] = []
        sandbox.on_exceeded = told.append
        process = await sandbox.run(["/bin/sh", "-c", "sleep 0.2; kill -9 $$"], {}, print, print)
        process.exited.add_done_callback(lambda _: told.append("exit"))
        (folder / "memory.events").write_text("oom 1\noom_kill 1\n")
        await process.exited
        await asyncio.sleep(0)
        assert told == [64 << 20, "exit"]
    finally:
        await host.close()


async def test_a_place_that_refuses_leaves_the_watcher_alone(divided: Path, tmp_path: Path) -> None:
    host = SandboxHost(tmp_path / "sandboxes")
    await host.start()
    try:
        for folder in divided.glob("golem-nb-*"):
            for path in folder.iterdir():
                path.unlink()
        divided.rename(tmp_path / "gone")
        sandbox = await host.create("activity", Image(sha3="0"), Limits(memory=64 << 20))
        process = await sandbox.run(["/bin/true"], {}, print, print)
        assert await process.exited == 0
        await sandbox.close()
    finally:
        await host.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
async def test_processes_are_moved_in_and_groups_removed_at_a_real_mount(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    script = (
        'mount -t cgroup2 none "$1" || exit 77; mkdir "$1/$2" || exit 77; '
        '"$3" "$4" "$1/$2" "$5"; code=$?; find "$1/$2" -depth -type d -exec rmdir {} ";"; exit $code'
    )
    place = f"test-golem-nb-{os.getpid()}"
    program = Path(__file__).with_name("cgroup_program.py")
    arguments = [mounted, place, sys.executable, program, tmp_path / "sandboxes"]
    process = await asyncio.create_subprocess_exec(
        "unshare",
        "--mount",
        "--propagation=private",
        "sh",
        "-c",
        script,
        "sh",
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    if process.returncode == 77:
        pytest.skip(f"no control groups of version 2 here: {errors.decode()}")
    assert process.returncode == 0, errors.decode()
    said = json.loads(output)
    (group,) = said["during"]
    assert group.startswith(f"golem-nb-{said['pid']}-")
    assert group.endswith("-activity")
    assert said["own"].endswith(f"/{place}/{group}")
    assert said["after"] == []
