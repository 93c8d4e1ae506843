"""What can go wrong in a session, in words that name the thing and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from golem_nb.exceptions import GolemError
from golem_nb.log import pluralize
from golem_nb.rest.errors import ApiError

__all__ = [
    "ClusterError",
    "DeadlockError",
    "DoesNotFitError",
    "ItemError",
    "ItemsFailedError",
    "JobCancelledError",
    "LimitReachedError",
    "NotPicklableError",
    "RemoteError",
    "RemotePythonError",
    "ResultError",
    "SessionChangedError",
    "SessionClosedError",
    "SessionError",
    "WaitInterrupted",
]


class SessionError(GolemError):
    """Base of the errors of sessions."""


class SessionClosedError(SessionError):
    """The session, or its engine, was stopped."""


class SessionChangedError(SessionError):
    """A living session of that name has other arguments."""


class DeadlockError(SessionError, RuntimeError):
    """A synchronous helper was called from the engine's own thread, where it would wait for itself."""


class ClusterError(SessionError):
    """Not as many instances run as are wanted, and no more are being started.

    Attributes
    ----------
    errors
        What has ended instances, by their ids.
    """

    def __init__(self, name: str, running: int, wanted: int, errors: Mapping[str, BaseException]) -> None:
        self.errors = dict(errors)
        shown = "".join(f"\n  {instance}: {error}" for instance, error in list(self.errors.items())[:5])
        verb = "is" if running == 1 else "are"
        super().__init__(f"{running} of {pluralize(wanted, 'instance')} of {name} {verb} running:{shown}")


class JobCancelledError(SessionError):
    """The job was cancelled before it was done."""


class LimitReachedError(SessionError):
    """A limit on cost was reached; what ran was ended, what was finished is kept."""


class DoesNotFitError(ApiError):
    """An agreement is not made, because what is left of the budget does not cover its beginning.

    It counts as an error of the proposal, so that the engine passes on to the next one.
    """

    def __init__(self, provider: str, needed: Decimal, left: Decimal) -> None:
        super().__init__(
            f"Making an agreement with {provider}",
            f"its fixed fee and its first run may cost {needed} GLM, and {left} GLM is left",
            remedy="Raise `budget` or `max_cost`, or lower what may cost at a time with `max_workers`.",
        )

    def __reduce__(self) -> tuple[type[ApiError], tuple[object, ...]]:
        return ApiError, self.args


class ItemError(SessionError):
    """One item of a batch could not be computed.

    Attributes
    ----------
    index
        Which one, from 0.
    provider
        Where it was tried last, as the provider calls itself: unverified text.
    """

    def __init__(self, message: str, *, index: int | None = None, provider: str | None = None) -> None:
        super().__init__(message)
        self.index = index
        self.provider = provider


class RemoteError(ItemError):
    """The function has raised an exception on the provider.

    Attributes
    ----------
    type_name
        Name of the exception's class there.
    remote_traceback
        The traceback as the provider has sent it: text, nothing else.
    """

    def __init__(self, type_name: str, message: str, remote_traceback: str = "") -> None:
        super().__init__(f"{type_name}: {message}")
        self.type_name = type_name
        self.remote_traceback = remote_traceback


class RemotePythonError(ItemError):
    """The provider's Python cannot run the function: none, another version, or a package is missing."""


class ResultError(ItemError):
    """A result came back in a form that cannot, or must not, be read."""


class NotPicklableError(SessionError, TypeError):
    """The function, or an item, cannot be sent."""


class ItemsFailedError(SessionError):
    """Some items of a batch were given up; the others are in `values` of its handle.

    Attributes
    ----------
    errors
        By index of the item, the error of its last try.
    """

    def __init__(
        self, name: str, errors: Sequence[tuple[int, BaseException]], total: int, notes: Sequence[str] = ()
    ) -> None:
        self.errors = dict(errors)
        noted = "".join(f"\n  {note}" for note in notes)
        shown = "".join(f"\n  item {index}: {error}" for index, error in errors[:5])
        more = f"\n  … and {len(errors) - 5} more" if len(errors) > 5 else ""
        super().__init__(
            f"{len(errors)} of {pluralize(total, 'item')} of {name} could not be computed (`.errors` "
            f"has all, `.values` the others, `.retry_failed()` tries them again):{shown}{more}{noted}"
        )


class WaitInterrupted(KeyboardInterrupt):
    """Waiting was interrupted; what was waited for goes on.

    Notebooks show its one line in place of a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        return [str(self)]
