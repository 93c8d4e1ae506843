"""The engine's reservation of its budget at the daemon."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from golem_nb.engine.errors import InsufficientFundsError, NoPaymentAccountError
from golem_nb.engine.journal import step
from golem_nb.log import get_logger
from golem_nb.rest.errors import ApiError, BadRequestError, DaemonSilentError, NotFoundError

if TYPE_CHECKING:
    from golem_nb.engine.journal import Journal
    from golem_nb.rest import Payment
    from golem_nb.rest.ids import AllocationId
    from golem_nb.rest.payment import Allocation

logger = get_logger(__name__)

#: Networks whose token is worth money; elsewhere it is the test token.
MAINNETS = ("mainnet", "polygon")

#: An allocation outlives the work by so long: final invoices can be paid, and a dead process locks money
#: for no longer than that.
MARGIN = timedelta(minutes=30)


def platform_name(driver: str, network: str) -> str:
    """Return the payment platform of a driver and a network, such as ``erc20-hoodi-tglm``."""
    return f"{driver}-{network}-{'glm' if network in MAINNETS else 'tglm'}"


class BudgetAllocation:
    """The one allocation of an engine: made at its start, kept alive while it works, released at its end.

    Parameters
    ----------
    payment
        The daemon's payment API.
    journal
        Told of each step before it is taken.
    budget
        Amount to reserve, GLM.
    driver, network
        Payment driver and network.
    """

    def __init__(
        self, payment: Payment, journal: Journal, budget: Decimal, driver: str, network: str
    ) -> None:
        self._payment = payment
        self._journal = journal
        self._driver = driver
        self._network = network
        self.budget = budget
        self.platform = platform_name(driver, network)
        self.allocation: Allocation
        self._reserved = False
        self._expires = datetime.now(UTC)

    @property
    def expires(self) -> datetime:
        """When the reservation ends by itself, if nobody extends it."""
        return self._expires

    @property
    def reserved(self) -> bool:
        """Whether it was reserved, and not released."""
        return self._reserved

    async def open(self) -> None:
        """Reserve the budget.

        Raises
        ------
        NoPaymentAccountError
            The daemon has no account on this driver and network; nothing was reserved.
        InsufficientFundsError
            The account does not hold as much as the budget.
        """
        accounts = await self._payment.accounts()
        account = next((a for a in accounts if a.platform == self.platform and a.send), None)
        if account is None:
            raise NoPaymentAccountError(self._driver, self._network, accounts)
        self._expires = datetime.now(UTC) + MARGIN
        try:
            await self._reserve(account.address)
        except BaseException:
            if self._reserved:
                await self.close()
            raise

    async def _reserve(self, address: str) -> None:
        async with step(
            self._journal, "create_allocation", amount=self.budget, platform=self.platform
        ) as outcome:
            try:
                self.allocation = await self._payment.create_allocation(
                    self.budget, self.platform, address=address, expires=self._expires
                )
            except BadRequestError as error:
                raise InsufficientFundsError(
                    f"The budget of {self.budget} GLM could not be reserved on {self.platform} from "
                    f"account {address}: {error.message}. Use a smaller `budget`, fund the account, "
                    "or release allocations that nobody needs any more."
                ) from error
            self._reserved = True
            outcome["allocation_id"] = self.allocation.id

    async def keep_until(self, expiration: datetime) -> None:
        """Let the allocation last until work that expires then can be paid; never shortens it."""
        wanted = expiration + MARGIN
        if wanted > self._expires:
            allocation_id = self.allocation.id
            async with step(self._journal, "amend_allocation", allocation_id=allocation_id, expires=wanted):
                await self.allocation.amend(expires=wanted)
            self._expires = wanted

    async def keep_alive(self) -> None:
        """Let the allocation last as long as this runs, until cancelled."""
        while True:
            await asyncio.sleep(MARGIN.total_seconds() / 3)
            try:
                await self.keep_until(datetime.now(UTC))
            except Exception as error:
                logger.warning("The allocation could not be extended, which will be tried again: %s", error)

    async def replace(self, allocation_id: AllocationId) -> None:
        """Release what another engine has kept for something that this one pays for from now on."""
        async with step(self._journal, "release_allocation", allocation_id=allocation_id):
            try:
                await (await self._payment.allocation(allocation_id)).release()
            except NotFoundError:
                pass  # it has expired, or was released
            except ApiError as error:
                logger.warning("Allocation %s could not be released: %s", allocation_id, error)

    async def close(self, *, keep: bool = False) -> None:
        """Release what is left of the budget; logs what keeps it from being released.

        Raises
        ------
        DaemonSilentError
            The daemon was given up; nothing was released.

        Parameters
        ----------
        keep
            Something goes on that has to be paid: let the reservation end by itself.
        """
        if keep:
            logger.warning(
                "Allocation %s of %s GLM stays until %s, for what was suspended",
                self.allocation.id,
                self.budget,
                self._expires,
            )
            return
        try:
            async with step(self._journal, "release_allocation", allocation_id=self.allocation.id):
                await self.allocation.release()
            self._reserved = False
        except DaemonSilentError:
            raise
        except ApiError as error:
            logger.warning(
                "Allocation %s could not be released, it expires at %s: %s",
                self.allocation.id,
                self._expires,
                error,
            )
