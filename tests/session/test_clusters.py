"""Clusters of services on the local network, steered from any thread."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from golem_nb import Session, vm
from golem_nb.contrib.service.http_proxy import HttpProxyService
from golem_nb.services import Service
from golem_nb.session import ClusterHandle
from golem_nb.session.errors import ClusterError, JobCancelledError, SessionError
from tests.leavings import NOTHING, look, since

if TYPE_CHECKING:
    from golem_nb.localnet import LocalNetwork


class Echo(Service):
    """Says what it is sent, in the words of a provider."""

    def __init__(self, word: str = "said") -> None:
        super().__init__()
        self.word = word

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_tag="golem/alpine:latest")

    async def run(self) -> Any:
        while True:
            message = await self._listen()
            script = self._ctx.new_script()
            result = script.run("/bin/echo", self.word, str(message.message))
            yield script
            await self._respond((await result).stdout)


class Broken(Echo):
    """Never starts."""

    async def start(self) -> Any:
        async for script in super().start():
            yield script
        raise ValueError("it does not start")

    @property
    def restart_condition(self) -> bool:
        return False


@pytest.fixture
def run(session: Session) -> Iterator[Callable[..., ClusterHandle]]:
    """Runs clusters and stops them."""
    clusters: list[ClusterHandle] = []

    def run(*arguments: Any, **options: Any) -> ClusterHandle:
        clusters.append(session.cluster(*arguments, **options))
        return clusters[-1]

    yield run
    for cluster in clusters:
        if not cluster.ended:
            cluster.stop()


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def states(cluster: ClusterHandle) -> list[str]:
    return sorted(instance.state for instance in cluster.facts().instances)


def test_instances_run_answer_and_stop(run: Callable[..., ClusterHandle], session: Session) -> None:
    cluster = run(Echo, 2)
    assert cluster.state == "starting"
    first, second = cluster.result(60)
    assert cluster.wait(1)
    cluster.send(first.id, "hello")
    assert cluster.receive(first.id, 20) == "said hello\n"
    with pytest.raises(TimeoutError):
        cluster.receive(second.id, 0.1)
    facts = cluster.facts()
    assert [entry.message for entry in facts.instances] == ["said hello\n", None]
    assert facts.wanted == 2
    assert states(cluster) == ["running", "running"]
    assert all(entry.since and entry.started and entry.per_hour for entry in facts.instances)
    assert cluster.cost > 0
    assert cluster.progress.running == 2
    assert cluster[first.id] is first
    assert session.clusters[cluster.id] is cluster
    assert len(cluster.frame) >= 4
    ET.fromstring(cluster._repr_html_())
    assert repr(cluster).startswith(f"cluster {cluster.id} of Echo running: 2 of 2 instances running")
    cluster.stop()
    assert cluster.state == "done"
    assert states(cluster) == ["terminated", "terminated"]
    with pytest.raises(SessionError, match="no instances to work with"):
        cluster.add()


def test_the_number_of_instances_can_be_changed(run: Callable[..., ClusterHandle]) -> None:
    cluster = run(Echo, instance_params=[{"word": "one"}])
    cluster.result(60)
    cluster.add(instance_params=[{"word": "two"}])
    (one, two) = cluster.result(60)
    cluster.send(two.id, "")
    assert cluster.receive(two.id, 20) == "two \n"
    cluster.stop_instance(one.id)
    cluster.stop_instance(one.id)
    assert until(lambda: states(cluster) == ["running", "terminated"])
    assert cluster.wanted == 1
    assert cluster.wait(20)
    cluster.scale(2)
    assert len(cluster.result(60)) == 2
    cluster.scale(0)
    assert until(lambda: "running" not in states(cluster))
    for wrong in (-1, 1.5, "2"):
        with pytest.raises(ValueError, match="whole number that is not negative"):
            cluster.scale(wrong)  # type: ignore[arg-type]
    for few in (0, -1):
        with pytest.raises(ValueError, match="count must be at least 1"):
            cluster.add(few)
    assert cluster.wanted == 0
    with pytest.raises(KeyError, match="there are"):
        cluster.stop_instance("nobody")


def test_an_instance_is_suspended_and_taken_up_again(run: Callable[..., ClusterHandle]) -> None:
    cluster = run(Echo)
    (instance,) = cluster.result(60)
    activity = instance._activity.id
    with pytest.raises(SessionError, match="only a suspended instance"):
        cluster.resume_instance(instance.id)
    cluster.suspend_instance(instance.id)
    # waits until it is suspended
    cluster.resume_instance(instance.id)
    assert states(cluster) == ["running"]
    again = cluster.instances[-1]
    assert again is not instance
    assert again._activity.id == activity
    cluster.send(again.id, "back")
    assert cluster.receive(again.id, 20) == "said back\n"
    # one line, of all that the instance has gone through
    frame = cluster.frame
    assert set(frame["service"]) == {instance.id}
    assert frame["state"].tolist() == ["starting", "running", "suspended", "running"]
    assert frame["end"].isna().tolist() == [False, False, False, True]


def test_suspended_instances_are_not_counted(run: Callable[..., ClusterHandle], session: Session) -> None:
    cluster = run(Echo, 2)
    first, second = cluster.result(60)
    cluster.suspend_instance(first.id)
    cluster.suspend_instance(first.id)
    assert cluster.wanted == 1
    assert until(lambda: states(cluster) == ["running", "suspended"])
    assert cluster.result(5) == [second]
    cluster.scale(2)
    assert len(cluster.result(60)) == 2
    assert states(cluster) == ["running", "running", "suspended"]
    cluster.resume_instance(first.id)
    assert cluster.wanted == 3
    assert len(cluster.result(5)) == 3
    # ended while it is suspended: the others are wanted as before
    cluster.suspend_instance(first.id)
    assert until(lambda: "suspended" in states(cluster))
    cluster.stop_instance(first.id)
    assert states(cluster) == ["running", "running", "terminated"]
    assert cluster.wanted == 2
    cluster.suspend()
    assert cluster.wanted == 0
    assert until(lambda: states(cluster) == ["suspended", "suspended", "terminated"])
    cluster.restart_instance(second.id)
    assert cluster.wanted == 1
    assert len(cluster.result(60)) == 1
    cluster.stop()
    assert states(cluster) == ["terminated"] * 4
    # those that were suspended are paid like the others
    assert until(lambda: not any(account.owes for account in session._core.meter.accounts()))


def test_a_suspended_instance_goes_on_when_its_session_is_stopped(
    network: LocalNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLEM_NB_DATA_DIR", str(tmp_path))
    before = look(network.api_config)
    session = Session(budget=1, network=network, name="leaves one")
    cluster = session.cluster(Echo, 2)
    kept, _ = cluster.result(60)
    cluster.suspend_instance(kept.id)
    bill = session.stop()
    assert kept.state.value == "suspended"
    assert bill.released == 0
    assert bill.reserved == 1 - bill.accepted
    assert bill.reserved_until is not None
    assert bill.reserved_until > datetime.now(UTC) + timedelta(hours=3)
    assert len(since(network.api_config, before).allocations) == 1
    later = Session(budget=1, network=network, name="ends it")
    again = later.adopt(Echo)
    (taken_up,) = again.result(60)
    assert taken_up.id == kept.id
    again.suspend_instance(kept.id)
    assert until(lambda: states(again) == ["suspended"])
    # who cancels a cluster, or has a limit end it, does not want to pay for it any more
    again.cancel()
    assert until(lambda: states(again) == ["terminated"])
    bill = later.stop()
    assert bill.reserved_until is None
    assert bill.released == 1 - bill.accepted
    assert since(network.api_config, before) == NOTHING


def test_an_instance_is_restarted(run: Callable[..., ClusterHandle]) -> None:
    cluster = run(Echo)
    (instance,) = cluster.result(60)
    cluster.restart_instance(instance.id)
    assert until(lambda: states(cluster) == ["running", "terminated"])


def test_instances_that_do_not_start_are_an_error(run: Callable[..., ClusterHandle]) -> None:
    cluster = run(Broken)
    with pytest.raises(ClusterError, match=r"(?s)0 of 1 instance .*it does not start") as caught:
        cluster.result(60)
    assert len(caught.value.errors) == 1
    assert cluster.errors
    assert (cluster.state, cluster.ended, cluster.facts().state) == ("failed", False, "failed")
    assert str(cluster.error) == str(caught.value)
    assert " failed: 0 of 1 " in repr(cluster)
    # that none can start any more is true until somebody asks for another one
    cluster.add()
    assert (cluster.state, cluster.error, cluster.facts().state) == ("running", None, "running")
    assert until(lambda: cluster.state == "failed")
    assert len(cluster.errors) == 2


async def test_a_cluster_is_awaited(run: Callable[..., ClusterHandle]) -> None:
    cluster = run(Echo, 2)
    running = []
    async for instance in cluster:
        running.append(instance)
        if len(running) == 2:
            break
    assert len(await cluster) == 2


def test_a_cluster_can_be_cancelled(run: Callable[..., ClusterHandle]) -> None:
    cluster = run(Echo)
    cluster.cancel()
    assert until(lambda: cluster.ended)
    with pytest.raises(JobCancelledError):
        cluster.result(1)
    cluster = run(Echo)
    cluster.result(60)
    cluster.cancel()
    assert until(lambda: cluster.ended)
    assert states(cluster) == ["terminated"]


def test_a_cluster_in_a_network(run: Callable[..., ClusterHandle], session: Session) -> None:
    network = session.create_network("192.168.88.0/24")
    cluster = run(
        Echo,
        network=network,
        network_addresses=["192.168.88.9"],
        payload=vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"]),
    )
    with pytest.raises(ValueError, match="`payload`"):
        cluster.result(60)
    cluster = session.cluster(Echo, network=network, network_addresses=["192.168.88.9"])
    cluster.result(60)
    assert cluster.facts().instances[0].address == "192.168.88.9"
    assert "192.168.88.9" in network.nodes
    cluster.stop()
    network.remove()


def test_mistakes_are_found_at_once(session: Session) -> None:
    before = list(session.jobs)
    for no_class in (object, Echo(), lambda: None):
        with pytest.raises(TypeError, match="subclass of Service"):
            session.cluster(no_class)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`Wrong\.start` must be an asynchronous generator"):
        session.cluster(type("Wrong", (Echo,), {"start": None}))
    with pytest.raises(TypeError, match=r"network must be what session\.create_network\(\) gives"):
        session.cluster(Echo, network="192.168.0.0/24")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expiration must be a datetime"):
        session.cluster(Echo, expiration=3600)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expiration must be in the future"):
        session.cluster(Echo, expiration=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(ValueError, match="at least 1"):
        session.cluster(Echo, 0)
    with pytest.raises(TypeError, match="did you mean 'num_instances'"):
        session.cluster(Echo, num_instance=2)  # type: ignore[call-arg]
    assert list(session.jobs) == before


SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")
server = http.server.ThreadingHTTPServer((sys.argv[1], 8000), Handler)
print("listening", flush=True)
server.serve_forever()
"""


