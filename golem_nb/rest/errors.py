"""What can go wrong between the client and the daemon."""

from __future__ import annotations

from golem_nb.exceptions import GolemError, harmless

__all__ = [
    "ActivityGoneError",
    "ApiError",
    "BadRequestError",
    "CollisionError",
    "ConflictError",
    "ConnectionDroppedError",
    "DaemonUnreachableError",
    "ForbiddenError",
    "GoneError",
    "MalformedAnswerError",
    "NotFoundError",
    "NotSupportedError",
    "RequestTimeoutError",
    "ServerError",
    "UnauthorizedError",
    "error_class",
    "is_intermittent",
]


class ApiError(GolemError):
    """The daemon did not do what it was asked to.

    Printed, it says what was asked, what came back and what to do about it.

    Parameters
    ----------
    operation : str
        What was asked, as the beginning of a sentence: ``"Creating an allocation of 5 on erc20-hoodi-tglm"``.
    message : str
        What came back, in the daemon's words or, where it said nothing, in ours.
    method, path : str
        The HTTP request.
    status : int, optional
        The HTTP status of the answer, None if there was none.
    remedy : str, optional
        What to do, one or more full sentences.
    """

    def __init__(
        self,
        operation: str,
        message: str,
        method: str = "",
        path: str = "",
        status: int | None = None,
        remedy: str | None = None,
    ) -> None:
        # all of them positional, so that the default pickling and copying of exceptions work
        super().__init__(operation, message, method, path, status, remedy)
        self.operation = operation
        self.message = message
        self.method = method
        self.path = path
        self.status = status
        self.remedy = remedy

    def __str__(self) -> str:
        request = f"{self.method} {self.path}".strip()
        if request and self.status is not None:
            request = f"{request} answered {self.status}"
        message = self.message if self.message.endswith("...") else self.message.removesuffix(".")
        text = f"{self.operation} failed: {message}"
        if request:
            text += f" ({request})"
        return harmless(f"{text}. Remedy: {self.remedy}" if self.remedy else f"{text}.")


class DaemonUnreachableError(ApiError):
    """No connection to the daemon could be made."""


class ConnectionDroppedError(ApiError):
    """The daemon closed the connection before its answer was complete; whether it did the work is unknown."""


class RequestTimeoutError(ApiError):
    """The answer did not come in time: the daemon said so (408, 504), or said nothing at all."""


class DaemonSilentError(ApiError):
    """The daemon has not answered anything for so long that it was given up."""


class BadRequestError(ApiError):
    """The daemon refused what the request says (400)."""


class UnauthorizedError(ApiError):
    """The daemon does not know the application key (401)."""


class ForbiddenError(ApiError):
    """The thing belongs to another identity of the daemon (403)."""


class NotFoundError(ApiError):
    """The daemon does not have the thing, or no longer (404)."""


class ConflictError(ApiError):
    """The thing is not in a state in which that could be done to it (409)."""


class GoneError(ApiError):
    """The thing has ended (410)."""


class ServerError(ApiError):
    """The daemon failed, or another node that it asked (5xx)."""


class NotSupportedError(ServerError):
    """The daemon knows the request and does not implement it (501)."""


class ActivityGoneError(ServerError):
    """The activity, or the provider that ran it, does not answer any more."""


class CollisionError(ServerError):
    """Two requests were to change one thing at the same time, this one and maybe the provider's."""


class MalformedAnswerError(ApiError):
    """The daemon's answer does not have the form that it should have."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    408: RequestTimeoutError,
    409: ConflictError,
    410: GoneError,
    501: NotSupportedError,
    504: RequestTimeoutError,
}


_COLLISION = ("Can't finish operation on Agreement", "UNIQUE constraint failed")


def error_class(status: int, message: str) -> type[ApiError]:
    """Choose the error for an answer.

    The daemon reports an activity that is no more as an internal error whose text names the address on the
    service bus at which nobody listens. What somebody else was changing at the same moment is an internal
    error, too: of an operation on an agreement, or of the database. (Of four requests to end an agreement, or
    to accept an invoice, that were sent at once three ended so; each succeeds when it is sent again.)

    Parameters
    ----------
    status
        The HTTP status.
    message
        What the daemon said.
    """
    if status >= 500 and "endpoint address not found" in message:
        return ActivityGoneError
    if status >= 500 and any(words in message for words in _COLLISION):
        return CollisionError
    return _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)


def is_intermittent(error: BaseException) -> bool:
    """Tell whether the same request may well succeed when it is sent again.

    Parameters
    ----------
    error
        The error.
    """
    return isinstance(error, ConnectionDroppedError | RequestTimeoutError | CollisionError)
