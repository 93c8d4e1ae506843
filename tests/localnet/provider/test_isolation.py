"""What a command in a sandbox can reach of the machine: as root, and as an ordinary user."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attr
import attrs
import pytest

import golem_nb

PROGRAM = Path(__file__).with_name("isolation_program.py")
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes need Linux")


def _interpreter_of_nobody() -> str | None:
    """An interpreter that another user can run: that of a virtual environment may lie in a closed home."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        # setpriv itself may still start what its new user cannot
        check = "import os, sys; sys.exit(sys.version_info < (3, 11) or not os.access(sys.executable, 1))"
        command = [
            "setpriv",
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
            python,
            "-I",
            "-c",
            check,
        ]
        try:
            if subprocess.run(command, capture_output=True, cwd="/").returncode == 0:
                return python
        except OSError:
            continue
    return None


@pytest.fixture(scope="module")
def stranger_folder() -> Iterator[Path]:
    """A folder with a copy of the package that every user can read, and the machine's secrets beside it."""
    folder = Path(tempfile.mkdtemp(prefix="isolation-"))
    folder.chmod(0o755)
    try:
        for package in (golem_nb, attr, attrs):
            source = Path(package.__file__).parent
            shutil.copytree(
                source, folder / "lib" / source.name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for package in ("golem_nb", "golem_nb/localnet"):
            # only what sandboxes need: their dependencies may be out of another user's reach
            (folder / "lib" / package / "__init__.py").write_text("")
        shutil.copy(PROGRAM, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Machine:
    """Secrets outside the sandbox, and what the probes said."""

    def __init__(self, folder: Path, user: str) -> None:
        self.mark = f"SECRET{secrets.token_hex(8)}"
        self.readable = folder / f"readable-{user}"
        self.readable.write_text(self.mark)
        self.readable.chmod(0o644)
        self.bystander = subprocess.Popen(["sleep", "120"], env={"NAME": self.mark})
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.abstract.bind(f"\0{self.mark}")
        self.abstract.listen()
        self.answers: dict[str, tuple[int, str]] = {}
        self.report: dict[str, Any] = {}

    def close(self) -> None:
        self.bystander.kill()
        self.bystander.wait()
        self.listener.close()
        self.abstract.close()

    def probes(self) -> dict[str, str]:
        python = shutil.which("python3", path="/usr/bin:/bin") or "false"

        def connect(family: str, address: object) -> str:
            program = (
                f"import socket; s = socket.socket(socket.{family}); s.settimeout(3); "
                f"s.connect({address!r}); print('CONNECTED')"
            )
            return f"{python} -c {shlex.quote(program)}"

        return {
            "id": "id -u; cat /proc/self/uid_map",
            "shadow": "cat /etc/shadow",
            "homes": "ls -A /home /root",
            "readable": f"cat {self.readable}; ls {self.readable.parent}",
            "processes": "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '",
            "pids": "ls -d /proc/[0-9]*",
            "kill": f"kill -9 {self.bystander.pid}; kill -9 1; echo alive",
            "agent": "cat /proc/1/environ /proc/1/maps /proc/1/mem; ls -l /proc/1/fd /proc/1/root/",
            "mounts": "cat /proc/mounts",
            "write": "for f in /usr/x /bin/x /etc/ld.so.cache /lib/x; do (echo x > $f) 2>&1; done",
            "remount": "mount -o remount,rw /usr; umount /usr; mount -t tmpfs none /mnt; echo $?",
            "nested": "unshare -Urm sh -c 'mount -o remount,rw,bind /usr; touch /usr/x' 2>&1; ls /usr/x",
            "mknod": "mknod /tmp/disk b 254 0; ls /tmp/disk",
            "tcp": connect("AF_INET", ("127.0.0.1", self.port)),
            "abstract": connect("AF_UNIX", f"\0{self.mark}"),
            "capabilities": "grep Cap /proc/self/status",
            "private": "echo mine > /tmp/mine; ls /tmp /dev/shm; cd /golem; touch input/x work/x; echo $?",
            "devices": "ls /dev",
        }

    def run(self, command: list[str], folder: Path, **options: Any) -> None:
        done = subprocess.run(
            [*command, str(folder), json.dumps(self.probes())], capture_output=True, timeout=60, **options
        )
        assert done.returncode == 0, done.stderr.decode()
        self.report = json.loads(done.stdout)
        self.answers = {name: (code, text) for name, (code, text) in self.report["results"].items()}


@pytest.fixture(scope="module", params=["ourselves", "nobody"])
def machine(request: pytest.FixtureRequest, stranger_folder: Path) -> Iterator[Machine]:
    """The probes' answers, as the user that runs the tests (root, often) and as an ordinary one."""
    secret = Machine(stranger_folder, request.param)
    program, library = str(stranger_folder / PROGRAM.name), str(stranger_folder / "lib")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": library, "TOKEN": secret.mark}
    try:
        if request.param == "ourselves":
            folder = stranger_folder / "ours"
            folder.mkdir()
            secret.run([sys.executable, program], folder, env=environment, cwd="/")
        else:
            if os.geteuid() != 0:
                pytest.skip("only root can become another user; the tests run as an ordinary one already")
            python = _interpreter_of_nobody()
            if python is None:
                pytest.skip("there is no Python 3.11 or newer here that another user can run")
            folder = stranger_folder / "theirs"
            folder.mkdir()
            os.chown(folder, NOBODY, NOBODY)
            secret.run([*AS_NOBODY, python, program], folder, env=environment, cwd="/")
        if not secret.report["isolated"]:
            pytest.skip(f"this system allows no namespaces: {secret.report['warnings']}")
        yield secret
    finally:
        secret.close()


def test_root_inside_is_nobody_of_importance_outside(machine: Machine) -> None:
    _, text = machine.answers["id"]
    inside, outside, _ = text.splitlines()[1].split()
    assert text.splitlines()[0] == "0"
    assert inside == "0"
    assert outside != "0"


@pytest.mark.parametrize("probe", ["shadow", "readable"])
def test_files_of_the_machine_are_not_there(machine: Machine, probe: str) -> None:
    code, text = machine.answers[probe]
    assert code != 0
    assert "No such file" in text
    assert machine.mark not in text


def test_homes_are_empty(machine: Machine) -> None:
    assert machine.answers["homes"][1].split() == ["/home:", "/root:"]


def test_other_processes_are_not_seen(machine: Machine) -> None:
    assert machine.mark not in machine.answers["processes"][1]
    assert "sleep" not in machine.answers["processes"][1]
    assert len(machine.answers["pids"][1].split()) <= 3


def test_other_processes_and_the_first_one_cannot_be_killed(machine: Machine) -> None:
    assert machine.answers["kill"][1].splitlines()[-1] == "alive"
    assert machine.bystander.poll() is None


def test_the_first_process_tells_nothing_of_the_agent(machine: Machine) -> None:
    _, text = machine.answers["agent"]
    assert machine.mark not in text
    assert text.count("Permission denied") >= 4


def test_mounts_are_read_only_and_few(machine: Machine) -> None:
    allowed = ("/golem", "/proc", "/dev", "/usr", "/bin", "/sbin", "/lib", "/etc/", "/nix", "/gnu")
    for line in machine.answers["mounts"][1].splitlines():
        target, options = line.split()[1], line.split()[3].split(",")
        assert target == "/" or target.startswith(allowed)
        if target.startswith(("/usr", "/etc", "/lib", "/bin", "/sbin")):
            assert "ro" in options
            assert "nosuid" in options


@pytest.mark.parametrize("probe", ["write", "remount", "nested", "mknod"])
def test_nothing_of_the_machine_can_be_changed(machine: Machine, probe: str) -> None:
    code, text = machine.answers[probe]
    assert not Path("/usr/x").exists()
    if probe in ("nested", "mknod"):
        assert code != 0
    if probe == "write":
        assert len(text.splitlines()) >= 4
    if probe == "remount":
        assert text.splitlines()[-1] != "0"


@pytest.mark.parametrize("probe", ["tcp", "abstract"])
def test_the_network_of_the_machine_is_not_reached(machine: Machine, probe: str) -> None:
    if shutil.which("python3", path="/usr/bin:/bin") is None:
        pytest.skip("no python3 in /usr/bin")
    code, text = machine.answers[probe]
    assert code != 0
    assert "refused" in text
    assert "CONNECTED" not in text


def test_no_capability_to_mount_or_trace(machine: Machine) -> None:
    for line in machine.answers["capabilities"][1].splitlines():
        name, mask = line.split(":")
        assert not int(mask, 16) & (1 << 21 | 1 << 19 | 1 << 12 | 1 << 16), (
            name
        )  # SYS_ADMIN, PTRACE, NET_ADMIN, MODULE


def test_own_folders_are_private_and_writable(machine: Machine) -> None:
    assert machine.answers["private"] == (0, "/dev/shm:\n\n/tmp:\nmine\n0\n")


def test_devices_are_few(machine: Machine) -> None:
    harmless = {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "pts",
        "ptmx",
        "shm",
        "fd",
        "stdin",
        "stdout",
        "stderr",
    }
    assert set(machine.answers["devices"][1].split()) <= harmless
