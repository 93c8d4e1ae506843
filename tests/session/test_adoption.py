"""What a dead kernel has left running is taken over by the next session."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from golem_nb import Session, vm
from golem_nb.rest import Configuration, Market, Payment
from golem_nb.services import Service
from golem_nb.session.errors import SessionError

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork

KILLED = """
import os, sys
sys.path.insert(0, {folder!r})
from golem_nb import Session
from test_adoption import Clock, Other
session = Session(budget=1, network="hoodi", name="killed")
network = session.create_network("192.168.61.0/24")
session.cluster(Clock, 2, network=network).result(60)
session.cluster(Clock, network=session.create_network("192.168.62.0/24")).result(60)
session.cluster(Other).result(60)
os.kill(os.getpid(), 9)
"""


class Clock(Service):
    """Tells the time."""

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])

    async def run(self) -> Any:
        while True:
            await self._listen()
            script = self._ctx.new_script()
            told = script.run("/bin/cat", "/proc/1/comm")
            yield script
            await self._respond((await told).stdout)


class Other(Clock):
    """Another one, which nobody takes over."""


async def _at(network: LocalNetwork) -> tuple[set[str], int]:
    async with Configuration(network.api_config) as configuration:
        agreements = await Market(configuration.market()).agreements(state="Approved")
        return {each.id for each in agreements}, len(await Payment(configuration.payment()).allocations())


def at(network: LocalNetwork) -> tuple[set[str], int]:
    return asyncio.run(_at(network))


def test_services_of_a_dead_kernel_are_adopted(on_network: LocalNetwork, data_dir: Path) -> None:
    before = at(on_network)
    code = KILLED.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -9, done.stderr
    agreements = at(on_network)[0] - before[0]
    assert len(agreements) == 4
    session = Session(budget=2, network="hoodi", name="heir")
    try:
        cluster = session.adopt(Clock)
        instances = cluster.result(60)
        assert len(instances) == 2
        assert at(on_network)[0] >= agreements  # they go on as they are
        assert cluster.facts().instances[0].address is not None
        # they work for this session, and count for its budget
        cluster.send(instances[0].id, "?")
        assert cluster.receive(instances[0].id, 30)
        assert session.money.per_hour > 0
        assert session.money.accepted + session.money.reserved > 0
        # one that is in another VPN is another cluster
        elsewhere = session.adopt(Clock)
        (alone,) = elsewhere.result(60)
        elsewhere.send(alone.id, "?")
        assert elsewhere.receive(alone.id, 30)
        found = {each.network_node.network.network_id: each for each in (*instances, alone)}
        assert len(found) == 2
        with pytest.raises(SessionError, match="what was left: Other"):
            session.adopt(Clock)
        # what nobody has adopted is still there to be settled
        (left,) = session.left
        assert "1 agreement in force" in left
        report = session.recover()
        assert len(report.ended) == 1
        assert report.problems == []
        assert session.left == []
        assert len(at(on_network)[0] & agreements) == 3
        cluster.stop()
        elsewhere.stop()
        assert len(cluster.errors) == 0
    finally:
        bill = session.stop()
    assert bill.accepted > 0
    assert "unpaid" not in repr(bill)
    deadline = time.monotonic() + 10
    while at(on_network) != before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert at(on_network) == before


def test_what_was_not_left_cannot_be_adopted(on_network: LocalNetwork, data_dir: Path) -> None:
    with (
        Session(budget=1, network="hoodi", name="no heir") as session,
        pytest.raises(SessionError, match=r"No instance of Clock was left.*nothing"),
    ):
        session.adopt(Clock)
