"""Events without a network: as many as wanted, of objects that have just what consumers look at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from golem_nb import events as ev
from golem_nb.services import ServiceState


def provider(number: int, name: str) -> Any:
    """An agreement with a provider."""
    props = {
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": [0.0001, 0.00005, 0.0],
        "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
        "golem.node.id.name": name,
        "golem.inf.cpu.threads": 4 + number % 8,
        "golem.inf.cpu.cores": 2,
        "golem.inf.mem.gib": 8.0,
        "golem.inf.storage.gib": 40.0,
        "golem.runtime.name": "vm",
    }
    details = SimpleNamespace(
        provider_id=f"0x{number:040x}", provider_node_info=SimpleNamespace(name=name), offer_props=props
    )
    return SimpleNamespace(id=f"agreement-{number}", details=details)


class Rush:
    """A stream of events of one job: tasks that start and end on providers, notes, proposals."""

    def __init__(self, names: list[str], job: str = "1") -> None:
        self.job = SimpleNamespace(id=job)
        self.agreements = [provider(number, name) for number, name in enumerate(names, 1)]
        self.activities = [SimpleNamespace(id=f"activity-{n}") for n in range(len(names))]
        self._numbers = itertools.count(1)
        self._due = [Decimal(0)] * len(names)

    def begin(self) -> Iterator[ev.Event]:
        """Agreements are made and activities created."""
        for agreement, activity in zip(self.agreements, self.activities, strict=True):
            yield ev.AgreementCreated(self.job, agreement)
            yield ev.AgreementConfirmed(self.job, agreement)
            yield ev.ActivityCreated(self.job, agreement, activity)

    def turn(self) -> Iterator[ev.Event]:
        """On each provider a task is computed and a note accepted."""
        for index, (agreement, activity) in enumerate(zip(self.agreements, self.activities, strict=True)):
            number = next(self._numbers)
            task: Any = SimpleNamespace(id=str(number), data=number, result=None)
            yield ev.TaskStarted(self.job, agreement, activity, task)
            yield ev.TaskAccepted(self.job, agreement, activity, task)
            yield ev.TaskFinished(self.job, agreement, activity, task)
            self._due[index] += Decimal("0.0001")
            note: Any = SimpleNamespace(
                debit_note_id=f"note-{number}",
                total_amount_due=self._due[index],
                activity_id=activity.id,
                agreement_id=agreement.id,
                usage_counter_vector=None,
            )
            yield ev.DebitNoteAccepted(self.job, agreement, note)

    def service(self, instance: Any, index: int, *states: str) -> Iterator[ev.Event]:
        """An instance goes through states."""
        for old, new in itertools.pairwise(states):
            yield ev.ServiceStateChanged(
                self.job,
                self.agreements[index],
                self.activities[index],
                instance,
                getattr(ServiceState, old),
                getattr(ServiceState, new),
            )

    def proposal(self, number: int) -> ev.Event:
        """A provider's offer comes in."""
        agreement = provider(number, f"provider-{number}")
        props = dict(agreement.details.offer_props)
        props["golem.com.pricing.model.linear.coeffs"] = [
            0.0001 * (1 + number % 17),
            0.00005 * (1 + number % 11),
            0,
        ]
        return ev.ProposalReceived(
            self.job,
            SimpleNamespace(
                id=f"proposal-{number}",
                issuer=agreement.details.provider_id,
                props=props,
                constraints="",
                is_draft=False,
                timestamp=datetime.now(UTC),
            ),
        )
