"""Packages that are still to be looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from golem_nb.payload.registry import NETWORK_REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping

    from golem_nb.payload.package import Package


class PackageRequest(Awaitable["Package"]):
    """An awaitable that gives a `Package`.

    The package is looked up when this is awaited first, and then kept, for each registry that it is looked up
    in; a look-up that fails or is cancelled is not kept, so that the next `await` tries again. It may be
    awaited any number of times, by several tasks and in several event loops.

    Parameters
    ----------
    name, arguments
        The call that made it, for the `repr`.
    resolve
        Looks the package up.
    """

    def __init__(
        self, name: str, arguments: Mapping[str, Any], resolve: Callable[[], Coroutine[Any, Any, Package]]
    ) -> None:
        self._name = name
        self._arguments = arguments
        self._resolve = resolve
        self._packages: dict[str | None, Package] = {}
        # A lock belongs to the loop in which it is first contended: each loop has its own.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._arguments.items())
        return f"{self._name}({arguments})"

    def __await__(self) -> Generator[Any, None, Package]:
        return self._get().__await__()

    async def _get(self) -> Package:
        where = NETWORK_REGISTRY.get()
        if where not in self._packages:
            lock = self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
            async with lock:
                if where not in self._packages:
                    self._packages[where] = await self._resolve()
        return self._packages[where]
