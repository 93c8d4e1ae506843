"""Runs every code block of the API reference, as it stands there, on the local network.

The blocks are in tests/data/reference_examples/, where only the package's name was replaced. Most are
fragments: `before` and `after` are the code around them, in the same cell. Each change inside of a block is
an `Edit` with its reason; there are only four reasons for one. A block runs as a notebook cell does, with
`await` outside of functions, unless it calls `asyncio.run` itself.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast

import pytest
from aiohttp import web

from golem_nb.localnet import LocalNetwork
from golem_nb.localnet.spec import MisbehaviourKind, ProviderSpec
from tests.localnet.provider.rootfs import make_rootfs

TESTS = Path(__file__).parent.parent
BLOCKS = TESTS / "data" / "reference_examples"


class Edit(NamedTuple):
    """One change inside of a block."""

    #: host: an unreachable host or database is one of this machine; file: a missing file is made;
    #: fragment: what the block leaves out, such as the arguments of ``Golem(...)``, is filled in;
    #: slip: what cannot have been meant
    reason: Literal["host", "file", "fragment", "slip"]
    old: str
    new: str


class Example(NamedTuple):
    """A block, what surrounds it, and what must come of it."""

    block: str
    edits: tuple[Edit, ...] = ()
    before: str = ""
    after: str = ""
    #: files made in the working folder
    files: Mapping[str, str] = MappingProxyType({})
    #: what must have been printed (regular expression, whole text)
    printed: str = ".*"
    check: Callable[[dict[str, Any]], None] | None = None
    #: the block calls asyncio.run: it runs where no loop does
    script: bool = False
    network: bool = True
    #: example/service:latest is an image on the network, with a program /golem/run/service_ctl
    image: bool = False
    #: the providers of a network of its own; none: the network that all tests share
    providers: tuple[ProviderSpec, ...] = ()


# the names that the blocks use without importing them
IMPORTS = """
import asyncio
from collections.abc import AsyncIterable
from datetime import datetime, timedelta
from golem_nb import Golem, Task, WorkContext
from golem_nb.contrib.strategy import ProviderFilter
from golem_nb.log import SummaryLogger, log_event_repr
from golem_nb.payload import vm
from golem_nb.services import Service
from golem_nb.strategy import LeastExpensiveLinearPayuMS
"""

# a worker and a payload, for the blocks that only make something that work is done with
WORK = """
async def work(context, tasks):
    async for task in tasks:
        script = context.new_script()
        done = script.run("/bin/echo", "done")
        yield script
        await done
        task.accept_result(context.provider_id)

async def do(golem, number=1):
    payload = await vm.repo(image_hash="d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376")
    tasks = [Task(data=None) for _ in range(number)]
    return [task.result async for task in golem.execute_tasks(work, tasks, payload)]
"""

STARTED = """
class Wrapped(Service):
    start = start

    @staticmethod
    async def get_payload():
        return await vm.repo(image_tag="example/service:latest")

async with Golem(budget=1.0) as golem, asyncio.timeout(30):
    commands = []
    golem.add_event_consumer(commands.append, ["CommandExecuted"])
    cluster = await golem.run_service(Wrapped)
    while cluster.instances[0].state.value != "running":
        await asyncio.sleep(0.05)
    cluster.stop()
print(commands[2].stdout)
"""

# what the blocks on proxies take for granted: a Golem that runs, with a network, and somebody who asks
PROXIED = """
import aiohttp
from golem_nb.contrib.service.http_proxy import HttpProxyService, LocalHttpProxy
from golem_nb.contrib.service.socket_proxy import SocketProxy, SocketProxyService

golem = Golem(budget=1.0)
await golem.start()
network = await golem.create_network("192.168.0.0/24")

async def payload():
    return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])

async def state(cluster, name):
    async with asyncio.timeout(30):
        while [instance.state.value for instance in cluster.instances] != [name]:
            await asyncio.sleep(0.05)

