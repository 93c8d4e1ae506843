"""Texts from outside cannot overflow the parser's stack."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golem_nb.foreign_json import MAX_DEPTH, check_depth, loads

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=400,
)


@given(values)
def test_is_json(value: Any) -> None:
    assert loads(json.dumps(value)) == value


@given(st.text(alphabet='[]{}"\\ ,:a', max_size=60), st.integers(1, 3))
def test_strings_do_not_count(text: str, times: int) -> None:
    value = [text * 100] * times
    assert loads(json.dumps(value)) == value


def test_the_limit() -> None:
    assert loads("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    with pytest.raises(ValueError, match="nested too deeply"):
        loads("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    wide = json.dumps([{"a": [1, {"b": []}]}] * 1000)
    assert len(loads(wide)) == 1000


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "[1", "{", ""])
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json has many words for it
        loads(text)


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"a":' * 100_000, "[{]}" * 50_000, '"\\"' + "[" * 200_000],
    # pytest hands the test's name to the process in its environment, where no text may be that long
    ids=["lists", "dictionaries", "crossed", "in a string that ends"],
)
def test_survives_a_raised_recursion_limit(text: str) -> None:
    """In a process of its own: without the check this is a crash, not an exception."""
    code = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from golem_nb.foreign_json import loads\n"
        "try:\n    loads(sys.stdin.read())\n"
        "except ValueError as error:\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "refused")


def test_the_check_alone_lets_numbers_be() -> None:
    check_depth("[NaN]")
