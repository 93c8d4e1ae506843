"""What can end a job, a worker or the engine, in words that name the thing and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from golem_nb.exceptions import GolemError
from golem_nb.log import pluralize

if TYPE_CHECKING:
    from decimal import Decimal

    from golem_nb.rest.payment import Account


class DaemonTooOldError(GolemError):
    """The daemon is older than what this package talks to.

    Attributes
    ----------
    api_url
        Where the daemon is.
    found, needed
        Its version, and the oldest that will do.
    """

    def __init__(self, api_url: str, found: str, needed: str) -> None:
        self.api_url, self.found, self.needed = api_url, found, needed
        super().__init__(
            f"The daemon at {api_url} is yagna {found}, but {needed} or newer is needed. Update it, with "
            "`pip install 'golem-node>=0.17.6,<0.18'` for instance, and restart `yagna service run`."
        )


class NoPaymentAccountError(GolemError):
    """No payment account of the daemon serves the required driver and network.

    Parameters
    ----------
    required_driver
        Payment driver that was asked for, such as ``"erc20"``.
    required_network
        Payment network that was asked for, such as ``"hoodi"``.
    accounts
        The accounts that the daemon does have; named in the message.
    """

    def __init__(self, required_driver: str, required_network: str, accounts: Sequence[Account] = ()) -> None:
        self.required_driver = required_driver
        self.required_network = required_network
        self.accounts = tuple(accounts)
        super().__init__(required_driver, required_network)

    def __str__(self) -> str:
        text = (
            f"No payment account available for driver `{self.required_driver}` "
            f"and network `{self.required_network}`"
        )
        known = sorted({f"{account.driver}/{account.network}" for account in self.accounts})
        have = f"the daemon has: {', '.join(known)}" if known else "the daemon has none at all"
        return (
            f"{text} ({have}). Initialize it with `yagna payment init --sender --network "
            f"{self.required_network} --driver {self.required_driver}`, or choose another network with "
            "`payment_network=` or YAGNA_PAYMENT_NETWORK."
        )


class InsufficientFundsError(GolemError):
    """The account cannot cover the budget, or the budget cannot cover what is due."""


class BudgetExceededError(InsufficientFundsError):
    """What providers ask for no longer fits into the budget: every job is stopped.

    It comes from the jobs that were running; where none was, from the stop of the `Golem`.

    Attributes
    ----------
    budget
        The budget, GLM.
    accepted
        What was accepted before, GLM.
    due
        What was asked for on top of that and is not paid, GLM.
    """

    def __init__(
        self, budget: Decimal, accepted: Decimal, due: Decimal, provider: str, *, work_ended: bool
    ) -> None:
        self.budget = budget
        self.accepted = accepted
        self.due = due
        outcome = "Running work was ended" if work_ended else "The work was done before and stays unpaid"
        super().__init__(
            f"The budget of {budget} GLM is used up: {accepted} GLM accepted so far, and {provider} asks for "
            f"{due} GLM more. {outcome}; start again with a larger `budget`."
        )


class JobTimeoutError(GolemError, TimeoutError):
    """A job ran out of time; what was finished before has been handed over."""

    def __init__(self, timeout: timedelta, details: str) -> None:
        self.timeout = timeout
        super().__init__(f"Job timed out after {timeout}: {details}")


class TaskFailedError(GolemError):
    """A task was tried on several agreements and failed on each.

    Attributes
    ----------
    task
        The task that was given up.
    causes
        The exception of each try, in order.
    """

    def __init__(self, task: Any, causes: Sequence[BaseException]) -> None:
        self.task = task
        self.causes = tuple(causes)
        distinct = list(dict.fromkeys(f"{type(cause).__name__}: {cause}" for cause in causes))
        tries = "once" if len(self.causes) == 1 else f"{len(self.causes)} times"
        super().__init__(f"{task!r} failed {tries}: {'; '.join(distinct)}")
        self.__cause__ = self.causes[-1]


class TasksFailedError(GolemError):
    """Some tasks of a job were given up; the others have been handed over.

    Attributes
    ----------
    failures
        One `TaskFailedError` a task.
    done
        How many tasks were done.
    """

    def __init__(self, failures: Sequence[TaskFailedError], done: int) -> None:
        self.failures = tuple(failures)
        self.done = done
        shown = "\n".join(f"  {failure}" for failure in self.failures[:5])
        more = f"\n  … and {len(self.failures) - 5} more" if len(self.failures) > 5 else ""
        super().__init__(
            f"{pluralize(len(self.failures), 'task')} could not be completed, {done} "
            f"{'was' if done == 1 else 'were'} done:\n{shown}{more}"
        )
        self.__cause__ = self.failures[0]


class WorkersFailedError(GolemError):
    """Worker after worker has failed before it could be given a task, so that more would only cost more.

    Attributes
    ----------
    causes
        What each of them has failed with, in order.
    """

    def __init__(self, causes: Sequence[BaseException]) -> None:
        self.causes = tuple(causes)
        distinct = list(dict.fromkeys(f"{type(cause).__name__}: {cause}" for cause in causes))
        workers = "A worker has" if len(self.causes) == 1 else f"{len(self.causes)} workers in a row have"
        super().__init__(f"{workers} failed before the first task: " + "; ".join(distinct[:5]))
        self.__cause__ = self.causes[-1]


class StrategyError(GolemError):
    """The market strategy of the user has raised something, or returned what makes no sense.

    Attributes
    ----------
    strategy
        Name of its class, and of those that it wraps.
    method
        Name of the method.
    """

    def __init__(self, strategy: str, method: str, cause: BaseException) -> None:
        self.strategy = strategy
        self.method = method
        what = f"{type(cause).__name__}: {cause}".removesuffix(": ")
        super().__init__(f"The strategy {strategy} has failed in `{method}`: {what}.")
        self.__cause__ = cause


class WorkerFunctionError(GolemError, TypeError):
    """A worker function, or a service's handler, is not what it has to be; to try again only costs more."""


class OverchargeError(GolemError):
    """A provider asks for more than the agreed price and the reported usage explain."""

    def __init__(self, document: str, provider: str, asked: Decimal, explained: Decimal) -> None:
        self.asked = asked
        self.explained = explained
        super().__init__(
            f"{document} of {provider} asks for {asked} GLM, but usage and agreed price explain at most "
            f"{explained} GLM: not accepted, nothing is paid for it."
        )


class EngineStoppedError(GolemError):
    """The engine was stopped while the job was still running."""
