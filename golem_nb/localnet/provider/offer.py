"""A provider's offer, and its answers to what requestors propose."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from golem_nb.localnet.provider.faults import HOSTILE_NAME
from golem_nb.localnet.provider.pricing import COUNTERS, LinearPricing
from golem_nb.localnet.spec import ProviderSpec

__all__ = ["ACCEPT_TIMEOUT", "COEFFICIENTS", "NOTE_INTERVAL", "PAYMENT_TIMEOUT", "Offer"]

COEFFICIENTS: Final = "golem.com.pricing.model.linear.coeffs"
ACCEPT_TIMEOUT: Final = "golem.com.payment.debit-notes.accept-timeout?"
NOTE_INTERVAL: Final = "golem.com.scheme.payu.debit-note.interval-sec?"
PAYMENT_TIMEOUT: Final = "golem.com.scheme.payu.payment-timeout-sec?"
#: What the official provider accepts of them, in seconds.
_RANGES: Final = {ACCEPT_TIMEOUT: (5, 240), NOTE_INTERVAL: (2, 86400), PAYMENT_TIMEOUT: (5, 86400)}
_EXPIRATION: Final = "golem.srv.comp.expiration"
_SHORTEST_JOB: Final = 60.0
_SHOWN_FLAGS: Final = 64


@attrs.frozen
class Offer:
    """What a provider offers.

    Parameters
    ----------
    spec
        The provider.
    node_id
        Where it wants to be paid.
    subnet
        The subnet it is in.
    platforms
        The payment platforms.
    vpn
        Whether its activities can be part of VPNs.
    hostile
        Whether its name is hostile.
    """

    spec: ProviderSpec
    node_id: str
    subnet: str
    platforms: tuple[str, ...]
    vpn: bool
    hostile: bool = False

    def properties(self) -> dict[str, Any]:
        """Properties, those of a running agreement's negotiation included."""
        spec = self.spec
        cpu = _processor()
        capabilities = ["inet", "manifest-support", "start-entrypoint"]
        properties: dict[str, Any] = {
            "golem.activity.caps.transfer.protocol": ["http", "https", "gftp"],
            "golem.activity.caps.transfer.report-progress": True,
            "golem.activity.caps.deploy.report-progress": False,
            ACCEPT_TIMEOUT: _whole(spec.debit_note_accept_timeout),
            "golem.com.payment.protocol.version": 3,
            "golem.com.pricing.model": "linear",
            COEFFICIENTS: LinearPricing.of(spec).coefficients,
            "golem.com.scheme": "payu",
            NOTE_INTERVAL: _whole(spec.debit_note_interval),
            PAYMENT_TIMEOUT: _whole(spec.payment_timeout),
            "golem.com.usage.vector": list(COUNTERS),
            "golem.inf.cpu.architecture": platform.machine() or "x86_64",
            "golem.inf.cpu.brand": cpu["brand"],
            "golem.inf.cpu.capabilities": cpu["capabilities"],
            "golem.inf.cpu.cores": spec.cpu_cores,
            "golem.inf.cpu.model": cpu["model"],
            "golem.inf.cpu.threads": spec.cpu_threads,
            "golem.inf.cpu.vendor": cpu["vendor"],
            "golem.inf.mem.gib": float(spec.mem_gib),
            "golem.inf.storage.gib": float(spec.storage_gib),
            "golem.node.debug.subnet": self.subnet,
            "golem.node.id.name": f"{HOSTILE_NAME}{spec.name}" if self.hostile else spec.name,
            "golem.node.net.is-public": False,
            "golem.runtime.capabilities": ["vpn", *capabilities] if self.vpn else capabilities,
            "golem.runtime.name": spec.runtime,
            "golem.runtime.version": spec.runtime_version,
            "golem.srv.caps.multi-activity": True,
            "golem.srv.caps.payload-manifest": True,
        }
        for name in self.platforms:
            properties[f"golem.com.payment.platform.{name}.address"] = self.node_id
        return properties

    def to_json(self) -> dict[str, Any]:
        """Return the body of the request that publishes it."""
        return {"properties": self.properties(), "constraints": self.constraints()}

    def constraints(self) -> str:
        """Who is served: jobs that are not over yet, in our subnet."""
        return (
            f"(&\n  ({_EXPIRATION}>{int(time.time() * 1000)})\n  (golem.node.debug.subnet={self.subnet})\n)"
        )

    def answer(self, demand: Mapping[str, Any]) -> dict[str, Any] | str:
        """Answer a demand: with the properties of a counter-proposal, or with the reason of a refusal.

        Properties whose names end in "?" are negotiated: what the demand does not name is left out, what
        it names is taken when it lies within the provider's limits.
        """
        expiration = demand.get(_EXPIRATION)
        if isinstance(expiration, int | float) and expiration < (time.time() + _SHORTEST_JOB) * 1000:
            return f"Proposal expires at: {expiration} which is less than 1 min from now"
        properties = self.properties()
        for name, (low, high) in _RANGES.items():
            if name not in demand:
                del properties[name]
                continue
            wanted = demand[name]
            if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not low <= wanted <= high:
                return f"Demand {name} = {wanted} not in acceptable range of [{low}; {high}]"
            if name == ACCEPT_TIMEOUT and wanted > self.spec.debit_note_accept_timeout:
                return f"DebitNote acceptance deadline should be less than {properties[name]}s."
            properties[name] = wanted
        return properties


def _whole(seconds: float) -> int:
    return max(1, round(seconds))


def _processor() -> dict[str, Any]:
    """What this machine's processor is, by /proc/cpuinfo."""
    facts: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.partition("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        facts[name.strip()] = value.strip()
    flags: Sequence[str] = sorted(
        set(re.split(r"\s+", facts.get("flags") or facts.get("Features") or "")) - {""}
    )
    return {
        "brand": facts.get("model name") or platform.processor() or "unknown",
        "vendor": facts.get("vendor_id") or "unknown",
        "model": f"Stepping {facts.get('stepping', '0')} Family {facts.get('cpu family', '0')} "
        f"Model {facts.get('model', '0')}",
        "capabilities": list(flags[:_SHOWN_FLAGS]),
    }
