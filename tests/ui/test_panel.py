from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import pytest

from golem_nb.ui.card import SessionCard
from golem_nb.ui.panel import VIEW_MIMETYPE, difference
from golem_nb.ui.pump import Pump


class Heard(SessionCard):
    """A card that notes what it sends to the browser."""

    def __init__(self, session: Any, pump: Pump) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(session, pump)

    def send(self, content: Any, buffers: Any = None) -> None:
        self.sent.append(content)


@pytest.fixture
def card(stage: ModuleType) -> Heard:
    return Heard(stage.session, Pump())


def until(condition: Any, limit: float = 5.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def press(card: SessionCard, action: str, **args: Any) -> None:
    card._on_message(card, {"kind": "do", "action": action, "args": args}, [])


def test_only_what_differs_is_sent() -> None:
    old = {"a": 1, "rows": {"x": 1, "y": 2}, "list": [1]}
    assert difference(old, old) is None
    assert difference(old, {**old, "a": 2}) == {"set": {"a": 2}}
    assert difference(old, {**old, "rows": {"x": 1, "y": 3, "z": 4}}) == {"merge": {"rows": {"y": 3, "z": 4}}}
    assert difference(old, {**old, "rows": {}}) == {"drop": {"rows": ["x", "y"]}}


def test_patches_are_small_and_in_order(card: Heard, stage: ModuleType) -> None:
    assert not card.flush()
    stage.session.change(per_hour=stage.Decimal("0.5"))
    assert card.flush()
    assert not card.flush()
    (patch,) = card.sent
    assert patch["set"] == {"hour": 0.5}
    assert (patch["base"], patch["version"]) == (0, 1)
    stage.session.change(running=[])
    card.flush()
    assert card.sent[-1]["drop"] == {"running": ["job job-3", "cluster cluster-1"]}
    assert card.sent[-1]["base"] == 1


def test_a_page_that_is_loaded_later_finds_the_state_as_it_is(card: Heard, stage: ModuleType) -> None:
    stage.session.change(name="other")
    card.flush()
    assert card.get_state()["state"]["name"] == "other"
    assert card.get_state()["state"]["version"] == 1
    card._on_message(card, {"kind": "hello"}, [])
    card.flush()
    assert card.sent[-1]["kind"] == "full"
    assert card.sent[-1]["state"]["name"] == "other"


def test_a_page_that_has_the_last_state_is_not_sent_it_again(card: Heard, stage: ModuleType) -> None:
    stage.session.change(name="other")
    card.flush()
    card.sent.clear()
    card._on_message(card, {"kind": "hello", "version": 1}, [])
    card.flush()
    assert card.sent == []
    card._on_message(card, {"kind": "hello", "version": 0}, [])
    # by this thread or by the pump's, whichever is first
    card.flush()
    until(lambda: card.sent)
    assert [message["kind"] for message in card.sent] == ["full"]
    card.beat()
    assert card.sent[-1]["version"] == card.state["version"]


def test_a_button_works_on_a_thread_of_its_own(card: Heard, stage: ModuleType) -> None:
    stage.session.delay = 0.3
    started = time.monotonic()
    press(card, "stop")
    assert time.monotonic() - started < 0.1
    card.flush()
    assert card.state["busy"] == ["stop"]
    until(lambda: stage.session.pressed)
    until(lambda: not card._busy)
    card.flush()
    assert card.state["busy"] == []
    assert stage.session.pressed == [("stop",)]


def test_an_error_of_a_button_is_shown_in_words(card: Heard, stage: ModuleType) -> None:
    stage.session.error = RuntimeError("the daemon is gone <b>\x1b[31m")
    press(card, "stop")
    until(lambda: card._faults)
    card.flush()
    ((key, text),) = card.state["faults"].items()
    assert text == "Stop: RuntimeError: the daemon is gone <b>"
    press(card, "dismiss", key=key)
    card.flush()
    assert card.state["faults"] == {}


def test_only_the_last_errors_are_kept(card: Heard) -> None:
    for number in range(20):
        press(card, f"no such thing {number}")
    assert len(card._faults) == 5
    assert "no such thing 19" in list(card._faults.values())[-1]


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "text",
        {},
        {"kind": 7},
        {"kind": "do"},
        {"kind": "do", "action": ["x"]},
        {"kind": "do", "args": 3},
    ],
)
def test_nonsense_of_a_browser_does_no_harm(card: Heard, stage: ModuleType, message: Any) -> None:
    card._on_message(card, message, [])
    time.sleep(0.05)
    assert stage.session.pressed == []


def test_private_methods_cannot_be_called_from_the_browser(card: Heard) -> None:
    for name in ("__init__", "_flush", "end", "show", "close"):
        press(card, name)
        assert "There is nothing called" in list(card._faults.values())[-1]


def test_wrong_arguments_are_an_error_in_words(card: Heard) -> None:
    press(card, "stop", when="now")
    until(lambda: card._faults)
    assert "unexpected keyword argument" in next(iter(card._faults.values()))


def test_facts_that_cannot_be_had_are_an_error_in_words(
    card: Heard, stage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise ValueError("no facts")

    monkeypatch.setattr(stage.session, "facts", broken, raising=False)
    card.flush()
    assert card.state["faults"] == {"update": "This could not be brought up to date: ValueError: no facts"}
    assert card.state["name"] == "default"
    monkeypatch.undo()
    card.flush()
    assert card.state["faults"] == {}


def test_what_is_displayed_is_of_this_moment(card: Heard, stage: ModuleType) -> None:
    stage.session.change(per_hour=stage.Decimal("0.25"))
    bundle, _ = card._repr_mimebundle_()
    assert "0.25" in bundle["text/html"]
    assert VIEW_MIMETYPE in bundle
    assert card._trait_values["state"]["hour"] == 0.25


def test_three_faces_in_one_bundle(card: Heard) -> None:
    bundle = card.bundle()
    assert set(bundle) == {VIEW_MIMETYPE, "text/html", "text/plain"}
    assert bundle["text/plain"] == repr(card)
    assert "\n" not in bundle["text/plain"]


def test_it_ends_once_with_the_last_state(card: Heard, stage: ModuleType) -> None:
    stage.session.change(state="stopped")
    assert card.flush()
    assert card.state["final"]
    assert not card.ticking
    sent = len(card.sent)
    card.end()
    assert not card.flush()
    assert len(card.sent) == sent


def test_who_has_missed_the_end_is_sent_it(
    card: Heard, stage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    displayed: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: displayed.append(bundle))
    monkeypatch.setattr("IPython.display.update_display", lambda bundle, **_: displayed.append(bundle))
    card.show()
    view = displayed[0][VIEW_MIMETYPE]["model_id"]
    card._on_message(card, {"kind": "hello", "version": card._version}, [])
    assert "last" not in [message["kind"] for message in card.sent]
    card.end()
    last = {"kind": "last", "views": [view], "data": displayed[-1]}
    assert card.sent[-1] == last
    assert VIEW_MIMETYPE not in last["data"]
    card._on_message(card, {"kind": "hello", "version": card._version}, [])
    assert card.sent[-2:] == [last, last]


def test_a_plain_interpreter_gets_the_line(card: Heard, capsys: pytest.CaptureFixture[str]) -> None:
    card.show()
    assert capsys.readouterr().out == repr(card) + "\n"


def test_leaning_on_a_button_is_refused(card: Heard, stage: ModuleType) -> None:
    stage.session.delay = 0.5
    for _ in range(30):
        press(card, "recover")
    assert any("Too much" in text for text in card._faults.values())
    until(lambda: not card._busy)
