from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from golem_nb.localnet.chain import FAUCET, NETWORKS, Chain

HOODI = NETWORKS["hoodi"]
ONE = 10**18


def word(value: int | str) -> str:
    number = value if isinstance(value, int) else int(value, 16)
    return number.to_bytes(32, "big").hex()


def transfer(to: str, amount: int) -> str:
    return "0xa9059cbb" + word(to) + word(amount)


class Wallet:
    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.account = Account.create()
        self.address = self.account.address.lower()
        self.nonce = 0

    def sign(self, to: str, data: str = "0x", **changes: Any) -> str:
        transaction = {
            "type": 2,
            "chainId": HOODI.chain_id,
            "nonce": self.nonce,
            "maxPriorityFeePerGas": 1000,
            "maxFeePerGas": 20 * 10**9,
            "gas": 100_000,
            "to": Account.create().address if to == "somebody" else bytes.fromhex(to[2:]),
            "value": 0,
            "data": data,
        } | changes
        return "0x" + bytes(self.account.sign_transaction(transaction).raw_transaction).hex()

    async def send(self, to: str, data: str = "0x", **changes: Any) -> Any:
        answer = await rpc(self.chain, "eth_sendRawTransaction", self.sign(to, data, **changes))
        if "result" in answer:
            self.nonce += 1
        return answer


async def rpc(chain: Chain, method: str, *parameters: Any) -> Any:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
    return await chain.answer("hoodi", request)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path / "chain.jsonl")


@pytest.fixture
def rich(chain: Chain) -> Wallet:
    wallet = Wallet(chain)
    chain.fund("hoodi", wallet.address, Decimal(100))
    return wallet


PAYEE = "0x00000000000000000000000000000000000000aa"


async def test_a_transfer_moves_tokens_exactly_and_has_a_receipt(chain: Chain, rich: Wallet) -> None:
    amount = 12_345_678_901_234_567_890
    tx = (await rich.send(HOODI.token, transfer(PAYEE, amount)))["result"]
    assert chain.balance("hoodi", PAYEE) == Decimal("12.345678901234567890")
    assert chain.balance("hoodi", rich.address) == 100 - Decimal("12.345678901234567890")
    (moved,) = chain.transfers("hoodi")
    assert (moved.sender, moved.recipient, moved.amount, moved.transaction) == (
        rich.address,
        PAYEE,
        Decimal("12.34567890123456789"),
        tx,
    )
    receipt = (await rpc(chain, "eth_getTransactionReceipt", tx))["result"]
    assert receipt["status"] == "0x1"
    (log,) = receipt["logs"]
    assert log["address"] == HOODI.token
    assert log["topics"][1:] == ["0x" + word(rich.address), "0x" + word(PAYEE)]
    assert int(log["data"], 16) == amount
    found = (await rpc(chain, "eth_getTransactionByHash", tx))["result"]
    assert (found["from"], found["to"], found["nonce"]) == (rich.address, HOODI.token, "0x0")
    block = (await rpc(chain, "eth_getBlockByHash", receipt["blockHash"]))["result"]
    assert tx in block["transactions"]
    assert block["number"] == receipt["blockNumber"]
    logs = await rpc(chain, "eth_getLogs", {"fromBlock": "0x0", "topics": [None, log["topics"][1]]})
    assert logs["result"] == receipt["logs"]
    balance = await rpc(chain, "eth_call", {"to": HOODI.token, "data": "0x70a08231" + word(PAYEE)}, "latest")
    assert int(balance["result"], 16) == amount
    assert (await rpc(chain, "eth_getTransactionCount", rich.address, "latest"))["result"] == "0x1"
    assert int((await rpc(chain, "eth_getBalance", rich.address, "latest"))["result"], 16) < 10 * ONE


async def test_what_happened_is_read_again(chain: Chain, rich: Wallet, tmp_path: Path) -> None:
    await rich.send(HOODI.token, transfer(PAYEE, ONE))
    again = Chain(tmp_path / "chain.jsonl")
    assert again.transfers() == chain.transfers()
    assert again.balance("hoodi", rich.address) == 99
    rich.chain = again
    assert "result" in await rich.send(HOODI.token, transfer(PAYEE, ONE))
    assert again.knows("hoodi", PAYEE)
    assert not again.knows("holesky", PAYEE)


