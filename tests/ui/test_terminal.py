"""The kernel's half of a terminal: what it makes of a page's messages, and when it says so."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from golem_nb.services import Service, ServiceState
from golem_nb.ui.shell import NO_INTERRUPT, InstanceShell
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


def test_an_instance_that_is_gone_is_told_and_its_shell_ends(
    stage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = stage.terminal()
    assert (terminal.describe()["ended"], terminal.describe()["lost"]) == (None, False)
    # the shell on no instance loses none by itself
    monkeypatch.setattr(terminal._shell, "lost", "The instance has ended.")
    state = terminal.describe()
    assert (state["ended"], state["lost"]) == ("The instance has ended.", True)
    # that its shell was closed with it explains nothing
    assert terminal._end_reason == "The instance has ended."
    terminal.reopen()
    assert terminal.describe()["ended"] == "The instance has ended."


@pytest.mark.parametrize("state", ["pending", "starting", "running", "stopping", "suspended", "terminated"])
def test_why_there_is_no_shell_is_told_in_words(state: str) -> None:
    service = Service()
    service._state = ServiceState(start_value=state)
    loop = asyncio.new_event_loop()
    shell = InstanceShell(service, loop, bytes, str)
    loop.close()
    assert (shell.lost is None) == (state in ("starting", "running", "stopping"))
    assert shell.lost is None or shell.lost.startswith("The instance ")


def test_a_page_that_asks_while_another_one_is_answered_gets_its_answer(
    stage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = stage.terminal()
    terminal._shell.say(b"hello")
    sent: list[bytes] = []
    monkeypatch.setattr(terminal, "send", lambda message, data=(): sent.extend(data))
    late = threading.Thread(target=terminal._on_message, args=(terminal, {"kind": "want"}, []))

    class Coming(deque[bytes]):
        """Output, at whose reading another page asks for everything."""

        def clear(self) -> None:
            super().clear()
            if not late.ident:
                late.start()
                # until it has asked, or cannot before this has been answered
                late.join(0.3)

    monkeypatch.setattr(terminal, "_coming", Coming())
    terminal._on_message(terminal, {"kind": "want"}, [])
    terminal._flush()
    late.join(5)
    terminal._flush()
    assert sent == [b"hello", b"hello"]