async def ask(address):
    await state(cluster, "running")
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        return f"{response.status} {await response.text()}"

async def say(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    answer = await reader.readexactly(5)
    writer.close()
    return answer
"""

HTTP_SERVICE = """class HttpService(HttpProxyService):
    get_payload = staticmethod(payload)

    async def start(self):
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.upload_bytes(b"a page", "/golem/work/index.html")
        serve = "cd /golem/work; python3 -u -m http.server 80 >log 2>&1 &"
        script.run("/bin/sh", "-c", serve + " until grep -q Serving log; do sleep 0.02; done")
        yield script
"""

SOCKET_SERVICE = """
class Echo(SocketProxyService):
    get_payload = staticmethod(payload)

    async def start(self, port=4242):
        script = self._ctx.new_script()
        script.deploy(**self.get_deploy_args())
        script.start()
        program = (
            "import socket; s = socket.create_server(('0.0.0.0', %d)); print('ready', flush=True)\\n"
            "while True: c = s.accept()[0]; c.sendall(c.recv(5))" % port
        )
        script.upload_bytes(program.encode(), "/golem/work/echo.py")
        serve = "cd /golem/work; python3 echo.py >log 2>&1 &"
        script.run("/bin/sh", "-c", serve + " until grep -q ready log; do sleep 0.02; done")
        yield script

SocketProxyService = Echo
"""

PROXIES_END = "\nawait golem.stop()\n"

BUDGET = Edit("fragment", "Golem(...)", "Golem(budget=1.0)")

MANIFEST = base64.b64encode(
    json.dumps(
        {
            "version": "0.1.0",
            "createdAt": "2026-01-01T00:00:00.000000Z",
            "expiresAt": "2126-01-01T00:00:00.000000Z",
            "metadata": {"name": "example", "description": "", "version": "0.1.0"},
            "payload": [
                {
                    "platform": {"os": "linux", "arch": "x86_64"},
                    "hash": "sha3:d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376",
                    "urls": ["http://127.0.0.1/image.gvmi"],
                }
            ],
        }
    ).encode()
).decode()


def demand(namespace: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return properties and constraints of the demand that `package` makes."""
    builder = namespace["builder"]
    return builder.properties, str(builder)


DECORATE = """
from golem_nb.props.builder import DemandBuilder
builder = DemandBuilder()
await builder.decorate(package)
"""


def check_manifest(namespace: dict[str, Any]) -> None:
    properties, text = demand(namespace)
    assert properties["golem.srv.comp.payload"] == MANIFEST
    assert "golem.srv.comp.payload.sig" not in properties
    assert "(golem.runtime.name=vm)" in text


def check_signed_manifest(namespace: dict[str, Any]) -> None:
    properties, text = demand(namespace)
    assert properties["golem.srv.comp.payload.sig"] == "c2lnbmF0dXJl"
    assert properties["golem.srv.comp.payload.sig.algorithm"] == "sha256"
    assert properties["golem.srv.comp.payload.cert"] == "Y2VydGlmaWNhdGU="
    assert "(golem.runtime.capabilities=manifest-support)" in text
    assert "(golem.runtime.capabilities=inet)" in text


def check_repo_hash(namespace: dict[str, Any]) -> None:
    package = demand(namespace)[0]["golem.srv.comp.task_package"]
    assert re.fullmatch(
        r"hash:sha3:d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376:http://127\.0\.0\.1:\d+/\S+",
        package,
    )


def check_repo_url(namespace: dict[str, Any]) -> None:
    package = demand(namespace)[0]["golem.srv.comp.task_package"]
    assert re.fullmatch(
        r"hash:sha3:d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376:"
        r"http://127\.0\.0\.1:\d+/docker-golem-hello-world-latest-779758b432\.gvmi",
        package,
    )


def check_repo_constraints(namespace: dict[str, Any]) -> None:
    text = demand(namespace)[1]
    for constraint in ("mem.gib>=0.5", "storage.gib>=2.0", "cpu.threads>=3"):
        assert f"(golem.inf.{constraint})" in text


def check_filter(namespace: dict[str, Any]) -> None:
    first, second = namespace["first"], namespace["second"]
    assert len(first) == len(second) == 1
    assert first != second


#: a class around one handler: its program is uploaded into a volume of its own, as no image has it
SERVICE = """
class Wrapped(Service):
    SIMPLE_SERVICE = "/golem/run/dump_state"
    {handler} = {handler}

    @staticmethod
    async def get_payload():
        return await vm.repo(image_hash="d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376")

    def get_deploy_args(self):
        return {{"volumes": ["/golem/run"]}}

    async def start(self):
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        program = b"#!/bin/sh\\necho served; echo a state > /golem/output/state\\n"
        script.upload_bytes(program, "/golem/run/dump_state")
        script.run("/bin/chmod", "+x", "/golem/run/dump_state")
        yield script

async def state(cluster, name):
    while [instance.state.value for instance in cluster.instances] != [name]:
        await asyncio.sleep(0.05)

async with Golem(budget=1.0) as golem, asyncio.timeout(30):
    cluster = await golem.run_service(Wrapped)
    await state(cluster, "running")
    await asyncio.sleep(0.5)
    cluster.stop()
    await state(cluster, "terminated")
"""

#: the same work twice, the second time without the provider that did it the first time
TWICE = """
async with Golem(budget=1.0, strategy=strategy) as golem:
    first = await do(golem)
{forbid}
async with Golem(budget=1.0, strategy=strategy) as golem:
    second = await do(golem)
"""

DATABASE = """
import sqlite3

class Result(list):
    def fetchall(self):
        return self

class Connection:
    def __init__(self):
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("CREATE TABLE allowed_providers (provider_id)")
        self.forbidden = set()

    async def execute(self, query, provider_id):
        await asyncio.sleep(0)
        if provider_id not in self.forbidden:
            self.database.execute("INSERT INTO allowed_providers VALUES (?)", [provider_id])
        return Result(self.database.execute(query, [provider_id]))

    def forbid(self, provider_id):
        self.forbidden.add(provider_id)
        self.database.execute("DELETE FROM allowed_providers WHERE provider_id = ?", [provider_id])

SomeStrategy = LeastExpensiveLinearPayuMS
"""


EXAMPLES = [
    pytest.param(
        Example(
            "01_consumer_of_all_events",
            before="golem = Golem(budget=1.0)",
            after="async with golem:\n    await do(golem)",
            printed=r"Got an event! JobStarted\n(Got an event! \w+\n)+Got an event! ShutdownFinished\n",
        ),
        marks=pytest.mark.contract("G08"),
    ),
    pytest.param(
        Example(
            "02_consumer_of_one_class",
            before="golem = Golem(budget=1.0)",
            after="async with golem:\n    await do(golem)",
            printed=r"We're trading with \S.*! Nice!\n",
        ),
        marks=pytest.mark.contract("G08"),
    ),
    pytest.param(
        Example(
            "03_golem_as_context",
            edits=(BUDGET,),
            after="    print(len(await do(golem)), golem.operative)\nprint(golem.operative)",
            printed="1 True\nFalse\n",
        ),
        marks=pytest.mark.contract("G11"),
    ),
    pytest.param(
        Example(
            "04_golem_start_stop",
            edits=(
                BUDGET,
                Edit("fragment", "# ... work with golem", "print(len(await do(golem)), golem.operative)"),
            ),
            after="print(golem.operative)",
            printed="1 True\nFalse\n",
        ),
        marks=pytest.mark.contract("G11"),
    ),
    pytest.param(
        Example("05_execute_tasks", printed=r".*\d\d:\d\d:\d\d.*\n\n"),
        marks=pytest.mark.contract("G14", "T01", "T05"),
    ),
    pytest.param(
        Example(
            "06_run_service",
            after="await main()",
            printed=r"(Instance 0 is \w+ on .*\n|\S.*\d\d:\d\d:\d\d.*\n)*Instance 0 is running on .*",
        ),
        marks=pytest.mark.contract("G20", "S01", "S03"),
    ),
    pytest.param(
        Example(
            "07_service_start",
            image=True,
            after=STARTED,
            printed="service --start\n\n",
        ),
        marks=pytest.mark.contract("S01", "S03"),
    ),
    pytest.param(
        Example(
            "08_service_run",
            after=SERVICE.format(handler="run"),
            printed=r"(stats: served\n)+",
        ),
        marks=pytest.mark.contract("S01"),
    ),
    pytest.param(
        Example(
            "09_service_shutdown",
            edits=(Edit("file", "/some/local/path/state", "state"),),
            after=SERVICE.format(handler="shutdown") + "\nprint(open('state').read())",
            printed=r"a state\n\n",
        ),
        marks=pytest.mark.contract("S01"),
    ),
    pytest.param(
        Example(
            "10_payload",
            script=True,
            network=False,
            printed=re.escape((BLOCKS / "11_payload_output.py.txt").read_text("utf-8")),
        ),
        marks=pytest.mark.contract("P01"),
    ),
    pytest.param(
        Example(
            "12_vm_manifest",
            files={"manifest.json.base64": MANIFEST},
            after=DECORATE,
            check=check_manifest,
            network=False,
        ),
        marks=pytest.mark.contract("P05"),
    ),
    pytest.param(
        Example(
            "13_vm_manifest_signed",
            files={
                "manifest.json.base64": MANIFEST,
                "manifest.json.sig.base64": "c2lnbmF0dXJl",
                "cert.der.base64": "Y2VydGlmaWNhdGU=",
            },
            after=DECORATE,
            check=check_signed_manifest,
            network=False,
        ),
        marks=pytest.mark.contract("P05"),
    ),
    pytest.param(
        Example("14_vm_repo_hash", after=DECORATE, check=check_repo_hash),
        marks=pytest.mark.contract("P06", "P07"),
    ),
    pytest.param(
        Example(
            "15_vm_repo_url",
            edits=(Edit("host", "http://girepo.dev.golem.network:8000", "{server}"),),
            after=DECORATE,
            check=check_repo_url,
            network=False,
        ),
        marks=pytest.mark.contract("P07"),
    ),
    pytest.param(
        Example(
            "16_vm_repo_constraints",
            before="min_cpu_threads = 3",
            after=DECORATE,
            check=check_repo_constraints,
        ),
        marks=pytest.mark.contract("P06", "P08"),
    ),
    pytest.param(
        Example(
            "17_custom_event_class",
            network=False,
            after="print(ActivityEvaluated(job=1, agreement=2, activity=3, activity_score=4.5))",
            printed=r"ActivityEvaluated\(.*activity_score=4\.5.*\)\n",
        ),
        marks=pytest.mark.contract("V07"),
    ),
    pytest.param(
        Example(
            "18_custom_event_emitted",
            before="""
{17_custom_event_class}
async def score_activity(ctx):
    return 3.5
""",
            edits=(
                Edit(
                    "fragment",
                    "... #  whatever",
                    """async for task in tasks:
        script = ctx.new_script()
        script.run("/bin/true")
        yield script
        task.accept_result()""",
                ),
            ),
            after="""
work = worker
seen = []
golem = Golem(budget=1.0)
golem.add_event_consumer(seen.append, [ActivityEvaluated])
async with golem:
    await do(golem)
print([(event.activity_score, event.activity.id != "") for event in seen])
""",
            printed=r"\[\(3\.5, True\)\]\n",
        ),
        marks=pytest.mark.contract("V07", "C01"),
    ),
    pytest.param(
        Example(
            "19_custom_event_consumed",
            before="""
{17_custom_event_class}
golem = Golem(budget=1.0)
async def work(context, tasks):
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/true")
        yield script
        context.emit(ActivityEvaluated, activity_score=task.data)
        task.accept_result()
""",
            after="""
async with golem:
    payload = await vm.repo(image_hash="d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376")
    async for _ in golem.execute_tasks(work, [Task(data=8.0), Task(data=6.5)], payload):
        pass
""",
            printed=r"Oh no! Activity \w+ is scored below 7!\n",
        ),
        marks=pytest.mark.contract("V07"),
    ),
    pytest.param(
        Example(
            "20_summary_logger",
            before="""
import logging
records = []
class Keep(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
keep = Keep()
logging.getLogger("golem_nb").addHandler(keep)
logging.getLogger("golem_nb").setLevel(logging.DEBUG)
""",
            edits=(Edit("fragment", "Golem(..., ", "Golem(budget=1.0, "),),
            after="""
try:
    async with golem:
        await do(golem)
finally:
    logging.getLogger("golem_nb").removeHandler(keep)
text = "\\n".join(records)
for part in ("JobStarted(", "Received proposals from ", "computed 1 task", "Job finished in ", "Total cost"):
    print(part in text)
""",
            printed=r"(True\n){5}",
        ),
        marks=pytest.mark.contract("L03"),
    ),
    pytest.param(
        Example(
            "24_provider_filter_block",
            before="SomeStrategy = LeastExpensiveLinearPayuMS",
            edits=(Edit("fragment", "SomeStrategy(...)", "SomeStrategy()"),),
            after=TWICE.format(forbid="bad_providers.extend(first)"),
            check=check_filter,
        ),
        marks=pytest.mark.contract("M09"),
    ),
    pytest.param(
        Example(
            "25_provider_filter_database",
            before=DATABASE,
            edits=(Edit("host", "async_conn = ...", "async_conn = Connection()"),),
            after=TWICE.format(forbid="async_conn.forbid(first[0])"),
            check=check_filter,
        ),
        marks=pytest.mark.contract("M09"),
    ),
    pytest.param(
        Example(
            "26_provider_filter_events",
            # the cheapest provider is the first choice, and never starts an activity
            providers=(
                ProviderSpec(
                    name="bad", price_per_second="0.00001", misbehaviours=[MisbehaviourKind.NO_EXE_UNIT]
                ),
                ProviderSpec(name="good"),
            ),
            before="failed = []",
            edits=(
                BUDGET,
                Edit(
                    "fragment",
                    "    ...",
                    """    golem.add_event_consumer(failed.append, ["ActivityCreateFailed"])
    results = await do(golem)""",
                ),
            ),
            after="print(bad_providers == {event.provider_id for event in failed}, len(bad_providers), "
            "len(results), bad_providers.isdisjoint(results))",
            printed="True 1 1 True\n",
        ),
        marks=pytest.mark.contract("M09", "G10"),
    ),
    pytest.param(
        Example(
            "21_http_proxy",
            edits=(
                Edit("fragment", "class HttpService(HttpProxyService):\n    ...", HTTP_SERVICE),
                Edit(
                    "fragment",
                    "... # requests made",
                    "print(await ask('http://localhost:8080')) # requests made",
                ),
            ),
            before=PROXIED,
            after=PROXIES_END,
            printed="200 a page\n",
        ),
        marks=pytest.mark.contract("X01", "X02", "G24"),
    ),
    pytest.param(
        Example(
            "22_socket_proxy",
            edits=(
                Edit("slip", "super().init()", "super().__init__()"),
                Edit("fragment", "are started\n\n...", "are started\n\nawait state(cluster, 'running')"),
                Edit("fragment", "... # connections to", "print(await say(8484)) # connections to"),
            ),
            before=PROXIED + SOCKET_SERVICE,
            after=PROXIES_END,
            printed="b'hello'\n",
        ),
        marks=pytest.mark.contract("X03"),
    ),
    pytest.param(
        Example(
            "23_socket_proxy_from_handler",
            edits=(
                Edit(
                    "fragment",
                    "        ...\n",
                    "        async for script in super().start(22):\n            yield script\n",
                ),
                Edit(
                    "fragment",
                    "... # connections to",
                    "await state(cluster, 'running')\nprint(await say(2222)) # connections to",
                ),
            ),
            before=PROXIED + SOCKET_SERVICE,
            after=PROXIES_END,
            printed="b'hello'\n",
        ),
        marks=pytest.mark.contract("X03"),
    ),
]

#: blocks that are the output of another block
OUTPUTS = {"11_payload_output"}


TABLE = [cast("Example", param.values[0]) for param in EXAMPLES]


def block(name: str) -> str:
    return (BLOCKS / f"{name}.py.txt").read_text("utf-8")


def source(example: Example, server: str) -> str:
    """Return the cell: names, fragments around, and the block with its edits."""
    text = block(example.block)
    for edit in example.edits:
        assert text.count(edit.old) == 1, (
            f"{example.block}: {edit.old!r} is there {text.count(edit.old)} times"
        )
        text = text.replace(edit.old, edit.new.replace("{server}", server))
    before = re.sub(r"\{(\d\d_\w+)\}", lambda match: block(match[1]), example.before)
    return "\n".join([IMPORTS, WORK, before, text.rstrip("\n"), example.after])


async def run(text: str, name: str, script: bool) -> dict[str, Any]:
    """Run a cell, and return its names."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    code = compile(
        text, name, "exec", flags=0 if script else ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    if script:
        await asyncio.to_thread(exec, code, namespace)
    else:
        result = eval(code, namespace)
        if inspect.isawaitable(result):
            await result
    return namespace


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Stand in for hosts of the reference that do not exist any more."""
    app = web.Application()

    async def image(_: web.Request) -> web.Response:
        return web.Response(body=b"image")

    app.router.add_get("/docker-golem-hello-world-latest-779758b432.gvmi", image)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
def surroundings(
    example: Example, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """Set up working folder and environment for an example."""
    monkeypatch.chdir(tmp_path)
    for name, content in example.files.items():
        (tmp_path / name).write_text(content, "utf-8")
    if not example.providers:
        if example.network:
            network = request.getfixturevalue("on_network")
            if example.image:
                asyncio.run(network.add_image("example/service:latest", make_rootfs(tmp_path / "image")))
        yield
        return
    # how long is waited for an activity is not what the example is about
    monkeypatch.setattr("golem_nb.engine.worker.CREATE_TIMEOUT", 2.0)
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / "data"))
    with LocalNetwork(providers=list(example.providers)) as network:
        for name, value in network.env.items():
            monkeypatch.setenv(name, value)
        yield


# the network is asked for while the test runs, so that nobody sees it in the names of the fixtures
@pytest.mark.localnet
@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.block)
async def test_example(example: Example, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    namespace = await run(source(example, server), f"{example.block}.py", example.script)
    printed = capsys.readouterr().out
    assert re.fullmatch(example.printed, printed, re.DOTALL), printed
    if example.check:
        example.check(namespace)


def test_every_block_is_in_the_table() -> None:
    blocks = {path.name.removesuffix(".py.txt") for path in BLOCKS.iterdir()}
    done = {example.block for example in TABLE} | OUTPUTS
    assert done == blocks


def test_every_edit_is_of_an_allowed_kind() -> None:
    for example in TABLE:
        for edit in example.edits:
            assert edit.reason in ("host", "file", "fragment", "slip")
            if edit.reason == "fragment":  # only what the reference left out is filled in
                assert "..." in edit.old
