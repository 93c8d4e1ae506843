"""Rows for the service bus."""

from __future__ import annotations

from golem_nb.rest.errors import BadRequestError, ServerError
from tests.rest.wire.recorded import BAD_JSON, ID, Calls, Compare, Errors, answer, asked, equal, raw

CALLS: Calls = {
    "POST /gsb-api/v1/services": lambda a, c: a.gsb.create_service(
        asked(c)["listen"]["on"], asked(c)["listen"].get("components", [])
    ),
    f"DELETE /gsb-api/v1/services{ID}": lambda a, c, i: a.gsb.delete_service(i),
    f"GET /gsb-api/v1/services{ID}": raw,  # a websocket
}

ERRORS: Errors = {
    "gsb/services-malformed": BAD_JSON,
    "gsb/services-create-again": (BadRequestError, "Duplicated service address prefix"),
    "gsb/services-get-without-upgrade": (ServerError, "WebSocket upgrade is expected"),
    "gsb/services-delete-not-base64": (BadRequestError, "should be encoded in base64"),
}


SUCCESS: dict[str, Compare] = {
    "POST /gsb-api/v1/services": lambda r, c: equal({**answer(c), "servicesId": r}, c),
}
