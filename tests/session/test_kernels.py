"""Sessions in real kernels: busy, interrupted, run again, restarted, killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kernels import Kernel

from tests.leavings import NOTHING, look, since

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

SETUP = """
import asyncio, time
from golem_nb import Session, vm
session = Session(budget=1, network="hoodi")
alpine = vm.repo(image_tag="golem/alpine:latest")
"""


@pytest.fixture
def kernel(on_network: LocalNetwork, data_dir: Path, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel whose environment leads to the shared network, as to one that outlives it."""
    with Kernel(tmp_path) as kernel:
        yield kernel
        kernel.run("session.stop(wait_for_payments=False)", timeout=30)


def test_cells_drive_a_session(kernel: Kernel) -> None:
    kernel.must(SETUP)
    reply = kernel.must("session")
    assert reply.text.startswith("Session default, ready on hoodi: 0 of 1.0000 tGLM spent")
    assert "stop" in reply.html
    kernel.must("job = session.run('echo {}', range(4), payload=alpine)")
    assert "run 1" in kernel.must("job").text
    assert kernel.must("job.result(60)").text == "['0\\n', '1\\n', '2\\n', '3\\n']".replace("\n", "\\n")
    assert kernel.must("await job").text == "['0\\n', '1\\n', '2\\n', '3\\n']".replace("\n", "\\n")
    reply = kernel.must(
        "indexes = []\nasync for item in job:\n    indexes.append(item.index)\nsorted(indexes)"
    )
    assert reply.text == "[0, 1, 2, 3]"
    assert kernel.must("len(session.offers())", timeout=30).text == "3"
    assert kernel.must("job.frame.shape").text == "(4, 10)"
    kernel.must("python = vm.repo(image_tag='golem_nb/python:latest')\ndef f(x):\n    return x + 1")
    reply = kernel.must("session.map(f, [1, 2], payload=python).result(60)")
    assert reply.text == "[2, 3]"
    reply = kernel.must("session.stop()", timeout=60)
    assert "GLM spent" in reply.text


WAITS = {
    "job.wait()": "sync",
    "job.result()": "sync",
    "for item in job: pass": "sync",
    "await job": "awaiting",
    "async for item in job: pass": "awaiting",
}


def test_an_interrupt_ends_the_waiting_and_the_work_goes_on(kernel: Kernel) -> None:
    kernel.must(SETUP)
    kernel.must("job = session.run('sleep {}', [100, 100], payload=alpine)")
    kernel.must("while job.progress.running < 2: time.sleep(0.05)")
    for code in WAITS:
        times = []
        for _ in range(3):
            cell = kernel.wait_in(code)
            interrupted = time.monotonic()
            kernel.interrupt()
            reply = cell.reply(10)
            times.append(time.monotonic() - interrupted)
            assert not reply.ok
            line = "Stopped waiting. run 1 goes on (0 of 2 done, "
            assert reply.said.startswith(line), reply.said
            assert "session.jobs['1'].cancel() ends it." in reply.said
            assert reply.said.count("\n") == 0
            if times[-1] < 0.3:
                break
        assert min(times) < 0.3, (code, times)
    assert kernel.must("job.state, job.progress.running").text == "('running', 2)"
    kernel.must("job.cancel(); job.wait(20)")


def test_an_interrupted_stop_goes_on(kernel: Kernel) -> None:
    kernel.must(SETUP)
    for code in ("session.stop()", "await session.aio.stop()"):
        kernel.must("session._core.post(time.sleep, 2)")  # it cannot be over before it is interrupted
        cell = kernel.wait_in(code)
        kernel.interrupt()
        reply = cell.reply(10)
        assert reply.said == "Stopped waiting. The session goes on stopping; stop() waits for it again."
    assert "GLM released" in kernel.must("session.stop()").text


WHO = """
import sys, threading
where = []
class Who:
    @staticmethod
    def find_spec(name, *more):
        if name == "pandas":
            where.append(threading.current_thread() is threading.main_thread())
sys.meta_path.insert(0, Who)
"""


def test_no_cell_is_kept_by_the_import_of_pandas(kernel: Kernel) -> None:
    kernel.must(SETUP + WHO)
    assert kernel.must("len(session.offers())").text == "3"
    assert kernel.must("where").text == "[False]"


