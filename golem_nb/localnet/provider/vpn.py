"""The VPNs of the local network's providers: Ethernet frames between sandboxes and the hub.

Each activity in a network has a TAP device in its sandbox. One switch, in the process of the provider agent,
carries the frames of all of them: between two of its own activities directly, else through the hub, where it
registers `/net/<provider>/vpn/<network>` for each provider that has an activity in the network.
Registering there and not at the providers' daemon spares each frame a way through that daemon, which costs
it most of a millisecond and now and then reorders frames; the requestor's daemon sees no difference.

On the wire a frame is the body of a raw message (`…/raw`), one Ethernet frame without prefix or checksum. The
requestor tells who is in the network by `…/VpnControl` (`addNodes`, `removeNodes`) and by `deploy`'s `nodes`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from golem_nb.exceptions import GolemError
from golem_nb.localnet.bus.client import Bus, BusCallError, BusError, Call, ErrorReply

if TYPE_CHECKING:
    from golem_nb.localnet.provider.sandbox.host import Sandbox

__all__ = ["Member", "Switch", "VpnError"]

logger = logging.getLogger(__name__)

#: What the official runtime gives its VPN interface.
_MTU: Final = 1220
_ARP, _IPV4 = b"\x08\x06", b"\x08\x00"
_SHORTEST: Final = 34
_LONGEST: Final = 65536
#: Frames that are read from a device before others have their turn.
_BURST: Final = 64
#: Bytes that may wait for the hub before the devices are read no further: their TCP slows down then.
_HIGH_WATER: Final = 256 << 10

#: Seconds; the requestor's stack forgets who has an address after a minute.
_ANNOUNCE_INTERVAL: Final = 45.0


class VpnError(GolemError):
    """A network of `deploy` is impossible; the text names what is wrong."""


@attrs.define(eq=False)
class _Port:
    """The device of one activity in one network."""

    network: _Network
    activity_id: str
    node_id: str
    ip: bytes
    descriptor: int


@attrs.define(eq=False)
class _Network:
    """One network, with all of its activities in this process."""

    id: str
    net: ipaddress.IPv4Network
    ports: dict[bytes, _Port] = attrs.field(factory=dict)
    #: Who has an address: packed address -> node id.
    nodes: dict[bytes, str] = attrs.field(factory=dict)
    #: Providers of this process that are registered for it.
    members: set[str] = attrs.field(factory=set)

    def add(self, nodes: Mapping[str, Any]) -> None:
        """Take note of nodes; those that are known already stay."""
        for text, node in nodes.items():
            address = _address(text, self.net)
            self.nodes.setdefault(address, str(node).lower())


def _address(text: Any, net: ipaddress.IPv4Network) -> bytes:
    try:
        address = ipaddress.IPv4Address(str(text))
    except ValueError as error:
        raise VpnError(f"Local service error: Invalid network address: {text}") from error
    if address not in net:
        raise VpnError(f"Local service error: Invalid network address: {text} is not in {net}")
    return address.packed


class Switch:
    """Carries the frames of all activities of this process.

    Parameters
    ----------
    hub
        Where the hub listens.
    """

    def __init__(self, hub: tuple[str, int]) -> None:
        self._hub = hub
        self._bus: Bus | None = None
        self._networks: dict[str, _Network] = {}
        self._lock = asyncio.Lock()
        self._paused = False
        self._resuming: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None

    def member(self, node_id: str) -> Member:
        """Return a provider's side of the switch."""
        return Member(self, node_id.lower())

    async def close(self) -> None:
        """Take all devices away and leave the hub."""
        for network in list(self._networks.values()):
            for port in list(network.ports.values()):
                self._unplug(port)
        self._networks.clear()
        tasks = [task for task in (self._resuming, self._announcing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._bus is not None:
            await self._bus.close()

    # -- joining and leaving ----------------------------------------------------------------------

    async def join(
        self, node_id: str, sandbox: Sandbox, wanted: Mapping[str, Any], number: int, activity: str
    ) -> None:
        """Connect a sandbox to a network of `deploy`.

        Raises
        ------
        VpnError
            An address is wrong or taken, or the hub cannot be reached.
        SandboxError
            The device cannot be made.
        """
        net = _subnet(wanted)
        ip = _address(wanted["nodeIp"], net)
        async with self._lock:
            network = self._networks.get(wanted["id"]) or _Network(str(wanted["id"]), net)
            if ip in network.ports:
                raise VpnError(f"Local service error: the address {wanted['nodeIp']} is taken in the network")
            network.add(wanted.get("nodes") or {})
            await self._register(network, node_id)
            self._networks[network.id] = network
            try:
                descriptor = await sandbox.tap(
                    f"vpn{number}",
                    ip=str(wanted["nodeIp"]),
                    mask=str(net.netmask),
                    mtu=_MTU,
                    mac=b"\x90\x13" + ip,
                )
            except BaseException:
                await self._tidy(network, node_id)
                raise
            port = network.ports[ip] = _Port(network, activity, node_id, ip, descriptor)
            loop = asyncio.get_running_loop()
            if not self._paused:
                loop.add_reader(descriptor, self._readable, port)
            self._announce(port)
            if self._announcing is None:
                self._announcing = loop.create_task(self._keep_announcing())

    async def leave(self, activity: str) -> None:
        """Take an activity's devices away; its provider leaves networks where it has no other."""
        async with self._lock:
            for port in self._ports_of(activity):
                self._unplug(port)
                await self._tidy(port.network, port.node_id)

    def cut(self, activity: str) -> None:
        """Take an activity's devices away at once; nobody is told."""
        for port in self._ports_of(activity):
            self._unplug(port)

    def _ports_of(self, activity: str) -> list[_Port]:
        return [
            port
            for network in self._networks.values()
            for port in network.ports.values()
            if port.activity_id == activity
        ]

    def _unplug(self, port: _Port) -> None:
        del port.network.ports[port.ip]
        asyncio.get_running_loop().remove_reader(port.descriptor)
        os.close(port.descriptor)

    async def _register(self, network: _Network, node_id: str) -> None:
        if node_id in network.members:
            return
        try:
            if self._bus is None or self._bus.closed.done():
                host, port = self._hub
                self._bus = await Bus.connect(f"tcp:{host}:{port}", "vpn", high_water=_HIGH_WATER)
            service = _service(node_id, network.id)
            self._bus.on_raw(f"{service}/raw", lambda caller, frame: self._arrived(network, caller, frame))
            await self._bus.bind(service, lambda call: self._control(network, call))
        except BusError as error:
            raise VpnError(f"Local service error: the network's hub does not take us: {error}") from error
        network.members.add(node_id)

    async def _tidy(self, network: _Network, node_id: str) -> None:
        """Leave the network if that was the provider's last device in it."""
        if any(port.node_id == node_id for port in network.ports.values()):
            return
        network.members.discard(node_id)
        if self._bus is not None:
            service = _service(node_id, network.id)
            self._bus.on_raw(f"{service}/raw", None)
            await self._bus.unbind(service)
        if not network.members:
            self._networks.pop(network.id, None)

    def _announce(self, port: _Port) -> None:
        """Tell the others where the device is, by asking for their addresses.

        The requestor's stack asks for one address a second, and then waits 3 s: without this the first
        connections to several new nodes would stall.
        """
        bus, network = self._bus, port.network
        if bus is None:
            return
        mac = b"\x90\x13" + port.ip
        for ip, owner in network.nodes.items():
            if ip in network.ports or owner == port.node_id:
                continue
            ask = b"\0\1\x08\0\6\4\0\1" + mac + port.ip + bytes(6) + ip
            bus.push(f"{_service(owner, network.id)}/raw", b"\xff" * 6 + mac + _ARP + ask, port.node_id)

    async def _keep_announcing(self) -> None:
        while any(network.ports for network in self._networks.values()):
            await asyncio.sleep(_ANNOUNCE_INTERVAL)
            for network in self._networks.values():
                for port in network.ports.values():
                    self._announce(port)
        self._announcing = None

    async def _control(self, network: _Network, call: Call) -> Any:
        """Answer `VpnControl`: it comes once for each address of a node, and must not mind."""
        if call.component != "VpnControl":
            raise BusCallError("", 400, f"no such method of a VPN: {call.component}")
        for kind, arguments in call.payload.items():
            try:
                if kind == "addNodes":
                    network.add(arguments["nodes"])
                elif kind == "removeNodes":
                    gone = {str(node).lower() for node in arguments["node_ids"]}
                    network.nodes = {ip: node for ip, node in network.nodes.items() if node not in gone}
                else:
                    return ErrorReply({"service": f"unknown control of a VPN: {kind}"})
            except (VpnError, KeyError, TypeError, AttributeError) as error:
                return ErrorReply({"service": str(error)})
        return None

    # -- frames -----------------------------------------------------------------------------------

    def _arrived(self, network: _Network, caller: str, frame: bytes) -> None:
        if len(frame) < _SHORTEST:
            return
        kind = frame[12:14]
        if kind not in (_ARP, _IPV4):
            return
        source = frame[28:32] if kind == _ARP else frame[26:30]
        if source not in network.nodes and ipaddress.IPv4Address(source) in network.net:
            network.nodes[source] = caller.lower()  # who sends is part of the network
        self._deliver(network, frame, kind)

    def _deliver(self, network: _Network, frame: bytes, kind: bytes) -> bool:
        """Give a frame to the devices in this process that it is for; return whether it is for one alone."""
        target = frame[38:42] if kind == _ARP else frame[30:34]
        port = network.ports.get(target)
        if port is not None:
            _write(port, frame)
            return True
        if self._is_broadcast(network, target):
            source = frame[28:32] if kind == _ARP else frame[26:30]
            for other in network.ports.values():
                if other.ip != source:
                    _write(other, frame)
        return False

    @staticmethod
    def _is_broadcast(network: _Network, target: bytes) -> bool:
        return target in (b"\xff\xff\xff\xff", network.net.broadcast_address.packed)

    def _readable(self, port: _Port) -> None:
        network, bus = port.network, self._bus
        for _ in range(_BURST):
            try:
                frame = os.read(port.descriptor, _LONGEST)
            except BlockingIOError:
                break
            except OSError as error:  # the sandbox has ended and its device with it
                logger.debug("device of activity %s: %s", port.activity_id[:8], error)
                asyncio.get_running_loop().remove_reader(port.descriptor)
                return
            kind = frame[12:14]
            if len(frame) < _SHORTEST or kind not in (_ARP, _IPV4):
                continue
            if self._deliver(network, frame, kind) or bus is None:
                continue
            target = frame[38:42] if kind == _ARP else frame[30:34]
            if self._is_broadcast(network, target):
                for node in {n for ip, n in network.nodes.items() if ip not in network.ports}:
                    bus.push(f"{_service(node, network.id)}/raw", frame, port.node_id)
                continue
            owner = network.nodes.get(target)
            if owner is None and frame[:2] == b"\xa0\x13":
                owner = network.nodes.get(frame[2:6])  # through a gateway, whose address is in its MAC
            if owner is not None and target != port.ip:
                bus.push(f"{_service(owner, network.id)}/raw", frame, port.node_id)
        if bus is not None and bus.full and not self._paused:
            self._paused = True
            self._resuming = asyncio.get_running_loop().create_task(self._resume(bus))

    async def _resume(self, bus: Bus) -> None:
        loop = asyncio.get_running_loop()
        for network in self._networks.values():
            for port in network.ports.values():
                loop.remove_reader(port.descriptor)
        await bus.drain()
        self._paused = False
        for network in self._networks.values():
            for port in network.ports.values():
                loop.add_reader(port.descriptor, self._readable, port)


class Member:
    """One provider's side of the switch, as its exe-units use it."""

    def __init__(self, switch: Switch, node_id: str) -> None:
        self._switch, self._node_id = switch, node_id

    async def join(self, sandbox: Sandbox, networks: list[Mapping[str, Any]], activity_id: str) -> None:
        """Give the sandbox an interface for each of the networks (see `Switch.join`)."""
        for number, wanted in enumerate(networks):
            await self._switch.join(self._node_id, sandbox, wanted, number, activity_id)

    async def leave(self, activity_id: str) -> None:
        """Take the activity's interfaces away."""
        await self._switch.leave(activity_id)

    def cut(self, activity_id: str) -> None:
        """Take them away at once, without a word to anyone."""
        self._switch.cut(activity_id)


def _service(node_id: str, network_id: str) -> str:
    return f"/net/{node_id}/vpn/{network_id}"


def _subnet(wanted: Mapping[str, Any]) -> ipaddress.IPv4Network:
    ip, mask = str(wanted["ip"]), wanted.get("mask") or "255.255.255.0"
    try:
        return ipaddress.IPv4Network(ip if "/" in ip else f"{ip}/{mask}", strict=False)
    except ValueError as error:
        raise VpnError(
            f"Local service error: Invalid network: {ip}/{mask}: only IPv4 networks are supported"
        ) from error


def _write(port: _Port, frame: bytes) -> None:
    # a device that takes no more, or is gone, loses the frame, as a cable would
    with contextlib.suppress(OSError):
        os.write(port.descriptor, frame)
