# ruff: noqa: RUF009 - `prop` declares a field, as `dataclasses.field` does
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.props import Activity, ConstraintException, InvalidPropertiesError, NodeInfo, com, inf
from golem_nb.props.base import (
    Model,
    constraint,
    constraint_model_serialize,
    constraint_to_str,
    prop,
    properties_of,
)
from golem_nb.props.com import BillingScheme, Com, ComLinear, Counter, PriceModel


class Size(Enum):
    SMALL = 1
    LARGE = 2


@dataclass
class Everything(Model):
    text: str = prop("t.text")
    number: float = prop("t.number", default=1.5)
    count: int | None = prop("t.count", default=None)
    exact: Decimal | None = prop("t.exact", default=None)
    when: datetime | None = prop("t.when", default=None)
    size: Size | None = prop("t.size", default=None)
    yes: bool | None = prop("t.yes", default=None)
    names: list[str] = prop("t.names", default_factory=list)
    pair: tuple[int, ...] = prop("t.pair", default=())
    nested: dict[str, Any] | None = prop("t.nested", default=None)
    mode: Literal["a", "b"] | None = prop("t.mode", default=None)
    anything: Any = prop("t.anything", default=None)
    own: int = 0
    minimum: int = constraint("t.minimum", operator=">=", default=3)


@dataclass
class OldStyle(Model):
    value: int = dataclasses.field(default=1, metadata={"key": "t.value"})


GOOD = {
    "t.text": "x",
    "t.number": 2,
    "t.count": 3.0,
    "t.exact": 0.1,
    "t.when": 1893456000000,
    "t.size": 2,
    "t.yes": True,
    "t.names": ["a", "b"],
    "t.pair": [1, 2],
    "t.nested": {"a": {"b": 1}},
    "t.mode": "b",
    "t.anything": [None],
}


@pytest.mark.contract("I03")
def test_model_is_read_in_the_types_of_its_fields() -> None:
    model = Everything.from_properties(GOOD)
    assert model == Everything(
        text="x",
        number=2.0,
        count=3,
        exact=Decimal("0.1"),
        when=datetime(2030, 1, 1, tzinfo=UTC),
        size=Size.LARGE,
        yes=True,
        names=["a", "b"],
        pair=(1, 2),
        nested={"a": {"b": 1}},
        mode="b",
        anything=[None],
    )
    assert Everything.from_properties({"t.text": "x", "other": 1}) == Everything(text="x")
    assert OldStyle.from_properties({"t.value": 5}).value == 5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("t.text", 5),
        ("t.text", None),
        ("t.number", "2"),
        ("t.number", True),
        ("t.number", float("nan")),
        ("t.number", float("inf")),
        ("t.number", 10**400),
        ("t.count", 3.5),
        ("t.count", "3"),
        ("t.exact", "many"),
        ("t.exact", "NaN"),
        ("t.exact", []),
        ("t.when", "2030-01-01"),
        ("t.when", 1e300),
        ("t.size", 3),
        ("t.size", []),
        ("t.yes", 1),
        ("t.yes", "true"),
        ("t.names", "ab"),
        ("t.names", ["a", 1]),
        ("t.names", {"a": 1}),
        ("t.pair", ["1"]),
        ("t.nested", []),
        ("t.mode", "c"),
        ("t.mode", ["a"]),
    ],
)
def test_wrong_type_is_an_error_that_names_the_key(key: str, value: Any) -> None:
    with pytest.raises(InvalidPropertiesError, match=f"`{key}` should be "):
        Everything.from_properties({**GOOD, key: value})


def test_missing_property_is_an_error_that_names_it() -> None:
    with pytest.raises(InvalidPropertiesError, match=r"`t\.text` is missing"):
        Everything.from_properties({})


