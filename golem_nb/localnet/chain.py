"""The local network's development chain: just enough Ethereum to pay and be paid.

It answers the JSON-RPC methods that the daemon's payment driver uses, keeps a ledger of the chain's currency
and of the tGLM token for each network, checks and decodes the driver's signed EIP-1559 transactions, carries
out ERC-20 transfers and proves them with receipts, so that payments are really settled and verified by the
payee. It is no virtual machine: other contracts and methods are errors. Blocks are numbered by the clock and
made up when asked for, so that nothing grows while nothing happens; transactions go to a file, one line each.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

from golem_nb.exceptions import GolemError

__all__ = ["FAUCET", "NETWORKS", "Chain", "ChainNetwork", "Transfer"]

_log = logging.getLogger(__name__)

_WEI: Final = 10**18
_GENESIS: Final = 1_700_000_000
_ZERO: Final = "0x" + "00" * 32
_BLOOM: Final = "0x" + "00" * 256
_BASE_FEE: Final = 7
_GAS: Final = {"plain": 21_000, "token": 51_000}
#: The contract whose `create()` mints tGLM for the caller, as on Golem's test networks.
FAUCET: Final = "0xfacefacefacefacefacefacefacefacefaceface"
_MINTED: Final = 1_000 * _WEI
#: The chain's currency that every account has: fees are none of the things to be tested.
_GAS_GIVEN: Final = 10 * _WEI
_MAX_RAW: Final = 64 << 10

# keccak256("Transfer(address,address,uint256)")
_TRANSFER_TOPIC: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
# the first four bytes of keccak256 of the signatures
_BALANCE_OF: Final = bytes.fromhex("70a08231")
_TRANSFER: Final = bytes.fromhex("a9059cbb")
_ALLOWANCE: Final = bytes.fromhex("dd62ed3e")
_APPROVE: Final = bytes.fromhex("095ea7b3")
_CREATE: Final = bytes.fromhex("efc81a8c")
_DECIMALS: Final = bytes.fromhex("313ce567")


@attrs.frozen
class ChainNetwork:
    """A test network that the chain stands in for.

    Parameters
    ----------
    name
        Its name in payment platforms, such as "hoodi".
    chain_id
        Its number in signed transactions.
    token
        The address of the tGLM contract.
    """

    name: str
    chain_id: int
    token: str


#: hoodi is the living test network; holesky is what the daemon takes where no network is named.
NETWORKS: Final[Mapping[str, ChainNetwork]] = {
    "hoodi": ChainNetwork("hoodi", 560048, "0x55555555555556acff9c332ed151758858bd7a26"),
    "holesky": ChainNetwork("holesky", 17000, "0x8888888815bf4db87e57b609a50f938311eed068"),
}


@attrs.frozen
class Transfer:
    """A transfer of tokens.

    Parameters
    ----------
    network
        The network, such as "hoodi".
    sender, recipient
        The accounts.
    amount
        tGLM.
    transaction
        The transaction's hash.
    timestamp
        When it was carried out.
    """

    network: str
    sender: str
    recipient: str
    amount: Decimal
    transaction: str
    timestamp: datetime


class RpcError(GolemError):
    """Answer to a request that the chain refuses; `code` as in JSON-RPC."""

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


@attrs.frozen
class _Transaction:
    hash: str
    sender: str
    recipient: str
    nonce: int
    value: int
    data: str
    gas_limit: int
    gas_used: int
    max_fee: int
    priority_fee: int
    block: int
    # (from, to, amount) of the token
    transfers: tuple[tuple[str, str, int], ...]

    @property
    def gas_price(self) -> int:
        return min(self.max_fee, self.priority_fee + _BASE_FEE)


class Chain:
    """The ledgers of all networks.

    Parameters
    ----------
    file
        Where transactions and gifts are kept, a line each; what it holds is read first.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._ledgers = {name: _Ledger(network) for name, network in NETWORKS.items()}
        if file is not None and file.exists():
            for line in file.read_text().splitlines():
                record = json.loads(line)
                self._ledgers[record.pop("network")].apply(record)

    def balance(self, network: str, address: str) -> Decimal:
        """TGLM that an account holds."""
        return _from_wei(self._ledger(network).tokens.get(address.lower(), 0))

    def knows(self, network: str, address: str) -> bool:
        """Whether an account has ever held tokens."""
        return address.lower() in self._ledger(network).tokens

    def transfers(self, network: str | None = None) -> list[Transfer]:
        """All transfers of tokens between accounts, in order."""
        ledgers = self._ledgers.values() if network is None else [self._ledger(network)]
        return [
            Transfer(
                network=ledger.network.name,
                sender=sender,
                recipient=recipient,
                amount=_from_wei(amount),
                transaction=transaction.hash,
                timestamp=datetime.fromtimestamp(_GENESIS + transaction.block, UTC),
            )
            for ledger in ledgers
            for transaction in ledger.transactions.values()
            for sender, recipient, amount in transaction.transfers
        ]

    def fund(self, network: str, address: str, tokens: Decimal) -> None:
        """Give an account tokens, out of nothing."""
        record = {"fund": _address(address), "tokens": str(int(tokens * _WEI))}
        self._commit(self._ledger(network), record)

    async def answer(self, network: str, body: Any) -> Any:
        """Answer a JSON-RPC request or batch.

        Raises
        ------
        KeyError
            There is no such network.
        """
        ledger = self._ledgers[network]
        if isinstance(body, list):
            return [await self._one(ledger, request) for request in body]
        return await self._one(ledger, body)

    async def _one(self, ledger: _Ledger, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict):
            return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "not a request"}}
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request.get("id")}
        method = str(request.get("method"))
        parameters = request.get("params") or []
        try:
            if method == "eth_sendRawTransaction":
                answer["result"] = await self._send(ledger, parameters[0])
            else:
                answer["result"] = ledger.call(method, parameters)
        except RpcError as error:
            answer["error"] = {"code": error.code, "message": str(error)}
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            answer["error"] = {
                "code": -32602,
                "message": f"bad parameters of {method[:100]}: {error!r}"[:500],
            }
        if "error" in answer:
            _log.info("%s: %s refused: %s", ledger.network.name, method[:100], answer["error"]["message"])
        return answer

    async def _send(self, ledger: _Ledger, raw: str) -> str:
        data = _bytes(raw)
        if not data or data[0] != 2 or len(data) > _MAX_RAW:
            raise RpcError("transaction type not supported: only EIP-1559")
        # the import alone takes 0.7 s; the hub lives in this loop
        sender, transaction_hash, fields = await asyncio.to_thread(_decode, data)
        record = ledger.prepare(sender, transaction_hash, fields)
        self._commit(ledger, record)
        return transaction_hash

    def _commit(self, ledger: _Ledger, record: dict[str, Any]) -> None:
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps({"network": ledger.network.name, **record}) + "\n")
        ledger.apply(record)

    def _ledger(self, network: str) -> _Ledger:
        try:
            return self._ledgers[network]
        except KeyError:
            raise ValueError(f"no network {network!r}; there are: {', '.join(NETWORKS)}") from None


