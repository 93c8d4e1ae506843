"""What the real daemon makes of our constraints: one offer, found or not found by its market scan."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from golem_nb.node import Yagna
from golem_nb.props.base import join_str_constraints
from golem_nb.props.grammar import clause

# A net without a relay: nobody outside of this machine is spoken to.
ALONE = {"YA_NET_TYPE": "hybrid", "YA_NET_BIND_URL": "udp://127.0.0.1:0", "YA_NET_RELAY_HOST": "127.0.0.1:9"}

Scan = Callable[[str], Awaitable[int]]

PROPERTIES: dict[str, Any] = {
    "text": "plain",
    "spaces": "a b ",
    "empty": "",
    "quotes": '"say" \\"hi\\"',
    "backslash": "C:\\temp\\",
    "lines": "one\ntwo\tthree",
    "marks": "&|!<>=[],;:@$~#%{}'`^+-/?._",
    "brackets": "[a,b]x",
    "unicode": "zażółć 😀\u2028",
    "int": 5,
    "large": 10**20,
    "negative": -3,
    "float": 1.5,
    "tiny": 1e-7,
    "yes": True,
    "no": False,
    "list": ["x", "y z"],
    "golem.!exp.gap-35.v1.inf.gpu.model": "any",
    "golem.com.payment.debit-notes.accept-timeout?": 240,
    "nested": {"inner": {"deep": 1}},
    "open": "a(b",
    "close": "a)b",
    "star": "a*b",
    "leading": " a",
    "control": "a\rb\x01",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scan() -> AsyncIterator[Scan]:
    """Gives a function that counts the offers (there is one) that meet a constraint; -1: refused."""
    with tempfile.TemporaryDirectory(prefix="gnb-") as folder:
        async with Yagna(folder, environment=ALONE) as daemon:
            headers = {"Authorization": f"Bearer {daemon.api_config.app_key}"}
            async with aiohttp.ClientSession(
                f"{daemon.api_config.api_url}/market-api/v1/", headers=headers
            ) as http:
                offer = {"properties": PROPERTIES, "constraints": "()"}
                async with http.post("offers", json=offer) as answer:
                    assert answer.status == 201

                async def count(constraints: str) -> int:
                    async with http.post("scan", json={"type": "offer", "constraints": constraints}) as begun:
                        if begun.status == 400:
                            return -1
                        scan_id = await begun.json()
                    async with http.get(f"scan/{scan_id}/events", params={"timeout": "0.2"}) as found:
                        return len(await found.json())

                yield count


@pytest.mark.contract("P02")
@pytest.mark.asyncio(loop_scope="module")
async def test_each_value_that_can_be_expressed_finds_its_property(scan: Scan) -> None:
    inexpressible = {"open", "close", "leading", "control", "nested"}
    clauses = [clause(key, "=", value) for key, value in PROPERTIES.items() if key not in inexpressible]
    clauses += [
        clause("nested.inner.deep", "=", 1),
        clause("text", "=", "*"),
        clause("text", "=", "pl*n"),
        clause("int", ">=", 5),
        clause("int", "<", 5.5),
        clause("large", ">", 10**19),
        clause("float", "<=", 1.5),
        clause("tiny", ">", 1e-8),
        clause("list", "=", "y z"),
    ]
    missed = [text for text in clauses if await scan(text) != 1]
    assert missed == []
    assert await scan(join_str_constraints(clauses)) == 1
    assert await scan(join_str_constraints(clauses, "|")) == 1
    assert await scan(join_str_constraints([join_str_constraints(clauses)], "!")) == 0
    assert await scan(join_str_constraints([])) == 1
    assert await scan(join_str_constraints([], "|")) == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_other_values_do_not_find_it(scan: Scan) -> None:
    clauses = [
        clause("text", "=", "plai"),
        clause("text", "=", "PLAIN"),
        clause("spaces", "=", "a b"),
        clause("quotes", "=", "say"),
        clause("yes", "=", False),
        clause("int", ">", 5),
        clause("list", "=", "z"),
        clause("missing", "=", "*"),
    ]
    assert await scan(join_str_constraints(clauses, "|")) == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_what_we_refuse_to_write_would_not_mean_what_it_says(scan: Scan) -> None:
    assert await scan("(close=a)b)") == 0
    assert await scan(r"(close=a\)b)") == 0
    assert await scan("(close=a\\29b)") == 0
    assert await scan("(leading= a)") == 0
    assert await scan("(control=a\rb\x01)") == 0
    assert await scan(r"(control=a\rb\u0001)") == 0
    assert await scan("(text=*lain)") == -1
    assert await scan("(yes=True)") == 0
    assert await scan("(int!=4)") == 0
    assert await scan("(text =plain)") == 0
    assert await scan("((text=plain))") == 0
    # Everything behind the first closed parenthesis is ignored.
    assert await scan("(text=plain)(int=6)") == 1
