"""Events of real agreements, activities and tasks, without a daemon."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from golem_nb.executor.task import Task
from golem_nb.frames import Recorder
from golem_nb.rest.activity import Activity
from golem_nb.rest.ids import ActivityId, AgreementId, DebitNoteId, InvoiceId, NodeId
from golem_nb.rest.market import Agreement, AgreementDetails
from golem_nb.rest.notes import DebitNote, Invoice

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOBODY: Any = None


def offer_props(name: Any = "amber", **more: Any) -> dict[str, Any]:
    """Properties as an offer has them."""
    return {
        "golem.node.id.name": name,
        "golem.node.debug.subnet": "public",
        "golem.runtime.name": "vm",
        "golem.runtime.capabilities": ["vpn", "inet"],
        "golem.inf.cpu.threads": 4,
        "golem.inf.cpu.cores": 2,
        "golem.inf.mem.gib": 8.0,
        "golem.inf.storage.gib": 40.0,
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": [0.0001, 0.0002, 0.001],
        "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
        **more,
    }


@attrs.define
class World:
    """Makes what events are about."""

    _numbers: Any = attrs.field(factory=lambda: itertools.count(1))

    def job(self, key: str = "1") -> Any:
        return SimpleNamespace(id=key)

    def agreement(self, provider: int = 1, props: dict[str, Any] | None = None) -> Agreement:
        key = AgreementId(f"{next(self._numbers):064x}")
        details = AgreementDetails(
            agreement_id=key,
            state="Approved",
            provider_id=NodeId(f"0x{provider:040x}"),
            requestor_id=NodeId("0x" + "9" * 40),
            valid_to=NOW,
            approved=NOW,
            timestamp=NOW,
            app_session_id=None,
            offer_props=offer_props(f"provider-{provider}") if props is None else props,
            demand_props={},
            offer_constraints="",
            demand_constraints="",
            demand_id="",
        )
        return Agreement(NOBODY, key, details)

    def activity(self, agreement: Agreement) -> Activity:
        return Activity(NOBODY, ActivityId(f"{next(self._numbers):032x}"), agreement.id)

    def task(self, data: Any = None) -> Task[Any, Any]:
        return Task(data)

    def note(
        self, agreement: Agreement, activity: Activity, due: str, usage: list[float] | None = None
    ) -> DebitNote:
        return DebitNote(
            NOBODY,
            DebitNoteId(str(next(self._numbers))),
            agreement.details.provider_id,
            agreement.id,
            activity.id,
            Decimal(due),
            usage,
            "erc20-hoodi-tglm",
            None,
            None,
            NOW,
            "RECEIVED",
        )

    def invoice(self, agreement: Agreement, amount: str) -> Invoice:
        return Invoice(
            NOBODY,
            InvoiceId(str(next(self._numbers))),
            agreement.details.provider_id,
            agreement.id,
            [],
            Decimal(amount),
            "erc20-hoodi-tglm",
            None,
            NOW,
            "RECEIVED",
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def at() -> Callable[[Any, float], Any]:
    """Give an event another time, in seconds after `NOW`."""

    def set_time(event: Any, seconds: float) -> Any:
        moment = datetime.fromtimestamp(NOW.timestamp() + seconds, UTC)
        object.__setattr__(event, "timestamp", moment)
        return event

    return set_time
