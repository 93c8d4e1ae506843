"""Local servers in front of a session's clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from golem_nb.contrib.service.http_proxy import LocalHttpProxy
    from golem_nb.session.core import Core

__all__ = ["ClusterProxy"]


class ClusterProxy:
    """A local web server whose requests a cluster's instances answer: what `ClusterHandle.proxy` returns.

    It runs in the engine's thread, so a busy cell delays no request, and ends with its cluster.

    Examples
    --------
    >>> site = cluster.proxy()
    >>> urllib.request.urlopen(site.url).read()
    b'Hello'
    >>> site.stop()
    """

    def __init__(self, core: Core, proxy: LocalHttpProxy) -> None:
        self._core = core
        self._proxy = proxy
        self._stopped = False

    @property
    def url(self) -> str:
        """Where its pages are to be opened."""
        return self._proxy.url

    @property
    def stopped(self) -> bool:
        """Whether it answers no more."""
        return self._stopped

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._proxy.port

    def stop(self) -> None:
        """Stop the server; requests under way are ended. Does nothing if it has stopped."""
        if not self._stopped:
            self._core.portal.wait(self.end(), keep=True)

    async def end(self) -> None:
        """Stop the server; for the engine's thread."""
        if not self._stopped:
            self._stopped = True
            await self._proxy.stop()

    def __repr__(self) -> str:
        return f"<ClusterProxy {self.url}{', stopped' if self._stopped else ''}>"