async def test_the_faucet_mints(chain: Chain) -> None:
    poor = Wallet(chain)
    assert "result" in await poor.send(FAUCET, "0xefc81a8c")
    assert chain.balance("hoodi", poor.address) == 1000


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"chainId": 1}, "wrong chain id"),
        ({"nonce": 5}, "nonce too high"),
        ({"gas": 22_000}, "intrinsic gas too low"),
        ({"value": 11 * ONE}, "insufficient funds"),
        ({"data": transfer(PAYEE, 101 * ONE)}, "exceeds balance"),
        ({"data": "0x12345678"}, "no such method"),
    ],
)
async def test_what_is_refused_changes_nothing(
    chain: Chain, rich: Wallet, changes: dict[str, Any], complaint: str
) -> None:
    options = {"data": transfer(PAYEE, ONE), **changes}
    answer = await rich.send(HOODI.token, **options)
    assert complaint in answer["error"]["message"]
    assert chain.transfers() == []
    assert chain.balance("hoodi", rich.address) == 100


async def test_a_transaction_counts_once(chain: Chain, rich: Wallet) -> None:
    raw = rich.sign(HOODI.token, transfer(PAYEE, ONE))
    assert "result" in await rpc(chain, "eth_sendRawTransaction", raw)
    assert (await rpc(chain, "eth_sendRawTransaction", raw))["error"]["message"] == "already known"
    other = rich.sign(HOODI.token, transfer(PAYEE, 2 * ONE))
    assert (await rpc(chain, "eth_sendRawTransaction", other))["error"]["message"] == "nonce too low"
    assert chain.balance("hoodi", PAYEE) == 1


async def test_other_contracts_and_methods_are_errors(chain: Chain, rich: Wallet) -> None:
    assert "no such contract" in (await rich.send(PAYEE, "0x1234"))["error"]["message"]
    answer = await rpc(chain, "eth_mine")
    assert answer["error"]["code"] == -32601
    assert "eth_mine" in answer["error"]["message"]


@pytest.mark.parametrize(
    "request_",
    [
        7,
        {},
        {"method": "eth_getBalance", "params": ["nobody"]},
        {"method": "eth_getBalance", "params": []},
        {"method": "eth_call", "params": [{"to": None}]},
        {"method": "eth_sendRawTransaction", "params": ["0x02ffff"]},
        {"method": "eth_sendRawTransaction", "params": ["zz"]},
        {"method": "eth_sendRawTransaction", "params": ["0x02" + "00" * 70_000]},
        {"method": "eth_getBlockByNumber", "params": [None]},
    ],
)
async def test_hostile_requests_get_an_error(chain: Chain, request_: Any) -> None:
    assert "error" in await chain.answer("hoodi", request_)


async def test_batches(chain: Chain) -> None:
    requests = [{"id": n, "method": "eth_chainId"} for n in (1, 2)]
    answers = await chain.answer("hoodi", requests)
    assert [(one["id"], int(one["result"], 16)) for one in answers] == [(1, 560048), (2, 560048)]


async def test_blocks_are_made_up_when_asked_for(chain: Chain) -> None:
    number = int((await rpc(chain, "eth_blockNumber"))["result"], 16)
    latest = (await rpc(chain, "eth_getBlockByNumber", "latest", False))["result"]
    assert int(latest["number"], 16) - number in (0, 1)
    before = (await rpc(chain, "eth_getBlockByNumber", hex(number - 1), False))["result"]
    at = (await rpc(chain, "eth_getBlockByNumber", hex(number), False))["result"]
    assert at["parentHash"] == before["hash"]
    assert (await rpc(chain, "eth_getBlockByNumber", hex(number + 1000), False))["result"] is None


def test_networks_are_apart(chain: Chain) -> None:
    chain.fund("hoodi", PAYEE, Decimal(1))
    assert chain.balance("holesky", PAYEE) == 0
    with pytest.raises(ValueError, match="there are: hoodi, holesky"):
        chain.balance("mainnet", PAYEE)