def test_cells_may_be_run_again(kernel: Kernel) -> None:
    kernel.must(SETUP)
    kernel.must("first = session")
    cell = "job = session.run('echo {}', range(3), payload=alpine)\njob.result(60)"
    for _ in range(2):
        assert kernel.must(cell).text.startswith("['0")
    kernel.must(SETUP)
    assert kernel.must("session is first, len(session.jobs)").text == "(True, 2)"
    kernel.must("spent = session.money.spent; assert spent > 0")
    for _ in range(2):
        assert "GLM spent" in kernel.must("session.stop()", timeout=60).text
    kernel.must(SETUP)
    assert kernel.must("session is first").text == "False"


def test_a_wrong_cell_says_what_is_wrong(kernel: Kernel) -> None:
    kernel.must(SETUP)
    reply = kernel.run("session.run('echo {}', [1], payload=alpine, max_worker=1)")
    assert reply.error == "TypeError"
    assert "did you mean 'max_workers'" in reply.value
    reply = kernel.run("Session(budget=2, network='hoodi')")
    assert reply.error == "SessionChangedError"
    assert "budget=2 (it has 1)" in reply.value


BUSY = """
import time
from golem_nb import Session, strategy, vm
class Often(strategy.LeastExpensiveLinearPayuMS):
    acceptable_prop_value_range_overrides = {
        strategy.PROP_DEBIT_NOTE_INTERVAL_SEC: strategy.PropValueRange(2, None),
        strategy.PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT: strategy.PropValueRange(5, None),
    }
"""

ON_THE_THREAD = """
session = Session(budget=1, network="hoodi", strategy=Often())
job = session.cluster(Clock, num_instances=1)
job.wait(60)
before = (session.events["event"] == "DebitNoteAccepted").sum()
"""

ON_THE_KERNEL = """
from golem_nb import Golem
notes = []
golem = Golem(budget=1, strategy=Often(), event_consumer=notes.append)
await golem.start()
cluster = await golem.run_service(Clock, num_instances=1)
import asyncio
while cluster.instances[0].state.value != "running": await asyncio.sleep(0.1)
def accepted(): return sum(type(note).__name__ == "DebitNoteAccepted" for note in notes)
before = accepted()
"""

CLOCK = """
from golem_nb.services import Service
class Clock(Service):
    @staticmethod
    async def get_payload(): return await vm.repo(image_tag="golem/alpine:latest")
"""


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A network of a provider that sends a debit note every 2 s and waits 5 s for its acceptance."""
    from golem_nb.localnet import LocalNetwork, ProviderSpec

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("busy")))
        spec = ProviderSpec(name="often", debit_note_interval=2, debit_note_accept_timeout=5)
        with LocalNetwork(providers=[spec]) as network:
            yield network


@pytest.mark.localnet
@pytest.mark.parametrize("where", ["thread", "kernel"])
def test_a_busy_cell_delays_no_payment(busy: Any, tmp_path: Path, where: str) -> None:
    """With a session's thread all notes are accepted in time; an engine on the kernel's own loop fails."""
    with Kernel(tmp_path, {**busy.env, "GOLEM_NB_DATA_DIR": str(tmp_path)}) as kernel:
        kernel.must(BUSY + CLOCK)
        kernel.must(ON_THE_THREAD if where == "thread" else ON_THE_KERNEL)
        kernel.must("end = time.monotonic() + 20\nwhile time.monotonic() < end: sum(range(1000))")
        if where == "thread":
            kernel.must("notes = (session.events['event'] == 'DebitNoteAccepted').sum() - before")
            assert int(kernel.must("print(notes)").stdout) >= 5
            assert kernel.must("job.instances[0].state.value").text == "'running'"
            kernel.must("job.stop(); session.stop()")
        else:
            assert kernel.must("print(accepted() - before)").stdout.strip() == "0"
            reply = kernel.must("await asyncio.sleep(2)\nprint(cluster.instances[0].state.value)")
            assert reply.stdout.strip() != "running"
            kernel.must("await golem.stop()", timeout=60)


BATCH = """
job = session.run("sleep 0.3; echo {}", range(50), payload=alpine, max_workers=3)
for number, item in enumerate(job):
    if number >= 7:
        break
