"""What could not be ended, because the daemon could not be reached, is ended as soon as it can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from golem_nb.log import get_logger
from golem_nb.rest.errors import ApiError, ConnectionDroppedError, DaemonSilentError, DaemonUnreachableError

logger = get_logger(__name__)

#: The first pause before another try, in seconds; it doubles each time …
FIRST_PAUSE = 0.5

#: … up to so many.
LONGEST_PAUSE = 30.0

#: At the stop of the engine, what is still not ended is tried for so long, in seconds.
LAST_CHANCE = 5.0


class Endings:
    """Ends things, in the background where the daemon cannot be reached at the moment."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Task[None], str] = {}
        self._hurry = asyncio.Event()
        #: Names of what was not ended because the daemon does not answer.
        self.left: list[str] = []

    async def end(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        """End something; what cannot be ended is logged, and tried again where that may help.

        Parameters
        ----------
        what
            Names it, as the beginning of a sentence.
        call
            Asks the daemon to end it; may be called several times.
        """
        try:
            await call()
        except (ConnectionDroppedError, DaemonUnreachableError) as error:
            logger.warning("%s could not be ended, which will be tried again: %s", what, error)
            task = asyncio.create_task(self._try_again(what, call), name=f"golem_nb ending: {what}")
            self._open[task] = what
            task.add_done_callback(lambda done: self._open.pop(done, None))
        except DaemonSilentError:
            self.left.append(what)
        except ApiError as error:
            logger.warning("%s could not be ended: %s", what, error)

    async def finish(self) -> None:
        """Wait for what is still to be ended, `LAST_CHANCE` at most; name what is left."""
        if not self._open:
            return
        self._hurry.set()
        await asyncio.wait(self._open, timeout=LAST_CHANCE)
        for task, what in list(self._open.items()):
            logger.error("%s was not ended: the daemon cannot be reached. It ends with its time.", what)
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _try_again(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                await call()
            except (ConnectionDroppedError, DaemonUnreachableError) as error:
                logger.debug("%s is still not ended: %s", what, error)
            except DaemonSilentError:
                self.left.append(what)
                return
            except ApiError as error:
                logger.warning("%s could not be ended: %s", what, error)
                return
            else:
                logger.info("%s has been ended", what)
                return

    async def _pause(self, seconds: float) -> None:
        if self._hurry.is_set():
            await asyncio.sleep(FIRST_PAUSE)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass
