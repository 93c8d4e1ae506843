"""The floor: what a requestor has to ask the daemon for, with aiohttp and nothing around it.

No SDK can be faster than the daemon; this client shows how fast that is. It does what a job needs (an
allocation, a demand, counter-proposals, agreements, activities, scripts with their results by long poll, and
in the end: activities, agreements, the demand, invoices and the allocation) as early and as much at the same
time as the daemon allows. It does not do what makes an SDK one: no retries, no checks of what providers send,
no events, no debit notes, no strategy, no time limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from yarl import URL

IMAGE = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"
_HOUR = timedelta(hours=1)
_HEADERS = {"Content-Type": "application/json"}


class Daemon:
    """Requests to the daemon that the environment names."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.url = os.environ["YAGNA_API_URL"]

    async def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request, give the answer; a status beyond 299 is an error."""
        data = None if method == "GET" else json.dumps(body).encode()
        async with self.session.request(
            method, URL(self.url + path, encoded=True), data=data, headers=_HEADERS
        ) as response:
            text = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {response.status} {text[:500]!r}")
            return json.loads(text) if text else None


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Daemon]:
    """A session as lean as aiohttp has it: no cookies, no limits of connections or time."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Authorization": f"Bearer {os.environ['YAGNA_APPKEY']}"},
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
    ) as session:
        yield Daemon(session)


Work = Callable[["Activity"], Awaitable[None]]


class Activity:
    """An activity and how scripts are run on it."""

    def __init__(self, daemon: Daemon, id: str, provider: str) -> None:
        self.id = id
        self.provider = provider
        self._daemon = daemon
        self._path = f"/activity-api/v1/activity/{id}"

    async def run(self, *commands: dict[str, Any]) -> dict[str, Any]:
        """Run a script, and give the result of its last command."""
        batch = await self._daemon("POST", f"{self._path}/exec", {"text": json.dumps(commands)})
        results = await self._daemon(
            "GET", f"{self._path}/exec/{batch}?commandIndex={len(commands) - 1}&timeout=600"
        )
        last = results[-1]
        if last["result"] != "Ok" or len(results) != len(commands):
            raise RuntimeError(f"a command failed: {last}")
        return dict(last)

    async def destroy(self) -> None:
        """End the activity."""
        await self._daemon("DELETE", self._path)


def run(*command: str) -> dict[str, Any]:
    """The command that runs a program."""
    stream: dict[str, Any] = {"stream": {}}
    return {
        "run": {
            "entry_point": command[0],
            "args": list(command[1:]),
            "capture": {"stdout": stream, "stderr": stream},
        }
    }