"""


def test_a_killed_kernel_loses_nothing(on_network: LocalNetwork, data_dir: Path, tmp_path: Path) -> None:
    """Killed in the middle of a batch, on a network that goes on."""
    before = look(on_network.api_config)
    with Kernel(tmp_path) as kernel:
        kernel.must(SETUP)
        kernel.must(BATCH)
        kernel.kill()
        time.sleep(0.5)
    left = look(on_network.api_config) - before
    assert left.agreements
    assert left.allocations
    with Kernel(tmp_path) as kernel:
        kernel.must(SETUP)
        assert "default" in kernel.must("print(session.left)").stdout
        assert "default" in kernel.must("session").html
        reply = kernel.must("print(session.recover())", timeout=60)
        assert re.search("agreements? ended", reply.stdout)
        assert kernel.must("session.left").text == "[]"
        kernel.must("items = session.history().items")
        items = json.loads(kernel.must("import json; print(json.dumps(items['index'].tolist()))").stdout)
        assert len(items) >= 8
        said = json.loads(kernel.must("print(json.dumps(items['stdout'].tolist()))").stdout)
        assert said == [f"{index}\n" for index in items]
        kernel.must("session.stop()", timeout=60)
    assert since(on_network.api_config, before, 5) == NOTHING


OWN = """
import time
from golem_nb import Session, vm
session = Session(budget=1, providers=2)
alpine = vm.repo(image_tag="golem/alpine:latest")
"""


@pytest.mark.localnet
def test_a_network_that_died_with_its_kernel_is_settled_and_removed(data_dir: Path, tmp_path: Path) -> None:
    """The session's own network ends with a killed kernel; it is started again to pay what was open."""
    with Kernel(tmp_path) as kernel:
        kernel.must(OWN, timeout=120)
        kernel.must(BATCH.replace("max_workers=3", "max_workers=2"))
        name = kernel.must("print(session._core.daemon.localnet)").stdout.strip()
        kernel.kill()
    folder = data_dir / "localnet" / name
    deadline = time.monotonic() + 30
    while not (folder / "unsettled.json").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    with Kernel(tmp_path) as kernel:
        kernel.must(OWN, timeout=120)
        assert len(kernel.must("print(*session.left, sep='\\n')").stdout.splitlines()) == 1
        reply = kernel.must("print(session.recover())", timeout=120)
        assert "1 session settled" in reply.stdout
        assert "1 reservation released" in reply.stdout
        assert "not done" not in reply.stdout
        assert kernel.must("session.left").text == "[]"
        assert not folder.exists()
        assert int(kernel.must("print(len(session.history().items))").stdout) >= 8
        costs = kernel.must("costs = session.history().costs; print(costs['accepted'].sum() > 0)").stdout
        assert costs.strip() == "True"
        kernel.must("session.stop()", timeout=60)


def test_a_restarted_kernel_ends_its_agreements(kernel: Kernel, on_network: LocalNetwork) -> None:
    before = look(on_network.api_config)
    kernel.must(SETUP)
    kernel.must("job = session.run('sleep {}', [100, 100], payload=alpine)")
    kernel.must("while job.progress.running < 2: time.sleep(0.05)")
    assert len((look(on_network.api_config) - before).agreements) == 2
    kernel.restart()
    left = look(on_network.api_config) - before
    assert not left.agreements
    assert not left.allocations
    kernel.must(SETUP)
    kernel.must("print(session.recover())", timeout=60)
    kernel.must("session.stop()", timeout=60)
    assert since(on_network.api_config, before, 5) == NOTHING


def test_the_last_words_of_a_kernel_are_quick(kernel: Kernel) -> None:
    kernel.must(SETUP)
    kernel.must("job = session.run('sleep {}', [100, 100], payload=alpine)")
    kernel.must("while job.progress.running < 2: time.sleep(0.05)")
    reply = kernel.must(
        "from golem_nb.session.session import _end\n"
        "started = time.monotonic(); _end([session]); print(time.monotonic() - started)",
        timeout=20,
    )
    assert float(reply.stdout) < 2


