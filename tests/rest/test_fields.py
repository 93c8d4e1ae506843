"""Reading and writing single values: dates, money, identifiers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.rest import fields
from golem_nb.rest.fields import MalformedField

UTC = dt.UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T18:26:12.767Z", dt.datetime(2026, 11, 23, 18, 26, 12, 767000, UTC)),
        ("2026-11-23T18:26:12.767123Z", dt.datetime(2026, 11, 23, 18, 26, 12, 767123, UTC)),
        ("2026-11-23T18:26:12.767123456Z", dt.datetime(2026, 11, 23, 18, 26, 12, 767123, UTC)),
        ("2026-11-23T18:26:12Z", dt.datetime(2026, 11, 23, 18, 26, 12, 0, UTC)),
        ("2026-11-23T18:26:12.767123", dt.datetime(2026, 11, 23, 18, 26, 12, 767123, UTC)),
        ("2026-11-23T20:26:12.767123+02:00", dt.datetime(2026, 11, 23, 18, 26, 12, 767123, UTC)),
    ],
)
def test_dates_in_all_the_daemons_forms(text: str, expected: dt.datetime) -> None:
    found = fields.as_moment(text)
    assert found == expected
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "value", ["", "tomorrow", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+01:00", 5, None, "1" * 1000]
)
def test_what_is_no_date(value: Any) -> None:
    with pytest.raises(MalformedField, match="expected a date"):
        fields.as_moment(value)


@given(st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(9999, 1, 1), timezones=st.timezones()))
def test_a_written_date_is_read(moment: dt.datetime) -> None:
    text = fields.moment_text(moment)
    assert text.endswith("Z")
    # in UTC, since the hour that an autumn repeats is equal to nothing in another zone
    assert fields.as_moment(text) == moment.astimezone(UTC)


def test_a_date_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="valid_to must have a time zone"):
        fields.moment_text(dt.datetime(2030, 1, 1), "valid_to")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", Decimal(5)),
        ("5.000000000000000000", Decimal(5)),
        ("0.006253321074774170", Decimal("0.00625332107477417")),
        (0.25, Decimal("0.25")),
        (3, Decimal(3)),
        ("-1", Decimal(-1)),
        ("0", Decimal(0)),
        ("0E-18", Decimal(0)),
    ],
)
def test_amounts(value: Any, expected: Decimal) -> None:
    assert fields.as_money(value) == expected


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "sNaN", "1e999999999", "1e-999999999", "", "a", "1" * 500, True, None,
     [], {}, float("inf"), float("nan"), 10**200],
)  # fmt: skip
def test_what_is_no_amount(value: Any) -> None:
    with pytest.raises(MalformedField, match="expected an amount"):
        fields.as_money(value)


@given(st.decimals(-(10**40), 10**40, allow_nan=False, places=18))
def test_a_written_amount_is_read(amount: Decimal) -> None:
    text = fields.money_text(amount)
    assert "E" not in text.upper()
    assert fields.as_money(text) == amount


@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("Infinity"), Decimal("1e999999")])
def test_no_amount_is_written_that_is_none(amount: Decimal) -> None:
    with pytest.raises(ValueError, match="must be a number of reasonable size"):
        fields.money_text(amount)


@pytest.mark.parametrize("amount", [0.1, "1", True, None])
def test_an_amount_is_a_decimal(amount: Any) -> None:
    with pytest.raises(TypeError, match="must be a Decimal"):
        fields.money_text(amount)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text not in (".", ".."))
)
def test_a_segment_has_no_slash_and_no_space(text: str) -> None:
    assert not set(fields.segment(text)) & set("/?#% \r\n") - {"%"}


def test_queries() -> None:
    assert fields.query() == ""
    assert fields.query(a=None) == ""
    assert fields.query(a=1.5, b="x&y=z", c=None) == "?a=1.5&b=x%26y%3Dz"


@pytest.mark.parametrize("value", [None, 5, "", "x" * 500, "a\nb", [], {}])
def test_what_is_no_identifier(value: Any) -> None:
    with pytest.raises(MalformedField):
        fields.identifier(value)


def test_the_field_is_named() -> None:
    source: dict[str, Any] = {"a": 5, "b": None, "c": [1, "x"], "d": "x" * 1000}
    for read, key, said in (
        (fields.text, "a", "field 'a': expected a string, got 5"),
        (fields.text, "z", "field 'z' is missing"),
        (fields.text, "b", "field 'b': expected a string, got None"),
        (fields.texts, "c", "field 'c': expected a string, got 1"),
        (fields.numbers, "c", "field 'c': expected a number, got 'x'"),
        (fields.integer, "d", "field 'd': expected a whole number, got 'xxx"),
        (fields.boolean, "a", "field 'a': expected true or false, got 5"),
        (fields.mapping, "c", "field 'c': expected an object, got [1, 'x']"),
    ):
        with pytest.raises(MalformedField) as caught:
            read(source, key)
        assert str(caught.value).startswith(said)
        assert len(str(caught.value)) < 200
    assert fields.optional_text(source, "b") is None
    assert fields.optional_moment(source, "z") is None
    assert fields.optional_mapping(source, "z") is None
