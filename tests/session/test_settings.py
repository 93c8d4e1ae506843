"""Arguments: checked, compared, and helped with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from golem_nb import Session
from golem_nb.config import MissingConfiguration
from golem_nb.session.errors import SessionError
from golem_nb.session.keywords import named
from golem_nb.session.places import LocalPlace, RealPlace
from golem_nb.session.settings import Settings
from golem_nb.strategy import LeastExpensiveLinearPayuMS, MarketStrategy


def settings(**changes: object) -> Settings:
    arguments: dict[str, object] = {
        "name": "default",
        "budget": 1,
        "network": "local",
        "subnet": None,
        "strategy": None,
        "providers": None,
        "max_price": None,
    }
    return Settings.read(**{**arguments, **changes})  # type: ignore[arg-type]


def test_the_default_is_on_this_machine_whatever_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGNA_APPKEY", "secret")
    monkeypatch.setenv("YAGNA_PAYMENT_NETWORK", "polygon")
    assert isinstance(settings().place, LocalPlace)


def test_a_named_network_is_used_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGNA_APPKEY", "secret")
    monkeypatch.setenv("YAGNA_PAYMENT_NETWORK", "polygon")
    place = settings(network="Hoodi").place
    assert isinstance(place, RealPlace)
    assert place.title == "hoodi (test network)"
    assert settings(network="polygon").place.title == "polygon (mainnet, real GLM)"


def test_a_named_network_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YAGNA_APPKEY", raising=False)
    with pytest.raises(MissingConfiguration, match="YAGNA_APPKEY"):
        settings(network="hoodi")


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"network": "polygn"}, "did you mean 'polygon'"),
        ({"network": "mars"}, "'local' is on this machine"),
        ({"budget": 0}, "budget must be a positive number"),
        ({"budget": True}, "budget must be a positive number"),
        ({"budget": "much"}, "budget must be a positive number"),
        ({"max_price": -1}, "max_price must be a positive number"),
        ({"providers": 0}, "at least 1"),
        ({"max_time": 0}, "max_time must be positive"),
        ({"max_time": float("nan")}, "max_time must be a number of seconds"),
        ({"max_time": "5"}, "max_time must be a number of seconds, or a timedelta, not '5'"),
        ({"max_tries": 0}, "max_tries must be at least 1"),
        ({"max_tries": 2.5}, "max_tries must be a whole number, not 2.5"),
        ({"max_time": 1e12}, "max_time must be a thousand years at most"),
        ({"name": " "}, "name must not be empty"),
        ({"name": None}, "name must be a text, not None"),
        ({"providers": 2.5}, "providers must be names or node ids, or a number, not 2.5"),
        ({"providers": ["a", 1]}, "each a text, not 1"),
        ({"providers": []}, "must name one at least"),
        ({"subnet": 5}, "subnet must be a text"),
        ({"strategy": "cheapest"}, "must be a market strategy"),
        ({"strategy": LeastExpensiveLinearPayuMS}, r"call the class, LeastExpensiveLinearPayuMS\(...\)"),
    ],
)
def test_what_makes_no_sense_is_said(changes: dict[str, object], advice: str) -> None:
    with pytest.raises((ValueError, TypeError, SessionError), match=advice):
        settings(**changes)


def test_a_number_of_providers_is_for_a_local_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGNA_APPKEY", "secret")
    with pytest.raises(SessionError, match="names or node ids"):
        settings(network="hoodi", providers=3)


def test_the_same_arguments_are_the_same() -> None:
    assert settings().differences(settings(budget="1", network="LOCAL")) == []
    assert settings(max_price="0.10").differences(settings(budget=1.0, max_price=0.1)) == []
    strategy = {"strategy": LeastExpensiveLinearPayuMS(expected_time_secs=60)}
    again = {"strategy": LeastExpensiveLinearPayuMS(expected_time_secs=60)}
    assert settings(**strategy).differences(settings(**again)) == []


def test_other_arguments_are_named() -> None:
    assert settings().differences(settings(budget=2, providers=["a"])) == [
        "budget=2 (it has 1)",
        "providers=['a'] (it has None)",
    ]
    strategy = {"strategy": LeastExpensiveLinearPayuMS(expected_time_secs=60)}
    other = {"strategy": LeastExpensiveLinearPayuMS(expected_time_secs=61)}
    assert len(settings(**strategy).differences(settings(**other))) == 1


class Chosen(MarketStrategy):
    """Has attributes of all kinds."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    async def score_offer(self, offer: Any) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (Chosen(caps={"a": Decimal(1)}), Chosen(caps={"a": Decimal(2)})),
        (Chosen(names={"a", "b"}), Chosen(names={"a"})),
        (Chosen(inner=Chosen(caps={"a": [1, 2]})), Chosen(inner=Chosen(caps={"a": [1, 3]}))),
        (Chosen(allows=lambda name: name == "a"), Chosen(allows=lambda name: name == "b")),
        (Chosen(allows=lambda name: {each[:1] for each in name}), Chosen(allows=lambda name: {name[:1]})),
    ],
    ids=["mapping", "set", "nested", "constant", "code"],
)
def test_what_a_strategy_is_made_of_makes_a_difference(mine: Chosen, theirs: Chosen) -> None:
    (difference,) = settings(strategy=mine).differences(settings(strategy=theirs))
    assert difference.startswith("strategy=")


def test_a_strategy_that_is_made_again_is_the_same() -> None:
    def made() -> Chosen:
        return Chosen(
            caps={"b": 1, "a": 2}, names={"x", "y"}, allows=lambda name: {each[:1] for each in name}
        )

    assert settings(strategy=made()).differences(settings(strategy=made())) == []


def test_a_strategy_that_has_learned_is_the_same() -> None:
    strategy = Chosen(refused=set())
    before = settings(strategy=strategy)
    strategy.refused.add("a")  # type: ignore[attr-defined]
    assert before.differences(settings(strategy=strategy)) == []


def test_amounts_are_exact() -> None:
    assert settings(budget=0.1).budget == Decimal("0.1")


def test_a_wrong_keyword_is_answered_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="did you mean 'budget'"):
        Session(budgt=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'network'"):
        Session(netwrk="local")  # type: ignore[call-arg]


def test_a_keyword_that_is_near_to_nothing_is_answered_with_all() -> None:
    @named
    def paint(colour: str, *, width: int = 1) -> str:
        """Paint."""
        return f"{colour} {width}"

    assert paint("red", width=2) == "red 2"
    assert paint.__doc__ == "Paint."
    with pytest.raises(TypeError, match=r"paint\(\) has no parameter 'zzz': it has colour, width"):
        paint("red", zzz=1)  # type: ignore[call-arg]


def test_a_method_is_named_by_the_class_that_people_use() -> None:
    class Part:
        @named
        def look(self, *, far: bool = False) -> None: ...

    class Whole(Part): ...

    with pytest.raises(TypeError, match=r"^Whole.look\(\) has no parameter 'fa': did you mean 'far'"):
        Whole().look(fa=True)  # type: ignore[call-arg]