def test_magics(kernel: Kernel) -> None:
    kernel.must("%load_ext golem_nb")
    kernel.must(CLOCK)
    reply = kernel.run("%golem")
    assert "no session named 'default'; living ones: none. Session(name='default') begins it" in reply.value
    kernel.must(SETUP)
    assert kernel.must("%golem").text.startswith("Session default, ready on hoodi")
    assert "price_hour" in kernel.must("%golem offers", timeout=60).text
    kernel.must("names = ['a', 'b c']")
    reply = kernel.must("%%golem --data names --workers 2\necho hello {}\necho twice", timeout=60)
    assert "['hello a\\ntwice\\n', 'hello b c\\ntwice\\n']" in reply.text
    assert kernel.must("print(_)").stdout.strip() == "['hello a\\ntwice\\n', 'hello b c\\ntwice\\n']"
    assert "--image" in kernel.must("%%golem --help\n ").said
    assert "what providers offer now" in kernel.must("%golem --help").said
    for wrong, advice in (
        ("%golem offer", "invalid choice"),
        ('%golem --session "x', "No closing quotation"),
        ("%%golem --workers 0\necho", "max_workers must be at least 1"),
        ("%%golem --max-cost much\necho", "max_cost must be a positive number"),
        ("%%golem\necho {}", "give `data`"),
        ("%%golem --session other --data nothing\necho", "no variable 'nothing'"),
        ("%%golem --session other --timeout 0\necho", "timeout must be positive"),
        ("%%golem --session other --image 'an image'\necho", "must be the name of an image"),
    ):
        reply = kernel.run(wrong)
        assert "UsageError" in reply.said
        assert advice in reply.said
        assert "Traceback" not in reply.said
    assert kernel.must("from golem_nb import Session; Session.find('other')").text == ""
    assert "<th>accepted</th>" in kernel.must("%golem costs").html
    client = kernel.client
    kernel.must("cluster = session.cluster(Clock)")
    for code, expected in (
        ("%golem of", "offers"),
        ("%%golem --da", "--data"),
        ("session.jobs['", "1"),
        ("session.clusters['", "2"),
    ):
        client.complete(code)
        answer = client.get_shell_msg(timeout=60)
        while answer["msg_type"] != "complete_reply":
            answer = client.get_shell_msg(timeout=60)
        assert expected in answer["content"]["matches"]
    assert "GLM spent" in kernel.must("%golem stop", timeout=60).text


VIEW = "application/vnd.jupyter.widget-view+json"


def test_everything_has_three_faces(kernel: Kernel) -> None:
    kernel.must(SETUP + CLOCK)
    kernel.must("job = session.run('echo {}', range(4), payload=alpine)\njob.wait(60)")
    kernel.must("cluster = session.cluster(Clock)\ncluster.wait(60)")
    for name, words in (
        ("session", "ready"),
        ("job", "4 of 4 done"),
        ("cluster", "1 of 1 instance running"),
    ):
        reply = kernel.must(name)
        assert words in reply.text
        assert reply.html.startswith("<div")
        assert VIEW in reply.mimetypes
    reply = kernel.must("explorer = session.market()\nexplorer", timeout=30)
    assert VIEW in reply.mimetypes
    kernel.must("cluster.stop()")


PASTED = """
import asyncio
from golem_nb import Golem, Task, vm
async def worker(context, tasks):
    async for task in tasks:
        script = context.new_script()
        result = script.run("/bin/sh", "-c", f"echo {task.data}")
        yield script
        task.accept_result((await result).stdout)
async def main():
    payload = await vm.repo(image_tag="golem/alpine:latest")
    async with Golem(budget=1, event_consumer=lambda event: None) as golem:
        async for task in golem.execute_tasks(worker, [Task(data=n) for n in range(2)], payload):
            print("result", task.result.strip())
asyncio.run(main())
"""


def test_a_pasted_script_runs_when_that_is_allowed(kernel: Kernel) -> None:
    reply = kernel.run(PASTED)
    assert reply.error == "RuntimeError"
    kernel.must("import golem_nb; golem_nb.allow_asyncio_run()")
    reply = kernel.must(PASTED, timeout=60)
    assert sorted(reply.stdout.split()) == ["0", "1", "result", "result"]


def test_the_environment_alone_spends_nothing(kernel: Kernel) -> None:
    assert "YAGNA_APPKEY" in os.environ
    kernel.must("from golem_nb import Session\nsession = Session(budget=1, providers=1)", timeout=60)
    reply = kernel.must("session")
    assert "on local" in reply.text
    assert "YAGNA_APPKEY is set, but this session does not use it" in reply.html
    assert os.environ["YAGNA_APPKEY"] not in reply.html + reply.text
    kernel.must("session.stop()", timeout=60)


