"""What a running daemon is told through its command line: identities, keys, accounts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from golem_nb.node.errors import NodeCommandError
from golem_nb.rest.ids import NodeId

__all__ = ["AppKey", "Balance", "Commands", "NodeIdentity"]

_TIMEOUT = 60.0


@attrs.frozen
class NodeIdentity:
    """An identity of a daemon.

    Parameters
    ----------
    node_id
        Its address.
    alias
        Its name, if it has one.
    is_default
        Whether requests without a key of another identity act under it.
    """

    node_id: NodeId
    alias: str | None
    is_default: bool


@attrs.frozen
class AppKey:
    """An application key of a daemon; the key itself is not printed."""

    name: str
    node_id: NodeId
    key: str = attrs.field(repr=False)


@attrs.frozen
class Balance:
    """What an account holds, as the payment driver sees it on the chain.

    Parameters
    ----------
    address
        The account.
    platform
        The payment platform, such as "erc20-hoodi-tglm".
    amount
        Tokens (GLM or tGLM).
    gas
        The chain's own currency, which transactions cost; None if the driver does not tell.
    """

    address: str
    platform: str
    amount: Decimal
    gas: Decimal | None


class Commands:
    """The command line of one running daemon.

    Parameters
    ----------
    program
        The `yagna` program.
    bus
        The unix socket of the daemon's service bus.
    folder
        The daemon's data folder.
    environment
        Environment of the commands.
    """

    def __init__(self, program: Path, bus: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._program = program
        self._environment = {
            **environment,
            "YAGNA_DATADIR": str(folder),
            "GSB_URL": f"unix:{bus}",
        }

    async def __call__(self, *arguments: str) -> Any:
        """Give a command; return what its JSON output says.

        Raises
        ------
        NodeCommandError
            It failed, or took longer than a minute.
        """
        shown = " ".join(arguments)
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            "--json",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        try:
            async with asyncio.timeout(_TIMEOUT):
                output, complaint = await process.communicate()
        except TimeoutError as error:
            raise NodeCommandError(shown, f"no answer within {_TIMEOUT:.0f} s") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        text = output.decode(errors="replace")
        if process.returncode != 0:
            raise NodeCommandError(shown, _reason(complaint.decode(errors="replace") or text))
        try:
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            raise NodeCommandError(shown, f"unexpected output {text[:200]!r}") from error

    async def identities(self) -> list[NodeIdentity]:
        """All identities of the daemon."""
        rows = await self("id", "list")
        return [
            NodeIdentity(NodeId(row["address"]), row.get("alias") or None, row.get("default") == "X")
            for row in rows
        ]

    async def create_identity(self, alias: str) -> NodeId:
        """Make an identity with a random key, kept in the daemon's folder.

        The daemon reads the identities that others can reach when its networking starts: it must be restarted
        afterwards, unless its networking had not started yet.

        Parameters
        ----------
        alias
            A name for it.
        """
        answer = await self("id", "create", alias, "--no-password")
        if "Ok" not in answer:
            raise NodeCommandError(f"id create {alias}", str(answer)[:500])
        return NodeId(answer["Ok"]["nodeId"])

    async def app_keys(self) -> list[AppKey]:
        """All application keys of the daemon."""
        rows = await self("app-key", "list")
        return [AppKey(row["name"], NodeId(row["id"]), row["key"]) for row in rows]

    async def create_app_key(self, name: str, identity: NodeId) -> str:
        """Make an application key that acts under an identity; return the key.

        Parameters
        ----------
        name
            A name for the key.
        identity
            Node id or alias of the identity; the daemon's default one if not given.
        """
        return str(await self("app-key", "create", "--id", identity, name))

    async def payment_init(
        self, network: str, account: str | None = None, *, sender: bool = False, receiver: bool = False
    ) -> None:
        """Make an account ready for payments on a network; to be repeated after each start of the daemon.

        Parameters
        ----------
        network
            The payment network.
        account
            The account; the daemon's default identity if not given.
        sender, receiver
            What it shall be able to do.
        """
        arguments = ["payment", "init", "--network", network]
        if account:
            arguments += ["--account", account]
        if sender:
            arguments.append("--sender")
        if receiver:
            arguments.append("--receiver")
        await self(*arguments)

    async def fund(self, network: str, account: str | None = None) -> None:
        """Ask the test network's faucet for tokens. It can take minutes on a public network.

        Parameters
        ----------
        network
            The payment network.
        account
            The account; the daemon's default identity if not given.
        """
        arguments = ["payment", "fund", "--network", network]
        if account:
            arguments += ["--account", account]
        await self(*arguments)

    async def balance(self, network: str, account: str | None = None) -> Balance:
        """What an account holds on a network."""
        arguments = ["payment", "status", "--network", network]
        if account:
            arguments += ["--account", account]
        answer = await self(*arguments)
        gas = answer.get("gas")
        return Balance(
            address=str(answer.get("address") or account or ""),
            platform=f"{answer['driver']}-{answer['network']}-{answer['token']}".lower(),
            amount=Decimal(str(answer["amount"])),
            gas=None if not gas else Decimal(str(gas["balance"])),
        )

    async def set_payment_cycle(self, network: str, account: str, interval: float, extra: float) -> None:
        """Pay accepted notes and invoices every `interval` seconds, `extra` seconds before they are due.

        The daemon pays in batches, on public test networks every 5 minutes. It refuses an `extra` of 5 s or
        less.

        Parameters
        ----------
        network
            The payment network.
        account
            The account.
        interval, extra
            Seconds.
        """
        await self(
            "payment", "process", "set", "--account", account, "--network", network,
            "--interval", f"{interval:g}s", "--payout", f"{extra:g}s",
        )  # fmt: skip


def _reason(complaint: str) -> str:
    """What the command said in the end, without the stack that follows it and the log that precedes it."""
    text = complaint.partition("Stack backtrace:")[0].strip()
    return text.rpartition("error details: ")[2][-500:] or "it did not say why"
