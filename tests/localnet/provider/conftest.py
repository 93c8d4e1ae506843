"""Sandboxes, and a network of one provider with a bare requestor, for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from golem_nb.config import ApiConfig
from golem_nb.localnet import LocalNetwork, LocalProvider, ProviderSpec
from golem_nb.localnet.provider.sandbox.host import Limits, Sandbox, SandboxHost
from golem_nb.localnet.spec import Image
from golem_nb.rest import Configuration, Gsb, Identity, Market, Net, Payment
from golem_nb.rest.activity import Activity, ActivityService, ActivityState, CommandResult
from golem_nb.rest.agreements import Agreement, AgreementEvent
from golem_nb.rest.allocations import Allocation
from golem_nb.rest.errors import ApiError, BadRequestError
from golem_nb.rest.notes import DebitNote, Invoice
from golem_nb.rest.proposals import OfferProposal, ProposalRejection
from golem_nb.storage.gsb import GsbStorage
from tests.localnet.provider.rootfs import make_rootfs

Shell = Callable[..., Awaitable[tuple[int, str]]]

PLATFORM = "erc20-hoodi-tglm"
ALPINE = "9a3b5d67b0b27746283cb5f287c13eab1beaa12d92a9f536b747c7ae"
SPEC = ProviderSpec(
    name="solo",
    mem_gib=0.5,
    storage_gib=1,
    start_price="0.001",
    price_per_second="0.0003",
    price_per_cpu_second="0.0007",
    max_activities=3,
)


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[SandboxHost]:
    if sys.platform != "linux":
        pytest.skip("sandboxes need Linux")
    host = SandboxHost(tmp_path / "sandboxes")
    await host.start()
    yield host
    await host.close()


@pytest_asyncio.fixture
async def sandbox(host: SandboxHost) -> AsyncIterator[Sandbox]:
    sandbox = await host.create("activity", Image(sha3="0"), Limits(memory=256 << 20, storage=64 << 20))
    yield sandbox
    await sandbox.close()


@pytest.fixture
def shell() -> Shell:
    async def run(sandbox: Sandbox, script: str, **environment: str) -> tuple[int, str]:
        output = bytearray()
        process = await sandbox.run(["/bin/sh", "-c", script], environment, output.extend, output.extend)
        return await process.exited, output.decode(errors="replace")

    return run


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """An image's folder with a shell, and a program in its own /golem."""
    return make_rootfs(tmp_path / "rootfs")


@pytest.fixture(scope="module")
def solo_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network of its own, since its provider is made to misbehave."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        with LocalNetwork(providers=[SPEC]) as network:
            yield network