# -- other versions of the kernel and of Python --------------------------------------------------------------

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["6.29.5", "7.0.1"])
def older_ipykernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with another version of ipykernel, to be found before the installed one."""
    folder = tmp_path_factory.mktemp("ipykernel")
    done = subprocess.run(
        [
            *("uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)),
            *("--python", sys.executable, f"ipykernel=={request.param}"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    if done.returncode:
        pytest.skip(f"ipykernel {request.param} cannot be installed: {done.stderr[-300:]}")
    return folder


@pytest.mark.parametrize("code", ["job.wait()", "await job"])
def test_interrupts_in_older_kernels(
    older_ipykernel: Path, on_network: LocalNetwork, data_dir: Path, tmp_path: Path, code: str
) -> None:
    with Kernel(tmp_path, {"PYTHONPATH": str(older_ipykernel)}) as kernel:
        version = kernel.must("import ipykernel; print(ipykernel.__file__)").stdout
        assert version.startswith(str(older_ipykernel))
        kernel.must(SETUP)
        kernel.must("job = session.run('sleep {}', [100], payload=alpine)")
        kernel.must("while job.progress.running < 1: time.sleep(0.05)")
        times = []
        for _ in range(3):
            cell = kernel.wait_in(code)
            interrupted = time.monotonic()
            kernel.interrupt()
            reply = cell.reply(10)
            times.append(time.monotonic() - interrupted)
            assert not reply.ok
            assert reply.said.startswith("Stopped waiting. run 1 goes on"), reply.said
        assert min(times) < 0.3, times
        assert kernel.must("job.state").text == "'running'"
        kernel.must("session.stop()", timeout=60)


def _runs(python: Path, code: str) -> bool:
    """Whether an interpreter runs some code, and is of another version that the package supports."""
    code = f"import sys; {code}; print(*sys.version_info[:2])"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if answer.returncode:
        return False
    version = tuple(map(int, answer.stdout.split()))
    return version >= (3, 11) and version != sys.version_info[:2]


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment with another version of Python: one of nox, or a new one."""
    for python in sorted(ROOT.glob(".nox/versions-*/bin/python")):
        if _runs(python, "import numpy, cloudpickle, ipykernel, golem_nb"):
            return python
    # a pyenv has interpreters that are not on PATH, and shims on PATH that do not run
    known = [Path(entry) for entry in map(shutil.which, ("python3.11", "python3.12", "python3.13")) if entry]
    known += sorted(Path.home().glob(".pyenv/versions/*/bin/python3"))
    base = next((python for python in known if _runs(python, "import venv")), None)
    if base is None:
        pytest.skip("there is no other Python")
    folder = tmp_path_factory.mktemp("other") / "venv"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in (
        ["uv", "venv", "--quiet", "--python", str(base), str(folder)],
        ["uv", "pip", "install", "--quiet", "--python", str(folder / "bin/python"), str(ROOT), "ipykernel"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            pytest.skip(f"no environment with another Python can be made: {done.stderr[-300:]}")
    return folder / "bin" / "python"


MAPPED = """
import sys, numpy as np
def spread(values):
    return np.std(values), np.sort(values), sys.version_info[:2]
job = session.map(spread, [np.array([3.0, 1.0]), np.arange(5)])
(deviation, ordered, version), _ = job.result(120)
assert type(deviation) is np.float64 and deviation == 1.0, deviation
assert ordered.tolist() == [1.0, 3.0]
assert version == sys.version_info[:2]
print(version)
"""


@pytest.mark.localnet
@pytest.mark.parametrize("which", ["ours", "other"])
def test_functions_with_numpy_from_kernels_of_two_pythons(
    other_python: Path, data_dir: Path, tmp_path: Path, which: str
) -> None:
    python = sys.executable if which == "ours" else str(other_python)
    assert not python.startswith("/usr/")
    with Kernel(tmp_path, python=python) as kernel:
        kernel.must("from golem_nb import Session\nsession = Session(budget=1, providers=1)", timeout=120)
        said = kernel.must(MAPPED, timeout=150).stdout.strip()
        assert (said == str(sys.version_info[:2])) is (which == "ours")
        kernel.must("session.stop()", timeout=60)


def test_a_remote_python_of_another_version_is_a_clear_error(
    other_python: Path, on_network: LocalNetwork, data_dir: Path, tmp_path: Path
) -> None:
    with Kernel(tmp_path, python=str(other_python)) as kernel:
        kernel.must(SETUP)
        kernel.must("python = vm.repo(image_tag='golem_nb/python:latest')")
        reply = kernel.run(
            "session.map(lambda x: x, [1], payload=python, max_tries=1).result(60)", timeout=90
        )
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        assert reply.error == "ItemsFailedError"
        assert f"the provider's image has {here}, which cannot run it" in reply.value
        kernel.must("session.stop()", timeout=60)
