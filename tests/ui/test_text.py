from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from golem_nb.ui.text import amount, clean, clock, lines, milliseconds, seconds

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31mred\x1b]0;title\x07\u202egnp\u200b\x00\ud800"


def test_a_hostile_text_becomes_one_harmless_line() -> None:
    shown = clean(HOSTILE + "\nsecond\tline")
    assert shown.startswith("<img src=x onerror=alert(1)>red")
    assert all(char.isprintable() for char in shown)
    assert "second line" in shown


def test_texts_are_shortened() -> None:
    assert clean("x" * 1000, 10) == "xxxxxxxxx…"
    assert clean("x" * 10, 10) == "x" * 10


def test_megabytes_cost_nothing() -> None:
    text = "\x1b[31m" * 2_000_000
    data = text.encode()
    # of this thread, whatever else the machine is busy with
    started = time.thread_time()
    clean(text)
    lines(text)
    lines(data)
    assert time.thread_time() - started < 0.05


def test_letters_of_all_scripts_and_emoji_stay() -> None:
    assert clean("مزود kiełbasa 中文 👩‍🚀") == "مزود kiełbasa 中文 👩‍🚀"


def test_the_end_of_an_output_is_kept_line_by_line() -> None:
    assert lines("one\r\ntwo\x1b[1m!\n50%\r100%") == "one\ntwo!\n100%"
    assert lines(b"\xff\xfe ok") == "�� ok"
    shown = lines("a\n" * 10_000, 100)
    assert len(shown) == 100
    assert shown[0] == "…"


def test_of_a_line_of_megabytes_both_ends_are_kept() -> None:
    assert lines("y" * 2000, width=10) == "yyyyy…yyyy"
    assert lines("error: " + "<" * 3000 + " the end", width=20) == "error: <<<…< the end"
    shown = lines("a" + "<" * 10_000_000 + " the end", 1000)
    assert shown.startswith("…<")
    assert shown.endswith("< the end")
    assert len(shown) == 501


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.25"), "1.2500"),
        (Decimal("0.0000123"), "0.000012"),
        (0, "0"),
        (None, "–"),
        (float("nan"), "–"),
        (Decimal("1E-30"), "0.000000000000000000"),
        (1234567, "1234567.0000"),
    ],
)
def test_amounts(value: Decimal | float | None, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.42, "0.4 s"),
        (75, "1 min 15 s"),
        (7262, "2 h 1 min"),
        (90_000, "1 d 1 h"),
        (None, "–"),
        (float("inf"), "–"),
    ],
)
def test_durations(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_moments() -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert milliseconds(moment) == milliseconds(moment.replace(tzinfo=None)) == 1772366400000
    assert milliseconds(None) is None
    assert clock(moment)[:10] == "2026-03-01"