@attrs.define
class Requestor:
    """A bare requestor: as little as possible between a test and what the provider does."""

    market: Market
    payment: Payment
    activities: ActivityService
    gsb: Gsb
    storage: GsbStorage
    net: Net
    node_id: str
    allocation: Allocation
    provider: LocalProvider
    subnet: str
    rejections: list[ProposalRejection] = attrs.field(factory=list)
    offers: list[OfferProposal] = attrs.field(factory=list)
    made: list[Agreement] = attrs.field(factory=list)

    async def negotiate(
        self, *, wait: float = 5.0, seconds: float = 1800, **wanted: Any
    ) -> OfferProposal | None:
        """Negotiate until there is a draft, a rejection, or `wait` seconds have passed."""
        decoration = await self.payment.decorate_demand([self.allocation.id])
        properties: dict[str, Any] = {
            "golem.srv.comp.expiration": int((time.time() + seconds) * 1000),
            "golem.srv.caps.multi-activity": True,
            "golem.node.debug.subnet": self.subnet,
            "golem.srv.comp.task_package": f"hash:sha3:{ALPINE}:http://127.0.0.1/image",
            **decoration.properties,
            **wanted,
        }
        constraints = "".join(["(golem.runtime.name=vm)", *decoration.constraints])
        async with self.market.subscribe(properties, f"(&{constraints})") as subscription:
            end = time.monotonic() + wait
            while (left := end - time.monotonic()) > 0:
                for event in await subscription.collect(timeout=left):
                    if isinstance(event, ProposalRejection):
                        self.rejections.append(event)
                        return None
                    self.offers.append(event)
                    if event.is_draft:
                        return event
                    chosen = {**properties, "golem.com.payment.chosen-platform": PLATFORM}
                    with contextlib.suppress(BadRequestError):  # of an offer that has just been withdrawn
                        await event.respond(chosen, f"(&{constraints})")
        return None

    async def propose(self, **wanted: Any) -> Agreement:
        """Negotiate, and propose an agreement."""
        draft = await self.negotiate(**wanted)
        assert draft is not None, self.rejections
        agreement = await draft.create_agreement(dt.timedelta(minutes=30))
        await agreement.confirm()
        self.made.append(agreement)
        return agreement

    async def agreement(self, **wanted: Any) -> Agreement:
        """Make an agreement."""
        agreement = await self.propose(**wanted)
        await agreement.wait_for_approval(10)
        return agreement

    async def ready(self, **wanted: Any) -> tuple[Agreement, Activity]:
        """Make an agreement and an activity that has been deployed and started."""
        agreement = await self.agreement(**wanted)
        activity = await self.activities.new_activity(agreement.id)
        results = await self.run(activity, {"deploy": {}}, {"start": {"args": []}})
        assert all(result.success for result in results), results
        return agreement, activity

    async def run(
        self, activity: Activity, *commands: Mapping[str, Any], wait: float = 20.0
    ) -> list[CommandResult]:
        """Run a script to its end; [] when it has not ended after `wait` seconds."""
        batch = await activity.send(commands)
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            results = await activity.results(batch, timeout=left)
            if results and results[-1].is_batch_finished:
                return results
        return []

    async def upload(self, activity: Activity, data: bytes, path: str, **more: Any) -> CommandResult:
        source = await self.storage.upload_bytes(data)
        command = {"transfer": {"from": source.download_url, "to": f"container:{path}", **more}}
        result = (await self.run(activity, command))[0]
        await source.release()
        return result

    async def terminated(self, agreement: Agreement, wait: float = 15.0) -> AgreementEvent:
        """Wait for the end of an agreement."""
        after = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            for event in await self.market.collect_agreement_events(after, timeout=left):
                after = event.date
                if event.agreement_id == agreement.id and event.kind == "terminated":
                    return event
        raise TimeoutError(f"nobody has ended {agreement} within {wait} s")

    async def gone(self, activity: Activity, wait: float = 5.0) -> ActivityState:
        """Wait for the end of an activity; return its last state."""
        end = time.monotonic() + wait
        while (state := await activity.state()).current != "Terminated" and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert state.current == "Terminated"
        return state

    async def debit_notes(self, agreement: Agreement) -> list[DebitNote]:
        return [n for n in await self.payment.debit_notes() if n.agreement_id == agreement.id]

    async def invoice(self, agreement: Agreement, wait: float = 5.0) -> Invoice | None:
        """Wait for the agreement's invoice."""
        end = time.monotonic() + wait
        while time.monotonic() < end:
            for invoice in await self.payment.invoices():
                if invoice.agreement_id == agreement.id:
                    return invoice
            await asyncio.sleep(0.1)
        return None

    async def end(self, agreement: Agreement) -> Invoice | None:
        """End an agreement and accept its invoice."""
        await agreement.terminate({"message": "done"})
        invoice = await self.invoice(agreement)
        if invoice is not None:
            await invoice.accept(invoice.amount, self.allocation)
        return invoice


@pytest_asyncio.fixture
async def requestor(solo_network: LocalNetwork) -> AsyncIterator[Requestor]:
    config: ApiConfig = solo_network.api_config
    provider = solo_network.provider(SPEC.name)
    async with contextlib.AsyncExitStack() as stack:
        configuration = await stack.enter_async_context(Configuration(config))
        me = await Identity(configuration.root()).me()
        payment = Payment(configuration.payment())
        allocation = await stack.enter_async_context(await payment.create_allocation(Decimal(5), PLATFORM))
        gsb = Gsb(configuration.gsb())
        storage = await stack.enter_async_context(GsbStorage(gsb, me.identity))
        market = Market(configuration.market())
        activities = ActivityService(configuration.activity())
        subnet = solo_network.env["YAGNA_SUBNET"]
        net = Net(configuration.net())
        requestor = Requestor(
            market, payment, activities, gsb, storage, net, me.identity, allocation, provider, subnet
        )
        yield requestor
        await provider.behave()
        for agreement in requestor.made:  # of a test that has failed: the provider has room for a few only
            with contextlib.suppress(ApiError):
                await agreement.terminate({"message": "over"})


def shell_command(script: str, **capture: Any) -> dict[str, Any]:
    mode = capture or {"atEnd": {}}
    argv = {"entry_point": "/bin/sh", "args": ["-c", script]}
    return {"run": {**argv, "capture": {"stdout": mode, "stderr": mode}}}


@pytest.fixture
def sh() -> Callable[..., dict[str, Any]]:
    """Make a `run` command of a shell script."""
    return shell_command
