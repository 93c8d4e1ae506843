"""The kernel's half of a terminal: what it makes of a page's messages, and when it says so."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from golem_nb.ui.shell import NO_INTERRUPT
from tests.waiting import soon


def test_the_next_keys_are_asked_for_when_the_last_ones_are_with_the_shell(
    stage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a page sends what was typed meanwhile as soon as it hears "typed": too early, and the two may be swapped
    terminal = stage.terminal()
    done: list[tuple[str, Any]] = []
    # the shell on no instance and the page are both ends of what is tested here
    monkeypatch.setattr(terminal._shell, "write", lambda data: done.append(("keys", data)))
    monkeypatch.setattr(terminal, "send", lambda message, *_: done.append((message["kind"], message)))
    for text in ("l", "s -", "l\r"):
        terminal._on_message(terminal, {"kind": "keys", "text": text, "page": "a page"}, [])
    confirmed = ("typed", {"kind": "typed", "page": "a page"})
    assert done == [("keys", b"l"), confirmed, ("keys", b"s -"), confirmed, ("keys", b"l\r"), confirmed]


def test_what_cannot_be_interrupted_is_told_in_words(
    stage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = stage.terminal()
    # a shell without a VPN that is busy needs an instance
    monkeypatch.setattr(terminal, "_shell", SimpleNamespace(mode="lines", busy=True, title="on sun"))
    terminal.perform("interrupt", {})
    assert soon(lambda: bool(terminal._faults))
    (text,) = terminal._faults.values()
    assert text == f"Interrupt: {NO_INTERRUPT}"


@pytest.mark.parametrize("text", [None, 7, ["l"], b"l"])
def test_keys_that_are_no_text_are_left_alone(
    stage: ModuleType, monkeypatch: pytest.MonkeyPatch, text: object
) -> None:
    terminal = stage.terminal()
    sent: list[Any] = []
    monkeypatch.setattr(terminal, "send", lambda message, *_: sent.append(message))
    terminal._on_message(terminal, {"kind": "keys", "text": text, "page": "a page"}, [])
    assert (terminal._shell.typed, sent) == (b"", [])
