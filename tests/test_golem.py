"""The face of the engine, without a daemon."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from golem_nb import Golem
from golem_nb.config import ApiConfig, MissingConfiguration
from golem_nb.engine import NoPaymentAccountError, platform_name
from golem_nb.events import Event, ExecutionInterrupted, ShutdownFinished
from golem_nb.payload import Payload
from golem_nb.rest.errors import DaemonUnreachableError
from golem_nb.strategy import (
    DecreaseScoreForUnconfirmedAgreement,
    DummyMS,
    LeastExpensiveLinearPayuMS,
)

NOWHERE = ApiConfig(app_key="a-secret-key", api_url="http://127.0.0.1:9")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "YAGNA_APPKEY",
        "YAGNA_API_URL",
        "YAGNA_SUBNET",
        "YAGNA_PAYMENT_DRIVER",
        "YAGNA_PAYMENT_NETWORK",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.contract("G01")
def test_all_parameters_are_keywords() -> None:
    with pytest.raises(TypeError):
        Golem(1.0)  # type: ignore[misc]
    with pytest.raises(TypeError, match="budget"):
        Golem(api_config=NOWHERE)  # type: ignore[call-arg]


@pytest.mark.contract("G01")
@pytest.mark.parametrize("budget", [1, 0.5, Decimal("0.1"), "2.5", np.int64(3), np.float64(0.25)])
def test_budgets(budget: Any) -> None:
    assert str(budget) in repr(Golem(budget=budget, api_config=NOWHERE))


@pytest.mark.parametrize("budget", [0, -1, math.nan, math.inf, "much", None, True, Decimal("NaN")])
def test_a_budget_is_a_positive_number(budget: Any) -> None:
    with pytest.raises(ValueError, match="budget must be a positive number"):
        Golem(budget=budget, api_config=NOWHERE)


@pytest.mark.contract("G03", "G04", "G13")
def test_defaults() -> None:
    golem = Golem(budget=1, api_config=NOWHERE)
    assert (golem.payment_driver, golem.payment_network, golem.subnet_tag) == ("erc20", "hoodi", "public")
    assert not golem.operative


@pytest.mark.contract("G03", "G04")
def test_the_environment_is_read_when_the_object_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGNA_SUBNET", "devnet")
    monkeypatch.setenv("YAGNA_PAYMENT_DRIVER", "ERC20")
    monkeypatch.setenv("YAGNA_PAYMENT_NETWORK", "Polygon")
    monkeypatch.setenv("YAGNA_APPKEY", "from-environment")
    golem = Golem(budget=1)
    assert (golem.payment_driver, golem.payment_network, golem.subnet_tag) == ("erc20", "polygon", "devnet")
    assert "from-environment" not in repr(golem)
    given = Golem(budget=1, subnet_tag="mine", payment_driver="other", payment_network="HOODI")
    assert (given.payment_driver, given.payment_network, given.subnet_tag) == ("other", "hoodi", "mine")


@pytest.mark.contract("E01")
@pytest.mark.parametrize(
    ("network", "platform"),
    [
        ("hoodi", "erc20-hoodi-tglm"),
        ("mainnet", "erc20-mainnet-glm"),
        ("polygon", "erc20-polygon-glm"),
    ],
)
def test_the_token_follows_from_the_network(network: str, platform: str) -> None:
    assert platform_name("erc20", network) == platform


@pytest.mark.contract("G07")
def test_a_key_is_needed_at_once() -> None:
    with pytest.raises(MissingConfiguration, match="Please set env var YAGNA_APPKEY"):
        Golem(budget=1)


@pytest.mark.contract("G07")
def test_app_key_is_deprecated_but_works() -> None:
    with pytest.warns(DeprecationWarning, match="Parameter `app_key` is deprecated since version 0.11"):
        Golem(budget=1, app_key="a-secret-key")


@pytest.mark.contract("G02", "G05")
def test_the_default_strategy() -> None:
    strategy = Golem(budget=1, api_config=NOWHERE).strategy
    assert isinstance(strategy, DecreaseScoreForUnconfirmedAgreement)
    base = strategy.base_strategy
    assert isinstance(base, LeastExpensiveLinearPayuMS)


@pytest.mark.contract("G13")
def test_the_strategy_can_be_replaced_before_the_start() -> None:
    golem = Golem(budget=1, api_config=NOWHERE)
    with pytest.warns(DeprecationWarning, match="DummyMS"):
        strategy = DummyMS()
    golem.strategy = strategy
    assert golem.strategy is strategy


@pytest.mark.contract("G08", "G09")
def test_consumers_name_their_events() -> None:
    golem = Golem(budget=1, api_config=NOWHERE)
    golem.add_event_consumer(print, ["AgreementConfirmed", ShutdownFinished])
    with pytest.raises(ValueError, match="no event class 'AgreementConfirmd'"):
        golem.add_event_consumer(print, ["AgreementConfirmd"])
    with pytest.raises(ValueError, match="no event class 'datetime'"):
        golem.add_event_consumer(print, ["datetime"])


@pytest.mark.contract("G08", "G09")
def test_a_lone_event_class_or_name_will_do() -> None:
    golem = Golem(budget=1, api_config=NOWHERE)
    golem.add_event_consumer(print, ShutdownFinished)
    golem.add_event_consumer(print, "ShutdownFinished")
    with pytest.raises(ValueError, match="no event class 'TaskStart'"):
        golem.add_event_consumer(print, "TaskStart")


@pytest.mark.parametrize("classes", [int, [int], [ShutdownFinished, 3]])
def test_only_events_can_be_asked_for(classes: Any) -> None:
    golem = Golem(budget=1, api_config=NOWHERE)
    with pytest.raises(
        TypeError, match=r"must be classes of golem_nb.events, or their names, not (<class 'int'>|3)$"
    ):
        golem.add_event_consumer(print, classes)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strategy": 7}, "strategy must be a market strategy, such as .*, not 7$"),
        (
            {"strategy": LeastExpensiveLinearPayuMS},
            r"strategy must be .*: call the class, LeastExpensiveLinearPayuMS\(\.\.\.\)$",
        ),
        ({"event_consumer": 3}, "event_consumer must be a function of an event, not 3$"),
        ({"event_consumer": 0}, "event_consumer must be a function of an event, not 0$"),
        ({"api_config": "http://localhost"}, "api_config must be an ApiConfig, .* not a str$"),
        ({"api_config": {"app_key": "a-secret-key"}}, "api_config must be an ApiConfig, .* not a dict$"),
        ({"subnet_tag": 3}, "subnet_tag must be a text, not 3$"),
        ({"payment_driver": 3}, "payment_driver must be a text, not 3$"),
        ({"payment_network": b"hoodi"}, "payment_network must be a text, not b'hoodi'$"),
    ],
)
def test_an_argument_of_a_wrong_kind_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        Golem(**{"budget": 1, "api_config": NOWHERE, **wrong})
    assert "secret" not in str(caught.value)


def test_a_strategy_that_is_none_cannot_be_set() -> None:
    golem = Golem(budget=1, api_config=NOWHERE)
    with pytest.raises(TypeError, match="strategy must be a market strategy"):
        golem.strategy = LeastExpensiveLinearPayuMS  # type: ignore[assignment]


@pytest.mark.contract("G10")
async def test_adding_a_consumer_can_be_awaited() -> None:
    golem = Golem(budget=1, api_config=NOWHERE)
    awaitable = golem.add_event_consumer(print)
    assert await awaitable is None


@pytest.mark.contract("G12")
async def test_a_failed_start_tells_and_raises() -> None:
    seen: list[Event] = []
    golem = Golem(budget=1, api_config=NOWHERE, event_consumer=seen.append)
    with pytest.raises(DaemonUnreachableError, match=r"http://127\.0\.0\.1:9") as caught:
        await golem.start()
    assert [type(event) for event in seen] == [ExecutionInterrupted, ShutdownFinished]
    assert seen[0].exception is caught.value
    assert "a-secret-key" not in str(caught.value)
    assert not golem.operative
    await golem.stop()


async def test_work_needs_a_running_engine() -> None:
    golem = Golem(budget=1, api_config=NOWHERE)

    async def worker(context: Any, tasks: Any) -> Any:
        yield

    with pytest.raises(RuntimeError, match="Golem is not running"):
        async for _ in golem.execute_tasks(worker, [], Payload()):
            pass


@pytest.mark.contract("G25")
def test_no_payment_account() -> None:
    error = NoPaymentAccountError("erc20", "polygon")
    assert str(error).startswith("No payment account available for driver `erc20` and network `polygon`")
    assert (error.required_driver, error.required_network) == ("erc20", "polygon")
    assert "yagna payment init --sender --network polygon" in str(error)
