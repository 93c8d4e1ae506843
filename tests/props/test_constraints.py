from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.props import ConstraintException
from golem_nb.props.base import join_str_constraints
from golem_nb.props.grammar import check_constraint, clause


class Colour(Enum):
    RED = "red"


@pytest.mark.contract("P02")
@pytest.mark.parametrize(
    ("operator", "value", "text"),
    [
        ("=", "vm", "(k=vm)"),
        (">=", 16, "(k>=16)"),
        (">=", 2.0, "(k>=2.0)"),
        ("<=", 1e-7, "(k<=1e-07)"),
        ("<", Decimal("0.10"), "(k<0.10)"),
        (">", -3, "(k>-3)"),
        (">=", np.int64(3), "(k>=3)"),
        (">=", np.float64(0.5), "(k>=0.5)"),
        ("=", Fraction(1, 4), "(k=0.25)"),
        ("=", True, "(k=true)"),
        ("=", False, "(k=false)"),
        ("=", Colour.RED, "(k=red)"),
        ("=", datetime(2030, 1, 1, tzinfo=UTC), "(k=1893456000000)"),
        ("=", "*", "(k=*)"),
        ("=", "golem/*", "(k=golem/*)"),
        ("=", "", "(k=)"),
        ("=", "a b<c>=&|!", "(k=a b<c>=&|!)"),
        ("=", 'say "hi"', r"(k=say \"hi\")"),
        ("=", "C:\\x\n\ty", r"(k=C:\\x\n\ty)"),
        ("=", "zażółć 😀", "(k=zażółć 😀)"),
        ("=", ["vpn"], "(k=vpn)"),
        ("=", ["vpn", "inet"], "(&(k=vpn)\n\t(k=inet))"),
        ("=", (1, True), "(&(k=1)\n\t(k=true))"),
        ("=", [], ""),
    ],
)
def test_values_are_written_as_the_daemon_compares_them(operator: str, value: Any, text: str) -> None:
    assert clause("k", operator, value) == text


@pytest.mark.contract("P02")
@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("=", "a(b"),
        ("=", "a)b"),
        ("=", "Intel(R) Xeon(R)"),
        ("=", "a\x00b"),
        ("=", "a\rb"),
        ("=", " a"),
        ("=", "*a"),
        ("=", "**"),
        (">=", "a*"),
        (">", "=a"),
        ("<", "=a"),
        ("=", "\ud800"),
        ("=", None),
        ("=", float("nan")),
        ("<=", float("inf")),
        ("<=", Decimal("Infinity")),
        (">=", True),
        ("=", b"bytes"),
        ("=", {"a": 1}),
        ("=", {1, 2}),
        ("=", [["nested"]]),
        ("=", ["fine", None]),
        ("=", object()),
    ],
)
def test_what_cannot_be_expressed_is_an_error_that_names_key_and_value(operator: str, value: Any) -> None:
    with pytest.raises(ConstraintException) as caught:
        clause("golem.some.key", operator, value)
    message = str(caught.value)
    assert "golem.some.key" in message
    offender = value[-1] if isinstance(value, list) else value
    assert repr(offender)[:60] in message


@pytest.mark.parametrize(
    "key", ["", "a b", "a(b", "a)", "k=", "k<", "k*", '"k"', "&k", "!k", "a\nb", None, 3]
)
def test_key_that_cannot_be_one_is_an_error(key: Any) -> None:
    with pytest.raises(ConstraintException, match="key"):
        clause(key, "=", 1)


def test_keys_of_the_golem_standards_are_fine() -> None:
    assert clause("golem.!exp.gap-35.v1.inf.gpu.model", "=", "x") == "(golem.!exp.gap-35.v1.inf.gpu.model=x)"
    assert clause("golem.com.payment.debit-notes.accept-timeout?", ">=", 30).startswith("(golem.com.payment")


@pytest.mark.parametrize("operator", ["!=", "==", "=>", "", "~=", None])
def test_operator_that_the_daemon_does_not_know_is_an_error(operator: Any) -> None:
    with pytest.raises(ConstraintException, match="operator"):
        clause("k", operator, 1)


@pytest.mark.contract("P02")
def test_join() -> None:
    assert join_str_constraints([]) == "(&)"
    assert join_str_constraints(["(a=1)"]) == "(a=1)"
    assert join_str_constraints(["(a=1)", "(b=2)"]) == "(&(a=1)\n\t(b=2))"
    assert join_str_constraints(["(a=1)", "(b=2)"], "|") == "(|(a=1)\n\t(b=2))"
    assert join_str_constraints(["(a=1)"], "!") == "(!(a=1))"
    for members in ([], ["(a=1)", "(b=2)"]):
        with pytest.raises(ConstraintException, match="exactly one"):
            join_str_constraints(members, "!")
    with pytest.raises(ConstraintException, match="'%'"):
        join_str_constraints(["(a=1)"], "%")


@pytest.mark.parametrize(
    "text",
    [
        "()",
        "(&)",
        "(a=1)",
        "(a>=1)",
        "(a=*)",
        "(a=)",
        "(a=x(y)",
        "(&(a=1)(b=2))",
        "(&(a=1)\n\t(b=2))",
        "(|\n  (a=*)\n  (b=*)\n)",
        "(!(a=1))",
        "(&(&)(|(a=1)(!(b=2))))",
        "(&(golem.!exp.gap-35.v1=x)(a=&b))",
    ],
)
def test_constraints_written_by_hand_are_taken_as_they_are(text: str) -> None:
    assert check_constraint(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a=1",
        "(a=1",
        "(a)",
        "a=1)",
        "(&(a=1)",
        "(a=1))",
        "(=1)",
        "(&(a=1) b)",
        "(a=1)(b=2)",
        "(a=1) b",
        "((a=1))",
        "(&((a=1)))",
        "(!)",
        "(!(a=1)(b=2))",
        "(a =1)",
        "(a= 1)",
        "(a!=1)",
        "(& &(a=1))",
        "(a=1)(",
        "(a*=1)",
        "(a~1)",
        "text",
        None,
        5,
    ],
)
def test_what_is_no_constraint_is_an_error(text: Any) -> None:
    with pytest.raises(ConstraintException, match="constraint"):
        check_constraint(text)


def test_a_million_parentheses_are_no_problem() -> None:
    text = "(&" * 100_000 + ")" * 100_000
    assert check_constraint(text) == text


scalars = st.one_of(
    st.text(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.decimals(),
    st.none(),
    st.datetimes(),
    st.binary(),
)


@given(st.one_of(scalars, st.lists(scalars)), st.sampled_from(["=", ">=", "<=", ">", "<"]))
def test_any_value_gives_one_well_formed_constraint_or_an_error(value: Any, operator: str) -> None:
    try:
        text = clause("golem.key", operator, value)
    except ConstraintException:
        return
    if isinstance(value, list):
        assert text.count("(golem.key") == len(value)
        if not value:
            return
    assert check_constraint(text) == text
    assert text.count(")") == text.count("(")


@given(st.text())
def test_text_can_be_read_back(value: str) -> None:
    try:
        text = clause("k", "=", value)
    except ConstraintException:
        return
    written = text.removeprefix("(k=").removesuffix(")")
    unescaped = {"\\n": "\n", "\\t": "\t"}
    assert re.sub(r"\\.", lambda found: unescaped.get(found[0], found[0][1]), written) == value
