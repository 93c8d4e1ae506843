"""What the ledger holds, as Python objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import attrs

from golem_nb.engine.charges import CPU, DURATION, LinearPrice

__all__ = ["FinishedItem", "Place", "ProviderRecord", "now", "plain", "price_from_json", "price_to_json"]

#: Text of others is kept up to this length.
LONGEST_TEXT: Final = 2000

HOUR: Final = 3600


def now() -> str:
    """Return the time as the ledger has times: ISO 8601 in UTC, so that they sort as text."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """Return a time as the ledger has times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    """Read a time of the ledger."""
    return datetime.fromisoformat(text)


def plain(text: object, limit: int = LONGEST_TEXT) -> str | None:
    """Make text of others fit to be kept: of limited length, and valid Unicode. None stays None."""
    if text is None:
        return None
    return str(text)[:limit].encode("utf-8", "replace").decode()


@attrs.frozen
class Place:
    """Where a session's daemon is, so that what it left can be found; never holds a key.

    Parameters
    ----------
    api_url
        Address of the daemon's API.
    localnet
        Name of the local network that it belongs to; None on others.
    owned
        Whether that network ends with the session's process.
    """

    api_url: str
    localnet: str | None = None
    owned: bool = False

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Place:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text
            JSON.
        """
        source: dict[str, Any] = json.loads(text)
        return cls(source["api_url"], source["localnet"], source["owned"])


@attrs.frozen
class FinishedItem:
    """One item of a job that is done, so that it need not be computed again.

    Parameters
    ----------
    index
        Its place in the job's data, from 0.
    exit_code
        What the command ended with; None where there was none.
    stdout, stderr
        Its output, as far as it is to be kept.
    files
        SHA-256 of each file that it has left on this machine, by path.
    encoding
        How `value` is encoded, such as ``json``, ``npy`` or ``bytes``.
    value
        The result, encoded.
    provider_id
        Node id of the provider that has computed it.
    seconds
        How long that took.
    tries
        How often it was tried.
    """

    index: int
    exit_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None
    files: Mapping[str, str] = attrs.field(factory=dict)
    encoding: str | None = None
    value: bytes | None = attrs.field(default=None, repr=False)
    provider_id: str | None = None
    seconds: float | None = None
    tries: int = 1


@attrs.frozen
class ProviderRecord:
    """What is known of a provider from all sessions.

    Attributes
    ----------
    finished
        Tasks whose result was accepted.
    failed
        Workers that have failed on it, and activities that it did not start.
    refused
        Agreements that it has refused.
    seconds
        Time of its finished tasks, all together.
    hourly
        Its price of an hour with all threads busy when it was last used, GLM; None if unknown.
    """

    id: str
    name: str | None
    finished: int
    failed: int
    refused: int
    seconds: float
    hourly: Decimal | None
    first: datetime
    last: datetime
    last_failure: datetime | None

    @property
    def reliability(self) -> float:
        """Share of what it took on that it brought to an end; 1 where nothing bad is known."""
        # two successes on account, lest one failure of a newcomer weigh as much as a hundred of a veteran
        return (self.finished + 2) / (self.finished + 2 + self.failed + 0.5 * self.refused)

    @property
    def seconds_per_task(self) -> float | None:
        """Mean time of a task; None if it has finished none."""
        return self.seconds / self.finished if self.finished else None


def price_to_json(price: LinearPrice | None) -> str | None:
    """Return what `price_from_json` reads."""
    if price is None:
        return None
    return json.dumps(
        {
            "fixed": str(price.fixed),
            "per_unit": {plain(key, 200): str(value) for key, value in price.per_unit.items()},
            "threads": price.threads,
        }
    )


def price_from_json(text: str | None) -> LinearPrice | None:
    """Read what `price_to_json` wrote."""
    if text is None:
        return None
    source: dict[str, Any] = json.loads(text)
    per_unit = {key: Decimal(value) for key, value in source["per_unit"].items()}
    return LinearPrice(Decimal(source["fixed"]), per_unit, source["threads"])


def hourly_price(price: LinearPrice | None) -> Decimal | None:
    """Return the price of an hour with all threads busy, without the fixed fee; None if unknown."""
    if price is None:
        return None
    per_second = price.per_unit.get(DURATION, Decimal(0))
    return (per_second + price.per_unit.get(CPU, Decimal(0)) * price.threads) * HOUR
