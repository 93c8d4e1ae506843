"""The blocking methods of a session, to be awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from golem_nb.session.views import best_first

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from golem_nb.ledger import RecoveryReport
    from golem_nb.payload import Payload
    from golem_nb.session.bill import Bill
    from golem_nb.session.estimate import Estimate
    from golem_nb.session.networks import SessionNetwork
    from golem_nb.session.session import Session

__all__ = ["AsyncFace"]


class AsyncFace:
    """What `Session.aio` is: methods of the same names that are coroutines, for any event loop.

    Examples
    --------
    >>> offers = await session.aio.offers()
    >>> bill = await session.aio.stop()
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def ready(self) -> None:
        """Wait until the session is started."""
        await self._session._call(self._session._core.ready())

    async def offers(
        self, payload: Payload | Awaitable[Payload] | None = None, *, seconds: float = 5.0
    ) -> Any:
        """See `Session.offers`."""
        return best_first(await self._session._call(self._session._offers(payload, seconds)))

    async def estimate(
        self,
        payload: Payload | Awaitable[Payload],
        *,
        tasks: int,
        seconds: float,
        max_workers: int = 5,
    ) -> Estimate:
        """See `Session.estimate`."""
        return await self._session._call(self._session._estimate(payload, tasks, seconds, max_workers))

    async def create_network(self, ip: str, **options: Any) -> SessionNetwork:
        """See `Session.create_network`."""
        return await self._session._call(self._session._create_network(ip, options), keep=True)

    async def recover(self, how: str = "end") -> RecoveryReport:
        """See `Session.recover`."""
        return await self._session._call(self._session._recover(how), keep=True)

    async def stop(self, wait_for_payments: bool = True) -> Bill:
        """See `Session.stop`."""
        return await self._session._stop(wait_for_payments)
