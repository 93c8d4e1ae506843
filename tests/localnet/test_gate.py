from __future__ import annotations

import asyncio

import pytest

from golem_nb.localnet.gate import Gate

REQUEST = b"CONNECT api.github.com:443 HTTP/1.1\r\nHost: api.github.com:443\r\n\r\n"


async def ask(port: int, request: bytes = REQUEST) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_nothing_gets_out() -> None:
    gate = Gate(hold=False)
    port = await gate.start()
    assert (await ask(port)).startswith(b"HTTP/1.1 403 ")
    assert gate.asked.is_set()
    assert await ask(port, b"x" * 20_000) == b""
    await gate.close()
    with pytest.raises(ConnectionError):
        await ask(port)


async def test_it_keeps_them_waiting_until_opened() -> None:
    gate = Gate(hold=True)
    port = await gate.start()
    asking = asyncio.create_task(ask(port))
    await gate.asked.wait()
    assert not (await asyncio.wait([asking], timeout=0.1))[0]
    gate.open()
    assert (await asking).startswith(b"HTTP/1.1 403 ")
    await gate.close()


async def test_it_closes_on_who_waits() -> None:
    gate = Gate(hold=True)
    port = await gate.start()
    asking = asyncio.create_task(ask(port))
    await gate.asked.wait()
    await gate.close()
    assert await asking == b""
