"""What `enable_default_logger(debug_…_api=True)` writes: every request, never the key."""

from __future__ import annotations

import logging

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from golem_nb.config import ApiConfig
from golem_nb.rest import Configuration, Payment


@pytest.mark.contract("L02")
async def test_requests_are_logged_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    async def accounts(request: web.Request) -> web.Response:
        return web.json_response([])

    app = web.Application()
    app.router.add_get("/payment-api/v1/requestorAccounts", accounts)
    async with TestServer(app) as server:
        config = ApiConfig(app_key="the-secret-key", api_url=str(server.make_url("")).rstrip("/"))
        async with Configuration(config) as configuration:
            with caplog.at_level(logging.DEBUG, "golem_nb.rest.payment"):
                await Payment(configuration.payment()).accounts()
    (record,) = [r for r in caplog.records if r.name == "golem_nb.rest.payment"]
    assert record.getMessage() == "GET /requestorAccounts None -> 200 b'[]'"
    assert "the-secret-key" not in caplog.text
