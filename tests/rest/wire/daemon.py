"""Rows for the daemon itself: keys, identity, version."""

from __future__ import annotations

from typing import Any

from golem_nb.rest.errors import UnauthorizedError
from tests.rest.wire.recorded import NO_ROUTE, Calls, Case, Compare, Errors, raw, whole

CALLS: Calls = {
    "GET /me": lambda a, c: a.identity.me(),
    "GET /version/get": lambda a, c: a.identity.version(),
    "GET /no/such/route": raw,
}

ERRORS: Errors = {
    "auth/me-bad-key": (UnauthorizedError, "Invalid application key"),
    "auth/me-no-key": (UnauthorizedError, "Missing application key"),
    "auth/me-lowercase-scheme": (UnauthorizedError, "Missing application key"),
    "auth/me-no-scheme": (UnauthorizedError, "Set YAGNA_APPKEY to a key of this daemon"),
    "auth/market-bad-key": (UnauthorizedError, "Listing the demands failed: Invalid application key"),
    "auth/unknown-route-no-key": (UnauthorizedError, "Missing application key"),
    "auth/unknown-route": NO_ROUTE,
    "auth/method-not-allowed": NO_ROUTE,
}


def compare_version(result: Any, case: Case) -> None:
    assert (result.version, result.name, result.pending) == ("0.17.6", "(a98d28015 2026-03-13)", None)


SUCCESS: dict[str, Compare] = {
    "GET /me": whole({"identity": "identity", "name": "name", "role": "role"}),
    "GET /version/get": compare_version,
}
