"""Where the daemon is and the key that opens it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import attrs

from golem_nb.exceptions import GolemError

__all__ = ["DEFAULT_API_URL", "ApiConfig", "ConfigurationError", "MissingConfiguration"]

DEFAULT_API_URL = "http://127.0.0.1:7465"
"""Where a ``yagna`` daemon listens unless it was told otherwise."""


START_IT = "Start it with `yagna service run`, or set YAGNA_API_URL to where it listens."
"""What to do about a daemon that cannot be reached, unless its owner knows better."""


class ConfigurationError(GolemError, ValueError):
    """The key or an address of the daemon makes no sense."""


class MissingConfiguration(GolemError):
    """Something that the client cannot do without was neither given nor found in the environment.

    Parameters
    ----------
    key : str
        The name of the environment variable that would have supplied it.
    description : str
        What is missing, in words.
    """

    def __init__(self, key: str, description: str) -> None:
        super().__init__(f"Missing configuration for {description}. Please set env var {key}.")
        self.key = key
        self.description = description

    def __reduce__(self) -> tuple[type[MissingConfiguration], tuple[str, str]]:
        return type(self), (self.key, self.description)


def _mask(key: str) -> str:
    return "'***'" if key else "''"


def _text(value: str | None, argument: str, variable: str, default: str) -> str:
    if value is not None and not isinstance(value, str):
        # the value itself is not shown: it may be the key
        raise TypeError(f"{argument} ({variable}) must be a text, not a {type(value).__name__}")
    return (value or os.environ.get(variable) or default).strip()


@attrs.frozen(init=False)
class ApiConfig:
    """The key and the addresses of one daemon.

    The environment is read when the object is made, not when the module is imported, so that a notebook cell
    may still set it.  The key never shows in the printed form.

    Parameters
    ----------
    app_key : str, optional
        The application key; ``YAGNA_APPKEY`` if not given.
    api_url : str, optional
        The daemon's address; ``YAGNA_API_URL``, or ``http://127.0.0.1:7465``.
    market_url, payment_url, net_url, activity_url : str, optional
        Full base addresses of one part of the API each, for a daemon behind a proxy; ``YAGNA_MARKET_URL``,
        ``YAGNA_PAYMENT_URL``, ``YAGNA_NET_URL``, ``YAGNA_ACTIVITY_URL``, or ``{api_url}/market-api/v1`` and
        so on.
    remedy : str, optional
        What errors advise when the daemon cannot be reached; by default to start ``yagna``.

    Raises
    ------
    MissingConfiguration
        There is no key, neither given nor in the environment.
    ConfigurationError
        A `ValueError`: the key cannot be one, or an address is not an ``http://`` or ``https://`` address.
    TypeError
        The key or an address is no text.

    Examples
    --------
    >>> ApiConfig(app_key="secret", api_url="http://127.0.0.1:7465").market_url
    'http://127.0.0.1:7465/market-api/v1'
    """

    app_key: str = attrs.field(repr=_mask)
    api_url: str
    market_url: str
    payment_url: str
    net_url: str
    activity_url: str
    remedy: str = attrs.field(repr=False, eq=False)

    def __init__(
        self,
        app_key: str | None = None,
        api_url: str | None = None,
        market_url: str | None = None,
        payment_url: str | None = None,
        net_url: str | None = None,
        activity_url: str | None = None,
        *,
        remedy: str = START_IT,
    ) -> None:
        key = _text(app_key, "app_key", "YAGNA_APPKEY", "")
        if not key:
            raise MissingConfiguration("YAGNA_APPKEY", "API authentication token")
        if not key.isascii() or not key.isprintable():
            # it becomes an HTTP header, which a line break would end; the key itself is not shown
            raise ConfigurationError(
                "The application key has characters that an HTTP header cannot carry. "
                "Please set env var YAGNA_APPKEY to the key that `yagna app-key list` shows."
            )
        base = _address(_text(api_url, "api_url", "YAGNA_API_URL", DEFAULT_API_URL), "api_url")
        given = {"market": market_url, "payment": payment_url, "net": net_url, "activity": activity_url}
        parts = {
            f"{part}_url": _text(url, f"{part}_url", f"YAGNA_{part.upper()}_URL", f"{base}/{part}-api/v1")
            for part, url in given.items()
        }
        self.__attrs_init__(
            app_key=key,
            api_url=base,
            remedy=remedy,
            **{name: _address(value, name) for name, value in parts.items()},
        )

    @property
    def gsb_url(self) -> str:
        """The base address of the service-bus part of the API."""
        return f"{self.api_url}/gsb-api/v1"


def _address(value: str, argument: str) -> str:
    name = f"{argument} (YAGNA_{argument.upper()})"
    try:
        parts = urlsplit(value)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ConfigurationError(f"{name} is not an address: its host or port makes no sense") from None
    if parts.username is not None or parts.password is not None:
        # it would show in every message that names the address
        raise ConfigurationError(
            f"{name} must not carry a user or password: the daemon goes by its application key"
        )
    if not known or parts.query or parts.fragment or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{name} must be an http:// or https:// address, not {value!r}")
    return value.rstrip("/")
