"""Every public name has a docstring, every parameter is described, every example runs."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import enum
import functools
import importlib
import inspect
import io
import pkgutil
import re
import sys
import textwrap
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attr
import pytest
from numpydoc.docscrape import NumpyDocString

# helpers beside the tests: they are no package
sys.path.insert(0, str(Path(__file__).parent))

from public import Thing, things

import golem_nb
from golem_nb import Golem, Session, vm
from golem_nb.contrib.service.http_proxy import HttpProxyService
from golem_nb.contrib.service.socket_proxy import SocketProxyService
from golem_nb.events import Event
from golem_nb.frames import Recorder
from golem_nb.ledger import Ledger
from golem_nb.payload import Payload
from golem_nb.payload.manifest import Manifest
from golem_nb.rest import Configuration
from golem_nb.rest.identity import Identity
from golem_nb.services import ServiceState
from tests.ports import free_port

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

#: Hash of golem/alpine:latest.
ALPINE = "d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376"

THINGS = list(things())

#: Objects of these come from the library; nobody else makes them.
MADE_BY_US = {
    "Batch", "Bill", "Book", "ClusterHandle", "ClusterProxy", "Estimate", "Handle", "Item", "Journal",
    "JournalEntry", "LeftService", "Leftover", "LocalProvider", "NetworkState", "NodeInfo", "Progress",
    "ProviderRecord", "ProxyServer", "SessionNetwork", "TasksJob", "Totals", "AppKey", "RecoveryReport",
}  # fmt: skip


def described(doc: str) -> set[str]:
    """The names that a docstring describes: in its sections, or where it has none, in its sentences."""
    parsed = NumpyDocString(doc)
    found = {
        name.strip().lstrip("*")
        for section in ("Parameters", "Other Parameters", "Attributes")
        for entry in parsed[section]
        for name in entry.name.split(",")
    }
    return found or set(re.findall(r"\w+", " ".join(parsed["Summary"] + parsed["Extended Summary"])))


def parameters(value: Any) -> list[str]:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return []
    return [
        name
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls", "args", "kwargs") and parameter.kind is not parameter.VAR_KEYWORD
    ]


def known_names(thing: Thing) -> set[str]:
    """What is described where a reader looks: here, in the base, and beside the attributes of a class."""
    if inspect.isclass(thing.value):
        # nobody but us has what goes into these
        known = {
            str(field.alias)
            for field in (attr.fields(thing.value) if attr.has(thing.value) else ())
            if field.name.startswith("_")
        }
        for kind in thing.value.__mro__:
            if kind.__module__.startswith("golem_nb"):
                known |= described(inspect.cleandoc(kind.__doc__ or ""))
                source = inspect.getsource(kind)
                known |= set(re.findall(r'^    (\w+):.*\n(?:    [ )].*\n)*    """', source, re.MULTILINE))
                known |= set(re.findall(r"^(?:    #: .*\n)+    (\w+):", source, re.MULTILINE))
        return known
    known = described(thing.doc)
    for base in thing.owner.__mro__[1:] if thing.owner else ():
        overridden = vars(base).get(thing.value.__name__)
        if overridden is not None and overridden.__doc__:
            known |= described(inspect.cleandoc(overridden.__doc__))
    return known


def made_by_us(value: Any) -> bool:
    return inspect.isclass(value) and (
        issubclass(value, BaseException | Event | enum.Enum)
        or value.__name__ in MADE_BY_US
        or getattr(value, "_is_protocol", False)
    )


def test_there_is_something_to_look_at() -> None:
    assert len(THINGS) > 400


def test_every_public_name_has_a_docstring() -> None:
    assert [thing.name for thing in THINGS if not thing.doc] == []


def test_every_parameter_is_described() -> None:
    missing = {}
    for thing in THINGS:
        if isinstance(thing.value, property) or made_by_us(thing.value):
            continue
        known = known_names(thing)
        if left := [
            name
            for name in parameters(thing.value)
            if name.strip("_") and name.lstrip("_") not in known and name not in known
        ]:
            missing[thing.name] = left
    assert missing == {}


# -- examples ------------------------------------------------------------------------------------------------

#: Examples that are not run here, and why.
NOT_RUN = {
    "golem_nb.session.nested.allow_asyncio_run": "it patches asyncio for good; a notebook has it",
}


def all_modules() -> list[str]:
    found = pkgutil.walk_packages(golem_nb.__path__, "golem_nb.")
    # what runs in a sandbox or on a provider is started there, not imported
    apart = ("golem_nb.session.remote.runner", "golem_nb.__main__", "golem_nb.localnet.provider.__main__")
    return [module.name for module in found if module.name not in apart]


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found: dict[str, doctest.DocTest] = {}
    for name in all_modules():
        for test in finder.find(importlib.import_module(name), name):
            if test.examples:
                found.setdefault(test.name, test)
    return list(found.values())