class Job:
    """Some activities of different providers for as long as the block lasts, and the payment for them.

    Parameters
    ----------
    daemon
        The daemon.
    count
        How many.
    work
        Called with each activity as soon as there is one.
    capabilities
        What their runtimes must be able to do.
    """

    def __init__(self, daemon: Daemon, count: int, work: Work, capabilities: Sequence[str] = ()) -> None:
        self._daemon = daemon
        self._count = count
        self._work = work
        self._capabilities = capabilities
        self._unpaid: set[str] = set()
        self._since = datetime.now(UTC)
        self._expires = self._since + _HOUR
        self._allocation = ""

    async def reserve(self) -> None:
        """Reserve the money, and ask what the demand must say of it."""
        call, expires = self._daemon, self._expires
        network = os.environ["YAGNA_PAYMENT_NETWORK"]
        self._platform = f"erc20-{network}-tglm"
        allocation = await call(
            "POST",
            "/payment-api/v1/allocations",
            {"totalAmount": "10", "paymentPlatform": self._platform, "timeout": expires.isoformat()},
        )
        self._allocation = allocation["allocationId"]
        decoration = await call("GET", f"/payment-api/v1/demandDecorations?allocationIds={self._allocation}")
        sha3 = IMAGE
        url = f"{os.environ['GOLEM_REGISTRY_URL']}/images/{sha3}.gvmi"
        self._properties = {
            "golem.srv.comp.expiration": int(expires.timestamp() * 1000),
            "golem.srv.caps.multi-activity": True,
            "golem.node.debug.subnet": os.environ["YAGNA_SUBNET"],
            "golem.srv.comp.task_package": f"hash:sha3:{sha3}:{url}",
            "golem.srv.comp.vm.package_format": "gvmkit-squash",
            **{item["key"]: item["value"] for item in decoration["properties"]},
        }
        constraints = [
            f"(golem.node.debug.subnet={os.environ['YAGNA_SUBNET']})",
            "(golem.com.pricing.model=linear)",
            "(golem.runtime.name=vm)",
            *(f"(golem.runtime.capabilities={capability})" for capability in self._capabilities),
            *decoration["constraints"],
        ]
        self._constraints = f"(&{''.join(constraints)})"

    async def run(self) -> None:
        """Do it all; `reserve` may have been done before."""
        if not self._allocation:
            await self.reserve()
        call, expires = self._daemon, self._expires
        demand = await call(
            "POST",
            "/market-api/v1/demands",
            {"properties": self._properties, "constraints": self._constraints},
        )
        path = f"/market-api/v1/demands/{demand}"
        work: list[asyncio.Task[str]] = []
        ends: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as group:
            while len(work) < self._count:
                for event in await call("GET", f"{path}/events?timeout=60&maxEvents=50"):
                    proposal = event["proposal"]
                    if proposal["state"] == "Initial":
                        group.create_task(self._counter(path, proposal["proposalId"]))
                    elif len(work) < self._count:
                        work.append(group.create_task(self._agree(proposal, expires, ends)))
        await asyncio.gather(call("DELETE", path), *ends, self._pay())
        await call("DELETE", f"/payment-api/v1/allocations/{self._allocation}")

    async def _counter(self, path: str, proposal: str) -> None:
        await self._daemon(
            "POST",
            f"{path}/proposals/{proposal}",
            {
                "properties": self._properties | {"golem.com.payment.chosen-platform": self._platform},
                "constraints": self._constraints,
            },
        )

    async def _agree(
        self, proposal: dict[str, Any], expires: datetime, ends: list[asyncio.Task[None]]
    ) -> str:
        call = self._daemon
        agreement = str(
            await call(
                "POST",
                "/market-api/v1/agreements",
                {"proposalId": proposal["proposalId"], "validTo": expires.isoformat()},
            )
        )
        path = f"/market-api/v1/agreements/{agreement}"
        await call("POST", f"{path}/confirm")
        await call("POST", f"{path}/wait?timeout=60")
        created = await call("POST", "/activity-api/v1/activity?timeout=60", {"agreementId": agreement})
        self._unpaid.add(agreement)
        activity = Activity(call, created["activityId"], proposal["issuerId"])
        await self._work(activity)
        # the end of one does not wait for the work of another
        ends.append(asyncio.create_task(self._end(activity, path)))
        return agreement

    async def _end(self, activity: Activity, agreement_path: str) -> None:
        await activity.destroy()
        await self._daemon("POST", f"{agreement_path}/terminate", {"message": "done"})

    async def _pay(self) -> None:
        call, since = self._daemon, self._since.isoformat()
        while self._unpaid:
            events = await call(
                "GET", f"/payment-api/v1/invoiceEvents?timeout=60&afterTimestamp={since.replace('+', '%2B')}"
            )
            for event in events:
                since = event["eventDate"]
                path = f"/payment-api/v1/invoices/{event['invoiceId']}"
                invoice = await call("GET", path)
                if invoice["agreementId"] in self._unpaid:
                    self._unpaid.discard(invoice["agreementId"])
                    await call(
                        "POST",
                        f"{path}/accept",
                        {"totalAmountAccepted": invoice["amount"], "allocationId": self._allocation},
                    )
