"""The errors and their texts."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from golem_nb.exceptions import GolemError
from golem_nb.rest import errors
from golem_nb.rest.activity import BatchError, BatchTimeoutError, CommandExecutionError
from golem_nb.rest.errors import ApiError, BadRequestError, is_intermittent
from golem_nb.rest.problems import explain


def test_it_says_what_was_asked_what_came_back_and_what_to_do() -> None:
    error = BadRequestError(
        "Creating an allocation of 5 on erc20-hoodi-tglm",
        "no.",
        "POST",
        "/allocations",
        400,
        "Do it.",
    )
    assert str(error) == (
        "Creating an allocation of 5 on erc20-hoodi-tglm failed: no (POST /allocations answered 400). "
        "Remedy: Do it."
    )
    assert str(ApiError("Asking", "silence")) == "Asking failed: silence."
    assert str(ApiError("Asking", "silence", "GET", "/me")) == "Asking failed: silence (GET /me)."


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_they_are_copied_and_pickled_whole(name: str) -> None:
    error = getattr(errors, name)("Asking", "no", "GET", "/me", 400, "Do it.")
    assert isinstance(error, GolemError)
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert other.status == 400


def test_what_may_be_tried_again() -> None:
    assert is_intermittent(errors.ConnectionDroppedError("a", "b"))
    assert is_intermittent(errors.RequestTimeoutError("a", "b"))
    assert is_intermittent(errors.CollisionError("a", "b"))
    assert not is_intermittent(errors.ServerError("a", "b"))
    assert not is_intermittent(errors.DaemonUnreachableError("a", "b"))
    assert not is_intermittent(ValueError())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.UnauthorizedError),
        (403, errors.ForbiddenError),
        (404, errors.NotFoundError),
        (408, errors.RequestTimeoutError),
        (409, errors.ConflictError),
        (410, errors.GoneError),
        (418, errors.ApiError),
        (500, errors.ServerError),
        (501, errors.NotSupportedError),
        (503, errors.ServerError),
        (504, errors.RequestTimeoutError),
    ],
)
def test_the_status_decides(status: int, kind: type[ApiError]) -> None:
    found, message, _ = explain(status, b"")
    assert found is kind
    assert message


@pytest.mark.parametrize(
    "body",
    [
        {"detail": 5},
        {"message": 5},
        {"message": ["a"]},
        {"detail": "x", "instance": "/insufficient-account-funds", "requestBody": 5},
        {
            "detail": "x",
            "instance": "/insufficient-account-funds",
            "availableFunds": "NaN",
            "requestBody": {},
        },
        {"detail": "x", "type": "/bad-payment-platform", "parseError": None},
        {"detail": None, "internalError": 7},
    ],
)
def test_a_refusal_that_makes_no_sense_is_still_a_refusal(body: object) -> None:
    kind, message, _ = explain(400, json.dumps(body).encode())
    assert kind is BadRequestError
    assert message


def test_a_page_of_a_proxy() -> None:
    kind, message, _ = explain(502, b"<html>\n<h1>Bad gateway</h1></html>")
    assert kind is errors.ServerError
    assert message == "<html> <h1>Bad gateway</h1></html>"


@pytest.mark.contract("L06")
def test_a_failed_command_in_the_documented_words() -> None:
    error = CommandExecutionError("Run /bin/sh ('-c', 'exit 3')", "ExeScript command exited", "bad\n")
    assert str(error) == (
        "Command 'Run /bin/sh ('-c', 'exit 3')' failed on provider; "
        "message: 'ExeScript command exited'; stderr: 'bad\n'"
    )
    assert str(CommandExecutionError("Deploy", "no")) == "Command 'Deploy' failed on provider; message: 'no'"
    assert (error.command, error.stderr) == ("Run /bin/sh ('-c', 'exit 3')", "bad\n")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert issubclass(CommandExecutionError, BatchError)
    assert issubclass(BatchTimeoutError, BatchError)