EXAMPLES = examples()
NETWORK = re.compile(r"\b(session|cluster|await|Session|LocalNetwork|Golem)\b")
RUN = [test for test in EXAMPLES if test.name not in NOT_RUN]
ON_NETWORK = [test for test in RUN if any(NETWORK.search(e.source) for e in test.examples)]
ALONE = [test for test in RUN if test not in ON_NETWORK]

#: What examples are about, where they do not say it themselves.
GIVEN = """
import asyncio, contextlib, urllib.request
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
import golem_nb
from golem_nb import ApiConfig, Golem, Session, Task, vm
from golem_nb.contrib.service.http_proxy import HttpProxyService
from golem_nb.contrib.strategy import ProviderFilter
from golem_nb.localnet import LocalNetwork
from golem_nb.log import SummaryLogger, log_event_repr
from golem_nb.node import Yagna, describe_daemon
from golem_nb.payload import Payload
from golem_nb.props import *
from golem_nb.props.base import constraint, prop
from golem_nb.props.builder import DemandBuilder
from golem_nb.props.com import Counter
from golem_nb.rest import Configuration, Market
from golem_nb.strategy import *

known = set()


@dataclass
class MyPayload(Payload):
    myprop: str = prop("golem.srv.app.myprop", default="myvalue")
    min_mem_gib: float = constraint("golem.inf.mem.gib", operator=">=", default=16)


async def worker(context, tasks):
    async for task in tasks:
        script = context.new_script()
        result = script.run("/bin/sh", "-c", f"echo {task.data}")
        yield script
        task.accept_result((await result).stdout)


class WebService(HttpProxyService):
    def __init__(self):
        super().__init__(remote_port=8000)

    @staticmethod
    async def get_payload():
        return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])

    async def start(self):
        async for script in super().start():
            yield script
        if self.network_node is not None:
            script = self._ctx.new_script()
            server = f"printf Hello > index.html; python3 -u -m http.server -b {self.network_node.ip} 8000"
            waiting = "until grep -q Serving log; do sleep 0.02; done"
            script.run("/bin/sh", "-c", f"cd /golem/work; ({server}) > log 2>&1 & cd /golem/work; {waiting}")
            yield script
"""


def run(test: doctest.DocTest, space: dict[str, Any]) -> None:
    """Run an example as in a cell: `await` is allowed, and what it does not show is not compared."""
    checker = doctest.OutputChecker()
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    with asyncio.Runner() as runner:
        for example in test.examples:
            said = io.StringIO()
            code = compile(example.source, f"<{test.name}>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
            with contextlib.redirect_stdout(said):
                try:
                    done = eval(code, space)
                    if inspect.iscoroutine(done):
                        runner.run(_waited(done))
                except Exception as error:
                    if f"{type(error).__name__}: {error}".strip() != (example.exc_msg or "").strip():
                        raise
                    continue
            if example.want:
                assert checker.check_output(example.want, said.getvalue(), options), (
                    f"{example.source}expected: {example.want}got: {said.getvalue()}"
                )


async def _waited(awaitable: Any) -> Any:
    return await awaitable


@pytest.mark.parametrize("test", ALONE, ids=lambda test: test.name)
def test_an_example_runs(test: doctest.DocTest) -> None:
    run(test, {**test.globs, **_given()})


@functools.cache
def _given() -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(GIVEN, space)
    return space


@pytest.mark.localnet
@pytest.mark.timeout(400)
def test_examples_run_on_the_network(
    on_network: LocalNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / "data"))
    poems = tmp_path / "poems"
    poems.mkdir()
    for name, words in (("a", 218), ("b", 97)):
        (poems / f"{name}.txt").write_text("word " * words)
    manifest = asyncio.run(Manifest.generate(image_hash=ALPINE, outbound_urls=["https://api.example.org"]))
    (tmp_path / "manifest.json.base64").write_text(manifest.to_base64())
    alpine = vm.repo(image_tag="golem/alpine:latest")
    failed = {}
    with contextlib.ExitStack() as all_of_them:

        def new_session(name: str, stack: contextlib.ExitStack) -> Session:
            session = Session(budget=1, network=on_network, name=name)
            stack.callback(session.stop, wait_for_payments=False)
            return session

        shared = new_session("examples", all_of_them)
        network = shared.create_network("192.168.0.0/24")
        cluster = shared.cluster(_given()["WebService"], network=network)
        cluster.result(60)
        for test in ON_NETWORK:
            source = "".join(example.source for example in test.examples)
            try:
                with contextlib.ExitStack() as stack:
                    session = shared
                    if re.search(r"session\.(jobs|remembered|(aio\.)?stop)", source):
                        session = new_session(test.name, stack)
                        session.run("echo first", payload=alpine).result(60)
                    space = {**test.globs, **_given(), "session": session, "alpine": alpine}
                    space |= {"files": sorted(poems.glob("*.txt")), "cluster": cluster}
                    run(test, space)
            except Exception as error:
                failed[test.name] = f"{type(error).__name__}: {error}"
    assert not failed, "\n".join(f"{name}: {text}" for name, text in failed.items())


