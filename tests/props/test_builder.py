from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.props import Activity, ConstraintException, InvalidPropertiesError, NodeInfo
from golem_nb.props.builder import AutodecoratingModel, DemandBuilder, DemandDecorator


class Format(Enum):
    SQUASH = "gvmkit-squash"


@pytest.mark.contract("P03")
def test_values_of_properties() -> None:
    builder = DemandBuilder()
    builder.add_properties(
        {
            "text": "x",
            "int": 5,
            "float": 0.5,
            "decimal": Decimal("0.25"),
            "yes": True,
            "time": datetime(2030, 1, 1, tzinfo=UTC),
            "enum": Format.SQUASH,
            "list": ["a", Format.SQUASH],
            "nested": {"a": {"b": [1, 2.5]}},
            "skipped": None,
            "golem.com.payment.debit-notes.accept-timeout?": 30,
        }
    )
    assert builder.properties == {
        "text": "x",
        "int": 5,
        "float": 0.5,
        "decimal": 0.25,
        "yes": True,
        "time": 1893456000000,
        "enum": "gvmkit-squash",
        "list": ["a", "gvmkit-squash"],
        "nested": {"a": {"b": [1, 2.5]}},
        "golem.com.payment.debit-notes.accept-timeout?": 30,
    }
    assert builder.properties["yes"] is True


@pytest.mark.contract("P03")
def test_numbers_of_other_libraries_become_python_s_own() -> None:
    builder = DemandBuilder()
    builder.add_properties({"int": np.int64(2), "list": [np.float64(0.5), np.float32(0.25), Fraction(1, 8)]})
    assert json.dumps(builder.properties) == '{"int": 2, "list": [0.5, 0.25, 0.125]}'
    assert type(builder.properties["int"]) is int
    assert {type(number) for number in builder.properties["list"]} == {float}


@pytest.mark.contract("P03")
def test_naive_datetime_is_local_time() -> None:
    builder = DemandBuilder()
    now = datetime.now()
    builder.add(Activity(expiration=now))
    assert builder.properties["golem.srv.comp.expiration"] == pytest.approx(time.time() * 1000, abs=60_000)
    assert builder.properties["golem.srv.comp.expiration"] == round(now.astimezone().timestamp() * 1000)


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        float("nan"),
        float("inf"),
        np.float64("nan"),
        Fraction(10**400),
        Decimal("NaN"),
        {1, 2},
        object(),
        [None],
        {"a": None},
        "\ud800",
        timedelta(1),
    ],
)
def test_value_that_cannot_be_sent_is_an_error_that_names_it(value: Any) -> None:
    with pytest.raises(InvalidPropertiesError) as caught:
        DemandBuilder().add_properties({"golem.key": value})
    assert "golem.key" in str(caught.value)


@pytest.mark.parametrize("key", ["", "a b", "a=b", "a(b", "a\nb", 5])
def test_key_that_cannot_be_one_is_an_error(key: Any) -> None:
    with pytest.raises(InvalidPropertiesError, match="key"):
        DemandBuilder().add_properties({key: 1})
    with pytest.raises(InvalidPropertiesError, match="key"):
        DemandBuilder().add_properties({"outer": {key: 1}})


@pytest.mark.contract("P02")
def test_constraints_are_joined() -> None:
    builder = DemandBuilder()
    assert builder.constraints == "(&)"
    builder.ensure("(golem.node.debug.subnet=public)")
    assert builder.constraints == "(golem.node.debug.subnet=public)"
    builder.ensure("(&(a=1)\n\t(b=2))")
    assert builder.constraints == "(&(golem.node.debug.subnet=public)\n\t(&(a=1)\n\t(b=2)))"
    with pytest.raises(ConstraintException, match=r"'\(broken'"):
        builder.ensure("(broken")


def test_builder_may_begin_with_something() -> None:
    builder = DemandBuilder({"a": 1}, "(b=2)")
    assert (builder.properties, builder.constraints) == ({"a": 1}, "(b=2)")
    assert repr(builder) == "{'properties': {'a': 1}, 'constraints': ['(b=2)']}"


def test_copy_is_independent() -> None:
    builder = DemandBuilder({"a": 1}, "(b=2)")
    copied = builder.copy()
    copied.add_properties({"a": 2})
    copied.ensure("(c=3)")
    assert repr(builder) == "{'properties': {'a': 1}, 'constraints': ['(b=2)']}"


async def test_decorators_work_in_turn() -> None:
    class First(DemandDecorator):
        async def decorate_demand(self, demand: DemandBuilder) -> None:
            demand.ensure("(first=1)")

    class Empty(AutodecoratingModel):
        pass

    class Second(DemandDecorator):
        async def decorate_demand(self, demand: DemandBuilder) -> None:
            demand.add(NodeInfo(subnet_tag="public"))
            demand.ensure("(second=2)")

    builder = DemandBuilder()
    await builder.decorate(First(), Empty(), Second())
    assert builder.properties == {"golem.node.debug.subnet": "public"}
    assert builder.constraints == "(&(first=1)\n\t(second=2))"


keys = st.builds("{}{}".format, st.sampled_from("abcxyz"), st.text("abcxyz.?!-", max_size=10))
values = st.recursive(
    st.one_of(
        st.text('ab \0"\\ßż√😀'),
        st.integers(),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=8,
)


@given(st.dictionaries(keys, values, max_size=6))
def test_json_data_passes_unchanged(properties: dict[str, Any]) -> None:
    assert DemandBuilder(properties).properties == properties
