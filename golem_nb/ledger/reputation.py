"""What is known of providers, and a strategy that makes use of it."""

from __future__ import annotations

import threading
from collections import ChainMap
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from golem_nb.ledger.records import ProviderRecord
from golem_nb.strategy import SCORE_NEUTRAL, SCORE_REJECTED, WrappingMarketStrategy

if TYPE_CHECKING:
    from golem_nb.rest.market import OfferProposal
    from golem_nb.strategy import BaseMarketStrategy

__all__ = ["KnownProviders", "ProviderRecords", "RecordedProviders"]

#: A provider that has failed so often without ever finishing anything is left out …
HOPELESS: Final = 3

#: … for that long after its last failure: it may have been mended.
FORGIVEN_AFTER: Final = timedelta(days=7)


class KnownProviders(ChainMap[str, ProviderRecord]):
    """Records of providers that come from elsewhere; there are none before its ``maps`` are set."""

    @property
    def version(self) -> int:
        """Changes with each record of a ledger."""
        return sum(records.version for records in self.maps if isinstance(records, ProviderRecords))


class ProviderRecords(Mapping[str, ProviderRecord]):
    """Records of providers by node id; those of a ledger go on with what its sessions see.

    Parameters
    ----------
    records
        What is known so far.
    """

    def __init__(self, records: Mapping[str, ProviderRecord]) -> None:
        self._records = dict(records)
        self._lock = threading.Lock()
        self._version = 0

    def __getitem__(self, provider: str) -> ProviderRecord:
        return self._records[provider]

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(tuple(self._records))

    def __len__(self) -> int:
        return len(self._records)

    @property
    def version(self) -> int:
        """Changes with each record."""
        return self._version

    def count(
        self,
        provider: str,
        *,
        name: str | None = None,
        finished: int = 0,
        failed: int = 0,
        refused: int = 0,
        seconds: float = 0.0,
        hourly: Decimal | None = None,
    ) -> None:
        """Add what a provider has just done.

        Parameters
        ----------
        provider
            Node id of the provider.
        name
            What it calls itself; None if that is not known.
        finished, failed, refused
            How many tasks it has finished, how many it has failed, how many agreements it has refused.
        seconds
            How long the finished ones took together.
        hourly
            The price of its last agreement, GLM an hour; None if that is not known.
        """
        at = datetime.now(UTC)
        with self._lock:
            record = self._records.get(provider) or ProviderRecord(
                provider, None, 0, 0, 0, 0.0, None, at, at, None
            )
            self._records[provider] = attrs.evolve(
                record,
                name=record.name if name is None else name,
                finished=record.finished + finished,
                failed=record.failed + failed,
                refused=record.refused + refused,
                seconds=record.seconds + seconds,
                hourly=record.hourly if hourly is None else hourly,
                last=at,
                last_failure=at if failed or refused else record.last_failure,
            )
            self._version += 1


class RecordedProviders(WrappingMarketStrategy):
    """Prefers providers that have done well, in this session and in earlier ones.

    An offer's score is multiplied by the provider's `ProviderRecord.reliability`. A provider that has failed
    three times without ever finishing anything is left out for a week.

    Parameters
    ----------
    base_strategy
        The strategy whose scores are weighted.
    records
        From `Ledger.providers`.

    Examples
    --------
    ::

        golem.strategy = RecordedProviders(LeastExpensiveLinearPayuMS(), ledger.providers())
    """

    def __init__(self, base_strategy: BaseMarketStrategy, records: Mapping[str, ProviderRecord]) -> None:
        super().__init__(base_strategy)
        self._records = records

    async def score_offer(self, offer: OfferProposal) -> float:
        """Weigh the wrapped strategy's score."""
        score = await self.base_strategy.score_offer(offer)
        record = self._records.get(offer.issuer)
        if record is None or score < SCORE_NEUTRAL:
            return score
        if (
            not record.finished
            and record.failed + record.refused >= HOPELESS
            and record.last_failure is not None
            and datetime.now(UTC) - record.last_failure < FORGIVEN_AFTER
        ):
            return SCORE_REJECTED
        return score * record.reliability