# -- examples without a prompt -------------------------------------------------------------------------------

BLOCK = re.compile(r"::\n\n((?:    .*\n|\n)+)")

#: Drawings, the tree of events, the sandbox's messages.
NO_CODE = re.compile(r"│|^Event\n    JobEvent|\"op\": \"run\"")

#: Those that are not run here, and why.
NOT_RUN_EITHER = {
    "golem_nb.session.session.Session.adopt": "there has to be what a dead kernel left running: "
    "tests/session/test_adoption.py",
    "golem_nb.ui.market.MarketExplorer": "offers come in, and are picked, while somebody looks at it: "
    "tests/ui/test_market.py",
}


def literal_examples() -> dict[str, list[str]]:
    docs = {name: inspect.cleandoc(importlib.import_module(name).__doc__ or "") for name in all_modules()}
    docs |= {thing.name: thing.doc for thing in THINGS}
    return {
        name: found
        for name, doc in docs.items()
        if (
            found := [
                code
                for block in BLOCK.findall(doc + "\n")
                if not NO_CODE.search(code := textwrap.dedent(block))
            ]
        )
    }


LITERAL = literal_examples()

#: Every public name, and what examples take for granted beside those.
EVERYTHING = {thing.value.__name__: thing.value for thing in THINGS if thing.owner is None} | {
    "asyncio": asyncio, "attr": attr, "Decimal": Decimal, "timedelta": timedelta, "node_id": "0x" + 40 * "1",
    "api_url": "http://127.0.0.1:7465",
}  # fmt: skip


async def run_literally(source: str, name: str, space: dict[str, Any]) -> None:
    """Run code as a cell of a notebook would; a program with a loop of its own runs beside this one."""
    code = compile(source, f"<{name}>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
    if "asyncio.run(" in source:
        await asyncio.to_thread(eval, code, space)
    else:
        done = eval(code, space)
        if inspect.iscoroutine(done):
            await done


class Both(HttpProxyService, SocketProxyService):
    """A service that both proxies can reach."""

    def __init__(self) -> None:
        super().__init__(remote_port=8000)
        self.remote_ports = [8000]

    @staticmethod
    async def get_payload() -> Payload:
        return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])


@contextlib.asynccontextmanager
async def something_of_everything(on_network: LocalNetwork) -> AsyncIterator[dict[str, Any]]:
    """What the examples are about: an engine with a service that runs in a network, and what records it."""
    async with contextlib.AsyncExitStack() as stack:
        session = Session(budget=1, network=on_network, name="literal examples")
        stack.callback(session.stop, wait_for_payments=False)
        golem = await stack.enter_async_context(Golem(budget=1))
        recorder = Recorder()
        golem.add_event_consumer(recorder.take)
        ledger = stack.enter_context(Ledger())
        network = await golem.create_network("192.168.0.0/24")
        cluster = await golem.run_service(Both, network=network)
        async with asyncio.timeout(60):
            while cluster.instances[0].state != ServiceState.running:
                await asyncio.sleep(0.05)
        configuration = await stack.enter_async_context(Configuration())
        client = await stack.enter_async_context(configuration.root())
        yield {
            "golem": golem, "session": session, "recorder": recorder, "ledger": ledger,
            "network": network, "cluster": cluster, "instance": cluster.instances[0], "DateService": Both,
            "WebService": Both,
            "ctx": cluster.instances[0]._ctx, "configuration": configuration,
            "me": await Identity(client).me(),
        }  # fmt: skip


@pytest.mark.localnet
@pytest.mark.timeout(400)
async def test_literal_examples_run_on_the_network(
    on_network: LocalNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path / "data"))
    failed = {}
    async with something_of_everything(on_network) as given:
        for name, blocks in LITERAL.items():
            if name in NOT_RUN_EITHER:
                continue
            for block in blocks:
                # the ports of the examples may be in use here
                source = re.sub(r"\b(8080|8484)\b", lambda _: str(free_port()), block)
                space = {**EVERYTHING, **_given(), **given}
                if "async with golem:" in block or "golem.strategy =" in block:  # before it is started
                    space["golem"] = Golem(budget=1)
                try:
                    async with asyncio.timeout(60):
                        await run_literally(source, name, space)
                except Exception as error:
                    failed[name] = f"{type(error).__name__}: {error}"
    assert not failed, "\n".join(f"{name}: {text}" for name, text in failed.items())


def test_what_is_not_run_is_there() -> None:
    assert set(NOT_RUN) <= {test.name for test in EXAMPLES}
    assert set(NOT_RUN_EITHER) <= set(LITERAL)