def test_error_about_a_huge_value_is_short() -> None:
    with pytest.raises(InvalidPropertiesError) as caught:
        Everything.from_properties({"t.text": list(range(1_000_000))})
    assert len(str(caught.value)) < 300


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=8,
)
hostile_offers = st.dictionaries(
    st.sampled_from(
        [
            com.SCHEME,
            com.PRICE_MODEL,
            com.LINEAR_COEFFS,
            com.DEFINED_USAGES,
            inf.INF_MEM,
            inf.INF_RUNTIME_NAME,
            inf.INF_THREADS,
            "golem.node.id.name",
            "golem.node.debug.subnet",
            "golem.srv.comp.expiration",
            "golem.srv.caps.multi-activity",
        ]
    ),
    st.one_of(json_values, st.sampled_from(["payu", "linear"]), st.lists(st.floats()), st.lists(st.text())),
)


@given(hostile_offers)
def test_hostile_offers_are_read_or_refused(offer: dict[str, Any]) -> None:
    for model in (NodeInfo, Activity, Com, ComLinear, inf.InfBase):
        try:
            read = model.from_properties(offer)
        except InvalidPropertiesError:
            continue
        properties_of(read)


@pytest.mark.contract("P03")
def test_properties_of_a_model() -> None:
    model = Everything(
        text="x",
        exact=Decimal("0.5"),
        when=datetime(2030, 1, 1, tzinfo=UTC),
        size=Size.SMALL,
        yes=False,
        names=["a"],
        nested={"a": {"b": Size.LARGE}},
    )
    assert properties_of(model) == {
        "t.text": "x",
        "t.number": 1.5,
        "t.exact": 0.5,
        "t.when": 1893456000000,
        "t.size": 1,
        "t.yes": False,
        "t.names": ["a"],
        "t.pair": [],
        "t.nested": {"a": {"b": 2}},
    }


@pytest.mark.contract("I03")
def test_constraints_of_a_model() -> None:
    model = Everything(text="x", minimum=4)
    assert constraint_model_serialize(model) == ["(t.minimum>=4)"]
    fields = {field.name: field for field in dataclasses.fields(Everything)}
    assert constraint_to_str(7, fields["minimum"]) == "(t.minimum>=7)"
    assert constraint_to_str([], fields["minimum"]) == ""
    with pytest.raises(ConstraintException, match="`text` is not a constraint"):
        constraint_to_str(7, fields["text"])


def test_wrong_declarations_are_errors_at_once() -> None:
    with pytest.raises(ConstraintException, match="operator"):
        constraint("k", operator="!=")
    with pytest.raises(ConstraintException, match="key"):
        constraint("a key")
    with pytest.raises(InvalidPropertiesError, match="key"):
        prop("a key")


def test_forgotten_decorator_is_an_error() -> None:
    class Forgotten(Model):
        value: int = prop("t.value", default=1)

    with pytest.raises(TypeError, match="@dataclass"):
        properties_of(Forgotten())
    with pytest.raises(TypeError, match="@dataclass"):
        Forgotten(value=2)


def test_annotation_that_cannot_be_resolved_reads_anything() -> None:
    class Local(Enum):
        ONE = 1

    @dataclass
    class WithLocal(Model):
        first: Local = prop("t.first")
        second: int = prop("t.second", default=0)

    assert WithLocal.from_properties({"t.first": "x"}).first == "x"
    with pytest.raises(InvalidPropertiesError, match=r"t\.second"):
        WithLocal.from_properties({"t.first": "x", "t.second": "y"})


def test_subclass_in_another_module_keeps_the_types_of_its_base() -> None:
    @dataclass
    class More(ComLinear):
        extra: str = prop("t.extra", default="")

    with pytest.raises(InvalidPropertiesError, match="scheme"):
        More.from_properties({com.SCHEME: "free"})


OFFER = {
    "golem.com.scheme": "payu",
    "golem.com.pricing.model": "linear",
    "golem.com.pricing.model.linear.coeffs": [0.0001, 0.00005, 0.1],
    "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
    "golem.node.id.name": "provider-1",
    "golem.node.debug.subnet": "public",
    "golem.inf.mem.gib": 4,
    "golem.inf.storage.gib": 20.5,
    "golem.inf.cpu.threads": 2,
    "golem.runtime.name": "vm",
}


