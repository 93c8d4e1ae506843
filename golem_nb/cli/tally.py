"""What a run has come to, counted from its events."""

from __future__ import annotations

from decimal import Decimal

import attrs

from golem_nb import events
from golem_nb.engine.charges import LinearPrice


@attrs.define
class ProviderTally:
    """What one provider has done and asks for."""

    name: str
    price: LinearPrice | None
    agreements: int = 0
    tasks: int = 0
    accepted: Decimal = Decimal(0)


class Tally:
    """An event consumer that adds up providers, tasks, agreements and money."""

    def __init__(self) -> None:
        self.providers: dict[str, ProviderTally] = {}
        self.agreements = 0
        self.agreements_ended = 0
        self.invoices_accepted = 0
        self.debit_notes_accepted = 0
        self.failures: list[str] = []
        self.interrupted = False

    @property
    def cost(self) -> Decimal:
        """What was accepted, GLM."""
        return sum((provider.accepted for provider in self.providers.values()), Decimal(0))

    @property
    def used(self) -> list[ProviderTally]:
        """The providers that have completed a task."""
        return [provider for provider in self.providers.values() if provider.tasks]

    def __call__(self, event: events.Event) -> None:
        """Take note of an event."""
        match event:
            case events.AgreementConfirmed():
                self.agreements += 1
                self._provider(event).agreements += 1
            case events.AgreementTerminated():
                self.agreements_ended += 1
            case events.TaskAccepted():
                self._provider(event).tasks += 1
            case events.InvoiceAccepted():
                self.invoices_accepted += 1
                self._provider(event).accepted += event.invoice.amount
            case events.DebitNoteAccepted():
                self.debit_notes_accepted += 1
            case events.PaymentFailed() | events.ActivityCreateFailed():
                self.failures.append(f"{type(event).__name__}: {event.exception}")

    def _provider(self, event: events.AgreementEvent) -> ProviderTally:
        details = event.agreement.details
        if details.provider_id not in self.providers:
            self.providers[details.provider_id] = ProviderTally(
                name=details.provider_node_info.name or details.provider_id,
                price=LinearPrice.agreed(details.offer_props),
            )
        return self.providers[details.provider_id]