class _Ledger:
    """One network's accounts and transactions."""

    def __init__(self, network: ChainNetwork) -> None:
        self.network = network
        self.tokens: dict[str, int] = {}
        # of the chain's own currency; everybody begins with _GAS_GIVEN
        self._spent: dict[str, int] = {}
        self.nonces: dict[str, int] = {}
        self.transactions: dict[str, _Transaction] = {}
        self._methods: dict[str, Callable[[list[Any]], Any]] = {
            "eth_chainId": lambda _: hex(network.chain_id),
            "net_version": lambda _: str(network.chain_id),
            "eth_blockNumber": lambda _: hex(_now_block()),
            "eth_getBlockByNumber": lambda p: self._block(_block_number(p[0])),
            "eth_getBlockByHash": lambda p: self._block_by_hash(p[0]),
            "eth_getBalance": lambda p: hex(self._gas(_address(p[0]))),
            "eth_getTransactionCount": lambda p: hex(self.nonces.get(_address(p[0]), 0)),
            "eth_gasPrice": lambda _: hex(1_000),
            "eth_maxPriorityFeePerGas": lambda _: hex(1_000),
            "eth_estimateGas": lambda p: hex(self._simulate(p[0])[1]),
            "eth_call": lambda p: "0x" + self._simulate(p[0])[0].hex(),
            "eth_getTransactionReceipt": lambda p: self._receipt(p[0]),
            "eth_getTransactionByHash": lambda p: self._transaction(p[0]),
            "eth_getLogs": self._logs,
        }

    def call(self, method: str, parameters: list[Any]) -> Any:
        function = self._methods.get(method)
        if function is None:
            raise RpcError(f"the method {method[:100]} does not exist/is not available", -32601)
        return function(parameters)

    def _gas(self, address: str) -> int:
        return _GAS_GIVEN - self._spent.get(address, 0)

    # -- changes ------------------------------------------------------------------------------------------

    def prepare(self, sender: str, transaction_hash: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Check a transaction; return the record that `apply` takes."""
        if fields["chainId"] != self.network.chain_id:
            raise RpcError("invalid sender: wrong chain id")
        if transaction_hash in self.transactions:
            raise RpcError("already known")
        expected = self.nonces.get(sender, 0)
        if fields["nonce"] != expected:
            raise RpcError("nonce too low" if fields["nonce"] < expected else "nonce too high")
        recipient = "0x" + bytes(fields["to"]).hex()
        data = bytes(fields["data"])
        transfers, _ = self._effects(sender, recipient, data)
        used = _GAS["token"] if data else _GAS["plain"]
        fee = used * min(fields["maxFeePerGas"], fields["maxPriorityFeePerGas"] + _BASE_FEE)
        if self._gas(sender) < fee + fields["value"]:
            raise RpcError("insufficient funds for gas * price + value")
        if fields["gas"] < used:
            raise RpcError("intrinsic gas too low")
        return {
            "hash": transaction_hash,
            "sender": sender,
            "recipient": recipient,
            "nonce": fields["nonce"],
            "value": fields["value"],
            "data": "0x" + data.hex(),
            "gas_limit": fields["gas"],
            "gas_used": used,
            "max_fee": fields["maxFeePerGas"],
            "priority_fee": fields["maxPriorityFeePerGas"],
            "block": _now_block(),
            "transfers": transfers,
        }

    def apply(self, record: dict[str, Any]) -> None:
        """Carry out a transaction or gift."""
        if "fund" in record:
            account = record["fund"]
            self.tokens[account] = self.tokens.get(account, 0) + int(record["tokens"])
            return
        record["transfers"] = tuple((sender, to, int(amount)) for sender, to, amount in record["transfers"])
        transaction = _Transaction(**record)
        sender = transaction.sender
        self.transactions[transaction.hash] = transaction
        self.nonces[sender] = transaction.nonce + 1
        cost = transaction.gas_used * transaction.gas_price + transaction.value
        self._spent[sender] = self._spent.get(sender, 0) + cost
        self._spent[transaction.recipient] = self._spent.get(transaction.recipient, 0) - transaction.value
        for source, target, amount in transaction.transfers:
            if source != _mint():
                self.tokens[source] -= amount
            self.tokens[target] = self.tokens.get(target, 0) + amount

    def _effects(self, sender: str, to: str, data: bytes) -> tuple[list[tuple[str, str, int]], bytes]:
        """Return the transfers that a call makes, and what it returns."""
        if to == FAUCET and data[:4] == _CREATE:
            return [(_mint(), sender, _MINTED)], b""
        if to != self.network.token:
            if data:
                raise RpcError("execution reverted: no such contract on the development chain")
            return [], b""
        method, rest = data[:4], data[4:]

        def account(index: int) -> str:
            return "0x" + rest[32 * index + 12 : 32 * index + 32].hex()

        def number(index: int) -> int:
            return int.from_bytes(rest[32 * index : 32 * index + 32], "big")

        if method == _BALANCE_OF:
            return [], self.tokens.get(account(0), 0).to_bytes(32, "big")
        if method == _TRANSFER:
            if self.tokens.get(sender, 0) < number(1):
                raise RpcError("execution reverted: ERC20: transfer amount exceeds balance")
            return [(sender, account(0), number(1))], (1).to_bytes(32, "big")
        if method == _ALLOWANCE:
            return [], (2**255).to_bytes(32, "big")
        if method == _APPROVE:
            return [], (1).to_bytes(32, "big")
        if method == _DECIMALS:
            return [], (18).to_bytes(32, "big")
        raise RpcError("execution reverted: no such method on the development chain")

    def _simulate(self, call: Mapping[str, Any]) -> tuple[bytes, int]:
        data = _bytes(call.get("data") or call.get("input") or "0x")
        sender = _address(call["from"]) if call.get("from") else _mint()
        result = self._effects(sender, _address(call["to"]), data)[1]
        return result, _GAS["token"] if data else _GAS["plain"]

    # -- answers ------------------------------------------------------------------------------------------

    def _hash(self, block: int) -> str:
        return "0x" + hashlib.sha256(f"{self.network.name}-{block}".encode()).hexdigest()

    def _block_by_hash(self, wanted: str) -> dict[str, Any] | None:
        # only blocks with a transaction have been named to anybody, and the latest ones
        numbers = {transaction.block for transaction in self.transactions.values()}
        now = _now_block()
        for number in (*range(now, now - 60, -1), *numbers):
            if self._hash(number) == wanted:
                return self._block(number)
        return None

    def _block(self, number: int) -> dict[str, Any] | None:
        if not 0 <= number <= _now_block():
            return None
        return {
            "number": hex(number),
            "hash": self._hash(number),
            "parentHash": self._hash(number - 1),
            "sha3Uncles": _ZERO,
            "miner": _mint(),
            "author": _mint(),
            "stateRoot": _ZERO,
            "transactionsRoot": _ZERO,
            "receiptsRoot": _ZERO,
            "gasUsed": "0x0",
            "gasLimit": hex(30_000_000),
            "baseFeePerGas": hex(_BASE_FEE),
            "extraData": "0x",
            "logsBloom": _BLOOM,
            "timestamp": hex(_GENESIS + number),
            "difficulty": "0x0",
            "totalDifficulty": "0x0",
            "uncles": [],
            "size": "0x0",
            "mixHash": _ZERO,
            "nonce": "0x0000000000000000",
            "sealFields": [],
            "transactions": [t.hash for t in self.transactions.values() if t.block == number],
        }

    def _transaction(self, wanted: str) -> dict[str, Any] | None:
        transaction = self.transactions.get(wanted.lower())
        if transaction is None:
            return None
        return {
            "hash": transaction.hash,
            "nonce": hex(transaction.nonce),
            "blockHash": self._hash(transaction.block),
            "blockNumber": hex(transaction.block),
            "transactionIndex": "0x0",
            "from": transaction.sender,
            "to": transaction.recipient,
            "value": hex(transaction.value),
            "gasPrice": hex(transaction.gas_price),
            "gas": hex(transaction.gas_limit),
            "input": transaction.data,
            "type": "0x2",
            "maxFeePerGas": hex(transaction.max_fee),
            "maxPriorityFeePerGas": hex(transaction.priority_fee),
            # the signature has been checked; nobody asks for it again
            "v": "0x0",
            "r": "0x1",
            "s": "0x1",
            "chainId": hex(self.network.chain_id),
            "accessList": [],
        }

    def _receipt(self, wanted: str) -> dict[str, Any] | None:
        transaction = self.transactions.get(wanted.lower())
        if transaction is None:
            return None
        return {
            "transactionHash": transaction.hash,
            "transactionIndex": "0x0",
            "blockHash": self._hash(transaction.block),
            "blockNumber": hex(transaction.block),
            "from": transaction.sender,
            "to": transaction.recipient,
            "cumulativeGasUsed": hex(transaction.gas_used),
            "gasUsed": hex(transaction.gas_used),
            "contractAddress": None,
            "logs": self._logs_of(transaction),
            "status": "0x1",
            "root": None,
            "logsBloom": _BLOOM,
            "type": "0x2",
            "effectiveGasPrice": hex(transaction.gas_price),
        }

    def _logs_of(self, transaction: _Transaction) -> list[dict[str, Any]]:
        return [
            {
                "address": self.network.token,
                "topics": [_TRANSFER_TOPIC, _topic(sender), _topic(recipient)],
                "data": "0x" + amount.to_bytes(32, "big").hex(),
                "blockHash": self._hash(transaction.block),
                "blockNumber": hex(transaction.block),
                "transactionHash": transaction.hash,
                "transactionIndex": "0x0",
                "logIndex": hex(index),
                "transactionLogIndex": hex(index),
                "logType": None,
                "removed": False,
            }
            for index, (sender, recipient, amount) in enumerate(transaction.transfers)
        ]

    def _logs(self, parameters: list[Any]) -> list[dict[str, Any]]:
        wanted = parameters[0]
        first = _block_number(wanted.get("fromBlock") or "latest")
        last = _block_number(wanted.get("toBlock") or "latest")
        topics = wanted.get("topics") or []
        return [
            log
            for transaction in self.transactions.values()
            if first <= transaction.block <= last
            for log in self._logs_of(transaction)
            if all(
                topic is None or have in (topic if isinstance(topic, list) else [topic])
                for topic, have in zip(topics, log["topics"], strict=False)
            )
        ]


def _decode(raw: bytes) -> tuple[str, str, dict[str, Any]]:
    """Return sender, hash and fields of a signed transaction."""
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from eth_utils.crypto import keccak
    from hexbytes import HexBytes

    try:
        sender = str(Account.recover_transaction(raw)).lower()
        fields = dict(TypedTransaction.from_bytes(HexBytes(raw)).as_dict())
    except Exception as error:  # whatever the libraries make of hostile bytes
        raise RpcError(f"rlp: the transaction cannot be decoded: {error!r}"[:500]) from error
    return sender, "0x" + bytes(keccak(raw)).hex(), fields


def _mint() -> str:
    return "0x" + "00" * 20


def _now_block() -> int:
    return int(time.time()) - _GENESIS


def _block_number(text: str) -> int:
    if text == "earliest":
        return 0
    return int(text, 16) if text.startswith("0x") else _now_block()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _address(text: str) -> str:
    if len(text) != 42 or not text.startswith("0x"):
        raise ValueError(f"{text[:60]!r} is no address")
    return text.lower()


def _topic(address: str) -> str:
    return "0x" + "0" * 24 + address[2:]


def _from_wei(amount: int) -> Decimal:
    return Decimal(f"{amount}e-18")  # read from text: exact, whatever the context's precision