class Site(HttpProxyService):
    """Says hello."""

    def __init__(self) -> None:
        super().__init__(remote_port=8000)

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_tag="golem/alpine:latest", capabilities=["vpn"])

    async def start(self) -> Any:
        async for script in super().start():
            yield script
        script = self._ctx.new_script()
        script.upload_bytes(SERVER.encode(), "/golem/work/server.py")
        serve = f"python3 server.py {self.network_node.ip} > log 2>&1 &"
        script.run(
            "/bin/sh", "-c", f"cd /golem/work; {serve} until grep -q listening log; do sleep 0.02; done"
        )
        yield script


def test_a_proxy_answers_while_the_cell_is_busy_and_ends_with_its_cluster(
    run: Callable[..., ClusterHandle], session: Session
) -> None:
    network = session.create_network("192.168.30.0/24")
    cluster = run(Site, network=network)
    # asked for before there is an instance
    site = cluster.proxy()
    assert cluster.wait(60)
    with urlopen(site.url, timeout=30) as answer:
        assert answer.read() == b"hello"
    with pytest.raises(OSError, match=f"Port {site.port} of 127.0.0.1 is in use"):
        cluster.proxy(site.port)
    # the panel has a link to it
    assert [entry.url for entry in cluster.facts().instances if entry.state == "running"] == [site.url]
    other = cluster.proxy()
    other.stop()
    other.stop()
    assert repr(other).endswith(", stopped>")
    with pytest.raises(URLError):
        urlopen(other.url, timeout=10)
    cluster.stop()
    with pytest.raises(URLError):
        urlopen(site.url, timeout=10)
    with pytest.raises(SessionError, match="no instances to work with"):
        cluster.proxy()
    network.remove()


def test_what_cannot_have_a_proxy(run: Callable[..., ClusterHandle]) -> None:
    with pytest.raises(TypeError, match="derive it from"):
        run(Echo).proxy()
    with pytest.raises(SessionError, match="is in no network"):
        run(Site).proxy()
