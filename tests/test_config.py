"""Where the daemon is and the key that opens it."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from golem_nb.config import ApiConfig, ConfigurationError, MissingConfiguration

VARIABLES = [
    "YAGNA_APPKEY",
    "YAGNA_API_URL",
    "YAGNA_MARKET_URL",
    "YAGNA_PAYMENT_URL",
    "YAGNA_NET_URL",
    "YAGNA_ACTIVITY_URL",
]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.contract("G07")
def test_a_missing_key_is_said_in_the_documented_words() -> None:
    with pytest.raises(MissingConfiguration) as caught:
        ApiConfig()
    text = "Missing configuration for API authentication token. Please set env var YAGNA_APPKEY."
    assert str(caught.value) == text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text
    assert str(copy.copy(caught.value)) == text


def test_an_empty_key_is_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGNA_APPKEY", "  ")
    with pytest.raises(MissingConfiguration):
        ApiConfig()


def test_addresses_follow_from_the_daemons() -> None:
    config = ApiConfig(app_key="key")
    assert config.api_url == "http://127.0.0.1:7465"
    assert config.market_url == "http://127.0.0.1:7465/market-api/v1"
    assert config.payment_url == "http://127.0.0.1:7465/payment-api/v1"
    assert config.net_url == "http://127.0.0.1:7465/net-api/v1"
    assert config.activity_url == "http://127.0.0.1:7465/activity-api/v1"
    assert config.gsb_url == "http://127.0.0.1:7465/gsb-api/v1"


def test_the_environment_is_read_when_the_object_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGNA_APPKEY", "from-environment")
    monkeypatch.setenv("YAGNA_API_URL", "http://localhost:1234/")
    monkeypatch.setenv("YAGNA_PAYMENT_URL", "https://other:99/pay/")
    config = ApiConfig()
    assert config.app_key == "from-environment"
    assert config.api_url == "http://localhost:1234"
    assert config.market_url == "http://localhost:1234/market-api/v1"
    assert config.payment_url == "https://other:99/pay"
    monkeypatch.setenv("YAGNA_APPKEY", "another")
    assert config.app_key == "from-environment"
    assert ApiConfig().app_key == "another"


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "http://environment")
    config = ApiConfig(
        app_key="a", api_url="http://b", market_url="http://c", payment_url="http://d", net_url="http://e",
        activity_url="http://f",
    )  # fmt: skip
    assert [config.app_key, config.api_url, config.market_url] == ["a", "http://b", "http://c"]
    assert [config.payment_url, config.net_url, config.activity_url] == ["http://d", "http://e", "http://f"]


def test_the_key_is_not_shown() -> None:
    config = ApiConfig(app_key="the-very-secret-key")
    assert "the-very-secret-key" not in repr(config) + str(config)
    assert "'***'" in repr(config)


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "schlüssel", "a\0b"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="YAGNA_APPKEY") as caught:
        ApiConfig(app_key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:7465", "ftp://host", "unix:/tmp/socket", "http://", "http://a b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="api_url"):
        ApiConfig(app_key="key", api_url=url)


@pytest.mark.parametrize(
    "argument", ["app_key", "api_url", "market_url", "payment_url", "net_url", "activity_url"]
)
def test_what_is_no_text_is_refused_and_not_shown(argument: str) -> None:
    wrong = re.escape(f"{argument} (YAGNA_{argument.upper().replace('APP_KEY', 'APPKEY')}) must be a text")
    with pytest.raises(TypeError, match=f"^{wrong}, not a bytes$") as caught:
        ApiConfig(**{"app_key": "key", argument: b"the-very-secret-key"})
    assert "secret" not in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="market_url") as caught:
        ApiConfig(app_key="key", market_url="http://me:my-password@host")
    assert "my-password" not in str(caught.value)