@pytest.mark.contract("I03")
def test_linear_prices() -> None:
    linear = ComLinear.from_properties(OFFER)
    assert (linear.scheme, linear.price_model) == (BillingScheme.PAYU, PriceModel.LINEAR)
    assert linear.fixed_price == 0.1
    assert linear.price_for == {"golem.usage.duration_sec": 0.0001, "golem.usage.cpu_sec": 0.00005}
    assert linear.price_for[Counter.TIME] == 0.0001
    assert linear.price_for[Counter.CPU.value] == 0.00005
    assert linear.usage_vector == [Counter.TIME, Counter.CPU]
    assert linear.linear_coeffs == [0.0001, 0.00005, 0.1]
    assert (linear.start_price, linear.prices[Counter.TIME]) == (Decimal("0.1"), Decimal("0.0001"))

    exact = linear.calculate_cost([Decimal(10), Decimal(20)])
    assert (type(exact), exact) == (Decimal, Decimal("0.102"))
    rough = linear.calculate_cost([10.0, 20.0])
    assert (type(rough), rough) == (float, 0.102)
    assert linear.usage_as_dict([10.0, 20.0]) == {Counter.TIME: 10.0, Counter.CPU: 20.0}
    with pytest.raises(ValueError, match="2 elements"):
        linear.calculate_cost([1.0])


@pytest.mark.parametrize(
    "changed",
    [
        {"golem.com.scheme": "free"},
        {"golem.com.pricing.model": "magic"},
        {"golem.com.pricing.model.linear.coeffs": [1.0]},
        {"golem.com.pricing.model.linear.coeffs": []},
        {"golem.com.pricing.model.linear.coeffs": [1.0, 2.0, "3"]},
        {"golem.com.pricing.model.linear.coeffs": [1.0, 2.0, float("inf")]},
        {"golem.com.usage.vector": ["golem.usage.cpu_sec", "golem.usage.cpu_sec"]},
        {"golem.com.usage.vector": "ab"},
    ],
)
def test_linear_prices_that_make_no_sense_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidPropertiesError, match=next(iter(changed))):
        ComLinear.from_properties({**OFFER, **changed})


@given(
    st.lists(st.tuples(st.floats(0, 1e3), st.floats(0, 1e6)), max_size=5),
    st.floats(0, 1e3),
)
def test_exact_cost_is_the_sum_of_exact_prices(lines: list[tuple[float, float]], start: float) -> None:
    offer = {
        **OFFER,
        com.LINEAR_COEFFS: [*(price for price, _ in lines), start],
        com.DEFINED_USAGES: [f"counter-{n}" for n in range(len(lines))],
    }
    linear = ComLinear.from_properties(offer)
    rough = linear.calculate_cost([usage for _, usage in lines])
    assert rough == pytest.approx(start + sum(price * usage for price, usage in lines), rel=1e-9, abs=1e-12)


@pytest.mark.contract("I03")
def test_node_and_infrastructure() -> None:
    assert NodeInfo.from_properties(OFFER) == NodeInfo(name="provider-1", subnet_tag="public")
    assert NodeInfo.from_properties({}).name is None
    assert inf.InfBase.from_properties(OFFER) == inf.InfBase(mem=4.0, runtime="vm", storage=20.5, threads=2)
    assert properties_of(Activity(multi_activity=True)) == {"golem.srv.caps.multi-activity": True}
    assert properties_of(inf.VmRequest("hash:sha3:x:http://y", inf.VmPackageFormat.GVMKIT_SQUASH)) == {
        "golem.srv.comp.task_package": "hash:sha3:x:http://y",
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
    }
    assert properties_of(inf.ExeUnitRequest(package_url="p")) == {"golem.srv.comp.task_package": "p"}
    assert properties_of(inf.ExeUnitManifestRequest(manifest="bQ==")) == {
        "golem.srv.comp.payload": "bQ==",
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
    }
