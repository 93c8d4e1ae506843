"""One daemon's parts of the API over one pool of connections."""

from __future__ import annotations

from types import TracebackType

from golem_nb.config import ApiConfig
from golem_nb.rest.client import RestClient
from golem_nb.rest.patience import Patience
from golem_nb.rest.pool import Pool

__all__ = ["Configuration"]


class Configuration:
    """The clients of one daemon's API, which share one pool of connections.

    The pool opens with the first request.  It closes when the last ``async with`` of the configuration or of
    one of its clients is left, or with `close`.

    Parameters
    ----------
    api_config : ApiConfig, optional
        Address and key; from the environment if not given.

    Raises
    ------
    MissingConfiguration
        There is no application key.

    Examples
    --------
    >>> async def offers():
    ...     conf = Configuration(ApiConfig(app_key="secret"))
    ...     async with conf.market() as client, Market(client).scan() as scan:
    ...         return await scan.collect(timeout=5)
    """

    def __init__(self, api_config: ApiConfig | None = None) -> None:
        self.api_config = ApiConfig() if api_config is None else api_config
        self._pool = Pool(self.api_config.app_key)
        self.patience = Patience()

    def root(self) -> RestClient:
        """Client of what is not part of a versioned API: `/me` and `/version/get`."""
        return self._client(self.api_config.api_url, "client")

    def market(self) -> RestClient:
        """Client of the market's API."""
        return self._client(self.api_config.market_url, "market")

    def activity(self) -> RestClient:
        """Client of the activities' API."""
        return self._client(self.api_config.activity_url, "activity")

    def payment(self) -> RestClient:
        """Client of the payments' API."""
        return self._client(self.api_config.payment_url, "payment")

    def net(self) -> RestClient:
        """Client of the virtual private networks' API."""
        return self._client(self.api_config.net_url, "net")

    def gsb(self) -> RestClient:
        """Client of the service bus's API."""
        return self._client(self.api_config.gsb_url, "gsb")

    def _client(self, base_url: str, part: str) -> RestClient:
        return RestClient(self._pool, base_url, part, self.api_config.remedy, self.patience)

    async def close(self) -> None:
        """Close all connections; requests that are under way fail."""
        await self._pool.close()

    async def __aenter__(self) -> Configuration:
        self._pool.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.release()
