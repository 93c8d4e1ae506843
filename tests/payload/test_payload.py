from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pytest

from golem_nb.payload import Package, Payload
from golem_nb.props import ConstraintException, inf
from golem_nb.props.base import constraint, prop
from golem_nb.props.builder import DemandBuilder

CUSTOM_RUNTIME_NAME = "my-runtime"
CUSTOM_PROPERTY = "golem.srv.app.myprop"


@dataclass
class MyPayload(Payload):
    myprop: str = prop(CUSTOM_PROPERTY, default="myvalue")
    runtime: str = constraint(inf.INF_RUNTIME_NAME, default=CUSTOM_RUNTIME_NAME)
    min_mem_gib: float = constraint(inf.INF_MEM, operator=">=", default=16)
    min_storage_gib: float = constraint(inf.INF_STORAGE, operator=">=", default=1024)


@pytest.mark.contract("P01")
async def test_documented_example_prints_what_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    builder = DemandBuilder()
    payload = MyPayload(myprop="othervalue", min_mem_gib=32)
    await builder.decorate(payload)
    print(builder)
    # As printed in the documentation, where \n and \t stand as escapes.
    assert capsys.readouterr().out == (
        "{'properties': {'golem.srv.app.myprop': 'othervalue'}, 'constraints': "
        r"['(&(golem.runtime.name=my-runtime)\n\t(golem.inf.mem.gib>=32)\n\t(golem.inf.storage.gib>=1024))']}"
        "\n"
    )


@pytest.mark.contract("P01")
async def test_bare_payload_asks_for_nothing_and_takes_nothing() -> None:
    builder = DemandBuilder()
    await builder.decorate(Payload())
    assert repr(builder) == "{'properties': {}, 'constraints': []}"
    assert [p.kind for p in inspect.signature(Payload).parameters.values()] == [inspect.Parameter.VAR_KEYWORD]
    with pytest.raises(TypeError, match="min_mem_gib"):
        Payload(min_mem_gib=1)


@pytest.mark.contract("P01")
@pytest.mark.parametrize("runtime", ["vm)(golem.node.id.name=mine", None, "\x1b"])
async def test_value_without_a_constraint_is_an_error_and_no_wrong_demand(runtime: Any) -> None:
    builder = DemandBuilder()
    with pytest.raises(ConstraintException, match=r"golem\.runtime\.name"):
        await builder.decorate(MyPayload(runtime=runtime))
    assert builder.constraints == "(&)"


@pytest.mark.contract("P01")
async def test_forgotten_decorator_is_an_error() -> None:
    class Forgotten(Payload):
        runtime: str = constraint(inf.INF_RUNTIME_NAME, default="vm")

    with pytest.raises(TypeError, match="@dataclass"):
        await DemandBuilder().decorate(Forgotten())


@pytest.mark.contract("P04")
async def test_package_is_an_abstract_payload() -> None:
    with pytest.raises(TypeError, match="resolve_url"):
        Package()

    @dataclass
    class Mine(Package):
        url: str = prop(inf.TASK_PACKAGE, default="hash:sha3:0:http://example.org")

        async def resolve_url(self) -> str:
            return self.url

    builder = DemandBuilder()
    await builder.decorate(Mine())
    assert builder.properties == {"golem.srv.comp.task_package": "hash:sha3:0:http://example.org"}
