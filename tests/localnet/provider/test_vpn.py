"""VPNs: sandboxes that reach each other, and are reached by the requestor."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from golem_nb.localnet.provider.sandbox.host import Limits, SandboxHost
from golem_nb.localnet.provider.vpn import Switch, VpnError
from golem_nb.localnet.spec import Image

SERVER = "mkdir -p /golem/work/web; cd /golem/work/web; hostname > name; exec python3 -m http.server 8000"

pytestmark = pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no python3 in /usr/bin")


def _net(address: str, nodes: dict[str, str] | None = None, **more: str) -> dict:
    mask = {"id": "n", "ip": "192.168.9.0", "mask": "255.255.255.0"}
    return {**mask, "nodeIp": address, "nodes": nodes or {}, **more}


@pytest_asyncio.fixture
async def switch() -> AsyncIterator[Switch]:
    import socket

    from golem_nb.localnet.hub import Hub

    hub = Hub()
    listening = socket.create_server(("127.0.0.1", 0))
    await hub.serve(listening)
    switch = Switch(("127.0.0.1", listening.getsockname()[1]))
    yield switch
    await switch.close()
    await hub.close()


async def test_sandboxes_of_two_processes_reach_each_other(host: SandboxHost, switch: Switch, shell) -> None:
    if not host.tap:
        pytest.skip(f"no TAP devices here: {host.warnings}")
    if shutil.which("curl", path="/usr/bin:/bin") is None:
        pytest.skip("no curl here")
    # another switch on the same hub is what another provider's process would be
    far = Switch(switch._hub)
    nodes = {"192.168.9.2": "0xa", "192.168.9.3": "0xb", "192.168.9.4": "0xa"}
    sandboxes = {}
    try:
        for number, (ip, node) in enumerate(nodes.items()):
            sandbox = sandboxes[ip] = await host.create(
                f"a{number}", Image(sha3="0"), Limits(), taps=1, hostname=f"node-{number}"
            )
            side = far if node == "0xb" else switch
            await side.member(node).join(sandbox, [_net(ip, nodes)], f"a{number}")
            await sandbox.run(["/bin/sh", "-c", SERVER], {}, lambda _: None, lambda _: None)
        await asyncio.sleep(0.5)
        for source in sandboxes.values():
            for number, ip in enumerate(nodes):
                code, text = await shell(
                    source, f"curl -s -m 5 --retry 3 --retry-connrefused http://{ip}:8000/name"
                )
                assert (code, text) == (0, f"node-{number}\n")
        # one of a provider's two goes, the other stays
        await switch.leave("a0")
        assert (await shell(sandboxes["192.168.9.3"], "curl -s -m 1 http://192.168.9.2:8000/name"))[0] != 0
        left = await shell(sandboxes["192.168.9.3"], "curl -s -m 5 http://192.168.9.4:8000/name")
        assert left == (0, "node-2\n")
    finally:
        await far.close()
        for sandbox in sandboxes.values():
            await sandbox.close()


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (_net("192.168.8.2"), "192.168.8.2 is not in 192.168.9.0/24"),
        (_net("nowhere"), "Invalid network address: nowhere"),
        (_net("192.168.9.2", {"10.0.0.1": "0xc"}), "10.0.0.1 is not in"),
        (_net("192.168.9.2", ip="fe80::1"), "only IPv4"),
    ],
)
async def test_impossible_networks_say_what_is_wrong(
    switch: Switch, sandbox, wanted: dict, text: str
) -> None:
    with pytest.raises(VpnError, match=text):
        await switch.member("0xa").join(sandbox, [wanted], "a")


async def test_an_address_is_taken_once(host: SandboxHost, switch: Switch) -> None:
    if not host.tap:
        pytest.skip(f"no TAP devices here: {host.warnings}")
    sandbox = await host.create("a", Image(sha3="0"), Limits(), taps=2)
    await switch.member("0xa").join(sandbox, [_net("192.168.9.2")], "a")
    with pytest.raises(VpnError, match=r"192\.168\.9\.2 is taken"):
        await switch.member("0xb").join(sandbox, [_net("192.168.9.2")], "b")
    await sandbox.close()


async def test_no_hub(sandbox) -> None:
    switch = Switch(("127.0.0.1", 1))
    with pytest.raises(VpnError, match="hub does not take us"):
        await switch.member("0xa").join(sandbox, [_net("192.168.9.2")], "a")


@pytest.mark.localnet
async def test_the_requestor_reaches_ports_of_nodes(requestor) -> None:
    network = await requestor.net.create_network("192.168.9.0/24")
    await requestor.net.add_address(network.id, "192.168.9.1")
    agreement = await requestor.agreement()
    provider = agreement.details.provider_id
    if "vpn" not in agreement.details.offer_props["golem.runtime.capabilities"]:
        pytest.skip("the provider carries no VPN here")
    nodes = {"192.168.9.1": requestor.node_id, "192.168.9.2": provider, "192.168.9.3": provider}
    activities = []
    for ip in list(nodes)[1:]:
        await requestor.net.add_node(network.id, provider, ip)
        activity = await requestor.activities.new_activity(agreement.id)
        deploy = {"net": [_net(ip, nodes) | {"id": network.id}], "hostname": ip.replace(".", "-")}
        serve = f"({SERVER}) >/dev/null 2>&1 & sleep 0.5"
        server = {"run": {"entry_point": "/bin/sh", "args": ["-c", serve]}}
        results = await requestor.run(activity, {"deploy": deploy}, {"start": {}}, server)
        assert results[-1].success, results
        activities.append(activity)

    async def fetch(ip: str) -> bytes:
        socket = await requestor.net.connect(network.id, ip, 8000)
        try:
            await socket.send_bytes(b"GET /name HTTP/1.0\r\n\r\n")
            data = b""
            # the daemon passes on no end of a connection: the content's length is known here
            while not data.endswith(f"{ip.replace('.', '-')}\n".encode()):
                data += await socket.receive_bytes(timeout=5)
            return data
        finally:
            await socket.close()

    started = time.monotonic()
    for ip in ("192.168.9.2", "192.168.9.3"):
        assert b"200 OK" in await fetch(ip)
    # the requestor's stack would wait 3 s for the second if the nodes had not told where they are
    assert time.monotonic() - started < 2.5
    await activities[0].destroy()
    assert b"200 OK" in await fetch("192.168.9.3")
    await activities[1].destroy()
    await requestor.net.remove_network(network.id)
    await requestor.end(agreement)
    assert not [name for name in os.listdir("/sys/class/net") if name.startswith("vpn")]
